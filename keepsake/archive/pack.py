"""Snapshots: the files of a path frozen in one pack file, at the speed of a copy. That is what the training waits for.

    content of the 1st file | content of the 2nd | … | table of contents (JSON) | footer

The content of a large file starts at a multiple of the block size, so that a file system that can will share its blocks
(reflink) instead of copying them. Nothing is hashed or compressed here; that is the archive's, in the background.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import stat
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import BinaryIO

from keepsake.exceptions import CorruptedArchive, DoesNotExist, WriteError
from keepsake.util.ignore import leave_out, walk_files

_BLOCK = 4096  # bytes; what file systems want the parts they share to be aligned to
LARGE = 1 << 20  # bytes; from here on a file is copied by itself instead of through the buffer
_MANY = 100  # files, all open at once
_PART = 256 << 10  # bytes that are read at once
_FICLONERANGE = 0x4020940D  # Linux: share the blocks of another file
_FOOTER = struct.Struct("<QQI8s")  # offset, length and CRC-32 of the table
_RESERVE_BYTES = 1 << 30  # never fill the disk to the brim: leave 1 GB, or 5 % of a small one
_RESERVE_SHARE = 0.05
_MAGIC = b"KSPACK1\n"


@dataclass(frozen=True)
class FileEntry:
    """One file of a snapshot."""

    name: str  # POSIX, relative to the project directory
    size: int  # bytes
    mode: int  # permission bits
    mtime_ns: int
    offset: int  # where its content starts in the pack


def check_room(directory: Path) -> None:
    """Raise WriteError if the disk of `directory` is too full to take more files."""
    try:
        usage = shutil.disk_usage(directory)
    except FileNotFoundError:
        return  # removed just now: whoever writes there will see
    except OSError as error:
        raise WriteError(f"cannot look at {directory}: {error.strerror or error}") from error
    reserve = min(_RESERVE_BYTES, int(usage.total * _RESERVE_SHARE))
    if usage.free < reserve:
        raise WriteError(
            f"the disk of {directory} is nearly full: {usage.free / 1e6:,.0f} MB are free, "
            f"of which {reserve / 1e6:,.0f} MB are left alone"
        )


Files = Iterable[tuple[str, Path]]  # POSIX names relative to the project directory, and where they are


def freeze(project_dir: Path, path: str, target: Path, files: Files | None = None) -> list[FileEntry]:
    """Copy all `files` of `path` as they are now into the pack file `target`, which appears whole or not at all.

    A file that cannot be read is left out with a warning; of one that shrinks or grows meanwhile, what was there on
    opening it and still is on reading it is taken.

    Raises ValidationError and DoesNotExist for a `path` that is wrong, is missing or has no file that can be saved,
    WriteError if `target` cannot be written.
    """
    with new_pack(target, path) as pack:
        entries = _copy_files(walk_files(project_dir, path) if files is None else files, pack)
        if not entries:
            raise DoesNotExist(
                f"No file to save in {path!r} (looked for in {project_dir}): none can be read, or all of "
                "them are left out by .keepsakeignore or lie in a directory that is never saved (.git, a virtual "
                "environment …)."
            )
        table = json.dumps([astuple(entry) for entry in entries], separators=(",", ":")).encode()
        pack.write(table + _FOOTER.pack(pack.tell(), len(table), zlib.crc32(table), _MAGIC))
    return entries


@contextmanager
def new_pack(target: Path, path: str) -> Iterator[BinaryIO]:
    """Open a file that becomes the pack `target` unless the block raises. Raises WriteError for what the disk says."""
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb", buffering=LARGE, opener=_open_private) as pack:
            yield pack
            pack.truncate()  # more space may have been set aside
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise WriteError(_explain(error, path, target)) from error
        raise


def _copy_files(files: Files, pack: BinaryIO) -> list[FileEntry]:
    entries = []
    buffer = memoryview(bytearray(LARGE))
    for name, file in files:
        try:
            source = io.FileIO(file, opener=_open_without_waiting)
        except OSError as error:
            leave_out(str(file), error.strerror or str(error))
            continue
        with source:
            status = os.fstat(source.fileno())
            if not stat.S_ISREG(status.st_mode):
                leave_out(str(file), "not a regular file")
                continue
            if status.st_size >= LARGE:
                pack.seek(-pack.tell() % _BLOCK, os.SEEK_CUR)
            start = pack.tell()
            try:
                size = _copy(source, status.st_size, pack, buffer)
            except _UnreadableError as error:
                leave_out(str(file), f"it cannot be read to its end ({error})")
                pack.seek(start)
                continue
        entries.append(FileEntry(name, size, status.st_mode & 0o777, status.st_mtime_ns, start))
    return entries


class _UnreadableError(Exception):
    """Reading a source failed: the file's trouble, not the pack's."""


def _copy(source: io.FileIO, size: int, pack: BinaryIO, buffer: memoryview) -> int:
    """Append up to `size` bytes of `source` and return how many there were."""
    if size >= LARGE:
        start = pack.tell()  # flushes, too
        if (shared := _share_blocks(source, pack, start)) is not None:
            pack.seek(start + shared)
            return shared
        set_space_aside(pack, start, size)
    left = size
    while left:
        try:
            count = source.readinto(buffer[:left])
        except OSError as error:
            raise _UnreadableError(error.strerror or str(error)) from error
        if not count:
            break
        pack.write(buffer[:count])
        left -= count
    return size - left


def _share_blocks(source: io.FileIO, pack: BinaryIO, start: int) -> int | None:
    """Let the pack share all blocks of `source` and return their size in bytes, or None where that is not offered."""
    try:
        import fcntl

        pack.flush()
        fcntl.ioctl(pack.fileno(), _FICLONERANGE, struct.pack("qQQQ", source.fileno(), 0, 0, start))
    except (ImportError, OSError):
        return None
    return os.fstat(pack.fileno()).st_size - start


def set_space_aside(file: BinaryIO, start: int, size: int) -> None:
    """Allocate a large file's blocks at once: writing them then takes about half the time, and a full disk shows first.

    Raises OSError only if there is not enough room.
    """
    if size < LARGE or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), start, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a fifo that took the file's place would block


def _explain(error: OSError, path: str, target: Path) -> str:
    where = target.parent
    text = f"Cannot save a copy of {path!r} in {where}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with suppress(OSError):
            text += f" ({shutil.disk_usage(where).free / 1e6:,.0f} MB are free)"
        text += ". Make room, or set KEEPSAKE_SPOOL to a directory on a larger disk"
    return text


class UnsuitableError(Exception):
    """Files are not what they should be for a way to save them: there is another."""


class OpenFiles:
    """A few files of a project, large ones among them, to be read as they are. A context manager.

    Raises UnsuitableError, then or while one is read, for whatever `freeze` should deal with.
    """

    def __init__(self, files: list[tuple[str, Path]]) -> None:
        self.entries: list[FileEntry] = []
        self._files: dict[str, io.FileIO] = {}
        if len(files) > _MANY:
            raise UnsuitableError
        with ExitStack() as opened:
            for name, path in files:
                try:
                    file = opened.enter_context(io.FileIO(path, opener=_open_without_waiting))
                    status = os.fstat(file.fileno())
                except OSError as error:
                    raise UnsuitableError from error
                if not stat.S_ISREG(status.st_mode):
                    raise UnsuitableError
                self.entries.append(FileEntry(name, status.st_size, status.st_mode & 0o777, status.st_mtime_ns, 0))
                self._files[name] = file
            self.size = sum(entry.size for entry in self.entries)
            if self.size < LARGE:
                raise UnsuitableError
            self._opened = opened.pop_all()

    def __enter__(self) -> OpenFiles:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def can_share_blocks_with(self, pack: BinaryIO) -> bool:
        """Whether the file system lets files share blocks; tried with the largest one, so `pack` is then changed."""
        largest = max(self.entries, key=lambda entry: entry.size)
        return _share_blocks(self._files[largest.name], pack, 0) is not None

    def read_into(self, entry: FileEntry, start: int, buffer: memoryview) -> memoryview:
        """Fill `buffer` with a file's content from `start`, and return it. A file that shrank is unsuitable."""
        try:
            return _fill(self._files[entry.name], start, buffer)
        except (OSError, EOFError) as error:
            raise UnsuitableError from error


