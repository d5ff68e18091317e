"""gzip members, made and read one at a time. Only this module uses the gzip library (isal, or else zlib)."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

try:
    from isal import isal_zlib

    _library: Any = isal_zlib
except ImportError:  # isal has no wheel for this system
    _library = zlib
_ERRORS: tuple[type[Exception], ...] = (_library.error, zlib.error)
_LEVEL = 1  # higher levels of either library take much longer and save a few percent

Content = bytes | memoryview
Parts = list[Content]

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no name, no time, unknown system
_EXTRA_HEADER = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
_EMPTY = b"\x03\x00" + bytes(8)  # an empty deflate stream, its CRC-32 and its size
_FIELD = struct.Struct("<H2sH")  # length of the extra field; name and length of its one part
_TRAILER = struct.Struct("<II")  # CRC-32, size modulo 2**32
_STORED = struct.Struct("<BHH")  # before a stored block: whether it is the last, its length, the length's complement
_STORED_SIZE = 65535  # the most bytes in a stored block
_STORED_FULL = b"\x00\xff\xff\x00\x00"
_WORTH_IT = 0.9  # data that stays larger is stored; model weights shrink to 0.92, and that takes 5 times as long
_BLOCK = 256 << 10  # bytes

SAMPLE = 4096  # bytes
EXTRA_SIZE = 65535 - 4  # bytes that an extra member can hold
EXTRA_OVERHEAD = len(_EXTRA_HEADER) + _FIELD.size + len(_EMPTY)


def member(data: Content, tail: bytes = b"", *, store: bool = False) -> Parts:
    """Return a gzip member of `data` and `tail` in parts, to be written in order; with `store`, uncompressed."""
    return [
        _HEADER,
        *_deflate(data, tail, store),
        _TRAILER.pack(_library.crc32(tail, _library.crc32(data)), (len(data) + len(tail)) & 0xFFFFFFFF),
    ]


def _deflate(data: Content, tail: bytes, store: bool) -> Parts:
    middle = len(data) // 2
    if store or (len(data) > 4 * SAMPLE and not shrinks(data[:SAMPLE], data[middle : middle + SAMPLE], data[-SAMPLE:])):
        return [*_stored(data, last=not tail), *([_compress(tail)] if tail else [])]
    return [_compress(data, tail)]


def shrinks(*samples: Content) -> bool:
    """Whether compression is worth its time, judged by samples of SAMPLE bytes."""
    return len(_compress(*samples)) <= _WORTH_IT * SAMPLE * len(samples)


def _compress(*parts: Content) -> bytes:
    """Compress in one call, which takes a tenth less time for small files. Python 3.10's zlib has none for raw data."""
    data = b"".join(parts)
    if _library is not zlib:
        compressed: bytes = _library.compress(data, _LEVEL, wbits=-15)
        return compressed
    compressor = zlib.compressobj(_LEVEL, wbits=-15)
    return compressor.compress(data) + compressor.flush()


def _stored(data: Content, last: bool) -> Iterator[Content]:
    """Yield `data` as deflate blocks without compression."""
    view = memoryview(data)
    full = (len(data) - 1) // _STORED_SIZE
    for start in range(0, full * _STORED_SIZE, _STORED_SIZE):
        yield _STORED_FULL
        yield view[start : start + _STORED_SIZE]
    rest = view[full * _STORED_SIZE :]
    yield _STORED.pack(last, len(rest), len(rest) ^ 0xFFFF)
    yield rest


class StoredMembers:
    """Members of the chunks of a buffer that is filled again and again. Only their checksums change."""

    def __init__(self, buffer: memoryview, chunk: int) -> None:
        self._chunks = [buffer[at : at + chunk] for at in range(0, len(buffer), chunk)]
        self._parts: Parts = []
        self._trailers: list[int] = []  # their places among the parts
        for data in self._chunks:
            self._parts += [_HEADER, *_stored(data, last=True), b""]
            self._trailers.append(len(self._parts) - 1)
        self.lengths = [sum(map(len, member(data, store=True))) for data in self._chunks]  # bytes

    def parts(self) -> Parts:
        """Return the members of what the buffer holds now, to be written in order before it is filled again."""
        for place, data in zip(self._trailers, self._chunks, strict=True):
            self._parts[place] = _TRAILER.pack(_library.crc32(data), len(data))
        return self._parts


