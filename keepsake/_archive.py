"""Archives: the files of an experiment or checkpoint as an ordinary .tar.gz, of which each file can be read by itself.

    member 0            the tar header of the first file
    for each file:      its content, CHUNK bytes a member; the last one goes on with the tar padding and the next header
                        (after the last file: the end of the tar)
    table of contents   JSON, compressed, in the extra fields of empty members
    footer              an empty member of fixed size, whose extra field says where the table is

All gzip members in a row are one tar to any tar reader, to which the table is invisible. Chunks are compressed and
decompressed in parallel. Archives without a table, such as those by Keepsake 0.4.2, are read as a stream.
"""

from __future__ import annotations

import json
import posixpath
import struct
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from keepsake import _tar
from keepsake._extract import Extraction, check_name
from keepsake._gzip import (
    EXTRA_OVERHEAD,
    EXTRA_SIZE,
    Parts,
    as_stream,
    extra_member,
    inflate,
    inflate_all,
    member,
    read_extra_member,
)
from keepsake._snapshot import FileEntry, FrozenFiles
from keepsake._workers import OrderedHash, Workers, in_order
from keepsake.exceptions import CorruptedArchive, DoesNotExist, WriteError
from keepsake.storage.base import Storage

__all__ = ["Archive", "ArchiveEntry", "Workers", "write_archive"]

CHUNK = 2 << 20  # bytes; with the few that are under way at once, some 30 MB of memory
_TABLE, _FOOTER = b"KT", b"KF"  # names of extra fields
_FOOTER_CONTENT = struct.Struct("<8sQQI")  # magic, offset and length of the table's members, CRC-32 of the JSON
_FOOTER_SIZE = EXTRA_OVERHEAD + _FOOTER_CONTENT.size
_MAGIC = b"KSTOC1\n\0"
_TAIL = 64 << 10  # bytes read at first: the table of some thousand files
_MAX_TABLE = 256 << 20  # bytes, compressed
_MAX_CHUNK = 64 << 20  # bytes
_MAX_HEADER = 1 << 20  # bytes of tar headers between two files


@dataclass(frozen=True)
class ArchiveEntry:
    """One file of an archive."""

    name: str  # POSIX, relative to the project directory
    size: int  # bytes
    mode: int  # permission bits
    mtime_ns: int
    sha256: str | None = None  # hex; None if the archive has no table of contents
    offset: int = 0  # where its members start
    members: tuple[int, ...] = ()  # their lengths in bytes
    chunk: int = 0  # bytes of content in each but the last

    @property
    def end(self) -> int:
        """Where its members end."""
        return self.offset + sum(self.members)


# Writing


def write_archive(archive_id: str, frozen: FrozenFiles, workers: Workers | None = None) -> BinaryIO:
    """Return a stream of the archive of `frozen`, made as it is read: the same bytes each time.

    Without `workers` the caller's thread does the work. Errors, such as a pack that is cut off, come out of `read`.
    """
    return as_stream(_write(archive_id, frozen, workers))


