"""The experiments that somebody removed from a repository.

A missing experiment was not necessarily removed: a file may be lost, or an old backup restored. So a removal is written
down first. A process that still saves the experiment can then tell the two cases apart. An experiment whose record is
there is not removed, whatever a note says: the record came back from a backup, or the removal is under way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from keepsake.exceptions import KeepsakeError, WriteError
from keepsake.metadata import time_text
from keepsake.repository.keys import REMOVED
from keepsake.storage import Storage
from keepsake.util.console import once, warn

_Note = tuple["set[str]", "set[str] | None"]  # experiments, archives

ABOUT_DAMAGED = (
    "cannot be read. Which experiments it notes as removed is unknown. Restore it from a backup, or delete it. Then "
    "what still waits of those experiments stays in the spool until `keepsake rm` gives it up."
)


def is_being_removed(url: str) -> WriteError:
    """Return the error for an experiment that cannot come back yet."""
    return WriteError(
        f"It is being removed from {url}. Try again later. If the removal was interrupted, finish it first, by "
        "`keepsake doctor --fix` there."
    )


class Removals:
    """The removals of a repository.

    Attributes:
        damaged: the keys of notes that could not be read the last time.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._read: dict[str, tuple[str, _Note]] = {}  # notes by key, each with its etag
        self.damaged: set[str] = set()

    def ids(self, *, only_look: bool = False) -> set[str]:
        """Return the IDs of all experiments that were removed.

        `only_look`: nothing depends on it, so nothing is written. On a network disk, those that another machine has
        removed within the last seconds may be missing.
        """
        if not only_look:
            self._storage.refresh(REMOVED)
        found = {experiment_id for _, experiments, _ in self._all() for experiment_id in experiments}
        for key in self.damaged:
            once(warn, f"{self._storage.url}/{key} {ABOUT_DAMAGED}")
        return found

    def under_way(self) -> set[str]:
        """Return the IDs of experiments whose removal has begun and has not ended."""
        self._storage.refresh(REMOVED)
        return {experiment_id for _, experiments, _ in self.unfinished() for experiment_id in experiments}

    def come_back(self, experiment_ids: Iterable[str]) -> set[str]:
        """Forget the removal of experiments that are copied here again; return those that cannot come back yet.

        The removal of such an experiment has not ended, and would delete what is copied. Or it was interrupted.
        """
        ids = set(experiment_ids)
        busy = ids & self.under_way()
        self._forget(ids - busy)
        return busy

    def add(self, experiment_ids: Iterable[str], archives: Iterable[str] | None = None, note: str = "") -> str:
        """Record that experiments are removed, and which archives are still to be deleted; return the note's key.

        Args:
            archives: their keys; None: they are not known yet. Without any, the removal has ended.
            note: the key of the note that is replaced.
        """
        note = note or f"{REMOVED}/{os.urandom(8).hex()}.json"
        self._write(note, experiment_ids, archives)
        return note

    def unfinished(self) -> Iterator[tuple[str, set[str], set[str]]]:
        """Yield the notes of removals that were interrupted: key, experiments, archives."""
        return (
            (key, experiments, archives or set()) for key, experiments, archives in self._all() if archives != set()
        )

    def has_ended(self, note: str) -> bool:
        """Whether a note says that its removal has ended."""
        with suppress(KeepsakeError, ValueError, KeyError, TypeError):
            return bool(json.loads(self._storage.get(note)[0])["archives"] == [])
        return False

    def _forget(self, ids: set[str]) -> None:
        for key, experiments, _ in self._all():
            if ids & experiments:
                self._write(key, experiments - ids, ())

    def _write(self, key: str, experiment_ids: Iterable[str], archives: Iterable[str] | None) -> None:
        left = None if archives is None else sorted(archives)
        content = {"experiments": sorted(experiment_ids), "archives": left, "removed": time_text()}
        self._storage.put(key, json.dumps(content).encode())

    def _all(self) -> Iterator[tuple[str, set[str], set[str] | None]]:
        """Yield all notes: key, experiments, archives. Only those are read that have changed."""
        listed = {info.key: info.etag for info in self._storage.list(REMOVED)}
        self.damaged.clear()
        changed = [key for key, etag in listed.items() if self._read.get(key, ("",))[0] != etag]
        for key, data, etag in self._storage.get_many(changed) if changed else ():
            try:
                self._read[key] = etag, _parse(data)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                self._read.pop(key, None)
                self.damaged.add(key)
        yield from ((key, *known[1]) for key in listed if (known := self._read.get(key)))


def _parse(data: bytes) -> _Note:
    note = json.loads(data)
    archives = note.get("archives", [])
    return set(note["experiments"]), None if archives is None else set(archives)