def extra_member(name: bytes, payload: bytes) -> bytes:
    """Return an empty gzip member with up to EXTRA_SIZE bytes of `payload`. Ordinary readers ignore the payload."""
    return _EXTRA_HEADER + _FIELD.pack(len(payload) + 4, name, len(payload)) + payload + _EMPTY


def read_extra_member(data: bytes, start: int, name: bytes) -> tuple[bytes, int]:
    """Return the payload of the extra member at `start`, and its end. Raises ValueError if there is none."""
    field = start + len(_EXTRA_HEADER)
    payload = field + _FIELD.size
    if data[start:field] != _EXTRA_HEADER or len(data) < payload:
        raise ValueError("no extra member")
    size, found, length = _FIELD.unpack_from(data, field)
    end = payload + length + len(_EMPTY)
    if found != name or size != length + 4 or data[payload + length : end] != _EMPTY:
        raise ValueError("no extra member of that name")
    return data[payload : payload + length], end


def inflate(data: memoryview, limit: int) -> Parts:
    """Return the content, at most `limit` bytes, of exactly one gzip member. Raises ValueError otherwise.

    The CRC-32 of stored content is not checked, because the caller checks the stronger hash.
    """
    stored = _stored_content(data)
    if stored is not None and sum(map(len, stored)) <= limit:
        return stored
    reader = _library.decompressobj(wbits=31)
    try:
        content: bytes = reader.decompress(data, limit + 1)
    except _ERRORS as error:
        raise ValueError(f"a gzip member cannot be decompressed: {error}") from error
    if not reader.eof or reader.unused_data or len(content) > limit:
        raise ValueError("a gzip member has the wrong length")
    return [content]


def _stored_content(data: memoryview) -> Parts | None:
    """Return the content of a complete member that has only the blocks of `_stored`; None for any other."""
    parts: Parts = []
    end, is_last = len(_HEADER), 0
    while not is_last and end + _STORED.size <= len(data) - _TRAILER.size:
        is_last, length, complement = _STORED.unpack_from(data, end)
        start = end + _STORED.size
        end = start + length
        if is_last > 1 or length ^ complement != 0xFFFF:
            return None
        parts.append(data[start:end])
    is_whole = is_last and data[: len(_HEADER)] == _HEADER and len(data) - end == _TRAILER.size
    return parts if is_whole else None


def inflate_all(source: BinaryIO) -> Iterator[bytes]:
    """Yield the content of all gzip members of a stream. Raises ValueError if it is damaged or cut off."""
    data = source.read(_BLOCK)
    while data:
        reader = _library.decompressobj(wbits=31)
        while not reader.eof:
            ended = not data
            try:
                content: bytes = reader.decompress(data, _BLOCK)
            except _ERRORS as error:
                raise ValueError(f"it cannot be decompressed: {error}") from error
            if ended and not content and not reader.eof:
                raise ValueError("it is cut off")
            yield content
            data = reader.unused_data if reader.eof else reader.unconsumed_tail
            data = data or source.read(_BLOCK)


def as_stream(parts: Iterator[Content]) -> BinaryIO:
    """Return a stream that pulls `parts` while it is read. Its `read` raises their exceptions."""
    return cast(BinaryIO, io.BufferedReader(_Pulled(parts), _BLOCK))


class _Pulled(io.RawIOBase):
    def __init__(self, parts: Iterator[Content]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer)
        filled = 0
        while filled < len(target):
            if not self._rest:
                part = next(self._parts, None)
                if part is None:
                    break
                self._rest = memoryview(part)
            count = min(len(self._rest), len(target) - filled)
            target[filled : filled + count] = self._rest[:count]
            self._rest = self._rest[count:]
            filled += count
        return filled

    def close(self) -> None:
        self._parts = iter(())  # ends a generator, and with it the files that it has open
        super().close()
