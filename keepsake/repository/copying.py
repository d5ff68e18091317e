"""Copying experiments from one repository to another: again and again, from where it was left, by several at once.

A record goes first and its archives follow, as when a run is saved. An archive is therefore never without a record that
names it, and a copy that was cut off is finished by the next one. Whatever the target has stays: a copy adds fields,
checkpoints and archives, and replaces an archive only if that is damaged there and whole at the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import BinaryIO, TypeVar, cast

from keepsake.exceptions import CorruptedArchive, DoesNotExist, KeepsakeError, ValidationError
from keepsake.metadata import Record, time_key
from keepsake.repository.checking import Tee, is_whole, open_checked
from keepsake.repository.keys import ARCHIVES, EXPERIMENTS, archive_keys, id_of
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.spool.journal import Changes
from keepsake.storage.base import Storage
from keepsake.util.console import Progress
from keepsake.util.ids import short_id
from keepsake.util.workers import Workers, in_order

_TAIL = 64 << 10  # bytes at an archive's end that are compared: its table of contents, with every file's checksum
_SMALL_AT_ONCE = 16  # records, and tails
_LARGE_AT_ONCE = 4  # archives
_BATCH = 64  # experiments whose records are written before their archives: those listed without files are few

T = TypeVar("T")


@dataclass
class Outcome:
    """What became of one experiment."""

    record: Record
    errors: list[KeepsakeError] = field(default_factory=list)


@dataclass
class Copied:
    """What `push` or `pull` did.

    Attributes:
        outcomes: the experiments, and what went wrong with each.
        sent: bytes of files that were new.
        left_out: how many experiments stay removed at the target, because somebody removed them there.
        is_new: whether the target repository was made.
        target_url: where it is.
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
    """What is to be copied, and the copying of it.

    Args:
        source: where they are.
        view: of where they go; a repository is made there if there is none.
        records: the experiments, as `source` has them.
        named: they were named one by one. Others that were removed at the target are left out.
        thorough: also read what is at the target already, and mend what is damaged there.
    """

    def __init__(
        self, source: Repository, view: View, records: list[Record], *, named: bool, thorough: bool = False
    ) -> None:
        target = view.repository
        self._source = source
        self._target = target
        self._view = view
        self._thorough = thorough
        self._there = _sizes(target.storage)
        self._sizes = _sizes(source.storage)
        target.check()
        self.is_new = not target.exists
        target.ensure()  # only now: listing a mistyped bucket is an error, and only init() makes one
        self._records = sorted({record["id"]: record for record in records}.values(), key=_age)
        self._existing = {id_of(info.key) for info in target.storage.list(EXPERIMENTS)}
        removed = {record["id"] for record in self._records} & (target.removals.ids() - self._existing)
        if named:
            target.removals.forget(removed)
        else:
            self._records = [record for record in self._records if record["id"] not in removed]
        self.left_out = 0 if named else len(removed)
        self._owners = self._find_owners()
        new = (key for record in self._records for key in archive_keys(record) if self._is_due(key))
        self.size = sum(self._sizes[key] for key in new)  # bytes
        self.sent = 0  # bytes
        self.target_url = target.url

    def run(self, moved: Callable[[int], None]) -> Iterator[Outcome]:
        """Copy each experiment; yield it, and what went wrong. `moved` is told of bytes as they are dealt with."""
        with Workers(_SMALL_AT_ONCE) as small, Workers(_LARGE_AT_ONCE) as large:
            records = iter(self._records)
            while batch := [Outcome(record) for record in islice(records, _BATCH)]:
                self._copy_batch(batch, moved, small, large)
                yield from batch

    def _copy_batch(self, batch: list[Outcome], moved: Callable[[int], None], small: Workers, large: Workers) -> None:
        named: list[tuple[Outcome, str]] = []
        copied = _all(small, [partial(self._copy_record, outcome.record) for outcome in batch])
        for outcome, keys in zip(batch, copied, strict=True):
            if isinstance(keys, KeepsakeError):
                outcome.errors.append(keys)
                keys = []
            named += [(outcome, key) for key in self._available(outcome, keys)]
            moved(sum(self._sizes[k] for k in archive_keys(outcome.record) if k not in keys and self._is_due(k)))
        # What could not be compared is looked at more closely, and says why
        differ = _all(small, [partial(self._may_differ, key) for _, key in named])
        sending = [both for both, differs in zip(named, differ, strict=True) if differs]
        jobs = [partial(self._send, outcome.record["id"], key, moved) for outcome, key in sending]
        for (outcome, _), sent in zip(sending, _all(large, jobs), strict=True):
            if isinstance(sent, KeepsakeError):
                outcome.errors.append(sent)
            else:
                self.sent += sent

    # Records

    def _copy_record(self, record: Record) -> list[str]:
        """Add an experiment's record to the target's; return the keys of the archives that are named there then."""
        for checkpoint in record.get("checkpoints") or []:
            owner = self._owners[checkpoint["id"]]
            if owner != record["id"]:
                raise ValidationError(
                    f"Its checkpoint {short_id(checkpoint['id'])} belongs to experiment {short_id(owner)}, and a "
                    "checkpoint has one experiment. One of the two records is forged or damaged. Nothing of this "
                    "one is copied."
                )
        target, is_new = self._target, record["id"] not in self._existing  # one that is gone by now was removed
        merged = target.merge(record, Changes({}, record.get("checkpoints") or []), create=is_new)
        if fields := _news(record, merged):
            merged = target.merge(merged, Changes(fields, []), create=False)
        target.forget(record["id"])
        wanted = set(archive_keys(record))
        return [key for key in archive_keys(merged) if key in wanted]  # files that were removed there stay removed

    def _find_owners(self) -> dict[str, str]:
        """Return to which experiment each checkpoint belongs: as the target says, else the oldest that names it."""
        owners: dict[str, str] = {}
        ids = {c["id"] for record in self._records for c in record.get("checkpoints") or []}
        holders = self._view.holders(ids)
        for record in self._records:
            for checkpoint in record.get("checkpoints") or []:
                held_by = holders.get(checkpoint["id"]) or {record["id"]}
                owners.setdefault(checkpoint["id"], record["id"] if record["id"] in held_by else min(held_by))
        return owners

    # Archives

    def _is_due(self, key: str) -> bool:
        """Whether an archive is to be sent or looked at whole, as far as listings tell."""
        return key in self._sizes and (self._thorough or self._sizes[key] != self._there.get(key))

    def _available(self, outcome: Outcome, keys: list[str]) -> list[str]:
        """Return the archives that the source has; say how many neither has."""
        missing = [key for key in keys if key not in self._sizes and key not in self._there]
        if missing:
            outcome.errors.append(
                DoesNotExist(
                    f"{self._source.url}/{missing[0]} {f'and {len(missing) - 1} more are' if missing[1:] else 'is'} "
                    "not there. The run is still saving it, or `keepsake sync` on the run's machine sends it."
                )
            )
        return [key for key in keys if key in self._sizes]

    def _may_differ(self, key: str) -> bool:
        """Whether an archive has to be looked at whole: it is not at the target, or not the same at once."""
        return self._is_due(key) or _tail(self._source.storage, key) != _tail(self._target.storage, key)

    def _send(self, experiment_id: str, key: str, moved: Callable[[int], None]) -> int:
        """Copy an archive unless the target's is whole; return how many bytes that were."""
        source, target, size = self._source.storage, self._target.storage, self._sizes[key]
        if key in self._there and is_whole(target, key):
            moved(size if self._is_due(key) else 0)
            if not is_whole(source, key):
                raise CorruptedArchive(f"{source.url}/{key} is damaged. {target.url}/{key} is whole and stays.")
            return 0
        archive_id = key.rpartition("/")[2].removesuffix(".tar.gz")
        with open_checked(source, key) as stream:
            counted = cast(BinaryIO, Tee(stream, lambda block: moved(len(block))))
            self._target.put_archive(experiment_id, archive_id, counted)
        return size


