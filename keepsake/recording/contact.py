"""The first contact of a run with its repository. init() waits for it, so that it can say what is wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError, MissingRepository, OtherRepository, WriteError
from keepsake.recording.merging import find_identity
from keepsake.recording.mover import publish
from keepsake.recording.saver import saver
from keepsake.spool.entry import Entry
from keepsake.spool.journal import Changes
from keepsake.spool.places import notes_about
from keepsake.util.clock import monotonic
from keepsake.util.console import warn
from keepsake.util.errors import no_thread_can_start
from keepsake.util.ids import short_id

if TYPE_CHECKING:
    from pathlib import Path

    from keepsake.repository.repository import Repository

_DEADLINE_SECONDS = 15.0


def publish_first(
    repository: Repository,
    entry: Entry,
    before: str | None,
    roots: list[Path],
    *,
    beat: bool,
    meanwhile: Callable[[], None],
) -> None:
    """Publish a new experiment, unless the repository that was used before is missing.

    Args:
        repository: where it goes.
        entry: its entry in the spool, which `meanwhile` writes.
        before: what `known_identity` returned when the experiment began.
        roots: the directories that were asked.
        beat: whether its heart beats.
        meanwhile: called while the disk or the network is at work. If it fails, the experiment is taken back.
    """
    is_known = threading.Event()

    def send() -> None:
        try:
            entry.identity = repository.ensure(before)
        finally:
            is_known.set()
        # A wrong bucket, or a missing permission, shows at once
        repository.merge(entry.record, Changes(), create=True, identity=entry.identity)
        if beat:
            try:
                repository.heartbeats.beat(entry.id)
            except BaseException:
                with suppress(KeepsakeError):  # the first error matters more
                    repository.withdraw(entry.record)
                raise

    def get_ready() -> None:
        # The entry says which repository it uses. Until that is known, two threads would only take turns.
        if is_known.wait(_DEADLINE_SECONDS):
            meanwhile()

    # init() need not wait until the disk has made the names durable
    sending = _Sending(repository, send, partial(repository.withdraw, entry.record), repository.storage.postponing)
    try:
        _finish(repository, sending, get_ready)
    except MissingRepository as error:
        notes = notes_about(roots, entry.repository)
        warn(
            f"{error} This project has used one there before, so no new one is created. Experiment "
            f"{short_id(entry.id)} is kept in {entry.directory}. When the repository is back, `keepsake sync`, or the "
            f"next run, sends it. To begin a new repository there, delete {notes}."
        )
        return
    except OtherRepository as error:  # it was replaced just now, and the record may lie in the new one
        with suppress(KeepsakeError):
            repository.withdraw(entry.record)
        warn(f"{error} Experiment {short_id(entry.id)} is kept in {entry.directory}.")
        return
    entry.in_repository = True  # the background writes this to the spool
    if before and entry.identity != before:
        warn(f"The repository at {repository.url} is not the one that this project used before.")


def go_on(repository: Repository, entry: Entry, *, beat: bool) -> None:
    """Publish what the earlier process left, so that this process's records come after it.

    What this process records belongs to the repository that has the experiment now, whatever is mounted there later.
    It is durable in the repository before it leaves the spool, so no name is postponed here.
    """

    def send() -> None:
        publish(entry, repository, others=True)
        find_identity(entry, repository)
        if beat:
            repository.heartbeats.beat(entry.id)

    _finish(repository, _Sending(repository, send))


class _Sending:
    """Something that a thread sends, because a server that hangs must not hang the training.

    Args:
        repository: where it goes.
        send: sends it.
        take_back: called if it arrives after the caller has given up.
        around: its context, which ends when the caller goes on already.
    """

    def __init__(
        self,
        repository: Repository,
        send: Callable[[], None],
        take_back: Callable[[], None] = lambda: None,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._repository, self._send, self._take_back, self._around = repository, send, take_back, around
        self._finished, self._given_up = threading.Event(), threading.Event()
        self._is_first = False  # whether the first of the saver's threads sends it
        self.error: BaseException | None = None

    def start(self) -> None:
        self._is_first = saver().start_with(self._repository, self._run)
        if self._is_first:
            return
        try:
            threading.Thread(target=self._run, name="keepsake-init", daemon=True).start()
        except RuntimeError as refused:
            if not no_thread_can_start(refused):
                raise
            self._run()  # without a deadline

    def _run(self) -> bool:
        """Send it; return whether the caller has not given up."""
        with self._around():
            try:
                self._send()
            except BaseException as error:  # noqa: BLE001 - raised by the waiting thread
                self.error = error
            self._finished.set()
        if not self._given_up.is_set():
            return True
        self._undo()
        return False

    def wait(self, deadline: float) -> bool:
        """Wait until it is sent or has failed; return False if that lasts beyond a monotonic time."""
        return self._finished.wait(max(0.0, deadline - monotonic()))

    def give_up(self) -> None:
        self._given_up.set()
        if self._finished.is_set():
            self._undo()
        elif self._is_first:
            saver().replace_first(self._repository)

    def _undo(self) -> None:
        if self.error is None:
            with suppress(KeepsakeError):  # the error of init() matters more
                self._take_back()


def _finish(repository: Repository, sending: _Sending, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Send something within the deadline. `meanwhile` is called while the disk or the network is at work."""
    deadline = monotonic() + _DEADLINE_SECONDS
    try:
        sending.start()
        try:
            meanwhile()
        except KeepsakeError:
            sending.wait(deadline)  # so the experiment is taken back before the program ends
            raise
        if not sending.wait(deadline):
            raise WriteError(
                f"{repository.url} does not answer (waited {_DEADLINE_SECONDS:.0f} s). Check the network and the URL. "
                "Or set KEEPSAKE_OFFLINE=1 to record on this machine, and send it with `keepsake sync` later."
            )
    except BaseException:  # including Ctrl-C
        sending.give_up()
        raise
    if (error := sending.error) is not None:
        if isinstance(error, KeepsakeError) and not repository.url.startswith("file:"):
            error.args = (f"{error}\nTo record on this machine and send it later, set KEEPSAKE_OFFLINE=1.",)
        raise error
