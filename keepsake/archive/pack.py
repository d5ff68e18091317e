"""Packs: the files of a path frozen in one file, at the speed of a copy. The training waits for this.

    content of the 1st file | content of the 2nd | … | table of contents (JSON) | footer

The table holds a hash of each file, so a pack that a power cut damaged is always recognised. Nothing is compressed
here. The background compresses when it makes the archive.

Reflinks are not used. Before the kernel shares the blocks of a file, it writes the file's dirty pages to the disk, and
a file that was just saved is dirty.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import struct
import sys
import threading
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from keepsake.archive.contents import ContentHash
from keepsake.exceptions import CorruptedArchive, DoesNotExist, WriteError
from keepsake.util.errors import is_the_scripts
from keepsake.util.files import open_at_once
from keepsake.util.ignore import leave_out, walk_files

LARGE = 1 << 20  # bytes
PIECE = 256 << 10  # bytes per read and write; larger buffers cost time, because the system must provide new memory
_MANY = 100  # the most files that are open at once
_SMALLEST_HOLE = 64 << 10  # bytes
_KEEP_SIZE = 1  # a flag of fallocate
_ZEROS = memoryview(bytes(PIECE))
_FOOTER = struct.Struct("<QQI8s")  # offset, length and CRC-32 of the table
_RESERVE_BYTES = 1 << 30  # always leave 1 GB free, or 5 % of a small disk
_RESERVE_SHARE = 0.05
_MAGIC = b"KSPACK1\n"


class FileEntry(NamedTuple):
    """One file of a snapshot."""

    name: str  # POSIX, relative to the project directory
    size: int  # bytes
    mode: int  # permission bits
    mtime_ns: int
    offset: int  # the start of its content in the pack
    xxh128: str = ""  # of its content, hex; empty if unknown, as in packs by early builds of 1.0.0


def check_room(directory: Path) -> None:
    """Raise WriteError if the disk of `directory` is too full to take more files."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError as error:
        if is_the_scripts(error):
            raise
        return  # the free space is unknown, so the write itself will show
    reserve = min(_RESERVE_BYTES, int(usage.total * _RESERVE_SHARE))
    if usage.free < reserve:
        raise WriteError(
            f"The disk of {directory} is nearly full: {usage.free / 1e6:,.0f} MB are free, and Keepsake leaves "
            f"{reserve / 1e6:,.0f} MB free. Free some space, or set KEEPSAKE_SPOOL to a directory on a larger disk."
        )


Files = Iterable[tuple[str, str]]  # POSIX names relative to the project directory, and paths


def freeze(project_dir: Path, path: str, target: Path, files: Files | None = None) -> list[FileEntry]:
    """Copy all `files` of `path` into the pack file `target`. The pack appears complete or not at all.

    A file that cannot be read is left out with a warning. A file that grows meanwhile is cut to the size that it had
    when it was opened, and a file that shrinks is taken as far as it can be read.

    Raises ValidationError or DoesNotExist if `path` is wrong, is missing or has no file that can be saved, WriteError
    if `target` cannot be written.
    """
    with new_pack(target, path) as pack:
        entries = _copy_files(walk_files(project_dir, path) if files is None else files, pack)
        if not entries:
            raise DoesNotExist(
                f"There is no file to save in {path!r} (looked for in {project_dir}). Files that cannot be read, that "
                ".keepsakeignore leaves out, or that lie in .git or a virtual environment are never saved. Name "
                "another path, or leave it out."
            )
        table = json.dumps(entries, separators=(",", ":")).encode()
        pack.write(table + _FOOTER.pack(pack.tell(), len(table), zlib.crc32(table), _MAGIC))
    return entries


@contextmanager
def new_pack(target: Path, path: str) -> Iterator[BinaryIO]:
    """Open a file that becomes the pack `target` unless the block raises. Raises WriteError for errors of the disk."""
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb", buffering=PIECE, opener=_open_private) as pack:
            yield pack
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise WriteError(_explain(error, path, target)) from error
        raise


def _copy_files(files: Files, pack: BinaryIO) -> list[FileEntry]:
    entries = []
    start = 0
    for name, path in files:
        try:
            source, status = _open(path)
            try:
                size, digest = _copy(source, status, pack)
            finally:
                os.close(source)
        except _UnreadableError as error:
            leave_out(path, str(error))
            if pack.tell() != start:
                pack.seek(start)
                pack.truncate()
            continue
        entries.append(FileEntry(name, size, status.st_mode & 0o777, status.st_mtime_ns, start, digest))
        start += size
    return entries


