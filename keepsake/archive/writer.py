"""Making archives in the format of archive/reader.py: from packs in the background, or directly while files are copied.

The direct way is for files that hardly shrink, such as weights. Their copy is the archive, and is only moved later.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache, cached_property, partial
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import BinaryIO, NamedTuple, Protocol

from keepsake.archive import ARCHIVE, PACK, contents, owner_id, tar
from keepsake.archive import pack as _snapshot
from keepsake.archive.contents import ArchiveEntry, ContentHash
from keepsake.archive.gzip import SAMPLE, Parts, StoredMembers, as_stream, member, shrinks
from keepsake.archive.pack import LARGE, FileEntry, FrozenFiles, OpenFiles, UnsuitableError, new_pack, set_space_aside
from keepsake.archive.reader import Archive, is_archive
from keepsake.exceptions import DoesNotExist
from keepsake.storage.disk import DiskStorage
from keepsake.util.errors import is_the_scripts
from keepsake.util.ignore import walk_files
from keepsake.util.streams import watched
from keepsake.util.workers import Workers, in_order

CHUNK = 256 << 10  # bytes; larger buffers go back to the system each time, and that costs more than the work
_BATCH = 4 * CHUNK  # bytes that a thread packs in one go
_BATCH_FILES = 100
_SMALL = 8 << 10  # bytes; files that are smaller on average are packed faster than they are handed to a thread
_WORTH_A_THREAD = 8 * _BATCH  # bytes; below that, handing the pieces over takes longer than it saves
_SAMPLES = 8  # of each large file
_MOST = 0.9  # of all bytes
_SLOW_RATE = 1e9  # bytes per second; memory is several times as fast
_SLOW_PIECES = 3


class Source(Protocol):
    """Files to archive. With workers, several threads read them."""

    entries: list[FileEntry]

    def read_into(self, entry: FileEntry, start: int, buffer: memoryview) -> memoryview:
        """Fill `buffer` with a file's content from `start`, and return it."""

    def check(self, entry: FileEntry, xxh128: str) -> None:
        """Raise CorruptedArchive if `xxh128` is not the expected hash of a file's content."""


class Frozen(NamedTuple):
    """The result of `freeze`."""

    path: Path  # a pack or an archive: see `keepsake.archive`
    entries: list[FileEntry]


def freeze(project_dir: Path, path: str, directory: Path, archive_id: str) -> Frozen:
    """Copy all files of `path` into a new file in `directory`, with the errors of `pack.freeze`.

    Files that hardly shrink become an archive at once. Others become a pack.
    """
    files = list(walk_files(project_dir, path))
    with suppress(UnsuitableError), OpenFiles(files) as source:
        if not _shrinks(source):
            target = directory / f"{archive_id}{ARCHIVE}"
            with new_pack(target, path) as archive:
                set_space_aside(archive, 0, source.size)
                reader = _reader() if source.size >= _WORTH_A_THREAD else None
                output = _Output(archive)
                with closing(_write(archive_id, source, reader, store=True)) as archived:
                    for parts in archived:
                        output.write(parts)
            return Frozen(target, source.entries)
    target = directory / f"{archive_id}{PACK}"
    return Frozen(target, _snapshot.freeze(project_dir, path, target, files))


@cache
def _reader() -> Workers:
    """The thread that reads and checks the next piece while the training's thread writes one."""
    return Workers(1)


def _shrinks(source: OpenFiles) -> bool:
    """Whether compression of the files is worth its time."""
    large = [entry for entry in source.entries if entry.size >= LARGE]
    return sum(entry.size for entry in large if not _file_shrinks(source, entry)) < _MOST * source.size


