"""tar headers, written and read one at a time. Only this module uses tarfile.

The reader of tarfile is not used. It takes a damaged header for the end of the archive, and a header can make it
allocate any amount of memory.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from keepsake.util import streams

BLOCK = 512  # bytes
REGULAR = (b"0", b"\0", b"7")  # types of files
_NAME, _PREFIX = 100, 155  # bytes
END = bytes(2 * BLOCK)
_OWNER = b"0000000\0" * 2
_KIND = b"ustar\x0000".rjust(108, b"\0").ljust(188, b"\0")  # after the type, which is 0
_REST = BLOCK - 345  # bytes after that
_SUM = sum(_OWNER + _KIND + b"0" + b" " * 8)  # a checksum counts itself as spaces
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE)
_PART = 256 << 10  # bytes
_MAX_EXTENSIONS = 1 << 20  # bytes of all headers that extend the next one
_ENTRY = 512  # bytes of memory for a file
_COPIES = 4  # of a name that are in memory before it is shown
_NAMES = 64 << 20  # bytes of memory for the names of any archive
_NAMES_SHRINK = 100  # names and headers shrink at most by about this factor


def header(name: str, size: int, mode: int, mtime: int) -> bytes:
    """Return the blocks before a file's content; `mtime` is in Unix seconds. Unusual names get a PAX header."""
    if (quick := _plain_header(name, size, mode, mtime)) is not None:
        return quick
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, mode, mtime
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _plain_header(name: str, size: int, mode: int, mtime: int) -> bytes | None:
    """Return a header without extension; None if the file needs one. For most files this is ten times the speed."""
    prefix = ""
    if len(name) > _NAME:
        cut = name.rfind("/", 0, _PREFIX + 1)
        prefix, name = (name[:cut], name[cut + 1 :]) if cut > 0 else ("", name)
    if not (name.isascii() and prefix.isascii() and 0 < len(name) <= _NAME and 0 <= mtime < 8**11 and size < 8**11):
        return None
    varying = b"%s%07o%011o%011o%s" % (name.encode(), mode, size, mtime, prefix.encode())
    return b"%s%07o\0%s%011o\0%011o\0%06o\0 0%s%s" % (
        name.encode().ljust(_NAME, b"\0"),
        mode,
        _OWNER,
        size,
        mtime,
        sum(varying) + _SUM,
        _KIND,
        prefix.encode().ljust(_REST, b"\0"),
    )


def padding(size: int) -> bytes:
    """Return the bytes that fill the last block of a file of `size` bytes."""
    return bytes(-size % BLOCK)


def read_header(stream: BinaryIO) -> tarfile.TarInfo | None:
    """Return the header of the next file; None at the end. Raises ValueError if neither follows."""
    records: dict[str, str] = {}
    left = _MAX_EXTENSIONS
    while True:
        block = read_exactly(stream, BLOCK)
        if block == bytes(BLOCK):
            return None
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ValueError(f"a tar header is damaged: {error}") from error
        if info.type in _EXTENSIONS:
            extension = _read_extension(stream, info.size, left)
            left -= BLOCK + len(extension)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                records["path"] = _text(extension.partition(b"\0")[0])
            elif info.type != tarfile.XGLTYPE:  # global headers hold defaults, such as git's commit
                records.update(_pax_records(extension))
        else:
            info.name = records.get("path", info.name)
            info.size = int(records.get("size", info.size))
            info.mtime = float(records.get("mtime", info.mtime))
            if info.size < 0 or any(key.startswith("GNU.sparse") for key in records):
                raise ValueError(f"{info.name} has a tar header of an unsupported kind")
            return info


class Room:
    """The memory for the names of an archive without a table: a multiple of the bytes that it really has."""

    def __init__(self) -> None:
        self._left = _NAMES

    def watched(self, source: BinaryIO) -> BinaryIO:
        """Return the archive's stream. What is read from it makes room."""
        return streams.watched(source, self._make_room)

    def _make_room(self, data: bytes) -> None:
        self._left += len(data) * _NAMES_SHRINK

    def take(self, name: str) -> None:
        """Take the room for a file. Raises ValueError if none is left."""
        self._left -= _COPIES * len(name) + _ENTRY
        if self._left < 0:
            raise ValueError("it has more names than an archive of its size can hold")


def read_exactly(stream: BinaryIO, length: int) -> bytes:
    """Read `length` bytes. Raises ValueError if the stream ends earlier."""
    data = stream.read(length)
    while len(data) < length:
        more = stream.read(length - len(data))
        if not more:
            raise ValueError("it is cut off")
        data += more
    return data


def read_content(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the content of the file whose header was read, in parts, and skip the padding of its last block."""
    left = size
    while left:
        part = read_exactly(stream, min(left, _PART))
        left -= len(part)
        yield part
    read_exactly(stream, len(padding(size)))


def _read_extension(stream: BinaryIO, size: int, left: int) -> bytes:
    if not 0 <= size <= left:
        raise ValueError("the tar headers of one file are too long")
    return read_exactly(stream, size + len(padding(size)))[:size]


def _pax_records(data: bytes) -> dict[str, str]:
    """Parse records `<length> <key>=<value>\\n`. The length is that of the whole record."""
    records = {}
    position = 0
    while position < len(data):
        length = int(data[position : data.index(b" ", position)])
        key, equals, value = data[position : position + length].partition(b" ")[2].partition(b"=")
        if not equals or value[-1:] != b"\n" or position + length > len(data):
            raise ValueError("a PAX header is damaged")
        records[_text(key)] = _text(value[:-1])
        position += length
    return records


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