class _UnreadableError(Exception):
    """A file of the project cannot be read. The pack itself is fine."""


def _open(path: str) -> tuple[int, os.stat_result]:
    """Open a regular file, and return its descriptor and status."""
    source = -1
    try:
        source = open_at_once(path)
        status = os.fstat(source)
        if stat.S_ISREG(status.st_mode):
            return source, status
        reason = "not a regular file"
    except OSError as error:
        if is_the_scripts(error):
            raise
        reason = error.strerror or str(error)
    if source >= 0:
        os.close(source)
    raise _UnreadableError(reason)


def _copy(source: int, status: os.stat_result, pack: BinaryIO) -> tuple[int, str]:
    """Append a file, up to its size when it was opened; return the number of bytes and their hash."""
    digest = ContentHash()
    left = status.st_size
    has_holes = left > _SMALLEST_HOLE and is_sparse(status)
    if left >= LARGE and not has_holes:
        set_space_aside(pack, pack.tell(), left)
    while left:
        try:
            hole = _hole_at(source, status.st_size - left, status.st_size) if has_holes else 0
            piece = b"" if hole else os.read(source, left if left < PIECE else PIECE)
        except OSError as error:
            if is_the_scripts(error):
                raise
            raise _UnreadableError(f"it cannot be read to its end ({error.strerror or error})") from error
        if hole:
            pack.seek(hole, os.SEEK_CUR)
            for at in range(0, hole, PIECE):
                digest.update(_ZEROS[: hole - at])
        elif piece:
            pack.write(piece)
            digest.update(piece)
        else:
            break
        left -= hole or len(piece)
    return status.st_size - left, digest.hexdigest()


def is_sparse(status: os.stat_result) -> bool:
    """Whether a file may have holes. A file that the file system compresses only seems to have some."""
    return getattr(status, "st_blocks", status.st_size) * 512 < status.st_size - _SMALLEST_HOLE


def _hole_at(source: int, start: int, end: int) -> int:
    """Return the length of the hole at `start`, 0 if it is too small, and move the file position behind it."""
    if sys.platform == "win32":
        return 0
    try:
        data = os.lseek(source, start, os.SEEK_DATA)
    except OSError as error:  # no data follows, or the file system cannot tell
        data = min(end, os.fstat(source).st_size) if error.errno == errno.ENXIO else start
    hole = min(data, end) - start
    hole = hole if hole >= _SMALLEST_HOLE else 0
    os.lseek(source, start + hole, os.SEEK_SET)
    return hole


def set_space_aside(file: BinaryIO, start: int, size: int) -> None:
    """Allocate a large file's blocks at once, where the system can. Writing them then takes a fifth less time.

    The size of the file stays as it is. No error is raised, because a full disk shows when the file is written. The C
    library's posix_fallocate is not used: it writes to every block if the file system cannot allocate.
    """
    if size < LARGE or sys.platform != "linux" or sys.maxsize < 1 << 32:
        return
    try:
        import ctypes

        room = os.fstatvfs(file.fileno())
        if size > room.f_bavail * room.f_frsize:
            return  # the attempt would fill the disk
        allocate = ctypes.CDLL(None).fallocate
        allocate(file.fileno(), _KEEP_SIZE, ctypes.c_int64(start), ctypes.c_int64(size))
    except (ImportError, OSError, AttributeError) as error:
        if is_the_scripts(error):
            raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _explain(error: OSError, path: str, target: Path) -> str:
    where = target.parent
    text = f"Cannot save a copy of {path!r} in {where}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with suppress(OSError):
            text += f" ({shutil.disk_usage(where).free / 1e6:,.0f} MB are free)"
        return f"{text}. Free some space, or set KEEPSAKE_SPOOL to a directory on a larger disk."
    if error.errno == errno.EFBIG:
        return f"{text}. Raise the limit on the size of files (`ulimit -f`), or save fewer files at once."
    return f"{text}. Check that directory, or set KEEPSAKE_SPOOL to another one."


class UnsuitableError(Exception):
    """These files cannot be saved in this way. The caller has another way."""