def _sizes(storage: Storage) -> dict[str, int]:
    return {info.key: info.size for prefix in ARCHIVES for info in storage.list(prefix)}


def _age(record: Record) -> tuple[str, str]:
    return time_key(record["created"]), record["id"]


def _news(record: Record, theirs: Record) -> Record:
    """Return the fields that a record adds to another one of the same experiment: those it lacks, and a later end."""
    own = {name: value for name, value in record.items() if value and name != "checkpoints"}
    missing = {name: value for name, value in own.items() if not theirs.get(name)}
    if _end(record) > _end(theirs):
        return missing | {name: own.get(name) for name in ("ended", "end_reason")}
    return missing


def _end(record: Record) -> str:
    try:
        return time_key(record["ended"])
    except (KeyError, TypeError, ValueError):
        return ""


def _tail(storage: Storage, key: str) -> bytes:
    with storage.open(key, start=-_TAIL) as stream:
        return stream.read()


def _all(workers: Workers, jobs: Sequence[Callable[[], T]]) -> list[T | KeepsakeError]:
    """Return what each job returns, or the error that it raises."""
    return list(in_order(workers, (partial(_result, job) for job in jobs)))


def _result(job: Callable[[], T]) -> T | KeepsakeError:
    try:
        return job()
    except KeepsakeError as error:
        return error
