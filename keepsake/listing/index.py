"""The index: a cache of the data that listings need, so they fetch and parse only new and changed records.

It is one text file per repository URL in the user's cache directory. It can be deleted at any time. Each line is for
one version of a record: its ID, the etag of its JSON, the beginnings of its checkpoints' IDs and its summary, separated
by tabs. Lines are only added. When most of them are out of date, the file is written anew. If two processes add lines
at once, the worst result is a line that must be fetched again.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keepsake.exceptions import ReadError
from keepsake.labels import labels_of
from keepsake.listing.subjects import earlier_metrics
from keepsake.metadata import (
    CHECKPOINT_FIELDS,
    Record,
    best_checkpoint,
    checkpoints_of,
    latest_checkpoint,
    parse_fetched,
    time_key,
)
from keepsake.util.directories import cache_directory, is_own
from keepsake.util.files import replace_with

_dumps = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps makes one each time
_loads = json.JSONDecoder().raw_decode  # json.loads spends half of its time on checking its argument
_REST = ("created", "command", "user", "host", "keepsake_version")  # of the record
_END = ("ended", "end_reason", "error", "path")  # texts that are left out if they are missing
_CHECKPOINT_ID_LENGTH = 12  # enough to find candidates; the record itself decides
_MANY = 200  # from this many records on, bulk is faster even if msgspec must be loaded
_FORMAT = b"keepsake index 11\n"
_SUM = 9  # bytes of a checksum and the blank after it


class Line(NamedTuple):
    """One experiment in the index. The last five are JSON, each of which is parsed only when needed."""

    id: str
    etag: str
    checkpoint_ids: str  # the beginnings, each after a blank
    created: str  # the sort key, to the nanosecond; "" if the record cannot be read
    best: str  # the best checkpoint, or null
    latest: str  # the latest checkpoint, or null
    earlier: str  # the last values of the metrics that the latest checkpoint lacks; "" if it lacks none
    params: str
    rest: str  # the other fields of a Summary, or the reason why the record cannot be read

    @classmethod
    def make(cls, record: Record, etag: str, dumps: Callable[[Any], str] = _dumps) -> Line:
        """Return the line of a record. `dumps` makes the JSON."""
        checkpoints, created = checkpoints_of(record), record["created"]
        ids = "".join([" " + checkpoint["id"][:_CHECKPOINT_ID_LENGTH] for checkpoint in checkpoints])
        rest = {name: record.get(name) for name in _REST}
        rest.update((name, value) for name in _END if isinstance(value := record.get(name), str))
        if isinstance(job := record.get("job"), dict):
            rest["job"] = job
        rest.update(labels_of(record))
        rest["num_checkpoints"] = len(checkpoints)
        best, latest = best_checkpoint(checkpoints), latest_checkpoint(checkpoints)
        best_text = dumps(_whole(best))
        latest_text = best_text if latest is best else dumps(_whole(latest))
        earlier = dumps(found) if (found := earlier_metrics(checkpoints, latest)) else ""
        params = dumps(record.get("params"))
        return cls(record["id"], etag, ids, time_key(created), best_text, latest_text, earlier, params, dumps(rest))

    @classmethod
    def broken(cls, experiment_id: str, etag: str, reason: str) -> Line:
        """Return the line of a record that cannot be read."""
        return cls(experiment_id, etag, "", "", "", "", "", "", _dumps(reason))

    @staticmethod
    def beginnings(checkpoint_ids: Iterable[str]) -> set[str]:
        """Return the beginnings of these IDs, as in `checkpoint_ids`."""
        return {checkpoint_id[:_CHECKPOINT_ID_LENGTH] for checkpoint_id in checkpoint_ids}

    @property
    def parent(self) -> str | None:
        """The ID of the parent."""
        if not self.created or '"parent":' not in self.rest:  # few have one
            return None
        return _loads(self.rest)[0].get("parent")  # type: ignore[no-any-return]

    def may_hold_checkpoint(self, prefix: str) -> bool:
        """Whether a checkpoint of this experiment may have an ID that begins with `prefix`."""
        return " " + prefix[:_CHECKPOINT_ID_LENGTH] in self.checkpoint_ids


_FIELDS = len(Line._fields)


def _whole(checkpoint: Record | None) -> Record | None:
    """Return a checkpoint with all fields of the format and no others."""
    if checkpoint is None:
        return None
    fields = CHECKPOINT_FIELDS.items()
    return {name: default if (value := checkpoint.get(name)) is None else value for name, default in fields}


def line_maker(count: int) -> Callable[[bytes, str, str], Line]:
    """Return the fastest function for `count` lines. It makes a line from a record's JSON, ID and etag."""
    if count < _MANY:
        return _line
    try:
        from keepsake.listing import bulk
    except ImportError:  # msgspec is not available for this Python
        return _line

    def quick_line(data: bytes, experiment_id: str, etag: str) -> Line:
        record = bulk.usual_record(data, experiment_id)
        return Line.make(record, etag, bulk.dumps) if record else _line(data, experiment_id, etag)

    return quick_line


