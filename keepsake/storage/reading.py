"""How storage on disk reads files and directories, with what to do where a file system lacks or refuses a call."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from keepsake.util.fork import importing

S = TypeVar("S")
T = TypeVar("T")

WINDOWS = sys.platform == "win32"
FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_READ = FLAGS | os.O_RDONLY
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_STALE = getattr(errno, "ESTALE", None)
_BLOCK = 1 << 20  # bytes
_ATTEMPTS = 3
_SAMPLE = 20  # files, from which it is known how long most take
_SLOW = 0.0002  # seconds per file: it waits, for a network or a disk's head, and others may wait meanwhile


def open_to_read(path: str) -> tuple[int, os.stat_result]:
    """Open a file and return its descriptor and status. What is there but is no file is an OSError too.

    The file is opened without waiting, because opening a pipe waits for somebody who writes to it.
    """
    try:
        fd = os.open(path, _READ | _NONBLOCK)
    except OSError as error:
        fd = _open_after(error, path)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return fd, status
    os.close(fd)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "It is not a file", path)


def _open_after(error: OSError, path: str) -> int:
    """Open a file that could not be opened because of `error`, or raise what says more."""
    if error.errno == _STALE or isinstance(error, BlockingIOError):  # a file server calls a lease back
        return again_if_stale(os.open, path, _READ)
    if isinstance(error, ABSENT) and os.path.islink(path):
        raise OSError(errno.ELOOP, "It is a link that leads nowhere", path) from error
    if isinstance(error, PermissionError) and os.path.isdir(path):  # as Windows says
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path) from error
    raise error


def again_if_stale(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Return what `call` returns. On NFS the file that a name stood for may be replaced before it is opened."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return call(*arguments, **options)
        except OSError as error:
            if error.errno != _STALE:
                raise
    return call(*arguments, **options)


def read_whole(path: str) -> tuple[bytes, os.stat_result]:
    """Return a file's content and its status. They belong together unless somebody writes it in place meanwhile."""
    try:
        data, status = _read_once(path)
    except OSError as error:
        if error.errno != _STALE:
            raise
        data, status = again_if_stale(_read_once, path)
    for _ in range(_ATTEMPTS - 1):
        if len(data) == status.st_size:
            break
        data, status = again_if_stale(_read_once, path)
    return data, status


def _read_once(path: str) -> tuple[bytes, os.stat_result]:
    # The status is from before reading: a file that is rewritten in place meanwhile shows as changed later
    fd, status = open_to_read(path)
    try:
        return read_all(fd, status), status
    finally:
        os.close(fd)


def read_all(fd: int, status: os.stat_result) -> bytes:
    """Return the content of an open file that has this status."""
    data = os.read(fd, status.st_size + 1)
    while len(data) != status.st_size and (more := os.read(fd, _BLOCK)):
        data += more
    return data


def fresh_status(fd: int) -> os.stat_result:
    """Return the status of an open file as it is now, not as a file system in user space remembers it."""
    if hasattr(os, "fchown"):
        with suppress(OSError):
            os.fchown(fd, -1, -1)  # changes nothing, but the answer carries the status
    return os.fstat(fd)


class Range(io.RawIOBase):
    """The next `left` bytes of a file. A file that turns out shorter is an error, which `error_of` makes."""

    def __init__(self, file: io.FileIO, left: int, error_of: Callable[[OSError], Exception]) -> None:
        self._file, self._left, self._error_of = file, left, error_of

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer` and return the number of bytes."""
        wanted = min(len(buffer), self._left)
        try:
            got = self._file.readinto(memoryview(buffer)[:wanted]) or 0
            if wanted and not got:
                raise OSError(errno.EIO, "It was cut short while it was being read")
        except OSError as error:
            raise self._error_of(error) from error
        self._left -= got
        return got

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def look_at_each(items: Iterable[S], look: Callable[[S], T]) -> Iterator[T]:
    """Yield what `look` says of each item, in no order; of many at once where each takes long.

    Elsewhere threads would only take turns.
    """
    pending = iter(items)
    while some := list(islice(pending, _SAMPLE)):
        seconds = []
        for item in some:
            begun = time.perf_counter()
            seen = look(item)
            seconds.append(time.perf_counter() - begun)
            yield seen
        if sorted(seconds)[len(seconds) // 2] > _SLOW:
            with importing:
                from keepsake.storage import network  # whose threads start with it
            yield from network.in_parallel(partial(look, item) for item in pending)


def etag_of(status: os.stat_result) -> str:
    """Return what tells the versions of a file apart."""
    # Windows tells the inode in stat() but not in a listing
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{0 if WINDOWS else status.st_ino:x}"


@contextmanager
def opened_directory(directory: str) -> Iterator[tuple[list[str], Callable[[str], os.stat_result]]]:
    """Yield the names in a directory, and what returns the status of one, following links."""
    if WINDOWS:  # where the listing knows it
        with os.scandir(directory) as entries:
            known = {entry.name: entry for entry in entries}
        yield list(known), lambda name: known[name].stat()
        return
    names = os.listdir(directory)
    fd = None
    with suppress(OSError):
        fd = os.open(directory, _READ | os.O_DIRECTORY)

    def status(name: str) -> os.stat_result:
        if fd is not None:
            try:
                return os.stat(name, dir_fd=fd)  # a fifth quicker than by its path
            except OSError:
                pass
        return again_if_stale(os.stat, f"{directory}/{name}")

    try:
        yield names, status
    finally:
        if fd is not None:
            os.close(fd)


def is_loop(directory: str) -> bool:
    """Whether a directory is a link to one that contains it."""
    if not os.path.islink(directory):
        return False
    return f"{os.path.realpath(os.path.dirname(directory))}/".startswith(f"{os.path.realpath(directory)}/")
