"""The records of a repository, read again before a repair relies on them."""

from __future__ import annotations

from collections.abc import Container, Iterator

from keepsake.exceptions import ReadError
from keepsake.metadata import Record, checkpoints_of, parse_fetched, pruned_of, was_pruned_elsewhere
from keepsake.repository.keys import EXPERIMENTS, archive_key, archive_keys, id_of, log_owner, record_key
from keepsake.repository.known import replaced
from keepsake.restarts import restarted_with_files
from keepsake.storage.base import Storage
from keepsake.util.clock import monotonic

FRESH_SECONDS = 2.0  # a repair reads records again if this much time has passed


class Records:
    """The records of a repository. They are read again before a repair changes something."""

    def __init__(self, storage: Storage) -> None:
        self.by_id: dict[str, Record] = {}
        self.unreadable: dict[str, str] = {}  # key → why
        self._storage = storage
        self._etags: dict[str, str] = {}
        self._named: set[str] = set()  # archives, including those of records that are gone by now
        self._pruned: dict[str, str] = {}  # archives of checkpoints whose files were pruned, each with its experiment
        self._looked = 0.0

    def look(self) -> None:
        """Read the records that are new or changed since the last time."""
        listed = [info for info in self._storage.list(EXPERIMENTS) if info.key.endswith(".json")]
        changed = [info.key for info in listed if self._etags.get(info.key) != info.etag]
        self.unreadable.clear()
        self._read(changed)
        self._looked = monotonic()

    def _read(self, keys: list[str]) -> None:
        for key, data, etag in self._storage.get_many(keys):
            try:
                record = parse_fetched(data, id_of(key), etag)
            except ReadError as error:
                self.unreadable[key] = str(error)
                continue
            self._etags[key] = etag
            self.by_id[record["id"]] = record
            self._named.update(archive_keys(record))
            pruned = (each for each in checkpoints_of(record) if pruned_of(each) and not was_pruned_elsewhere(each))
            self._pruned |= {archive_key(record["id"], each["id"]): record["id"] for each in pruned}

    def look_again(self, *, at_once: bool = False) -> None:
        """Look again, unless the last look was just now. Raises ReadError if a record cannot be read."""
        if at_once or monotonic() - self._looked > FRESH_SECONDS:
            self._storage.refresh(EXPERIMENTS)
            self.look()
        for key, reason in self.unreadable.items():
            raise ReadError(
                f"{self._storage.url}/{key} cannot be read: {reason.rstrip('.')}. It may name this archive. Restore it "
                "from a backup first."
            )

    def names(self, key: str) -> bool:
        """Whether a record names that archive, or named it earlier."""
        # When 0.4.2 rewrites a record, it drops the parts of the output. The key still names the experiment.
        return key in self._named or log_owner(key) in self.by_id

    def is_pruned(self, key: str, *, at_once: bool = False) -> bool:
        """Whether a record says that this archive was deleted, and none names it.

        `at_once`: that record is read again.
        """
        if at_once and key in self._pruned:
            self._read([record_key(self._pruned[key])])
        return key in self._pruned and key not in self._named

    def staying(self, archives: Container[str]) -> Iterator[str]:
        """Yield the archives of checkpoints that were recorded again, if what replaces them is not among `archives`."""
        for record in filter(replaced, self.by_id.values()):
            later = (archive_key(record["id"], each["id"]) for each in restarted_with_files(record))
            if not all(key in archives for key in later):
                yield from (archive_key(record["id"], id) for id in replaced(record))
