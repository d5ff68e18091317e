"""The table of contents at the end of an archive: its files and their positions. See archive/reader.py for the format.

The table is compressed JSON in the extra fields of empty gzip members. A footer of fixed size follows, one more such
member, and gives the table's position.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import xxhash

from keepsake.archive.gzip import EXTRA_OVERHEAD, EXTRA_SIZE, extra_member, read_extra_member
from keepsake.util.names import is_safe_name

_TABLE, _FOOTER = b"KT", b"KF"  # names of the extra fields
_FOOTER_CONTENT = struct.Struct("<8sQQI")  # magic, offset and length of the table's members, CRC-32 of the JSON
_MAGIC = b"KSTOC1\n\0"
_MAX_TABLE = 256 << 20  # bytes, compressed
_MAX_CHUNK = 4 << 20  # bytes
_MAX_NAME = 4096  # bytes, as long as a path can be
_BATCH = 1000  # files
_BLOCK = 256 << 10  # bytes
_SMALL = 4 << 20  # bytes of JSON that an archive of any size may have
_BYTES_PER_LIST = 8  # a file has two brackets in the JSON, and takes a hundred bytes of the archive

ContentHash = xxhash.xxh3_128  # the hash of a file's content
FOOTER_SIZE = EXTRA_OVERHEAD + _FOOTER_CONTENT.size


class ForgedError(ValueError):
    """A table of contents and its tar, though whole, show different files."""


class ArchiveEntry(NamedTuple):
    """One file of an archive."""

    name: str  # POSIX, relative to the project directory
    size: int  # bytes
    mode: int  # permission bits
    mtime_ns: int
    xxh128: str | None = None  # of its content, hex; None if the archive has no table of contents
    offset: int = 0  # the start of its members
    members: tuple[int, ...] = ()  # their lengths in bytes
    chunk: int = 0  # bytes of content in each member but the last

    @property
    def end(self) -> int:
        """The end of its members."""
        return self.offset + sum(self.members)


class Footer(NamedTuple):
    """The position of a table of contents."""

    offset: int
    length: int  # bytes
    checksum: int  # CRC-32 of its JSON


def chunks(size: int, chunk: int) -> int:
    """Return the number of members of a file. An empty file has one too, for the tar header that follows."""
    return max(1, -(-size // chunk))


def encode(start: int, chunk: int, entries: list[ArchiveEntry]) -> bytes:
    """Return the members that end an archive whose first file starts at `start`."""
    compressor, checksum, parts = zlib.compressobj(1), 0, []
    for part in _as_json(start, chunk, entries):
        checksum = zlib.crc32(part, checksum)
        parts.append(compressor.compress(part))
    packed = b"".join([*parts, compressor.flush()])
    table = b"".join(extra_member(_TABLE, packed[at : at + EXTRA_SIZE]) for at in range(0, len(packed), EXTRA_SIZE))
    offset = entries[-1].end if entries else start
    return table + extra_member(_FOOTER, _FOOTER_CONTENT.pack(_MAGIC, offset, len(table), checksum))


def _as_json(start: int, chunk: int, entries: list[ArchiveEntry]) -> Iterator[bytes]:
    """Yield the table as JSON in parts, because the whole of a large one would take much memory."""
    yield b'{"start":%d,"chunk":%d,"files":[' % (start, chunk)
    for at in range(0, len(entries), _BATCH):
        files = [
            {"name": e.name, "size": e.size, "mode": e.mode, "mtime_ns": e.mtime_ns}
            | {"xxh128": e.xxh128, "members": e.members}
            for e in entries[at : at + _BATCH]
        ]
        yield (b"," if at else b"") + json.dumps(files, separators=(",", ":"))[1:-1].encode()
    yield b"]}"


def decode_footer(tail: bytes) -> Footer | None:
    """Parse the end of an archive; None if it has no table of contents. Raises ValueError if the table is too long."""
    try:
        content, _ = read_extra_member(tail, len(tail) - FOOTER_SIZE, _FOOTER)
        magic, *numbers = _FOOTER_CONTENT.unpack(content)
    except (ValueError, struct.error):
        return None
    if magic != _MAGIC:
        return None
    footer = Footer(*numbers)
    if footer.length > _MAX_TABLE:
        raise ValueError("its table of contents is too long")
    return footer


def decode(members: bytes, footer: Footer, archive_size: int = 0) -> list[ArchiveEntry] | None:
    """Parse a table of contents. Raises ValueError if it is damaged, or if `encode` would not make it.

    JSON takes up to twenty times its size in memory. So None is returned for a table that is too large for an archive
    of `archive_size` bytes, the size that is known for sure.
    """
    packed = []
    position = 0
    while position < len(members):
        part, position = read_extra_member(members, position, _TABLE)
        packed.append(part)
    reader = zlib.decompressobj()
    limit = _SMALL + 4 * archive_size
    try:
        text = reader.decompress(b"".join(packed), limit)
    except zlib.error as error:
        raise ValueError(f"its table of contents cannot be decompressed: {error}") from error
    if not reader.eof and len(text) == limit:
        return None
    if not reader.eof or zlib.crc32(text) != footer.checksum:
        raise ValueError("its table of contents does not match its checksum")
    if len(text) > _SMALL and text.count(b"[") + text.count(b"{") > archive_size // _BYTES_PER_LIST:
        raise ValueError("its table of contents is too long for its archive")
    try:
        table = json.loads(text)
        entries = list(_entries(table["files"], table["start"], table["chunk"]))
    except (TypeError, KeyError) as error:
        raise ValueError(f"its table of contents is incomplete: {error!r}") from error
    if (entries[-1].end if entries else table["start"]) != footer.offset:
        raise ValueError("its table of contents does not match the archive")
    if len({entry.name for entry in entries}) < len(entries):
        raise ValueError("its table of contents repeats a name")
    return entries


def _entries(files: list[dict[str, Any]], offset: int, chunk: int) -> Iterator[ArchiveEntry]:
    for file in files:
        size, mode, mtime_ns = file["size"], file["mode"], file["mtime_ns"]
        members = tuple(file["members"])
        if {*map(type, (size, mode, mtime_ns, offset, chunk, *members))} != {int}:
            raise ValueError("its table of contents has values that are not numbers")
        if not 0 < chunk <= _MAX_CHUNK or size < 0 or len(members) != chunks(size, chunk):
            raise ValueError("its table of contents contradicts itself")
        if min(members) <= 0 or max(members) > 2 * _MAX_CHUNK:  # they are read into memory
            raise ValueError("its table of contents has impossible lengths of members")
        check_name(file["name"])
        yield ArchiveEntry(file["name"], size, mode & 0o777, mtime_ns, str(file["xxh128"]), offset, members, chunk)
        offset += sum(members)


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the hash of a file's content, as an archive's table has it."""
    digest = ContentHash()
    with open(path, "rb", buffering=0) as file:
        while part := file.read(_BLOCK):
            digest.update(part)
    return digest.hexdigest()


def check_name(name: str) -> None:
    """Raise ValueError for a name that an archive may not hold."""
    if not is_safe_name(name) or len(name) > _MAX_NAME:
        raise ValueError(f"the name {name!r} could lead out of the target directory")


def compare(
    table: list[ArchiveEntry] | None,
    contents: Iterable[tuple[ArchiveEntry, Iterator[list[Any]]]],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Read all files, and raise ForgedError unless they are those of the table of contents (None: there is none)."""
    expected = None if table is None else {entry.name: (entry.size, entry.mode, entry.xxh128) for entry in table}
    found = {}
    for entry, content in contents:
        digest = ContentHash()
        for (part,) in content:
            digest.update(part)
            if progress:
                progress(len(part))
        found[entry.name] = (entry.size, entry.mode, digest.hexdigest())
        if expected is not None and expected.get(entry.name) != found[entry.name]:
            raise ForgedError(f"{entry.name} does not match the table of contents")
    if expected is not None and len(expected) != len(found):
        raise ForgedError("its table of contents has files that are missing from the tar")
