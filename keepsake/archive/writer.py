"""Making archives, as archive/reader.py describes them: of packs in the background, or at once while files are copied.

The latter is for what hardly shrinks, such as weights: their copy is their archive already, and is only moved later.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from keepsake.archive import ARCHIVE, PACK, contents, owner_id, tar
from keepsake.archive import pack as _snapshot
from keepsake.archive.contents import ArchiveEntry, ContentHash
from keepsake.archive.gzip import SAMPLE, Parts, as_stream, member, shrinks
from keepsake.archive.pack import FileEntry, FrozenFiles, OpenFiles, UnsuitableError
from keepsake.archive.reader import Archive, is_archive
from keepsake.exceptions import DoesNotExist
from keepsake.storage.disk import DiskStorage
from keepsake.util.ignore import walk_files
from keepsake.util.workers import Turns, Workers, in_order

CHUNK = 256 << 10  # bytes; buffers that are larger go back to the system each time, which costs more than the work
_AT_ONCE = 8  # members that a thread makes in one go
_SAMPLES = 8  # of each large file
_MOST = 0.9  # of all bytes
_WRITING_OUT_SECONDS = 0.01

Packed = tuple[list[Parts], bytearray]


class Source(Protocol):
    """Files to be archived; with workers, several threads read them."""

    entries: list[FileEntry]

    def read_into(self, entry: FileEntry, start: int, buffer: memoryview) -> memoryview:
        """Fill `buffer` with a file's content from `start`, and return it."""


class Frozen(NamedTuple):
    """What `freeze` made."""

    path: Path  # a pack, or an archive already: see `keepsake.archive`
    entries: list[FileEntry]


def freeze(project_dir: Path, path: str, directory: Path, archive_id: str) -> Frozen:
    """Copy all files of `path` into a new file in `directory`, as `pack.freeze` does it and with its errors.

    What hardly shrinks becomes an archive at once, anything else a pack. But blocks that the file system can share are
    not copied for that.
    """
    files = list(walk_files(project_dir, path))
    target = directory / f"{archive_id}{ARCHIVE}"
    with suppress(UnsuitableError), OpenFiles(files) as source, _snapshot.new_pack(target, path) as pack:
        if _shrinks(source) or source.can_share_blocks_with(pack):
            raise UnsuitableError
        _snapshot.set_space_aside(pack, 0, source.size)
        with _writing_out(pack):
            for parts in _write(archive_id, source, store=True):
                _write_all(pack, parts)
        return Frozen(target, source.entries)
    target = directory / f"{archive_id}{PACK}"
    return Frozen(target, _snapshot.freeze(project_dir, path, target, files))


def _shrinks(source: OpenFiles) -> bool:
    """Whether compressing the files is worth its time."""
    large = [entry for entry in source.entries if entry.size >= _snapshot.LARGE]
    return sum(entry.size for entry in large if not _file_shrinks(source, entry)) < _MOST * source.size


