"""How storage on disk reads files and directories, with fallbacks for file systems that lack or refuse a call."""

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
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from keepsake.storage.base import ObjectInfo
from keepsake.util.clock import monotonic
from keepsake.util.errors import is_the_scripts
from keepsake.util.files import TEMPORARY, WINDOWS, open_at_once
from keepsake.util.fork import importing

_kinds: dict[int, tuple[str, float]] = {}  # device → type of its file system, and until when that holds

S = TypeVar("S")
T = TypeVar("T")

FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_STALE = getattr(errno, "ESTALE", None)
_BLOCK = 1 << 20  # bytes
_ATTEMPTS = 3
_REPLACED_ATTEMPTS = 50  # quick ones
_SAMPLE = 20  # files that show how long most of them take
# They have no block device, and are of one machine all the same. On an overlay, a change would copy the whole file.
_OWN_KINDS = {"bcachefs", "btrfs", "overlay", "ramfs", "tmpfs", "zfs"}
_KIND_SECONDS = 10.0  # a device's number may then be another file system's
_SLOW = 0.0002  # seconds per file; from here on it pays to wait for many at once


def open_to_read(path: str) -> tuple[int, os.stat_result]:
    """Open a file and return its descriptor and status. Anything but a regular file is an OSError too."""
    try:
        fd = open_at_once(path)
    except OSError as error:
        fd = _open_after(error, path)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return fd, status
    os.close(fd)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "It is not a regular file", path)


def _open_after(error: OSError, path: str) -> int:
    """Try again to open a file after `error`, or raise a clearer error."""
    if error.errno == _STALE:
        return again_if_stale(open_at_once, path)
    if isinstance(error, ABSENT) and os.path.islink(path):
        raise OSError(errno.ELOOP, "It is a dangling link", path) from error
    if isinstance(error, FileNotFoundError):
        # A file system in user space says this of a file that is replaced just while it is opened.
        for _ in range(_REPLACED_ATTEMPTS):
            if not os.path.lexists(path):
                break
            with suppress(FileNotFoundError):
                return open_at_once(path)
    if isinstance(error, PermissionError) and os.path.isdir(path):  # Windows reports directories this way
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path) from error
    raise error


def again_if_stale(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Return the result of `call`, repeated if NFS says that the file was replaced before it was opened."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return call(*arguments, **options)
        except OSError as error:
            if error.errno != _STALE:
                raise
    return call(*arguments, **options)


def read_whole(path: str) -> tuple[bytes, os.stat_result]:
    """Return a file's content and its status. They match unless the file is rewritten in place meanwhile."""
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
    # The status is from before reading, so a file that is rewritten in place meanwhile looks changed later.
    fd, status = open_to_read(path)
    try:
        if sys.platform == "linux":
            status = fresh_status(fd, status)  # no more than the size in the status can be read
        return read_all(fd, status), status
    finally:
        os.close(fd)


def read_all(fd: int, status: os.stat_result) -> bytes:
    """Return the content of an open file with that status."""
    data = os.read(fd, status.st_size + 1)
    while len(data) != status.st_size and (more := os.read(fd, _BLOCK)):
        data += more
    return data


def fresh_status(fd: int, seen: os.stat_result | None = None) -> os.stat_result:
    """Return the current status of an open file, even if a network disk, or one in user space, has an old one cached.

    `seen`: what `os.fstat` returned just now.
    """
    status = seen or os.fstat(fd)
    if is_of_this_machine(fd, status) or not hasattr(os, "fchown"):
        return status
    try:  # every metric asks, and contextlib.suppress takes longer than the call
        os.fchown(fd, -1, -1)  # changes only the time of the status, but refreshes what is cached
    except OSError as error:
        if is_the_scripts(error):
            raise
    return os.fstat(fd)


def is_of_this_machine(fd: int, status: os.stat_result) -> bool:
    """Whether an open file lies on a file system that no other machine writes to, as far as can be told."""
    if sys.platform != "linux":
        return False
    if os.major(status.st_dev):  # a block device
        return True
    kind, until = _kinds.get(status.st_dev, ("", 0.0))
    if monotonic() >= until:
        kind = _kind_of(fd)
        _kinds[status.st_dev] = kind, monotonic() + _KIND_SECONDS
    return kind in _OWN_KINDS


def _kind_of(fd: int) -> str:
    """Return the type of the file system of an open file, such as "nfs4"; "" if that cannot be told.

    On overlays and subvolumes, the device of a file is not that of its mount, so the mount is looked for by its ID.
    """
    with suppress(OSError, StopIteration, IndexError):
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as about:
            mount = next(line.split()[1] for line in about if line.startswith("mnt_id:"))
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            found = next(line for line in mounts if line.partition(" ")[0] == mount)
        return found.partition(" - ")[2].split()[0]
    return ""


class Range(io.RawIOBase):
    """The next `left` bytes of a file. If the file is shorter, `error_of` makes the error."""

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
                raise OSError(errno.EIO, "It became shorter while it was being read")
        except OSError as error:
            raise self._error_of(error) from error
        self._left -= got
        return got

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def look_at_each(items: Iterable[S], look: Callable[[S], T]) -> Iterator[T]:
    """Yield the result of `look` for each item, in any order. Slow items are looked at in parallel.

    Threads do not help with fast items, because they would only take turns.
    """
    pending = iter(items)
    while some := list(islice(pending, _SAMPLE)):
        seconds = []
        for item in some:
            begun = time.perf_counter()
            seen = look(item)
            seconds.append(time.perf_counter() - begun)
            yield seen
        if sorted(seconds)[len(seconds) // 2] > _SLOW and (more := list(islice(pending, 1))):
            with importing:
                from keepsake.storage import network
            yield from network.in_parallel(partial(look, item) for item in chain(more, pending))


def etag_of(status: os.stat_result) -> str:
    """Return an etag that tells the versions of a file apart."""
    # Windows reports the inode in stat() but not in a listing.
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{0 if WINDOWS else status.st_ino:x}"


@contextmanager
def opened_directory(directory: str) -> Iterator[tuple[list[str], Callable[[str], os.stat_result]]]:
    """Yield the names in a directory, and a function that returns the status of a name, following links."""
    if WINDOWS:  # the listing already holds each status
        with os.scandir(directory) as entries:
            known = {entry.name: entry for entry in entries}
        yield list(known), lambda name: known[name].stat()
        return
    names = os.listdir(directory)
    fd = None
    with suppress(OSError):
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)

    def status(name: str) -> os.stat_result:
        if fd is not None:
            try:
                return os.stat(name, dir_fd=fd)  # a fifth faster than by path
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


def leftovers(root: str) -> Iterator[ObjectInfo]:
    """Yield the unfinished files below `root`."""
    for directory, _, names in os.walk(root):
        for name in names:
            if TEMPORARY in name:
                path = os.path.join(directory, name)
                with suppress(FileNotFoundError):  # finished meanwhile
                    status = os.lstat(path)
                    relative = Path(path).relative_to(root).as_posix()
                    # The mtime may come from the clock of the machine that writes the file.
                    modified = max(status.st_mtime, status.st_ctime)
                    yield ObjectInfo(relative, status.st_size, etag_of(status), modified)
