"""The files that W&B writes for each run, `run-<id>.wandb`, online or offline.

7 bytes (`:W&B`, 0xBEE1, a version), then a log in the format of LevelDB: blocks of 32 KiB, in each of which records
have a CRC-32 of the type and the data (u32), a length (u16) and a type: whole, first, middle or last part. What the
parts hold is a protocol-buffer message `Record`, with history, config, summary, run, exit and environment among others.
"""

from __future__ import annotations

import json
import shlex
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from keepsake.exceptions import KeepsakeError, ReadError
from keepsake.importing.files import add_files, open_file, walk
from keepsake.importing.found import Found
from keepsake.importing.protobuf import Value, child, double, fields, signed, text, timestamp
from keepsake.importing.runs import ForeignRun
from keepsake.recording.secrets import hide_in_command

TOOL = "wandb"
_SUFFIX = ".wandb"
_FILES = "files"  # the folder beside it
_MAGIC = b":W&B"
_START = 7  # bytes before the first record
_BLOCK = 32 << 10
_HEADER = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_LARGEST = 64 << 20  # bytes of a message
_OTHERS = {7: "system metrics", 8: "artifacts", 4: "lines of output", 13: "lines of output", 10: "alerts"}


def recognise(source: Path) -> Path | None:
    """Return the file of a run at `source`, or the folder if there are some below it."""
    if source.is_file():
        return source if source.suffix == _SUFFIX else None
    return source if source.is_dir() and any(_is_run(name) for name, _ in walk(source, failed=[])) else None


def runs(source: Path, left_out: Counter[str]) -> Iterator[Found | KeepsakeError]:
    """Yield a run per file."""
    if source.is_file():
        yield _found(source)
        return
    failed: list[KeepsakeError] = []
    for name, entry in walk(source, failed=failed):
        if _is_run(name):
            yield _found(Path(entry.path))
    yield from failed


def _found(path: Path) -> Found:
    return Found(path, partial(_run, path), [path, path.parent / _FILES])


