"""The first contact of a run with its repository. init() waits for it, so that it can say what is wrong."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError, MissingRepository, OtherRepository, WriteError
from keepsake.recording.mover import publish
from keepsake.recording.saver import saver
from keepsake.spool.entry import Entry
from keepsake.spool.journal import Changes
from keepsake.spool.places import note_files
from keepsake.util.console import warn
from keepsake.util.errors import no_thread_can_start
from keepsake.util.ids import short_id

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository

_DEADLINE_SECONDS = 15.0


def publish_first(
    repository: Repository, entry: Entry, before: str | None, *, beat: bool, meanwhile: Callable[[], None]
) -> None:
    """Publish a new experiment, unless the repository that was used before is missing.

    Args:
        repository: where it goes.
        entry: its entry in the spool, which `meanwhile` writes.
        before: what `known_identity` returned when the experiment began.
        beat: whether its heart beats.
        meanwhile: called while the disk or the network is at work. If it fails, the experiment is taken back.
    """
    is_known = threading.Event()

    def send() -> None:
        try:
            entry.identity = repository.ensure(before)
        finally:
            is_known.set()
        _publish(repository, entry, beat=beat)

    def get_ready() -> None:
        # The entry says which repository it uses. Until that is known, two threads would only take turns.
        if is_known.wait(_DEADLINE_SECONDS):
            meanwhile()

    try:
        undo = partial(repository.withdraw, entry.record)
        # init() need not wait until the disk has made the names durable
        _within_deadline(repository, send, undo, get_ready, repository.storage.postponing)
    except MissingRepository as error:
        notes = note_files(entry.directory.parent)
        note = next(filter(os.path.exists, notes), notes[0])
        warn(
            f"{error} This project has used one there before, so no new one is created. Experiment "
            f"{short_id(entry.id)} is kept in {entry.directory}. When the repository is back, `keepsake sync`, or the "
            f"next run, sends it. To begin a new repository there, delete {note}."
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

    It is durable in the repository before it leaves the spool, so no name is postponed here.
    """

    def send() -> None:
        publish(entry, repository, others=True)
        if beat:
            repository.heartbeats.beat(entry.id)

    _within_deadline(repository, send, lambda: None, lambda: None, nullcontext)


def _within_deadline(
    repository: Repository,
    send: Callable[[], None],
    take_back: Callable[[], None],
    meanwhile: Callable[[], None],
    around: Callable[[], AbstractContextManager[None]],
) -> None:
    """Send something in a thread, because a server that hangs must not hang the training.

    `take_back` is called if it arrives too late, and `meanwhile` while the disk or the network is at work. The context
    `around` it ends when the caller goes on already.
    """
    done: list[BaseException | None] = []
    finished, given_up = threading.Event(), threading.Event()

    def run() -> None:
        with around():
            try:
                send()
                done.append(None)
            except BaseException as error:  # noqa: BLE001 - raised by the waiting thread
                done.append(error)
            finished.set()
        if given_up.is_set():
            undo()

    def undo() -> None:
        if done[0] is None:
            with suppress(KeepsakeError):  # the error of init() matters more
                take_back()

    try:
        try:
            threading.Thread(target=run, name="keepsake-init", daemon=True).start()
        except RuntimeError as refused:
            if not no_thread_can_start(refused):
                raise
            run()  # without a deadline
        try:
            meanwhile()
            saver().prepare(repository)
        except KeepsakeError:
            finished.wait(_DEADLINE_SECONDS)  # so the experiment is taken back before the program ends
            raise
        if not finished.wait(_DEADLINE_SECONDS):
            raise WriteError(
                f"{repository.url} does not answer (waited {_DEADLINE_SECONDS:.0f} s). Check the network and the URL. "
                "Or set KEEPSAKE_OFFLINE=1 to record on this machine, and send it with `keepsake sync` later."
            )
    except BaseException:  # including Ctrl-C
        given_up.set()
        if finished.is_set():
            undo()
        raise
    error = done[0]
    if error is not None:
        if isinstance(error, KeepsakeError) and not repository.url.startswith("file:"):
            error.args = (f"{error}\nTo record on this machine and send it later, set KEEPSAKE_OFFLINE=1.",)
        raise error


def _publish(repository: Repository, entry: Entry, *, beat: bool) -> None:
    """Put the experiment into the repository, so a wrong bucket or a missing permission shows at once."""
    repository.merge(entry.record, Changes(), create=True, identity=entry.identity)
    if beat:
        try:
            repository.heartbeats.beat(entry.id)
        except BaseException:
            with suppress(KeepsakeError):  # the first error matters more
                repository.withdraw(entry.record)
            raise