def _file_shrinks(source: OpenFiles, entry: FileEntry) -> bool:
    """Judge by a few samples, none of them from the start or the end, where a file may have a header or a directory."""
    step = entry.size // _SAMPLES
    samples = (
        source.read_into(entry, start, memoryview(bytearray(SAMPLE))) for start in range(step // 2, entry.size, step)
    )
    return sum(map(shrinks, samples)) > 1


class _Output:
    """A file that is written in large pieces, and in small ones once a few large pieces were slow.

    For large pieces the system takes large blocks of memory. A virtual machine may have to fetch these from its host,
    which takes up to ten times as long as the copy. Small pieces fit in memory that it still has.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._slow = 0  # large pieces in a row

    def write(self, parts: Parts) -> None:
        """Write many parts, in few calls if the system supports that."""
        if sys.platform == "win32":
            self._file.writelines(parts)
            return
        self._file.flush()
        if self._slow == _SLOW_PIECES:
            for piece in _pieces_of(parts):
                self._write(piece)
            return
        start = monotonic()
        size = self._write(parts)
        is_slow = size >= LARGE and monotonic() - start > size / _SLOW_RATE
        self._slow = self._slow + 1 if is_slow else 0

    def _write(self, parts: Parts) -> int:
        size = sum(map(len, parts))
        if sys.platform == "win32":
            raise OSError("Windows writes one part at a time")
        written = 0
        try:
            written = os.writev(self._file.fileno(), parts)
        except OSError as error:  # such as ENOSYS; a plain write says what is wrong with the disk
            if is_the_scripts(error):
                raise  # all may be written already
        if written < size:  # the disk is nearly full
            self._file.write(b"".join(parts)[written:])
            self._file.flush()
        return size


def _pieces_of(parts: Parts) -> Iterator[Parts]:
    """Group parts into pieces of about CHUNK bytes."""
    piece: Parts = []
    for part in parts:
        piece.append(part)
        if sum(map(len, piece)) >= CHUNK:
            yield piece
            piece = []
    if piece:
        yield piece


@contextmanager
def open_archive(
    frozen: Path, workers: Workers | None = None, moved: Callable[[int], None] | None = None
) -> Iterator[BinaryIO]:
    """Open the archive of a frozen file, making it from a pack if needed. Raises FileNotFoundError if the file is gone.

    `moved` is called with numbers of bytes while it is read, also where much content becomes few of them. Reading
    raises CorruptedArchive if a pack is not what was frozen. An archive is not checked; `verify` does that.
    """
    if is_archive(frozen):
        with open(frozen, "rb") as archive:
            yield watched(archive, lambda data: moved(len(data))) if moved else archive
    else:
        with FrozenFiles(frozen) as files, write_archive(owner_id(frozen), files, workers, moved) as archive:
            yield archive


def verify(frozen: Path) -> None:
    """Compare a frozen file with its checksums. Raises CorruptedArchive, and FileNotFoundError."""
    if not is_archive(frozen):
        with FrozenFiles(frozen) as files:
            files.verify()
        return
    try:
        Archive(DiskStorage(frozen.parent), frozen.name).verify()
    except DoesNotExist as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(frozen)) from error


def write_archive(
    archive_id: str, source: Source, workers: Workers | None = None, moved: Callable[[int], None] | None = None
) -> BinaryIO:
    """Return a stream of the archive of `source`, made while it is read.

    The same files give the same names, contents and order each time. The compressed bytes may differ a little.

    `moved` is called with the number of bytes of each few parts. Without `workers`, or if the files are small, the
    caller's thread does the work. `read` raises errors, such as that of a pack that is cut off.
    """
    written = _write(archive_id, source, workers)
    return as_stream(chain.from_iterable(_counted(written, moved) if moved else written))


def _counted(written: Iterable[Parts], moved: Callable[[int], None]) -> Iterator[Parts]:
    for parts in written:
        moved(sum(map(len, parts)))
        yield parts


def _write(
    archive_id: str, source: Source, workers: Workers | None = None, *, store: bool = False
) -> Generator[Parts, None, None]:
    """Yield an archive, a few parts at a time. The caller writes them before it continues."""
    if sum(entry.size for entry in source.entries) < _SMALL * len(source.entries):
        workers = None
    pieces = _pieces(archive_id, source.entries)
    start = b"".join(member(next(pieces).tail))
    yield [start]
    entries: list[ArchiveEntry] = []
    offset = len(start)
    hashes, lengths = _Hashes(), list[int]()
    free: list[_Buffer] = []
    pack = partial(_pack, source, store)
    if workers is None or workers.count == 1:  # pieces are packed in order, so the thread that has them can hash them
        pack = partial(pack, hashes=hashes)

    def jobs() -> Iterator[Callable[[], _Packed]]:
        for batch in _batches(pieces):
            yield partial(pack, batch, free.pop() if free else _Buffer())

    for packed in in_order(workers, jobs()):
        yield packed.output
        hashed = packed.hashes or hashes.of(packed.pieces, packed.contents)
        for piece, xxh128, piece_lengths in zip(packed.pieces, hashed, packed.lengths, strict=True):
            lengths += piece_lengths
            if piece.is_last:
                entry = piece.entry
                source.check(entry, xxh128)
                about = (entry.name, entry.size, entry.mode, entry.mtime_ns, xxh128)
                entries.append(ArchiveEntry(*about, offset, tuple(lengths), CHUNK))
                offset += sum(lengths)
                lengths = []
        free.append(packed.buffer)
    yield [contents.encode(len(start), CHUNK, entries)]


class _Piece(NamedTuple):
    """A part of a file that is packed in one go, or the beginning of the archive."""

    entry: FileEntry
    start: int
    size: int
    tail: bytes  # at the end of the file: its padding in the tar, and the next header
    is_last: bool


def _pieces(archive_id: str, entries: list[FileEntry]) -> Iterator[_Piece]:
    """Yield the beginning of the archive, a piece without content, and then all pieces of all files."""
    nothing = FileEntry("", 0, 0, 0, 0)
    before, padding = nothing, b""
    for entry in chain(entries, [nothing]):
        following = (
            tar.END
            if entry is nothing
            else tar.header(f"{archive_id}/{entry.name}", entry.size, entry.mode, entry.mtime_ns // 10**9)
        )
        last = max(0, before.size - 1) // _BATCH * _BATCH
        for start in range(0, last, _BATCH):
            yield _Piece(before, start, _BATCH, b"", is_last=False)
        yield _Piece(before, last, before.size - last, padding + following, is_last=True)
        before, padding = entry, tar.padding(entry.size)


def _batches(pieces: Iterator[_Piece]) -> Iterator[list[_Piece]]:
    """Group small pieces, because handing them to a thread one by one would take longer than packing them."""
    batch: list[_Piece] = []
    size = 0
    for piece in pieces:
        if batch and (size + piece.size > _BATCH or len(batch) == _BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += piece.size
    if batch:
        yield batch


class _Packed(NamedTuple):
    """A packed batch."""

    pieces: list[_Piece]
    contents: list[memoryview]  # of each piece, in the buffer
    lengths: list[list[int]]  # of the members of each piece
    output: Parts  # to be written in one call, because each call waits for the other threads' turns
    hashes: list[str]  # see `_Hashes`; empty if the caller is to hash the contents
    buffer: _Buffer


class _Buffer:
    """The memory of a batch, used for one batch after another."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(_BATCH))

    @cached_property
    def stored(self) -> StoredMembers:
        """The members of the whole buffer. Large files consist of them, so making them must take no time."""
        return StoredMembers(self.memory, CHUNK)


class _Hashes:
    """The hashes of files whose pieces come in order."""

    def __init__(self) -> None:
        self._digest = ContentHash()

    def of(self, pieces: list[_Piece], contents: list[memoryview]) -> list[str]:
        """Return for each piece the hash of its file up to there."""
        hashes = []
        for piece, data in zip(pieces, contents, strict=True):
            self._digest.update(data)
            hashes.append(self._digest.hexdigest())
            if piece.is_last:
                self._digest = ContentHash()
        return hashes


def _pack(source: Source, store: bool, pieces: list[_Piece], buffer: _Buffer, hashes: _Hashes | None = None) -> _Packed:
    """Make the members of a few pieces."""
    packed = _Packed(pieces, [], [], [], [], buffer)
    left = buffer.memory
    for piece in pieces:
        data = source.read_into(piece.entry, piece.start, left[: piece.size])
        left = left[piece.size :]
        packed.contents.append(data)
        if store and piece.size == _BATCH and not piece.is_last:
            packed.lengths.append(buffer.stored.lengths)
            packed.output.extend(buffer.stored.parts())
            continue
        chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [data]
        tails = [b""] * (len(chunks) - 1) + [piece.tail]
        members = [member(*both, store=store) for both in zip(chunks, tails, strict=True)]
        packed.lengths.append([sum(map(len, parts)) for parts in members])
        packed.output.extend(chain.from_iterable(members))
    if hashes:
        packed.hashes.extend(hashes.of(pieces, packed.contents))
    return packed if store else packed._replace(output=[b"".join(packed.output)])
