"""Writing files below a directory, and nowhere else, whatever an archive says."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from keepsake.archive.contents import check_name
from keepsake.archive.pack import set_space_aside
from keepsake.exceptions import WriteError


class Extraction:
    """Makes new files in `directory`, and the directories they need; never writes to or through what was there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: set[str] = set()

    @contextmanager
    def create(self, name: str, size: int, mode: int, mtime_ns: int) -> Iterator[BinaryIO]:
        """Open a new file for `size` bytes, with the permissions in `mode`. If the block raises, it is gone again.

        Raises ValueError for a name that could lead elsewhere, WriteError for what the disk or the directory says.
        """
        check_name(name)
        path = self._directory / name
        try:
            self._make_directory(os.path.dirname(name))
            with open(path, "xb", opener=_open_new) as file:
                try:
                    set_space_aside(file, 0, size)
                    yield file
                    file.flush()
                    _set_attributes(file, path, mode, mtime_ns)
                except BaseException:
                    path.unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise WriteError(f"Cannot write {path}: {error.strerror or error}") from error

    def _make_directory(self, name: str) -> None:
        if name in self._made:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        parts = name.split("/") if name else []
        for depth in range(1, len(parts) + 1):
            path = self._directory.joinpath(*parts[:depth])
            with suppress(FileExistsError):
                path.mkdir()
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise WriteError(f"Cannot write below {path}: it is a link or a file, not a directory.")
        self._made.add(name)


def _open_new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _set_attributes(file: BinaryIO, path: Path, mode: int, mtime_ns: int) -> None:
    target = file.fileno() if os.chmod in os.supports_fd and os.utime in os.supports_fd else path
    os.chmod(target, mode & 0o777)  # never setuid, setgid or sticky
    with suppress(OSError, OverflowError):  # a time that this file system can't keep is not worth failing for
        os.utime(target, ns=(mtime_ns, mtime_ns))