def _is_run(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.startswith("run-") and last.endswith(_SUFFIX)


def _run(path: Path) -> ForeignRun:
    reader = _Reader(path)
    with open_file(path) as file:
        if file.read(_START)[: len(_MAGIC)] != _MAGIC:
            raise ReadError(f"{path} is not a file of W&B, or it is damaged at its start.")
        for message in _messages(file, path, reader.run.warnings):
            try:
                reader.add(message)
            except (ValueError, RecursionError) as error:
                reader.run.warnings.append(f"A record in {path} is damaged: {error}. It is left out.")
    run = reader.finished()
    run.is_left_out = not (run.points or run.params or run.created)  # nothing of it can be read
    run.folder = _FILES
    add_files(run, path.parent / _FILES)
    return run


def _messages(file: BinaryIO, path: Path, warnings: list[str]) -> Iterator[bytes]:
    """Yield the messages of a log, up to one that is cut off or damaged."""
    parts: list[bytes] = []
    at = _START
    while True:
        if _BLOCK - at % _BLOCK < _HEADER.size:
            at += _BLOCK - at % _BLOCK  # the rest of the block is empty
            file.seek(at)
        header = file.read(_HEADER.size)
        if not header.strip(b"\0"):
            break
        checksum, length, kind = _HEADER.unpack(header.ljust(_HEADER.size, b"\0"))
        data = file.read(length)
        if len(data) < length or len(header) < _HEADER.size:
            break
        if zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum or sum(map(len, parts)) + length > _LARGEST:
            warnings.append(f"{path} is damaged at byte {at}. What follows is left out.")
            return
        at += _HEADER.size + length
        parts = [*parts, data] if kind in (_MIDDLE, _LAST) else [data]
        if kind in (_WHOLE, _LAST):
            yield b"".join(parts)
            parts = []
    if parts or header:
        warnings.append(f"{path} is cut off in its last record. The records before are imported.")


class _Reader:
    """Makes a run of the records of a file."""

    def __init__(self, path: Path) -> None:
        self.run = ForeignRun(TOOL, path.stem.removeprefix("run-"), path)
        self._summary: dict[str, Any] = {}
        self._step = 0
        self._runtime = 0

    def add(self, message: bytes) -> None:
        """Take a record. Raises ValueError if it is damaged."""
        kinds = {2: self._add_history, 3: self._add_summary, 5: self._add_config, 17: self._add_run, 18: self._add_exit}
        kinds[26] = self._add_environment
        for number, value in fields(message):
            if number in kinds and isinstance(value, bytes):
                kinds[number](value)
            elif number in _OTHERS:
                self.run.left_out[_OTHERS[number]] += 1

    def finished(self) -> ForeignRun:
        """Return the run. Values of the summary that are in no row belong to the last step."""
        run = self.run
        last = run.last_time
        run.is_lost = run.end_reason is None
        if not run.is_lost:
            run.ended = max((run.created or 0.0) + self._runtime, last)
        for name, value in self._values(self._summary):
            if name not in run.points:
                run.add(name, self._step, last, value)
        return run

    def _add_history(self, message: bytes) -> None:
        row = dict(_items(message))
        step = row.get("_step")
        if not isinstance(step, int):
            step = next((signed(value) for _, value in fields(child(message, 2))), self._step)
        self._step = step
        moment = row.get("_timestamp")
        time = float(moment) if isinstance(moment, (int, float)) else None
        for name, value in self._values(row):
            self.run.add(name, step, time, value)

    def _values(self, row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the values of a row but W&B's own. Media and tables are counted; some are split into several names."""
        media = {name[: -len("._type")]: value for name, value in row.items() if name.endswith("._type")}
        media |= {name: value["_type"] for name, value in row.items() if isinstance(value, dict) and "_type" in value}
        if row is not self._summary:  # the summary repeats the media of the rows
            self.run.left_out.update(f"media and tables ({kind})" for kind in media.values())
        parts = tuple(f"{name}." for name in media)
        for name, value in row.items():
            if not name.startswith(("_", *parts)) and name not in media:
                yield name, value

    def _add_summary(self, message: bytes) -> None:
        self._summary.update(_items(message))

    def _add_config(self, message: bytes) -> None:
        self.run.params.update((name, value) for name, value in _items(message) if name.partition(".")[0] != "_wandb")

    def _add_run(self, message: bytes) -> None:
        run = self.run
        labels: dict[str, str] = {}
        for number, value in fields(message):
            if number in _RUN_TEXTS:
                setattr(run, _RUN_TEXTS[number], text(value))
            elif number == 10:
                labels[text(value)] = ""
            elif number in _RUN_LABELS and value:
                labels[_RUN_LABELS[number]] = text(value)
            elif number == 4 and isinstance(value, bytes):
                self._add_config(value)
            elif number == 17 and isinstance(value, bytes):
                run.created = timestamp(value)
            elif number == 21 and isinstance(value, bytes):
                self._add_git(value)
        run.labels = labels
        if run.group and not run.key.startswith(f"{run.group}/"):
            run.key = f"{run.group}/{run.key}"

    def _add_git(self, message: bytes) -> None:
        names = {1: "remote", 2: "commit"}
        self.run.git |= {names[number]: text(value) for number, value in fields(message) if number in names}

    def _add_exit(self, message: bytes) -> None:
        code = 0
        for number, value in fields(message):
            if number == 1:
                code = signed(value)
            elif number == 2:
                self._runtime = signed(value)
        self.run.end_reason = f"exit status {code}" if code else "finished"

    def _add_environment(self, message: bytes) -> None:
        arguments, program = [], ""
        for number, value in fields(message):
            if number in _ENVIRONMENT_TEXTS:
                setattr(self.run, _ENVIRONMENT_TEXTS[number], text(value))
            elif number == 5:
                arguments.append(text(value))
            elif number == 6:
                program = text(value)
            elif number == 9 and isinstance(value, bytes):
                self._add_git(value)
        if program:
            self.run.command = shlex.join(hide_in_command([program, *arguments]))


_RUN_TEXTS = {1: "key", 3: "group", 8: "name", 9: "notes", 13: "host"}
_RUN_LABELS = {6: "group", 7: "job_type", 12: "sweep"}
_ENVIRONMENT_TEXTS = {2: "python_version", 12: "host", 13: "user"}


def _items(message: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of a history, config or summary, which are written alike."""
    for number, item in fields(message):
        if number != 1 or not isinstance(item, bytes):
            continue
        name, nested, value, is_set = "", [], None, False
        for field, content in fields(item):
            if field == 1:
                name = text(content)
            elif field == 2:
                nested.append(text(content))
            elif field in _VALUES:
                value, is_set = _VALUES[field](content), True
        if is_set:
            yield ".".join(nested) if nested else name, value


def _zigzag(value: Value) -> int:
    number = signed(value) & ((1 << 64) - 1)
    return number >> 1 ^ -(number & 1)


def _json(value: Value) -> Any:
    return json.loads(text(value))


_VALUES: dict[int, Any] = {
    3: lambda content: None,
    4: bool,
    5: _zigzag,
    6: double,
    7: text,
    8: _json,
    16: _json,
}