def _file_shrinks(source: OpenFiles, entry: FileEntry) -> bool:
    """Go by a few samples, none of them from the header or directory that a file may begin and end with."""
    step = entry.size // _SAMPLES
    samples = (
        source.read_into(entry, start, memoryview(bytearray(SAMPLE))) for start in range(step // 2, entry.size, step)
    )
    return sum(map(shrinks, samples)) > 1


def _write_all(file: BinaryIO, parts: Parts) -> None:
    """Write many parts, in one call where the system has one for that."""
    if not hasattr(os, "writev"):
        file.writelines(parts)
        return
    file.flush()
    written = os.writev(file.fileno(), parts)
    if written < sum(map(len, parts)):  # the disk is nearly full
        file.write(b"".join(parts)[written:])


@contextmanager
def _writing_out(file: BinaryIO) -> Iterator[None]:
    """Let the disk begin with what the block writes, which never waits for that: it is then safe the sooner."""
    ended = threading.Event()

    def run(duplicate: io.FileIO) -> None:
        begun = 0
        with duplicate, suppress(OSError):
            while not ended.wait(_WRITING_OUT_SECONDS):
                position = duplicate.tell()  # which is shared
                os.posix_fadvise(duplicate.fileno(), begun, position - begun, os.POSIX_FADV_DONTNEED)
                begun = position

    if hasattr(os, "posix_fadvise"):
        duplicate = io.FileIO(os.dup(file.fileno()))
        try:
            threading.Thread(target=run, args=(duplicate,), name="keepsake-writing-out", daemon=True).start()
        except RuntimeError:  # the interpreter exits, or there is a limit
            duplicate.close()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def open_archive(pack: Path, workers: Workers | None = None) -> Iterator[BinaryIO]:
    """Open the archive that a pack is, or is to become. Raises FileNotFoundError if the pack is gone."""
    if is_archive(pack):
        with open(pack, "rb") as archive:
            yield archive
    else:
        with FrozenFiles(pack) as frozen, write_archive(owner_id(pack), frozen, workers) as archive:
            yield archive


def verify(pack: Path) -> None:
    """Compare a pack that is an archive with its checksums. Raises CorruptedArchive, and FileNotFoundError."""
    if is_archive(pack):
        try:
            Archive(DiskStorage(pack.parent), pack.name).verify()
        except DoesNotExist as error:
            raise FileNotFoundError(pack) from error


def write_archive(archive_id: str, source: Source, workers: Workers | None = None) -> BinaryIO:
    """Return a stream of the archive of `source`, made as it is read: the same bytes each time.

    Without `workers` the caller's thread does the work. Errors, such as a pack that is cut off, come out of `read`.
    """
    return as_stream(chain.from_iterable(_write(archive_id, source, workers)))


def _write(archive_id: str, source: Source, workers: Workers | None = None, *, store: bool = False) -> Iterator[Parts]:
    """Yield an archive, a few parts at a time: they are to be written before going on."""
    headers = (
        tar.header(f"{archive_id}/{entry.name}", entry.size, entry.mode, entry.mtime_ns // 10**9)
        for entry in source.entries
    )
    start = b"".join(member(next(headers, tar.END)))
    yield [start]
    offset = len(start)
    entries = []
    free: list[bytearray] = []
    begun: deque[_Packer] = deque()

    def jobs() -> Iterator[Callable[[], Packed]]:
        for entry in source.entries:
            begun.append(_Packer(source, entry, next(headers, tar.END), store))
            yield from begun[-1].jobs(free)

    results = in_order(workers, jobs())
    for entry in source.entries:
        lengths = []
        for members, buffer in islice(results, contents.chunks(entry.size, CHUNK * _AT_ONCE)):
            lengths += [sum(map(len, parts)) for parts in members]
            yield [*chain.from_iterable(members)]
            free.append(buffer)
        about = (entry.name, entry.size, entry.mode, entry.mtime_ns, begun.popleft().hash.hexdigest())
        entries.append(ArchiveEntry(*about, offset, tuple(lengths), CHUNK))
        offset = entries[-1].end
    yield [contents.encode(len(start), CHUNK, entries)]


class _Packer:
    """Makes the members of one file; `header` is the next one's, or the end of the tar."""

    def __init__(self, source: Source, entry: FileEntry, header: bytes, store: bool) -> None:
        self.hash = ContentHash()
        self._source, self._entry, self._store = source, entry, store
        self._tail = tar.padding(entry.size) + header
        self._turns = Turns(self.hash.update)

    def jobs(self, free: list[bytearray]) -> Iterator[Callable[[], Packed]]:
        """Yield jobs that make a few members each; `free` has the buffers of those that were written."""
        for index in range(contents.chunks(self._entry.size, CHUNK * _AT_ONCE)):
            buffer = free.pop() if free else bytearray(CHUNK * _AT_ONCE)
            yield partial(self._pack, index, buffer)

    def _pack(self, index: int, buffer: bytearray) -> Packed:
        start = index * len(buffer)
        data = memoryview(buffer)[: self._entry.size - start]
        self._turns.add(index, partial(self._source.read_into, self._entry, start, data))
        is_last = start + len(data) == self._entry.size
        chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [data]
        tails = [b""] * (len(chunks) - 1) + [self._tail if is_last else b""]
        members = [member(*both, store=self._store) for both in zip(chunks, tails, strict=True)]
        return members, buffer