class OpenFiles:
    """A few files of a project, some of them large, to be read in place. A context manager.

    Opening or reading them raises UnsuitableError if `freeze` must handle them.
    """

    def __init__(self, files: list[tuple[str, str]]) -> None:
        self.entries: list[FileEntry] = []
        self._files: dict[str, BinaryIO] = {}
        if len(files) > _MANY:
            raise UnsuitableError
        with ExitStack() as opened:
            for name, path in files:
                try:
                    source, status = _open(path)
                except _UnreadableError as error:
                    raise UnsuitableError from error
                self._files[name] = opened.enter_context(open(source, "rb", buffering=0))
                if is_sparse(status):
                    raise UnsuitableError
                self.entries.append(FileEntry(name, status.st_size, status.st_mode & 0o777, status.st_mtime_ns, 0))
            self.size = sum(entry.size for entry in self.entries)
            if self.size < LARGE:
                raise UnsuitableError
            self._opened = opened.pop_all()

    def __enter__(self) -> OpenFiles:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def read_into(self, entry: FileEntry, start: int, buffer: memoryview) -> memoryview:
        """Fill `buffer` from `start` of a file, and return it. Raises UnsuitableError if the file shrank."""
        try:
            return _fill(self._files[entry.name], start, buffer)
        except (OSError, EOFError) as error:
            if is_the_scripts(error):
                raise
            raise UnsuitableError from error

    def check(self, entry: FileEntry, xxh128: str) -> None:
        """Accept any content, because no earlier hash exists."""


class FrozenFiles:
    """The files of a pack, to be read by several threads. A context manager.

    Raises FileNotFoundError if there is no such pack, CorruptedArchive if it is incomplete.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._lock = threading.Lock()  # several readers share one file position
        self._file = open(target, "rb", buffering=0)  # noqa: SIM115 (closed by close)
        try:
            self.entries = self._read_table()
        except BaseException as error:
            self.close()
            if isinstance(error, (ValueError, TypeError)):
                raise CorruptedArchive(f"{target} is damaged or was cut off: {error}.") from error
            raise

    def __enter__(self) -> FrozenFiles:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pack."""
        self._file.close()

    def read(self, entry: FileEntry, start: int, length: int) -> bytes:
        """Return `length` bytes of a file from `start`. Raises CorruptedArchive if the pack ends earlier."""
        return bytes(self.read_into(entry, start, memoryview(bytearray(length))))

    def read_into(self, entry: FileEntry, start: int, buffer: memoryview) -> memoryview:
        """Fill `buffer` with a file's content from `start`, and return it. Raises CorruptedArchive as `read` does."""
        return self._read_at(entry.offset + start, buffer)

    def parts(self, entry: FileEntry) -> Iterator[bytes]:
        """Yield the content of a file in parts. Raises CorruptedArchive at its end if it is not what was frozen."""
        digest = ContentHash()
        for start in range(0, entry.size, PIECE):
            part = self.read(entry, start, min(PIECE, entry.size - start))
            digest.update(part)
            yield part
        self.check(entry, digest.hexdigest())

    def check(self, entry: FileEntry, xxh128: str) -> None:
        """Raise CorruptedArchive if `xxh128` is not the hash of what was frozen."""
        if entry.xxh128 not in ("", xxh128):
            raise CorruptedArchive(f"{self.target} is damaged: {entry.name} does not match its hash in the table.")

    def verify(self) -> None:
        """Read all files. Raises CorruptedArchive if a file is not what was frozen."""
        for entry in self.entries:
            deque(self.parts(entry), maxlen=0)

    def _read_table(self) -> list[FileEntry]:
        end = self._file.seek(0, os.SEEK_END) - _FOOTER.size
        footer = self._read_at(max(end, 0), memoryview(bytearray(_FOOTER.size)))
        offset, length, checksum, magic = _FOOTER.unpack(footer)
        if magic != _MAGIC or offset + length != end:
            raise ValueError("it has no table of contents")
        table = bytes(self._read_at(offset, memoryview(bytearray(length))))
        if zlib.crc32(table) != checksum:
            raise ValueError("its table of contents does not match its checksum")
        return [FileEntry(*row) for row in json.loads(table)]

    def _read_at(self, offset: int, buffer: memoryview) -> memoryview:
        try:
            with self._lock:
                return _fill(self._file, offset, buffer)
        except EOFError as error:
            raise CorruptedArchive(f"{self.target} was cut off at {error} bytes.") from error


def _fill(file: BinaryIO, start: int, buffer: memoryview) -> memoryview:
    """Fill `buffer` from position `start` of `file`, and return it. Raises EOFError with the size of the file."""
    filled = 0
    file.seek(start)
    while filled < len(buffer):
        count = file.readinto(buffer[filled:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError(start + filled)
        filled += count
    return buffer