def json_reader(count: int) -> Callable[[bytes], Any]:
    """Return the fastest function that reads the JSON of `count` records as json.loads does."""
    if count < _MANY:
        return json.loads
    try:
        from keepsake.listing import bulk
    except ImportError:
        return json.loads
    return bulk.loads


def _line(data: bytes, experiment_id: str, etag: str) -> Line:
    try:
        return Line.make(parse_fetched(data, experiment_id, etag), etag)
    except ReadError as error:
        return Line.broken(experiment_id, etag, str(error))


class Index:
    """The index file of one repository. Each line begins with its checksum, because a crash may damage a cache."""

    def __init__(self, url: str) -> None:
        # If two repositories ever share a file, they only drop each other's lines, because IDs are unique.
        cache = cache_directory()
        self._path = (
            None if cache is None else cache / "index" / f"{zlib.crc32(url.encode('utf-8', 'surrogateescape')):08x}"
        )
        self._lines = 0

    def current(self, etags: dict[str, str]) -> Iterator[Line]:
        """Yield the lines that are up to date, and remove their IDs from `etags`, which maps ID to etag."""
        for parts in self._read():
            if etags.get(parts[0]) == parts[1]:
                del etags[parts[0]]
                yield Line._make(parts)

    def remembered(self) -> Iterator[Line]:
        """Yield the lines of records that could be read, whether or not they are up to date."""
        return (line for line in map(Line._make, self._read()) if line.created)

    def add(self, lines: list[Line], live: Mapping[str, str]) -> None:
        """Add lines to the file. `live` maps every ID to its etag. Lines that cannot be written are fetched again."""
        if self._path is None:
            return
        try:
            if self._lines + len(lines) > 2 * len(live) + 100:
                fresh = {parts[0]: Line._make(parts) for parts in self._read() if live.get(parts[0]) == parts[1]}
                lines = [*fresh.values(), *lines]
                self._lines = 0
            if not self._lines:
                self._write(self._path, lines)
            elif lines:
                with open(self._path, "ab") as file:
                    file.write(b"".join(map(_text, lines)))
            self._lines += len(lines)
        except OSError:
            pass  # the disk is full or read-only

    def _read(self) -> Iterator[list[str]]:
        """Yield the fields of each intact line. A file of another user is not read."""
        self._lines = 0
        if self._path is None:
            return
        try:
            with open(self._path, "rb") as file:
                if not is_own(os.fstat(file.fileno())) or file.readline() != _FORMAT:
                    return
                for data in file:
                    self._lines += 1
                    if data[:_SUM] == _checksum(data[_SUM:]):
                        parts = data[_SUM:-1].decode("utf-8", "surrogateescape").split("\t")
                        if len(parts) == _FIELDS:  # a name may contain a tab
                            yield parts
        except (OSError, ValueError):
            return

    @staticmethod
    def _write(path: Path, lines: Iterable[Line]) -> None:
        for directory in (path.parent.parent, path.parent):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_with(path, _FORMAT, *map(_text, lines))


def _text(line: Line) -> bytes:
    data = ("\t".join(line).rstrip("\n") + "\n").encode("utf-8", "surrogateescape")
    return _checksum(data) + data


def _checksum(data: bytes) -> bytes:
    return b"%08x " % zlib.crc32(data)
