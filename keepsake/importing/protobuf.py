"""Protocol-buffer messages, read without their definitions: the wire format says where each field begins and ends."""

from __future__ import annotations

import struct
from collections.abc import Iterator

Value = int | bytes  # numbers of fixed width are bytes too

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MOST_BITS = 70  # of a number of variable length, in groups of 7


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yield the number and the value of each field of a message. Raises ValueError if it is damaged."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise ValueError(f"a field has the unknown type {kind}")
        if at + size > end:
            raise ValueError("a field is longer than its message")
        yield key >> 3, message[at : at + size]
        at += size


def child(message: bytes, number: int) -> bytes:
    """Return the last field of that number, which is a message or a text; empty if there is none."""
    found = b""
    for field, value in fields(message):
        if field == number and isinstance(value, bytes):
            found = value
    return found


def text(value: Value) -> str:
    """Return a text field. What is not valid text is replaced."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def double(value: Value) -> float:
    """Return a field of type double or float. Raises ValueError if it is neither."""
    if isinstance(value, bytes) and len(value) in (4, 8):
        number: float = struct.unpack("<d" if len(value) == 8 else "<f", value)[0]
        return number
    raise ValueError("a number has the wrong width")


def signed(value: Value) -> int:
    """Return a field of type int64. Raises ValueError if it is not a number."""
    if not isinstance(value, int):
        raise ValueError("a whole number has the wrong type")
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def timestamp(message: bytes) -> float:
    """Return a google.protobuf.Timestamp as Unix seconds."""
    parts = {number: value for number, value in fields(message) if isinstance(value, int)}
    return signed(parts.get(1, 0)) + parts.get(2, 0) / 1e9


def _varint(message: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(message) or shift > _MOST_BITS:
            raise ValueError("a number does not end")
        byte = message[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
