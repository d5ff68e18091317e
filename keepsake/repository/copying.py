"""Copying experiments from one repository to another: again and again, from where it was left, by several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, cast

from keepsake.exceptions import DoesNotExist, KeepsakeError, WriteError
from keepsake.metadata import Record
from keepsake.recording.journal import Changes
from keepsake.recording.mover import Watched
from keepsake.repository.repository import ARCHIVES, Repository, archive_keys
from keepsake.storage.base import Storage
from keepsake.util.workers import Workers, in_order

_TAIL = 64 << 10  # bytes at an archive's end that are compared: its table of contents, with every file's checksum
_AT_ONCE = 4


class Copy:
    """What is to be copied, and the copying of it.

    Args:
        source, target: the repositories; the target is made if it is not there.
        records: the experiments, as `source` has them.
    """

    def __init__(self, source: Repository, target: Repository, records: list[Record]) -> None:
        self._source = source
        self._target = target
        self._records = records
        there = {info.key: info.size for prefix in ARCHIVES for info in target.storage.list(prefix)}
        sizes = {info.key: info.size for prefix in ARCHIVES for info in source.storage.list(prefix)}
        target.ensure()  # only now: listing a mistyped bucket is an error, and only init() makes one
        named = {record["id"]: archive_keys(record) for record in records}
        self._missing = {i: [key for key in keys if key not in sizes] for i, keys in named.items()}
        self._to_do = {i: [k for k in keys if k in sizes and sizes[k] != there.get(k)] for i, keys in named.items()}
        self.size = sum(sizes[key] for keys in self._to_do.values() for key in keys)  # bytes

    def run(self, moved: Callable[[int], None]) -> Iterator[tuple[Record, KeepsakeError | None]]:
        """Copy each experiment, its archives before its record; yield it, and what went wrong.

        `moved` is told of bytes as they go. What is there already is not copied again.
        """
        with Workers(_AT_ONCE) as workers:
            jobs = [partial(self._copy_archive, key, moved) for keys in self._to_do.values() for key in keys]
            results = in_order(workers, iter(jobs))
            for record in self._records:
                errors = [error for _ in self._to_do[record["id"]] if (error := next(results)) is not None]
                if self._missing[record["id"]]:
                    errors.append(DoesNotExist(f"{self._source.url}/{self._missing[record['id']][0]} does not exist"))
                yield record, self._copy_record(record) or (errors[0] if errors else None)

    def _copy_archive(self, key: str, moved: Callable[[int], None]) -> KeepsakeError | None:
        source, target = self._source.storage, self._target.storage
        try:
            with source.open(key) as stream:
                target.upload(key, cast(BinaryIO, Watched(stream, moved)))
            if _tail(source, key) != _tail(target, key):
                raise WriteError(f"{target.url}/{key} is not what was sent there. Try again")
        except KeepsakeError as error:
            return error
        return None

    def _copy_record(self, record: Record) -> KeepsakeError | None:
        fields = {name: value for name, value in record.items() if name not in ("id", "created", "checkpoints")}
        try:
            self._target.merge(record, Changes(fields, record.get("checkpoints") or []), create=True)
        except KeepsakeError as error:
            return error
        return None


def _tail(storage: Storage, key: str) -> bytes:
    with storage.open(key, start=-_TAIL) as stream:
        return stream.read()
