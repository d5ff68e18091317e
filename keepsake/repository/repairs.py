"""Repairing what `doctor` finds, without loss.

Hours may have passed since the search, so a repair checks again before it removes or moves something: right before it
deletes an archive, and within seconds before it moves one. An archive that no record names is moved aside and never
deleted, because its record may come back from a backup.
"""

from __future__ import annotations

from contextlib import suppress

from keepsake.exceptions import DoesNotExist, WriteError
from keepsake.repository.keys import ORPHANED, SPEC, record_key
from keepsake.repository.repository import Repository
from keepsake.repository.rereading import Records
from keepsake.storage.base import ObjectInfo, Storage

_BLOCK = 1 << 20  # bytes


class Repairs:
    """The repairs of a repository. Each returns False if the problem has changed meanwhile, and nothing was done."""

    def __init__(self, repository: Repository, records: Records) -> None:
        self._repository = repository
        self._storage = repository.storage
        self._records = records

    def spec(self) -> bytes | None:
        """Return the content of the spec; None if there is none."""
        try:
            return self._storage.get(SPEC)[0]
        except DoesNotExist:
            return None

    def write_spec(self, found: bytes | None) -> bool:
        """Write the spec anew if it is still as it was found. The old content is kept under another key."""
        if self.spec() != found:
            return False
        if found:
            self._storage.put(f"{SPEC}.damaged", found)
        self._repository.write_spec()
        return True

    def delete_pruned(self, key: str) -> bool:
        """Delete the archive of a checkpoint whose files were pruned."""
        self._records.look_again()
        if not self._records.is_pruned(key, at_once=True):
            return False
        self._storage.delete([key])
        return True

    def finish_removal(self, note: str, experiments: set[str], archives: set[str]) -> None:
        """Delete the archives that an interrupted removal has left, and note that it is over.

        An experiment whose record is there was not removed.
        """
        self._records.look_again(at_once=True)
        self._storage.delete(sorted(key for key in archives if not self._records.names(key)))
        removed = [id for id in experiments if not self._storage.has(record_key(id))]
        self._repository.removals.add(removed, (), note)

    def move_aside(self, key: str) -> bool:
        """Move an archive that no record names to where `move_back` finds it."""
        self._records.look_again()
        return not self._records.names(key) and self._move(key, f"{ORPHANED}/{key}")

    def move_back(self, key: str) -> bool:
        """Move an archive back that was moved aside."""
        return self._move(f"{ORPHANED}/{key}", key)

    def remove_heartbeat(self, info: ObjectInfo) -> bool:
        """Remove a heartbeat unless its run goes on."""
        with suppress(DoesNotExist):
            if self._storage.get(info.key)[1] == info.etag:
                self._storage.delete([info.key])
                return True
        return False  # the run goes on, or another process was faster

    def _move(self, key: str, to: str) -> bool:
        """Give an archive another key; return whether it existed. Nothing is overwritten."""
        storage = self._storage
        with suppress(DoesNotExist, FileNotFoundError):
            if storage.has(to):
                if not _are_equal(storage, key, to):
                    raise WriteError(f"{storage.url}/{to} exists already. Compare the two, and delete one of them.")
            elif storage.directory is None or not storage.link(to, storage.directory / key, is_object=True):
                with storage.open(key) as stream:
                    storage.upload(to, stream)
            storage.delete([key])
            return True
        return False


def _are_equal(storage: Storage, key: str, other: str) -> bool:
    """Whether two objects have the same content, as when a move was interrupted."""
    with storage.open(key) as first, storage.open(other) as second:
        while (block := first.read(_BLOCK)) == second.read(_BLOCK):
            if not block:
                return True
    return False
