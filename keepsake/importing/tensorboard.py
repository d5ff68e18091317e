"""TensorBoard's event files. Each folder that holds some is a run.

A file is a list of records: length (u64), its masked CRC-32C, the bytes of an Event, their masked CRC-32C. An Event
has a time, a step and a summary of values; a scalar is a float or, from newer writers, a tensor with one element.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from keepsake.exceptions import KeepsakeError
from keepsake.importing.files import open_file, walk
from keepsake.importing.found import Found
from keepsake.importing.protobuf import child, double, fields, signed, text
from keepsake.importing.runs import ForeignRun

TOOL = "tensorboard"
_MARK = ".tfevents."
_HEADER = struct.Struct("<QI")
_CHECKSUM = 4  # bytes after each event
_BEGINNING = 32  # bytes of a file that hold the time of its first event
_LARGEST = 64 << 20  # bytes of an event; a longer one holds no scalars
_HPARAMS, _END = "_hparams_/session_start_info", "_hparams_/session_end_info"
_OTHERS = {4: "images", 5: "histograms", 6: "audio clips"}  # by the field of a summary's value
_PLUGINS = {"text": "texts", "images": "images", "histograms": "histograms", "audio": "audio clips"}
_TYPES = {1: "f", 2: "d", 3: "i", 9: "q"}  # of tensors, as TensorFlow numbers them → as struct names them
_REASONS = {1: "finished", 2: "exception"}
_START = 1  # of a session, from a certain step on
_SESSION = r"\d{9,}\.\d+"  # the folder that add_hparams() of PyTorch and tensorboardX makes in that of the run


def recognise(source: Path) -> Path | None:
    """Return the folder at `source` if there are event files in or below it, or the file if it is one."""
    if source.is_file():
        return source if _MARK in source.name else None
    return source if source.is_dir() and any(_MARK in entry.name for _, entry in walk(source, failed=[])) else None


def runs(source: Path, left_out: Counter[str]) -> Iterator[Found | KeepsakeError]:
    """Yield a run per folder of event files. A folder that add_hparams() has made is part of the run that it is in."""
    if source.is_file():
        yield _found(source.parent, [str(source)], [], source.parent.name)
        return
    found: dict[str, list[str]] = {}
    failed: list[KeepsakeError] = []
    for name, entry in walk(source, failed=failed):
        if _MARK in entry.name:
            found.setdefault(name.rpartition("/")[0], []).append(entry.path)
    sessions = _sessions(found)
    parts = set(sessions.values())
    for folder, paths in found.items():
        if folder not in parts:
            session = found[sessions[folder]] if folder in sessions else []
            yield _found(source / folder, paths, session, folder or source.absolute().name)
    yield from failed


def _sessions(found: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the folder of each run → the folder in it that add_hparams() has made, if it was called once."""
    made: dict[str, list[str]] = {}
    for folder in found:
        parent, _, name = folder.rpartition("/")
        if parent in found and re.fullmatch(_SESSION, name):
            made.setdefault(parent, []).append(folder)
    return {parent: folders[0] for parent, folders in made.items() if len(folders) == 1}


def _found(folder: Path, paths: list[str], session: list[str], name: str) -> Found:
    return Found(folder, partial(_run, folder, paths, session, name), [*paths, *session], name)


def _run(folder: Path, paths: list[str], session: list[str], name: str) -> ForeignRun:
    run = ForeignRun(TOOL, _key(folder, paths[0]), folder, name=name)
    last = None
    for path in [*paths, *session]:
        if os.path.islink(path):
            run.warnings.append(f"{path} is a link, and a link may lead anywhere. It is left out.")
            continue
        with open_file(path) as file:
            for event in _events(file, path, run.warnings):
                try:
                    time = _add(run, event)
                except ValueError as error:
                    run.warnings.append(f"An event in {path} is damaged: {error}. It is left out.")
                    continue
                run.created = time if run.created is None else min(run.created, time)
                last = time if last is None else max(last, time)
    run.ended = last
    if session:
        run.end_reason = None  # add_hparams() notes an end at once, whenever it is called
    run.is_left_out = not (run.points or run.params or run.left_out)  # a writer opens a file before it writes anything
    return run


def _key(folder: Path, path: str) -> str:
    """Return what tells a run from others, wherever it is moved.

    The name of a file has the host and the second in which it began, and the first event has the microsecond.
    """
    with open_file(path) as file:
        beginning = file.read(_BEGINNING)
    return f"{folder.absolute().name}/{os.path.basename(path)}/{zlib.crc32(beginning):08x}"


