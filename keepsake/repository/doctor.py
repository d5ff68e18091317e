"""Looking for what is wrong in a repository, and repairing what can be repaired without losing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from keepsake.archive.reader import Archive
from keepsake.exceptions import CorruptedRepositorySpec, DoesNotExist, KeepsakeError, ReadError
from keepsake.metadata import Record, leaves_word, parse_experiment
from keepsake.repository.repository import ARCHIVES, EXPERIMENTS, HEARTBEATS, Repository, archive_key, id_of
from keepsake.storage.base import ObjectInfo

_UNDER_WAY_SECONDS = 3600.0  # what is younger may belong to something that is just being written


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be."""

    kind: str  # such as "archive-damaged": stable, for scripts
    key: str  # what it is about
    message: str  # what it means, and what to do
    fix: Callable[[], object] | None = field(default=None, compare=False)  # repairs it, and loses nothing

    def to_json(self) -> dict[str, Any]:
        """Return it as `keepsake doctor --json` prints it."""
        return {"kind": self.kind, "key": self.key, "message": self.message, "fixable": self.fix is not None}


class Examination:
    """One look at a repository.

    Args:
        repository: what to look at.
        thorough: also read every archive whole, and compare each file with its checksum.
        advance: told of each archive that was looked at; `archives` says how many there are.
    """

    def __init__(self, repository: Repository, *, thorough: bool, advance: Callable[[int], None]) -> None:
        self._repository = repository
        self._storage = repository.storage
        self._thorough = thorough
        self._advance = advance
        self._records: dict[str, Record] = {}
        self._unreadable: set[str] = set()
        self._archives: dict[str, ObjectInfo] = {}

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong. Raises IncompatibleRepositoryVersion: then nothing can be said of it."""
        yield from self._check_spec()
        yield from self._check_rights()
        yield from self._check_records()
        for prefix in ARCHIVES:
            self._archives.update((info.key, info) for info in self._storage.list(prefix))
        yield from self._check_archives()
        yield from self._check_heartbeats()
        yield from self._check_leftovers()

    def _check_spec(self) -> Iterator[Problem]:
        try:
            self._repository.check()
        except CorruptedRepositorySpec as error:
            yield Problem("spec-corrupt", "repository.json", str(error), self._repository.write_spec)
            return
        if not self._repository.exists and any(True for _ in self._storage.list("metadata")):
            message = "repository.json is missing, which says that this is a repository and of which version"
            yield Problem("spec-missing", "repository.json", message, self._repository.write_spec)

    def _check_rights(self) -> Iterator[Problem]:
        if not self._repository.exists:
            return
        probe = "metadata/doctor/probe"
        try:
            self._storage.put(probe, b"")
            self._storage.delete([probe])
        except KeepsakeError as error:
            yield Problem("no-right-to-write", probe, str(error))

    def _check_records(self) -> Iterator[Problem]:
        keys = [info.key for info in self._storage.list(EXPERIMENTS) if info.key.endswith(".json")]
        for key, data, _ in self._storage.get_many(keys):
            experiment_id = id_of(key)
            try:
                self._records[experiment_id] = parse_experiment(data, experiment_id)
            except ReadError as error:
                self._unreadable.add(experiment_id)
                message = f"The record cannot be read: {error}. Its experiment is not listed. Restore it from a backup"
                yield Problem("record-unreadable", key, message)

    def _check_archives(self) -> Iterator[Problem]:
        named = set()
        for experiment_id, record in self._records.items():
            for owner in (record, *(record.get("checkpoints") or [])):
                if owner.get("path"):
                    key = archive_key(experiment_id, owner["id"])
                    named.add(key)
                    yield from self._check_archive(experiment_id, owner, key)
                    self._advance(1)
        for key, info in self._archives.items():
            if key not in named and self._is_old(info) and not self._unreadable:  # which may name it
                message = "No experiment names this archive: left by a crash while something was deleted or saved"
                yield Problem("archive-orphan", key, message, partial(self._storage.delete, [key]))

    def _check_archive(self, experiment_id: str, owner: Record, key: str) -> Iterator[Problem]:
        pack = self._repository.frozen(experiment_id, owner["id"])
        if pack is not None and pack.exists():
            yield Problem("archive-waiting", key, "Its files still wait on this machine: `keepsake sync` sends them")
        elif key not in self._archives:
            message = f"The files ({owner['path']}) are not there: they never came, or wait on the machine it ran on"
            yield Problem("archive-missing", key, message)
        else:
            try:
                archive = Archive(self._storage, key)
                if self._thorough or not archive.has_table:
                    archive.verify()
            except DoesNotExist:
                pass  # deleted meanwhile
            except KeepsakeError as error:
                yield Problem(
                    "archive-damaged", key, f"{error} Restore it from a backup; other files of it may be whole"
                )

    def _check_heartbeats(self) -> Iterator[Problem]:
        for info in self._storage.list(HEARTBEATS):
            experiment_id = id_of(info.key)
            if not self._is_old(info) or experiment_id in self._unreadable:
                continue
            record = self._records.get(experiment_id)
            remove = partial(self._storage.delete, [info.key])
            if record is None:
                yield Problem("heartbeat-orphan", info.key, "The heartbeat of an experiment that is not there", remove)
            elif not leaves_word(record.get("keepsake_version") or ""):
                message = "Left by Keepsake 0.4.2 at the end of a run; harmless"
                yield Problem("heartbeat-stale", info.key, message, remove)

    def _check_leftovers(self) -> Iterator[Problem]:
        for info in self._storage.leftovers():
            if self._is_old(info):
                message = "Left by a crash in the middle of a write"
                yield Problem("temporary", info.key, message, partial(self._storage.remove_leftover, info))

    def _is_old(self, info: ObjectInfo) -> bool:
        return self._storage.now() - info.modified > _UNDER_WAY_SECONDS
