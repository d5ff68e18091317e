"""Writing files below a directory, and nowhere else, even if an archive is hostile."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from keepsake.archive.contents import ArchiveEntry, check_name
from keepsake.archive.gzip import Parts
from keepsake.archive.pack import LARGE, set_space_aside
from keepsake.exceptions import WriteError
from keepsake.util.files import WINDOWS

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_BY_DESCRIPTOR = os.chmod in os.supports_fd and os.utime in os.supports_fd
_HOLE = 64 << 10  # bytes; a run of zeros of this length or more becomes a hole
_ZEROS = bytes(_HOLE)

Progress = Callable[[int], object]


class Extraction:
    """Makes new files in `directory`, with their parents. It never writes to or through existing files and links."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        self._made: set[str] = set()

    def write(
        self, entry: ArchiveEntry, content: Iterable[Parts], progress: Progress | None = None, *, is_dense: bool = True
    ) -> None:
        """Write a new file, with the permissions of `entry`. If `content` raises, the file is removed.

        `progress` is called with numbers of bytes. Space is set aside for a file that `is_dense`. Other files get holes
        in place of long runs of zeros. Raises ValueError for a name that could lead elsewhere, WriteError for errors of
        the disk or the directory.
        """
        check_name(entry.name)
        path = f"{self._directory}/{entry.name}"
        try:
            self._make_directory(entry.name.rpartition("/")[0])
            descriptor = os.open(path, _FLAGS, entry.mode & 0o777 | 0o600)  # perhaps nothing can change it later
            try:
                try:
                    if is_dense:
                        _set_space_aside(descriptor, entry.size)
                    _fill(descriptor, content, progress)
                    if not WINDOWS:
                        _set_attributes(descriptor, path, entry)
                finally:
                    os.close(descriptor)
                if WINDOWS:  # closing a file that was written gives it another time, and there are no permissions
                    _set_time(path, entry)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(path)
                raise
        except OSError as error:
            raise WriteError(f"Cannot write {path}: {error.strerror or error}.") from error

    def _make_directory(self, name: str) -> None:
        if name in self._made:
            return
        os.makedirs(self._directory, exist_ok=True)
        path = self._directory
        for part in name.split("/") if name else []:
            path = f"{path}/{part}"
            with suppress(FileExistsError):
                os.mkdir(path)
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise WriteError(f"Cannot write below {path}: it is a link or a file, not a directory. Move it away.")
        self._made.add(name)


def _set_space_aside(descriptor: int, size: int) -> None:
    if size >= LARGE:
        with open(descriptor, "wb", buffering=0, closefd=False) as large:
            set_space_aside(large, 0, size)


def _fill(descriptor: int, content: Iterable[Parts], progress: Progress | None) -> None:
    file = _NewFile(descriptor)
    for parts in content:  # small writes are faster: for large ones Linux takes new memory, and a virtual machine may
        for part in parts:  # have to get that from its host first
            file.write(part)
        if progress:
            progress(sum(map(len, parts)))
    file.finish()


class _NewFile:
    """A new file that is written from its beginning to its end, with holes in place of long runs of zeros."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._hole = 0  # pending bytes of zeros

    def write(self, data: bytes | memoryview) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        start = 0
        for end in range(0, len(view) - _HOLE + 1, _HOLE):
            if _is_zero(view[end : end + _HOLE]):
                if start < end:
                    self._write(view[start:end])
                self._hole += _HOLE
                start = end + _HOLE
        if start < len(view):
            self._write(view[start:])

    def finish(self) -> None:
        """Give the file its length if it ends in a hole."""
        if self._hole:
            self._hole -= 1
            self._write(b"\0")

    def _write(self, data: bytes | memoryview) -> None:
        if self._hole:
            self._leave_hole(data[:1])
            data = memoryview(data)[1:]
        while data and (count := os.write(self._descriptor, data)) < len(data):
            data = memoryview(data)[count:]

    def _leave_hole(self, first: bytes | memoryview) -> None:
        """Skip the zeros and write one byte. If the file system cannot skip, write the zeros too."""
        hole, self._hole = self._hole, 0
        with suppress(OSError):
            os.lseek(self._descriptor, hole, os.SEEK_CUR)
            try:
                os.write(self._descriptor, first)
            except OSError:
                os.lseek(self._descriptor, -hole, os.SEEK_CUR)
                raise
            return
        while hole:
            hole -= os.write(self._descriptor, _ZEROS[: min(hole, _HOLE)])
        os.write(self._descriptor, first)


def _is_zero(block: memoryview) -> bool:
    return not block[0] and not block[-1] and block.tobytes() == _ZEROS


def _set_attributes(descriptor: int, path: str, entry: ArchiveEntry) -> None:
    """Set permissions and time. Ignore a file system that keeps neither, because the content is complete."""
    target = descriptor if _BY_DESCRIPTOR else path
    try:
        os.chmod(target, entry.mode & 0o777)  # never setuid, setgid or sticky
    except OSError:
        pass
    _set_time(target, entry)


def _set_time(target: int | str, entry: ArchiveEntry) -> None:
    try:
        os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))
    except (OSError, OverflowError):
        pass