def _events(file: BinaryIO, path: str, warnings: list[str]) -> Iterator[bytes]:
    """Yield the events of a file, up to one that is cut off or damaged."""
    size = os.fstat(file.fileno()).st_size
    while header := file.read(_HEADER.size):
        start = file.tell() - len(header)
        length, checksum = _HEADER.unpack(header.ljust(_HEADER.size, b"\0"))
        if len(header) == _HEADER.size and checksum != masked_crc(header[:8]):
            warnings.append(f"{path} is damaged at byte {start}. What follows is left out.")
            return
        if len(header) < _HEADER.size or file.tell() + length + _CHECKSUM > size:
            warnings.append(f"{path} is cut off in its last event. The events before are imported.")
            return
        if length > _LARGEST:
            warnings.append(f"The event at byte {start} of {path} has {length / 1e6:,.0f} MB. It is left out.")
        else:
            yield file.read(length)
        file.seek(start + _HEADER.size + length + _CHECKSUM)


def _add(run: ForeignRun, event: bytes) -> float:
    """Take what an event holds; return its time."""
    time, step, summary, is_restart = 0.0, 0, b"", False
    for number, value in fields(event):
        if number == 1:
            time = double(value)
        elif number == 2:
            step = signed(value)
        elif number == 5 and isinstance(value, bytes):
            summary = value
        elif number == 7 and isinstance(value, bytes):
            is_restart = (1, _START) in fields(value)
    if is_restart and (dropped := run.drop_from(step)):
        run.left_out["points that were recorded again after a restart"] += dropped
    for number, value in fields(summary):
        if number == 1 and isinstance(value, bytes):
            _add_value(run, step, time, value)
    return time


def _add_value(run: ForeignRun, step: int, time: float, value: bytes) -> None:
    tag, metadata, tensor = "", b"", b""
    scalar: float | None = None
    for number, content in fields(value):
        if number == 1:
            tag = text(content)
        elif number == 2:
            scalar = double(content)
        elif number == 8 and isinstance(content, bytes):
            tensor = content
        elif number == 9 and isinstance(content, bytes):
            metadata = content
        elif number in _OTHERS:
            run.left_out[_OTHERS[number]] += 1
            return
    plugin = child(metadata, 1)
    name = text(child(plugin, 1))
    if name == "hparams":
        _add_hparams(run, tag, child(plugin, 2))
    elif scalar is not None:
        run.add(tag, step, time, scalar)
    elif tensor and name in ("scalars", ""):
        _add_tensor(run, tag, step, time, tensor)
    elif tensor:
        run.left_out[_PLUGINS.get(name, f"values of {name}")] += 1


def _add_tensor(run: ForeignRun, tag: str, step: int, time: float, tensor: bytes) -> None:
    kind, content, values = 0, b"", b""
    for number, value in fields(tensor):
        if number == 1:
            kind = signed(value)
        elif number == 4 and isinstance(value, bytes):
            content = value
        elif number in (5, 6) and isinstance(value, bytes):
            values += value
    form = _TYPES.get(kind)
    data = content or values
    if form is None or len(data) != struct.calcsize(form):
        run.left_out["tensors"] += 1
    else:
        run.add(tag, step, time, struct.unpack(f"<{form}", data)[0])


def _add_hparams(run: ForeignRun, tag: str, content: bytes) -> None:
    """Take the params of a session, or its status."""
    if tag == _HPARAMS:
        session = child(content, 3)
        for number, value in fields(session):
            if number == 1 and isinstance(value, bytes):
                run.params[text(child(value, 1))] = _plain(child(value, 2))
    elif tag == _END:
        for number, value in fields(child(content, 4)):
            if number == 1 and isinstance(value, int):
                run.end_reason = _REASONS.get(value)


def _plain(value: bytes) -> Any:
    """Return a google.protobuf.Value that holds no list or struct."""
    for number, content in fields(value):
        return _PLAIN.get(number, text)(content)
    return None


_PLAIN: dict[int, Any] = {1: lambda content: None, 2: lambda content: _whole(double(content)), 4: bool}


def _whole(number: float) -> int | float:
    """Return an integer where a number is one. TensorBoard keeps all numbers as floats."""
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_TABLE = _table()


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C of a few bytes, masked as TFRecords hold it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
