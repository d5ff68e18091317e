"""Finding problems in a repository. The search changes nothing; repairs.py has what mends the problems."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from keepsake.archive.reader import Archive
from keepsake.exceptions import (
    CorruptedArchive,
    CorruptedRepositorySpec,
    DoesNotExist,
    KeepsakeError,
    MissingRecord,
    OtherRepository,
    PreconditionFailed,
)
from keepsake.metadata import Record, checkpoints_of
from keepsake.repository.keys import (
    ARCHIVES,
    EXPERIMENTS,
    HEARTBEATS,
    IDENTITY,
    ORPHANED,
    REMOVED,
    SPEC,
    archive_key,
    id_of,
    log_keys,
    record_key,
)
from keepsake.repository.output import read_part
from keepsake.repository.problems import Diagnosis, Problem, repair
from keepsake.repository.removals import ABOUT_DAMAGED
from keepsake.repository.repairs import Repairs
from keepsake.repository.rereading import Records
from keepsake.repository.view import View
from keepsake.spool.entry import Entry
from keepsake.spool.journal import Changes
from keepsake.spool.places import damaged, entries
from keepsake.status import ends_heartbeats
from keepsake.storage.base import ObjectInfo
from keepsake.util.console import Progress, format_size, plural, some
from keepsake.util.ids import short_id

_UNDER_WAY_SECONDS = 3600.0  # younger objects may belong to a write that is under way
_NAMES_SHOWN = 5


def diagnose(view: View, *, thorough: bool, fix: bool) -> Diagnosis:
    """Find the problems in a repository, and with `fix` repair those that can be repaired without loss."""
    with Progress("Looking at archives", None, unit="archives") as progress:
        examination = Examination(view, thorough=thorough, fix=fix, advance=progress.advance)
        problems = list(examination.problems())
    repaired = repair([problem for problem in problems if problem.fix is not None]) if fix else 0
    return Diagnosis(problems, repaired, examination.is_empty, examination.aside())


class Examination:
    """One examination of a repository.

    Args:
        view: the view of the repository.
        thorough: also read every archive completely, and compare each file with its checksum.
        fix: whether the problems will be repaired.
        advance: called after each archive.
    """

    def __init__(self, view: View, *, thorough: bool, fix: bool = False, advance: Callable[[int], None]) -> None:
        self._view = view
        self._repository = view.repository
        self._storage = view.repository.storage
        self._thorough = thorough
        self._fix = fix
        self._advance = advance
        self._records = Records(self._storage)
        self._repairs = Repairs(view.repository, self._records)
        self._archives: dict[str, ObjectInfo] = {}
        self._aside: dict[str, ObjectInfo] = {}  # by their old keys
        self._removals: list[tuple[str, set[str], set[str]]] = []
        self._heartbeats: dict[str, ObjectInfo] = {}
        self._now = 0.0

    def problems(self) -> Iterator[Problem]:
        """Yield the problems. Raises IncompatibleRepositoryVersion if this version cannot read the repository."""
        # Archives are listed before records are read. A run or a copy writes the record first, so each archive in the
        # list has a record that names it.
        self._now = self._time()
        self._heartbeats = {id_of(info.key): info for info in self._storage.list(HEARTBEATS)}
        self._archives = {info.key: info for prefix in ARCHIVES for info in self._storage.list(prefix)}
        self._removals = list(self._repository.removals.unfinished())
        self._aside = {info.key[len(ORPHANED) + 1 :]: info for info in self._storage.list(ORPHANED)}
        yield from self._check_spec()
        yield from self._check_permissions()
        self._records.look()
        yield from self._check_records()
        yield from self._check_archives()
        yield from self._check_output()
        yield from self._check_unnamed()
        yield from self._check_heartbeats()
        yield from self._check_leftovers()
        yield from self._check_spool()

    @property
    def is_empty(self) -> bool:
        """Whether there was no repository, and no part of one."""
        return not (self._repository.exists or self._records.by_id or self._archives)

    def aside(self) -> str | None:
        """Return the amount and place of archives that were moved aside, and how to delete them; None without any."""
        found = list(self._storage.list(ORPHANED))
        if not found:
            return None
        size, place = format_size(sum(info.size for info in found)), f"{self._storage.url}/{ORPHANED}"
        delete = {"s3": "aws s3 rm --recursive", "gs": "gcloud storage rm -r"}.get(place.partition(":")[0], "rm -r")
        where = self._storage.directory / ORPHANED if self._storage.directory else place
        return (
            f"Moved aside, because no record names them: {plural(len(found), 'archive')}, {size}, in {place}. "
            f"If nobody misses them, delete them: {delete} '{where}'"
        )

    def _time(self) -> float:
        """Return the storage's time. Reading a disk's clock means writing to it, and only a repair may do that."""
        return self._storage.now() if self._fix or self._storage.directory is None else time.time()

    # The repository

    def _check_spec(self) -> Iterator[Problem]:
        try:
            self._repository.check()
        except CorruptedRepositorySpec as error:
            yield Problem("spec-corrupt", SPEC, str(error), partial(self._repairs.write_spec, self._repairs.spec()))
            return
        if not self._repository.exists and (self._archives or any(True for _ in self._storage.list("metadata"))):
            message = "repository.json is missing. It marks a repository, and holds its version."
            yield Problem("spec-missing", SPEC, message, partial(self._repairs.write_spec, None))
        try:
            _ = self._repository.identity
        except CorruptedRepositorySpec as error:
            yield Problem("identity-corrupt", IDENTITY, str(error))

    def _check_permissions(self) -> Iterator[Problem]:
        if not self._repository.exists:
            return
        if (directory := self._storage.directory) is not None:
            for prefix in ("", HEARTBEATS, EXPERIMENTS, *ARCHIVES):
                if os.path.exists(directory / prefix) and not os.access(directory / prefix, os.W_OK | os.X_OK):
                    message = f"You may not write to {directory / prefix}. Check its owner and its permissions."
                    yield Problem("no-right-to-write", prefix or ".", message)
            return
        try:  # this write always fails, because the object exists; without permission the error is another one
            self._storage.put(SPEC, self._storage.get(SPEC)[0], if_absent=True)
        except PreconditionFailed:
            pass
        except KeepsakeError as error:
            yield Problem("no-right-to-write", SPEC, str(error))

    def _check_records(self) -> Iterator[Problem]:
        for key, reason in sorted(self._records.unreadable.items()):
            reason = reason.rstrip(".")
            message = (
                f"The record cannot be read: {reason}. Its experiment is not listed. Put the file of a backup in its "
                "place. Or, if another repository has the experiment, delete it and run `keepsake pull URL`."
            )
            yield Problem("record-unreadable", key, message)

    # Archives

    def _check_archives(self) -> Iterator[Problem]:
        for experiment_id, record in self._records.by_id.items():
            for owner in (record, *checkpoints_of(record)):
                if owner.get("path"):
                    yield from self._check_archive(experiment_id, owner, archive_key(experiment_id, owner["id"]))
                    self._advance(1)

    def _check_archive(self, experiment_id: str, owner: Record, key: str) -> Iterator[Problem]:
        if key not in self._archives:
            heartbeat = self._heartbeats.get(experiment_id)
            if heartbeat is None or self._is_old(heartbeat):  # with a fresh heartbeat the run may still be saving it
                yield self._missing(experiment_id, owner, key)
            return
        try:
            archive = Archive(self._storage, key)
            if self._thorough or not archive.has_table:
                archive.verify()
        except DoesNotExist:
            pass  # deleted meanwhile
        except CorruptedArchive as error:
            advice = "Its other files may be intact. Copy it from a backup: `keepsake pull --thorough URL`."
            yield Problem("archive-damaged", key, f"{_sentence(error)} {advice}")
        except KeepsakeError as error:
            yield Problem("archive-unreadable", key, _sentence(error))

    def _check_output(self) -> Iterator[Problem]:
        """Check what runs have printed. If it is missing, nothing is wrong: it may have been lost with its machine."""
        for record in self._records.by_id.values():
            for key in log_keys(record):
                if key in self._aside and key not in self._archives:
                    yield self._put_aside(key)
                elif self._thorough and key in self._archives:
                    try:
                        read_part(self._storage, key)
                    except DoesNotExist:
                        pass  # deleted meanwhile
                    except KeepsakeError as error:
                        yield Problem("output-damaged", key, _sentence(error))

    def _missing(self, experiment_id: str, owner: Record, key: str) -> Problem:
        frozen = self._view.frozen(experiment_id, owner["id"])
        if frozen is not None and frozen.exists():
            return Problem("archive-waiting", key, "Its files still wait on this machine. `keepsake sync` sends them.")
        if key in self._aside:
            return self._put_aside(key)
        message = (
            f"The files ({owner['path']}) are missing. They were never sent, or still wait on the machine of the run. "
            "`keepsake sync` there sends them."
        )
        return Problem("archive-missing", key, message)

    def _put_aside(self, key: str) -> Problem:
        message = f"It was moved to {ORPHANED}/{key} while no record named it. `keepsake doctor --fix` moves it back."
        return Problem("archive-aside", key, message, partial(self._repairs.move_back, key))

    def _check_unnamed(self) -> Iterator[Problem]:
        if self._records.unreadable:
            return  # the unreadable records may name any archive
        for key in filter(self._records.is_pruned, self._archives):
            message = "The files of this checkpoint were pruned, and the deletion was interrupted."
            yield Problem("archive-pruned", key, message, partial(self._repairs.delete_pruned, key))
        for note in sorted(self._repository.removals.damaged):
            yield Problem("removal-damaged", note, f"It {ABOUT_DAMAGED}")
        for note, experiments, archives in self._removals:
            left = archives & self._archives.keys()
            there = experiments & self._records.by_id.keys()
            message = f"A removal was interrupted. {len(left)} of the archives that it deletes are left."
            if there:
                names = [short_id(experiment_id) for experiment_id in sorted(there)]
                message += f" It has not removed {some(names, _NAMES_SHOWN)}, which stays."
            yield Problem(
                "removal-unfinished", note, message, partial(self._repairs.finish_removal, note, experiments, left)
            )
        unnamed = self._unnamed()
        if self._are_lost(unnamed):
            if any(map(self._is_old, unnamed)):
                yield self._lost_records(unnamed)
        elif not self._is_busy(info for info in unnamed if info.key not in self._aside):
            for info in unnamed:
                message = (
                    f"No record names this archive ({format_size(info.size)}). Its record was lost, or a deletion was "
                    f"interrupted. `keepsake doctor --fix` moves it to {ORPHANED}/{info.key}."
                )
                yield Problem("archive-orphan", info.key, message, partial(self._repairs.move_aside, info.key))

    def _unnamed(self) -> list[ObjectInfo]:
        staying = {key for _, _, archives in self._removals for key in archives}
        staying.update(self._records.staying(self._archives))
        known = (self._records.names, self._records.is_pruned, staying.__contains__)
        return [info for key, info in self._archives.items() if not any(is_known(key) for is_known in known)]

    def _are_lost(self, unnamed: list[ObjectInfo]) -> bool:
        """Whether so many archives have no record that the records must have been lost."""
        return not self._records.by_id or len(unnamed) > len(self._archives) - len(unnamed)

    def _is_busy(self, unnamed: Iterable[ObjectInfo]) -> bool:
        """Whether a copy or a deletion of these archives may be under way."""
        return not all(map(self._is_old, [*unnamed, *self._storage.list(REMOVED)]))

    def _lost_records(self, unnamed: list[ObjectInfo]) -> Problem:
        size = format_size(sum(info.size for info in unnamed))
        message = (
            f"No record names {len(unnamed)} of {len(self._archives)} archives ({size}). Most likely, records were "
            f"lost, or a backup is not fully restored. Restore {EXPERIMENTS} too. Until then, the archives stay where "
            f"they are. If you do not need them, delete them by hand. They are in {' and '.join(ARCHIVES)}."
        )
        return Problem("records-lost", EXPERIMENTS, message)

    # Other remains of runs and crashes

    def _check_heartbeats(self) -> Iterator[Problem]:
        if self._records.unreadable or self._are_lost(self._unnamed()):
            return
        for experiment_id, info in self._heartbeats.items():
            if not self._is_old(info):
                continue
            record = self._records.by_id.get(experiment_id)
            remove = partial(self._repairs.remove_heartbeat, info)
            if record is None:
                yield Problem("heartbeat-orphan", info.key, "The experiment of this heartbeat is missing.", remove)
            elif record.get("end_reason") or not ends_heartbeats(record.get("keepsake_version") or ""):
                message = "The run has ended and left it, as every run of Keepsake 0.4.2 does. It does no harm."
                yield Problem("heartbeat-stale", info.key, message, remove)

    def _check_leftovers(self) -> Iterator[Problem]:
        for info in self._storage.leftovers():
            if self._is_old(info):
                message = "A crash in the middle of a write left this behind."
                yield Problem("temporary", info.key, message, partial(self._storage.remove_leftover, info))

    def _check_spool(self) -> Iterator[Problem]:
        from keepsake.archive.writer import verify

        for directory, reason in (item for root in self._view.spools for item in damaged(root).items()):
            yield Problem("entry-damaged", str(directory), reason)
        for entry in (entry for root in self._view.spools for entry in entries(root)):
            yield from self._check_sending(entry)
            if entry.pending().is_partial:
                message = "A journal there cannot be read, and what it records is not sent. Check that disk."
                yield Problem("journal-unreadable", str(entry.directory), message)
            for pack in entry.packs():
                try:
                    verify(pack)
                except FileNotFoundError:
                    pass  # it is in the repository now
                except (KeepsakeError, OSError) as error:
                    yield _damaged_pack(entry.id, pack, error)

    def _check_sending(self, entry: Entry) -> Iterator[Problem]:
        """Check that the repository is the one in which a run that waits was begun, and holds its record."""
        if entry.repository != self._repository.url or not self._repository.exists:
            return
        try:
            if entry.in_repository:
                self._repository.merge(entry.record, Changes(), create=False, identity=entry.identity)
            elif entry.identity is not None:
                self._repository.expect(entry.identity)
        except (MissingRecord, OtherRepository) as error:
            yield Problem("run-waiting", record_key(entry.id), str(error))
        except KeepsakeError:
            pass  # it was removed, or its record cannot be read, which is another problem

    def _is_old(self, info: ObjectInfo) -> bool:
        return self._now - info.modified > _UNDER_WAY_SECONDS


def _sentence(error: Exception) -> str:
    return str(error).rstrip(".") + "."


def _damaged_pack(experiment_id: str, pack: Path, error: Exception) -> Problem:
    message = (
        f"Files of experiment {short_id(experiment_id)} that wait on this machine are damaged and are not sent. "
        f"{_sentence(error)} Delete the file to give them up."
    )
    return Problem("pack-damaged", str(pack), message)