class FrozenFiles:
    """The files of a pack, to be read by several threads. A context manager.

    Raises FileNotFoundError if there is no such pack, CorruptedArchive if it is not whole.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._lock = threading.Lock()  # one file position, several readers
        self._file = open(target, "rb", buffering=0)  # noqa: SIM115 (closed by close)
        try:
            self.entries = self._read_table()
        except BaseException as error:
            self.close()
            if isinstance(error, (ValueError, TypeError)):
                raise CorruptedArchive(f"{target} is damaged or was cut off: {error}") from error
            raise

    def __enter__(self) -> FrozenFiles:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pack."""
        self._file.close()

    def read(self, entry: FileEntry, start: int, length: int) -> bytes:
        """Return `length` bytes of a file from `start`. Raises CorruptedArchive if the pack ends before."""
        return bytes(self.read_into(entry, start, memoryview(bytearray(length))))

    def read_into(self, entry: FileEntry, start: int, buffer: memoryview) -> memoryview:
        """Fill `buffer` with a file's content from `start`, and return it. Raises CorruptedArchive as `read` does."""
        return self._read_at(entry.offset + start, buffer)

    def parts(self, entry: FileEntry) -> Iterator[bytes]:
        """Yield the content of a file in parts."""
        for start in range(0, entry.size, _PART):
            yield self.read(entry, start, min(_PART, entry.size - start))

    def _read_table(self) -> list[FileEntry]:
        end = self._file.seek(0, os.SEEK_END) - _FOOTER.size
        footer = self._read_at(max(end, 0), memoryview(bytearray(_FOOTER.size)))
        offset, length, checksum, magic = _FOOTER.unpack(footer)
        if magic != _MAGIC or offset + length != end:
            raise ValueError("it has no table of contents")
        table = bytes(self._read_at(offset, memoryview(bytearray(length))))
        if zlib.crc32(table) != checksum:
            raise ValueError("its table of contents does not fit its checksum")
        return [FileEntry(*row) for row in json.loads(table)]

    def _read_at(self, offset: int, buffer: memoryview) -> memoryview:
        try:
            with self._lock:
                return _fill(self._file, offset, buffer)
        except EOFError as error:
            raise CorruptedArchive(f"{self.target} was cut off at {error} bytes") from error


def _fill(file: io.FileIO, start: int, buffer: memoryview) -> memoryview:
    """Fill `buffer` with what `file` has from `start`, and return it. Raises EOFError with the size of the file."""
    filled = 0
    file.seek(start)
    while filled < len(buffer):
        count = file.readinto(buffer[filled:])
        if not count:
            raise EOFError(start + filled)
        filled += count
    return buffer
