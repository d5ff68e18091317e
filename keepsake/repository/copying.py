"""Copying experiments from one repository to another.

A copy can be repeated, resumed, and made by several processes at once. A record goes first and its archives follow, as
when a run is saved. So every archive has a record that names it, and the next copy finishes one that was interrupted.
Nothing in the target is lost: a copy adds fields, checkpoints and archives. It replaces an archive only if that is
damaged in the target and intact in the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

from keepsake.exceptions import CorruptedArchive, DoesNotExist, KeepsakeError, ValidationError
from keepsake.labels import edits_of
from keepsake.metadata import Record, checkpoints_of, time_key
from keepsake.repository.checking import is_whole, open_checked
from keepsake.repository.elsewhere import (
    as_copied,
    expected_in_vain,
    pruned_meanwhile,
    waited_for,
    with_files,
    without_files,
)
from keepsake.repository.keys import (
    ARCHIVES,
    EXPERIMENTS,
    archive_id_of,
    archive_key,
    archive_keys,
    id_of,
    log_owner,
)
from keepsake.repository.known import claimed, replaced
from keepsake.repository.news import grown, news
from keepsake.repository.output import read_part
from keepsake.repository.removals import is_being_removed
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.spool.journal import Changes
from keepsake.storage.base import Storage
from keepsake.util.console import Progress
from keepsake.util.ids import short_id
from keepsake.util.streams import watched
from keepsake.util.transcript import count
from keepsake.util.workers import Workers, in_order

_TAIL = 64 << 10  # bytes at an archive's end to compare: the table of contents, with every file's checksum
_SMALL_AT_ONCE = 16  # records, and tails
_LARGE_AT_ONCE = 4  # archives
_BATCH = 64  # experiments; small, so only a few records are ever ahead of their archives

T = TypeVar("T")


@dataclass
class Outcome:
    """The result for one experiment."""

    record: Record
    errors: list[KeepsakeError] = field(default_factory=list)


@dataclass
class Copied:
    """The result of `push` or `pull`.

    Attributes:
        outcomes: the experiments, each with its errors.
        sent: bytes of new files.
        left_out: the number of experiments that were not copied, because somebody removed them from the target.
        is_new: whether the target repository was created.
        target_url: its URL.
    """

    outcomes: list[Outcome]
    sent: int
    left_out: int
    is_new: bool
    target_url: str


def copy_experiments(source: View, target: View, named: list[Record], *, thorough: bool) -> Copied:
    """Copy experiments (none named: all) from one repository to another."""
    records = named or list(source.records())
    copy = Copy(source.repository, target, records, named=bool(named), thorough=thorough)
    with Progress("Copying", copy.size) as progress:
        outcomes = list(copy.run(progress.advance))
    return Copied(outcomes, copy.sent, copy.left_out, copy.is_new, copy.target_url)


class Copy:
    """One copy of experiments.

    Args:
        source: the repository to copy from.
        view: the view of the target; a repository is created there if there never was one.
        records: the experiments, as `source` has them.
        named: whether the user named them one by one. If not, those removed from the target are left out.
        thorough: also read archives that the target has already, and repair damaged ones.
    """

    def __init__(
        self, source: Repository, view: View, records: list[Record], *, named: bool, thorough: bool = False
    ) -> None:
        target = view.repository
        self._source = source
        self._target = target
        self._view = view
        self._named = named
        self._thorough = thorough
        self._there = _sizes(target.storage)
        self._replaced: dict[str, list[str]] = {}  # experiment → archives in the target that others replace
        self._sizes = _sizes(source.storage)
        target.check()
        self.is_new = not target.exists
        identity = view.ensure()  # not earlier, so listing a mistyped bucket raises an error and does not create it
        self._identity = identity if target.storage.directory is not None else None  # a disk can be unmounted
        self._records = sorted({record["id"]: record for record in records}.values(), key=_age)
        self._existing = {id_of(info.key) for info in target.storage.list(EXPERIMENTS)}
        removed = {record["id"] for record in self._records} & (target.removals.ids() - self._existing)
        self._busy = target.removals.come_back(removed) if named else set()
        if not named:
            self._records = [record for record in self._records if record["id"] not in removed]
        self.left_out = 0 if named else len(removed)
        self._owners = self._find_owners()
        new = (key for record in self._records for key in archive_keys(record) if self._is_due(key))
        self.size = sum(self._sizes[key] for key in new)  # bytes
        self.sent = 0  # bytes
        self.target_url = target.url

    def run(self, moved: Callable[[int], None]) -> Iterator[Outcome]:
        """Copy each experiment and yield its outcome. `moved` is called with numbers of bytes that are done."""
        with Workers(_SMALL_AT_ONCE) as small, Workers(_LARGE_AT_ONCE) as large:
            records = iter(self._records)
            while batch := [Outcome(record) for record in islice(records, _BATCH)]:
                self._copy_batch(batch, moved, small, large)
                yield from batch

    def _copy_batch(self, batch: list[Outcome], moved: Callable[[int], None], small: Workers, large: Workers) -> None:
        named: list[tuple[Outcome, str]] = []
        copied = _all(small, [partial(self._copy_record, outcome.record) for outcome in batch])
        new = () if self._named else (each.record for each in batch if each.record["id"] not in self._existing)
        removed = self._target.remove_again(new)
        for outcome, keys in zip(batch, copied, strict=True):
            copied_keys = removed.get(outcome.record["id"], keys)
            if isinstance(copied_keys, KeepsakeError):
                outcome.errors.append(copied_keys)
                copied_keys = []
            named += [(outcome, key) for key in self._available(outcome, copied_keys)]
            moved(sum(self._sizes[k] for k in archive_keys(outcome.record) if k not in copied_keys and self._is_due(k)))
        # Archives whose comparison failed are sent too. The attempt shows the error.
        differ = _all(small, [partial(self._may_differ, key) for _, key in named])
        sending = [both for both, differs in zip(named, differ, strict=True) if differs]
        jobs = [partial(self._send, outcome.record["id"], key, moved) for outcome, key in sending]
        for (outcome, _), sent in zip(sending, _all(large, jobs), strict=True):
            if isinstance(sent, KeepsakeError):
                outcome.errors.append(sent)
            else:
                self.sent += sent
        for outcome in batch:
            if not outcome.errors:
                self._delete_replaced(outcome)

    def _delete_replaced(self, outcome: Outcome) -> None:
        """Delete archives of checkpoints that were recorded again, because those that replace them have arrived."""
        experiment_id = outcome.record["id"]
        if not (keys := self._replaced.get(experiment_id)):
            return
        try:
            record = self._target.load(experiment_id)  # a backup may have been restored meanwhile
            if record is not None and self._target.have_arrived(record, set()):
                gone = {archive_key(experiment_id, id) for id in replaced(record)}
                self._target.storage.delete(gone.intersection(keys))
        except KeepsakeError as error:
            outcome.errors.append(error)

    # Records

    def _copy_record(self, record: Record) -> list[str]:
        """Merge an experiment's record into the target's; return the keys of the archives to copy."""
        if record["id"] in self._busy:
            raise is_being_removed(self._target.url)
        if not all(key in self._sizes or log_owner(key) for key in archive_keys(record)):
            record = pruned_meanwhile(record, self._source.load)
        for checkpoint_id in claimed(record):
            owner = self._owners[checkpoint_id]
            if owner != record["id"]:
                raise ValidationError(
                    f"Its checkpoint {short_id(checkpoint_id)} belongs to experiment {short_id(owner)}, and a "
                    "checkpoint has one experiment. One of the two records is forged or damaged. This experiment is "
                    "not copied. Compare the two with `keepsake show`, and remove the wrong one."
                )
        target, is_new = self._target, record["id"] not in self._existing  # if it is gone by now, it was removed
        added = Changes({}, as_copied(record, target.load), edits_of(record))
        merged = target.merge(record, added, create=is_new, identity=self._identity)
        if fields := news(record, merged):
            merged = target.merge(merged, Changes(fields, []), create=False)
        if record.get("imported") and grown(record, merged) != merged:
            merged = target.change(record["id"], partial(grown, record))
        gone = (archive_key(record["id"], id) for id in replaced(merged))
        self._replaced[record["id"]] = [key for key in gone if key in self._there]
        in_vain = expected_in_vain(record, merged, are_replacing=bool(self._replaced[record["id"]]))
        if never_came := [id for id in in_vain if not self._has_arrived(record["id"], id)]:
            target.change(record["id"], partial(without_files, never_came))
        # The process that sent them was killed before it could say so
        if arrived := [id for id in waited_for(merged) if archive_key(record["id"], id) in self._there]:
            target.change(record["id"], partial(with_files, arrived))
        target.forget(record["id"])
        wanted = set(archive_keys(record))
        return [key for key in archive_keys(merged) if key in wanted]  # files removed from the target stay removed

    def _has_arrived(self, experiment_id: str, checkpoint_id: str) -> bool:
        is_listed = archive_key(experiment_id, checkpoint_id) in self._there
        return is_listed or self._target.has_archive(experiment_id, checkpoint_id)

    def _find_owners(self) -> dict[str, str]:
        """Return the experiment of each checkpoint: the target's answer, or else the oldest that names it."""
        owners: dict[str, str] = {}
        holders = self._view.holders({id for record in self._records for id in claimed(record)})
        present = [(record, checkpoint["id"]) for record in self._records for checkpoint in checkpoints_of(record)]
        gone = [(record, id) for record in self._records for id in replaced(record)]
        for record, checkpoint_id in [*present, *gone]:
            held_by = holders.get(checkpoint_id) or {record["id"]}
            owners.setdefault(checkpoint_id, record["id"] if record["id"] in held_by else min(held_by))
        return owners

    # Archives

    def _is_due(self, key: str) -> bool:
        """Whether an archive must be sent or read completely, judged by the listings."""
        return key in self._sizes and (self._thorough or self._sizes[key] != self._there.get(key))

    def _available(self, outcome: Outcome, keys: list[str]) -> list[str]:
        """Return the archives that the source has. Note an error if neither repository has one."""
        missing = [k for k in keys if k not in self._sizes and k not in self._there and not log_owner(k)]
        if missing:
            outcome.errors.append(
                DoesNotExist(
                    f"{self._source.url}/{missing[0]} {f'and {len(missing) - 1} more are' if missing[1:] else 'is'} "
                    "missing. The run is still saving it, or `keepsake sync` on the run's machine sends it."
                )
            )
        return [key for key in keys if key in self._sizes]

    def _may_differ(self, key: str) -> bool:
        """Whether an archive must be read completely: the target lacks it, or its end differs."""
        return self._is_due(key) or _tail(self._source.storage, key) != _tail(self._target.storage, key)

    def _send(self, experiment_id: str, key: str, moved: Callable[[int], None]) -> int:
        """Copy an archive unless the target's is intact; return the number of bytes."""
        source, target, size = self._source.storage, self._target.storage, self._sizes[key]
        if log_owner(key):
            return self._send_output(key, moved)
        if key in self._there and self._is_whole_there(key):
            moved(size if self._is_due(key) else 0)
            if not is_whole(source, key):
                raise CorruptedArchive(f"{source.url}/{key} is damaged. {target.url}/{key} is intact and stays.")
            return 0
        with open_checked(source, key) as stream:
            counted = watched(stream, lambda data: moved(len(data)))
            self._target.put_archive(experiment_id, archive_id_of(key), counted)
        return size

    def _is_whole_there(self, key: str) -> bool:
        """Whether the target's archive is undamaged. It may be gone since the listing."""
        with suppress(DoesNotExist):
            return is_whole(self._target.storage, key)
        return False

    def _send_output(self, key: str, moved: Callable[[int], None]) -> int:
        """Copy what a process has printed, unless the target's copy has as much; return the number of bytes."""
        source, target, size = self._source.storage, self._target.storage, self._sizes[key]
        moved(size if self._is_due(key) else 0)
        lines = count(read_part(source, key))
        if key in self._there:
            with suppress(CorruptedArchive, DoesNotExist):
                if count(read_part(target, key)) >= lines:
                    return 0
        with source.open(key) as stream:
            target.upload(key, stream)
        return size


def _sizes(storage: Storage) -> dict[str, int]:
    return {info.key: info.size for prefix in ARCHIVES for info in storage.list(prefix)}


def _age(record: Record) -> tuple[str, str]:
    return time_key(record["created"]), record["id"]


def _tail(storage: Storage, key: str) -> bytes:
    with storage.open(key, start=-_TAIL) as stream:
        return stream.read()


def _all(workers: Workers, jobs: Sequence[Callable[[], T]]) -> list[T | KeepsakeError]:
    """Return the result of each job, or its error."""
    return list(in_order(workers, (partial(_result, job) for job in jobs)))


def _result(job: Callable[[], T]) -> T | KeepsakeError:
    try:
        return job()
    except KeepsakeError as error:
        return error
