"""What earlier runs left in a spool: seeing it, and finishing it in the background of the next run.

Finishing is safe whoever else is at work on the same (mover.py). Looking for signs of life only saves doing it twice:
an entry that was touched a short while ago is left for later, and a recovery says so by a file in the entry.
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
from keepsake.util.console import warn
from keepsake.util.directories import owner_of
from keepsake.util.ids import short_id
from keepsake.util.processes import has_ended, process_name
from keepsake.workplace import open_repository

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository

_CLAIM = ".recovery"


class Pending(NamedTuple):
    """What an entry of a spool holds that is not in its repository yet."""

    entry: Entry
    checkpoints: int  # not yet in the record
    size: int  # bytes of files


def pending(root: Path, *, of_others: bool = True) -> list[Pending]:
    """Return what waits in a spool; without `of_others`, only what no running process seems to be at work on."""
    found = []
    for entry in places.entries(root):
        if of_others or not entry.is_fresh():
            changes, size = entry.pending(), entry.size()
            if changes or size or not entry.in_repository:
                found.append(Pending(entry, len(changes.checkpoints), size))
    return found


class Sent(NamedTuple):
    """An experiment that waited, and what became of it."""

    experiment_id: str
    error: KeepsakeError | None  # why it is not in the repository yet


def send(waiting: Pending, moved: Callable[[int], None], *, force: bool = False) -> Sent:
    """Bring what waits into its repository.

    `force`: also into another one that is at its URL now, and though the experiment is gone from there.
    """
    entry = waiting.entry
    if force:
        entry.identity, entry.in_repository = None, False
    return Sent(entry.id, try_to_finish(entry, open_repository, moved))


class Recovery:
    """Finishes, in a thread, what others than this process left in the spool at `root` for the repository at `url`.

    What waits for another repository is not sent without a word: a spool can come with a clone, from a stranger.
    `keepsake sync` sends it.
    """

    def __init__(self, root: Path, url: str, open_repository: Callable[[str], Repository]) -> None:
        self._root = root
        self._url = url
        self._open = open_repository
        self._resting = threading.Event()  # nothing to do but to look again later
        self._thread = threading.Thread(target=self._run, name="keepsake-recovery", daemon=True)
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until it has done what it can do now, but no longer than that."""
        deadline = time.monotonic() + seconds
        while self.is_under_way and not self._resting.is_set() and time.monotonic() < deadline:
            self._resting.wait(min(0.05, max(0.0, deadline - time.monotonic())))

    def _run(self) -> None:
        try:
            self._recover()
        except BaseException as error:  # noqa: BLE001 - a traceback in the training's output helps nobody
            warn(f"What earlier runs left in {self._root} could not be sent yet: {type(error).__name__}: {error}.")

    def _recover(self) -> None:
        places.sweep(self._root)
        later = [entry for entry in places.entries(self._root) if self._may_send(entry) and not self._finish(entry)]
        seen = {entry.id: _touched(entry) for entry in later}
        if not later:
            return
        self._resting.set()
        time.sleep(FRESH_SECONDS + 1)
        self._resting.clear()
        for entry in later:
            # One that was touched again belongs to a run that goes on
            if _touched(entry) == seen[entry.id] and (current := Entry.load(entry.directory)):
                self._finish(current)

    def _may_send(self, entry: Entry) -> bool:
        with suppress(OSError):
            if owner := owner_of((entry.directory / "record.json").stat()):
                warn(f"What waits in {entry.directory} is {owner}'s. `keepsake sync` sends it all the same.")
                return False
        if entry.repository != self._url:
            warn(
                f"What waits of experiment {short_id(entry.id)} is for another repository, {entry.repository}. "
                "`keepsake sync` sends it there."
            )
            return False
        return True

    def _finish(self, entry: Entry) -> bool:
        """Finish an entry; False if a process seems to be at work on it."""
        if entry.is_fresh() or not _claim(entry):
            return False
        try:
            error = try_to_finish(entry, self._open, lambda count: _touch_claim(entry))
        finally:
            with suppress(OSError):
                (entry.directory / _CLAIM).unlink(missing_ok=True)
                entry.directory.rmdir()  # if the entry is closed; the claim was what was left in it
        if error is not None:
            warn(f"What an earlier run left of experiment {short_id(entry.id)} could not be sent yet: {error}")
        return True


def _touched(entry: Entry) -> float:
    with suppress(OSError):
        return (entry.directory / "record.json").stat().st_mtime
    return 0.0


def _claim(entry: Entry) -> bool:
    """Say that this process finishes an entry; False if another one does."""
    claim = entry.directory / _CLAIM
    with suppress(OSError):
        if abs(time.time() - claim.stat().st_mtime) < FRESH_SECONDS and not has_ended(claim.read_text()):
            return False
        claim.unlink()  # of a process that was killed
    try:
        with open(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(process_name())
    except FileExistsError:
        return False
    except OSError:
        pass  # a full disk: then it may be done twice
    return True


def _touch_claim(entry: Entry) -> None:
    with suppress(OSError):
        os.utime(entry.directory / _CLAIM)
