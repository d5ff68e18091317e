"""Entries that earlier runs left in a spool: listing them, and finishing them in the background of the next run.

Finishing is safe even if another process does the same (mover.py). The checks for signs of life only avoid double work.
A recently touched entry is left for later, and a recovery marks its entry by a file.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from keepsake.exceptions import KeepsakeError
from keepsake.recording.mover import try_to_finish
from keepsake.spool import places
from keepsake.spool.entry import FRESH_SECONDS, Entry
from keepsake.spool.places import Pending
from keepsake.util.clock import monotonic
from keepsake.util.console import warn
from keepsake.util.directories import owner_of
from keepsake.util.ids import short_id
from keepsake.util.processes import has_ended, process_name
from keepsake.workplace import open_repository

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository

_CLAIM = ".recovery"


class Sent(NamedTuple):
    """The result of sending an experiment."""

    experiment_id: str
    error: KeepsakeError | None  # the reason why it is not in the repository yet


def send(waiting: Pending, moved: Callable[[int], None], *, force: bool = False) -> Sent:
    """Send unsent parts to their repository.

    `force`: send them even if another repository is at the URL now, or if the experiment is gone from there.
    """
    entry = waiting.entry
    if force:
        entry.identity, entry.in_repository = None, False
    return Sent(entry.id, try_to_finish(entry, open_repository, moved))


def close_sent(root: Path, repository: Repository) -> None:
    """Close the entries of runs that were killed when everything was in the repository, and remove what is half made.

    Nothing waits in them. If one cannot be closed now, the next run tries again.
    """
    places.sweep(root)
    for entry in places.entries(root):
        if entry.in_repository and not entry.is_fresh() and not entry.is_waiting():
            follow(entry, repository)
            try_to_finish(entry, open_repository)


def follow(entry: Entry, repository: Repository) -> None:
    """Let an entry go to `repository` if that is its own at another place, as after a folder was renamed.

    Nothing may be at the old place. The identity is the proof, or, if the run began before the repository had one, that
    the project was moved with all that is in it: its spool, and the same path to its repository.
    """
    with suppress(KeepsakeError, OSError):
        begun_in = open_repository(entry.repository)
        old, new = begun_in.storage.directory, repository.storage.directory
        if old is None or new is None or old == new or begun_in.identity is not None:
            return
        is_own = _moved_with(entry, old, new) if entry.identity is None else repository.identity == entry.identity
        if is_own:
            entry.repository = repository.url


def _moved_with(entry: Entry, old: Path, new: Path) -> bool:
    project = entry.directory.parents[2]
    if not new.is_relative_to(project) or entry.directory.parent != project / ".keepsake" / "spool":
        return False
    inside = new.relative_to(project).parts
    return old.parts[-len(inside) :] == inside and not os.path.lexists(old.parents[len(inside) - 1])


class Recovery:
    """Finishes, in a thread, the entries of other processes that wait in the spools of a project.

    Entries for another repository, or of another user, are not sent without the user's consent, because a spool can
    come with a clone from a stranger. `keepsake sync` sends them.
    """

    def __init__(self, own: Entry, roots: list[Path], open_repository: Callable[[str], Repository]) -> None:
        self._roots = roots
        self._url = own.repository
        self._open = open_repository
        # A file server may give this user's files to another one, such as root's to nobody.
        self._users = {"", *_owners(own.directory)}
        self._resting = threading.Event()  # set while it only waits to look again later
        self._thread = threading.Thread(target=self._run, name="keepsake-recovery", daemon=True)
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        """Whether it still runs."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until it has done all that is possible now, but no longer than `seconds`."""
        deadline = monotonic() + seconds
        while self.is_under_way and not self._resting.is_set() and monotonic() < deadline:
            self._resting.wait(min(0.05, max(0.0, deadline - monotonic())))

    def _run(self) -> None:
        try:
            self._recover()
        except BaseException as error:  # noqa: BLE001 - a traceback in the training's output would not help
            reason = f"{type(error).__name__}: {str(error).rstrip('.')}"
            where = " or ".join(map(str, self._roots))
            warn(f"Runs that wait in {where} could not be sent yet: {reason}. `keepsake sync` tries again.")

    def _recover(self) -> None:
        later: list[Entry] = []
        for root in self._roots:
            places.sweep(root)
            later += [entry for entry in places.entries(root) if self._may_send(entry) and not self._finish(entry)]
        seen = {entry.id: _touched(entry) for entry in later}
        if not later:
            return
        self._resting.set()
        time.sleep(FRESH_SECONDS + 1)
        self._resting.clear()
        for entry in later:
            # An entry that was touched again belongs to a run that goes on.
            if _touched(entry) == seen[entry.id] and (current := Entry.load(entry.directory)):
                self._finish(current)

    def _may_send(self, entry: Entry) -> bool:
        owners = _owners(entry.directory / "record.json") - self._users
        is_ours = entry.repository == self._url and not owners
        if not is_ours and entry.is_fresh():  # a run of another user or project that has the same spool
            return False
        if owners:
            owner = " and ".join(sorted(owners))
            warn(f"The run that waits in {entry.directory} belongs to {owner}. `keepsake sync` sends it anyway.")
            return False
        if entry.repository != self._url:
            warn(
                f"Experiment {short_id(entry.id)} waits for another repository, {entry.repository}. "
                "`keepsake sync` sends it there, or to the place that the repository was moved to."
            )
            return False
        return True

    def _finish(self, entry: Entry) -> bool:
        """Finish an entry; return False if another process seems to handle it."""
        if entry.is_fresh() or not _claim(entry):
            return False
        if entry.is_first:  # its process was killed right after it began
            places.remember_repository(entry)
            with suppress(KeepsakeError):
                entry.write_record(durable=False)
        try:
            error = try_to_finish(entry, self._open, lambda count: _touch_claim(entry))
        finally:
            with suppress(OSError):
                (entry.directory / _CLAIM).unlink(missing_ok=True)
                entry.directory.rmdir()  # succeeds if the entry is closed and held only the claim
        if error is not None:
            warn(f"Experiment {short_id(entry.id)} of an earlier run could not be sent yet: {error}")
        return True


def _owners(path: Path) -> set[str]:
    """Return the owners of a file, and of a link to it; "" stands for this user and root."""
    with suppress(OSError):
        return {owner_of(path.lstat()), owner_of(path.stat())}
    return set()


def _touched(entry: Entry) -> float:
    with suppress(OSError):
        return (entry.directory / "record.json").stat().st_mtime
    return 0.0


def _claim(entry: Entry) -> bool:
    """Mark an entry as being finished by this process; return False if another process finishes it."""
    claim = entry.directory / _CLAIM
    with suppress(OSError):
        if abs(time.time() - claim.stat().st_mtime) < FRESH_SECONDS and not has_ended(claim.read_text()):
            return False
        claim.unlink()  # its process was killed
    try:
        with open(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(process_name())
    except FileExistsError:
        return False
    except OSError:
        pass  # the disk is full; the work may be done twice
    return True


def _touch_claim(entry: Entry) -> None:
    with suppress(OSError):
        os.utime(entry.directory / _CLAIM)