def _write(archive_id: str, frozen: FrozenFiles, workers: Workers | None) -> Iterator[bytes | memoryview]:
    headers = (
        _tar.header(f"{archive_id}/{entry.name}", entry.size, entry.mode, entry.mtime_ns // 10**9)
        for entry in frozen.entries
    )
    start = b"".join(member(next(headers, _tar.END)))
    yield start
    offset = len(start)
    files = []
    results = in_order(workers, _packing_jobs(frozen, headers))
    for entry in frozen.entries:
        lengths = []
        for parts, sha256 in islice(results, _chunks(entry.size, CHUNK)):
            lengths.append(sum(map(len, parts)))
            yield from parts
        files.append(
            {"name": entry.name, "size": entry.size, "mode": entry.mode, "mtime_ns": entry.mtime_ns}
            | {"sha256": sha256, "members": lengths}
        )
        offset += sum(lengths)
    yield _encode_table({"version": 1, "chunk": CHUNK, "start": len(start), "files": files}, offset)


def _packing_jobs(frozen: FrozenFiles, headers: Iterator[bytes]) -> Iterator[Callable[[], tuple[Parts, str]]]:
    """Yield a job for each chunk; `headers` has those of the second file and so on."""
    for entry in frozen.entries:
        sha256 = OrderedHash()
        tail = _tar.padding(entry.size) + next(headers, _tar.END)
        for index in range(_chunks(entry.size, CHUNK)):
            is_last = (index + 1) * CHUNK >= entry.size
            yield partial(_pack, frozen, entry, index, tail if is_last else b"", sha256)


def _pack(frozen: FrozenFiles, entry: FileEntry, index: int, tail: bytes, sha256: OrderedHash) -> tuple[Parts, str]:
    start = index * CHUNK
    data = sha256.add(index, partial(frozen.read, entry, start, min(CHUNK, entry.size - start)))
    return member(data, tail), sha256.hexdigest() if tail else ""


def _chunks(size: int, chunk: int) -> int:
    return max(1, -(-size // chunk))  # an empty file has a member too: for the next header


def _encode_table(table: dict[str, Any], offset: int) -> bytes:
    """Return the members that end an archive, which are to stand at `offset`."""
    text = json.dumps(table, separators=(",", ":")).encode()
    packed = zlib.compress(text)
    members = b"".join(
        extra_member(_TABLE, packed[start : start + EXTRA_SIZE]) for start in range(0, len(packed), EXTRA_SIZE)
    )
    footer = _FOOTER_CONTENT.pack(_MAGIC, offset, len(members), zlib.crc32(text))
    return members + extra_member(_FOOTER, footer)


def _decode_table(members: bytes, offset: int, checksum: int) -> list[ArchiveEntry]:
    """Parse what `_encode_table` made. Raises ValueError, TypeError or KeyError if it is anything else."""
    packed = []
    position = 0
    while position < len(members):
        part, position = read_extra_member(members, position, _TABLE)
        packed.append(part)
    reader = zlib.decompressobj()
    text = reader.decompress(b"".join(packed), 64 * len(members) + (64 << 20))
    if not reader.eof or zlib.crc32(text) != checksum:
        raise ValueError("its table of contents does not fit its checksum")
    table = json.loads(text)
    try:
        entries = list(_parse_entries(table["files"], table["start"], table["chunk"]))
    except (TypeError, KeyError) as error:
        raise ValueError("its table of contents lacks something") from error
    end = entries[-1].end if entries else table["start"]
    if end != offset or len({entry.name for entry in entries}) < len(entries):
        raise ValueError("its table of contents does not fit the archive")
    return entries


def _parse_entries(files: list[dict[str, Any]], offset: int, chunk: int) -> Iterator[ArchiveEntry]:
    for file in files:
        size, mode, mtime_ns, members = file["size"], file["mode"], file["mtime_ns"], tuple(file["members"])
        if not all(type(number) is int for number in (size, mode, mtime_ns, offset, chunk, *members)):
            raise ValueError("its table of contents holds something else than numbers")
        if not 0 < chunk <= _MAX_CHUNK or size < 0 or len(members) != _chunks(size, chunk) or min(members) <= 0:
            raise ValueError("its table of contents contradicts itself")
        check_name(file["name"])
        entry = ArchiveEntry(file["name"], size, mode & 0o777, mtime_ns, str(file["sha256"]), offset, members, chunk)
        offset = entry.end
        yield entry


# Reading


class Archive:
    """An archive in a repository, or the pack that it is going to be made of.

    Args:
        storage: where it is.
        key: what it is called there.
        pack: frozen files that are read instead as long as they are there.

    What is read is what was saved: every method raises CorruptedArchive for an archive that is damaged, cut off or
    hostile, and DoesNotExist if there is none.
    """

    def __init__(self, storage: Storage, key: str, pack: Path | None = None) -> None:
        self._storage = storage
        self._key = key
        self._pack = pack
        self._table: list[ArchiveEntry] | None = None
        self._looked = False
        self.name = f"{storage.url}/{key}"

    @property
    def has_table(self) -> bool:
        """Whether files can be read one by one, and `entries` is cheap."""
        return (self._pack is not None and self._pack.exists()) or self._find_table() is not None

    def entries(self) -> list[ArchiveEntry]:
        """List the files. Without a table of contents, all of the archive has to be read."""
        with self._naming_errors():
            return [entry for entry, _ in self._contents(None, listing=True)]

    def open(self, name: str) -> BinaryIO:
        """Return a file as it was saved, in an unlinked temporary file: seekable, with a descriptor, to be closed."""
        name = posixpath.normpath(name)
        with ExitStack() as on_failure, self._naming_errors(), _explaining_temporary_files(name):
            found = None
            for _, parts in self._contents({name}):
                found = on_failure.enter_context(tempfile.TemporaryFile(prefix="keepsake-"))
                found.writelines(parts)
            if found is None:
                raise DoesNotExist(f"There is no file {name!r} in {self.name}.")
            found.seek(0)
            on_failure.pop_all()
            return cast(BinaryIO, found)

    def extract(
        self, directory: Path, names: Collection[str] | None = None, progress: Callable[[int], object] | None = None
    ) -> None:
        """Write the files, or those of them in `names`, into a directory that has none of them yet.

        `progress` is called with numbers of bytes. If it raises, what was written up to then is not to be trusted.
        Raises WriteError if the disk is full, or if something is in the way.
        """
        extraction = Extraction(directory)
        with self._naming_errors():
            for entry, parts in self._contents(None if names is None else set(names)):
                with extraction.create(entry.name, entry.mode, entry.mtime_ns) as file:
                    for part in parts:
                        file.write(part)
                        if progress:
                            progress(len(part))

    def _contents(
        self, names: set[str] | None, *, listing: bool = False
    ) -> Iterator[tuple[ArchiveEntry, Iterator[bytes]]]:
        """Yield the wanted files with their content in parts, to be read before going on unless it is for a `listing`."""
        if (frozen := self._open_pack()) is not None:
            with frozen:
                for entry in frozen.entries:
                    if names is None or entry.name in names:
                        yield ArchiveEntry(entry.name, entry.size, entry.mode, entry.mtime_ns), frozen.parts(entry)
        elif (table := self._find_table()) is not None:
            entries = [entry for entry in table if names is None or entry.name in names]
            is_big = not listing and sum(entry.size for entry in entries) > CHUNK
            with Workers() if is_big else nullcontext() as workers:
                parts = in_order(workers, self._unpacking_jobs(entries))
                for entry in entries:
                    yield entry, islice(parts, len(entry.members))
        else:
            yield from self._stream(names)

    def _stream(self, names: set[str] | None) -> Iterator[tuple[ArchiveEntry, Iterator[bytes]]]:
        with self._storage.open(self._key) as source, as_stream(inflate_all(source)) as stream:
            while (info := _tar.read_header(stream)) is not None:
                if info.isdir():
                    continue
                name = info.name.partition("/")[2]
                check_name(name)
                if info.type not in (b"0", b"\0", b"7"):
                    raise ValueError(f"{name} is a link or a device, which no archive of Keepsake holds")
                content = _tar.read_content(stream, info.size)
                if names is None or name in names:
                    yield ArchiveEntry(name, info.size, info.mode & 0o777, int(info.mtime * 10**9)), content
                deque(content, maxlen=0)
            while rest := stream.read(CHUNK):  # to its end, where the checksum is
                if rest.strip(b"\0"):
                    raise ValueError("something follows the end of the tar")

    def _unpacking_jobs(self, entries: list[ArchiveEntry]) -> Iterator[Callable[[], bytes]]:
        """Fetch the members of `entries`, neighbours in one request, and yield a job for each."""
        for run in _runs(entries):
            length = run[-1].end - run[0].offset
            with self._storage.open(self._key, start=run[0].offset, length=length) as stream:
                for entry in run:
                    sha256 = OrderedHash()
                    for index, size in enumerate(entry.members):
                        yield partial(_unpack, _tar.read_exactly(stream, size), entry, index, sha256)

    def _open_pack(self) -> FrozenFiles | None:
        if self._pack is not None:
            with suppress(FileNotFoundError):  # the archive is in the repository now
                return FrozenFiles(self._pack)
            self._pack = None
        return None

    def _find_table(self) -> list[ArchiveEntry] | None:
        if not self._looked:
            with self._naming_errors():
                self._table = self._read_table()
            self._looked = True
        return self._table

    def _read_table(self) -> list[ArchiveEntry] | None:
        with self._storage.open(self._key, start=-_TAIL) as stream:
            tail = stream.read()
        try:
            content, _ = read_extra_member(tail, len(tail) - _FOOTER_SIZE, _FOOTER)
            magic, offset, length, checksum = _FOOTER_CONTENT.unpack(content)
        except (ValueError, struct.error):
            return None
        if magic != _MAGIC:
            return None
        if length > _MAX_TABLE:
            raise ValueError("its table of contents is too large")
        if length + _FOOTER_SIZE > len(tail):
            with self._storage.open(self._key, start=offset, length=length) as stream:
                tail = _tar.read_exactly(stream, length) + tail[-_FOOTER_SIZE:]
        return _decode_table(tail[-_FOOTER_SIZE - length : -_FOOTER_SIZE], offset, checksum)

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise CorruptedArchive(f"{self.name} is damaged: {error}") from error


def _runs(entries: list[ArchiveEntry]) -> Iterator[list[ArchiveEntry]]:
    """Group entries that stand one after another."""
    run: list[ArchiveEntry] = []
    for entry in entries:
        if run and run[-1].end != entry.offset:
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def _unpack(data: bytes, entry: ArchiveEntry, index: int, sha256: OrderedHash) -> bytes:
    """Return the part of a file that member number `index` of it holds."""
    is_last = index == len(entry.members) - 1
    size = entry.size - index * entry.chunk if is_last else entry.chunk

    def content() -> bytes:
        inflated = inflate(data, size + (_MAX_HEADER if is_last else 0))
        if len(inflated) < size:
            raise ValueError("a part of it is too short")
        return inflated[:size]

    try:
        part = sha256.add(index, content)
        if is_last and sha256.hexdigest() != entry.sha256:
            raise ValueError("its content does not fit its SHA-256")
    except ValueError as error:
        raise ValueError(f"{entry.name}: {error}") from error
    return part


@contextmanager
def _explaining_temporary_files(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = tempfile.gettempdir()
        raise WriteError(
            f"Cannot unpack {name!r} into {where}: {error.strerror or error}. TMPDIR can name a directory with more room."
        ) from error
