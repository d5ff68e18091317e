"""How storage on disk writes files, with fallbacks for file systems that lack or refuse a call."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keepsake.storage.reading import FLAGS, is_of_this_machine
from keepsake.util.clock import monotonic
from keepsake.util.files import UNSUPPORTED, WINDOWS

CREATE = FLAGS | os.O_CREAT | os.O_EXCL | os.O_WRONLY
_TICK = 0.02  # seconds; longer than a tick of the clock by which a kernel stamps files
_LONG_AGO = 1e9  # Unix seconds; a file system that reports less has no clock
_MKDIR_TRIES = 8
_JUMP = 1.0  # seconds; a larger difference means that a clock was set, not adjusted


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, in as many calls as the system needs."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def stamp(path: str, written: int, fd: int | None = None) -> os.stat_result:
    """Give a file a time that no other version of it has, close to `written`, and return its status.

    `fd`: it is still open. Not so on Windows, where closing a file that was written gives it another time.
    """
    # The kernel's clock ticks every few ms. An inode can be reused within a tick, and two versions would share an etag.
    unique = written - written % 10**7 + time.time_ns() % 10**7
    try:
        os.utime(path, ns=(unique, unique))
    except OSError:
        time.sleep(_TICK)  # gives the next version another time, unless the file system stores whole seconds
    return os.stat(path if fd is None else fd)


class Names(threading.local):
    """Makes the names of files durable, at once or later. Each thread postpones only its own."""

    _postponed: set[str] | None = None

    @contextmanager
    def postponing(self) -> Iterator[None]:
        """Make names durable at the end of the context only."""
        directories: set[str] = set()
        self._postponed = directories
        try:
            yield
        finally:
            self._postponed = None
            self._sync(directories)

    def sync(self, *paths: str) -> None:
        """Make these names survive a power cut, once for each directory, because a disk takes milliseconds for it."""
        directories = set(map(os.path.dirname, paths))
        if self._postponed is None:
            self._sync(directories)
        else:
            self._postponed |= directories

    @staticmethod
    def _sync(directories: set[str]) -> None:
        for directory in directories:
            with suppress(OSError):  # not every system supports it
                fd = os.open(directory, os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)


def unlink(path: str) -> None:
    """Remove a file if that is possible."""
    with suppress(OSError):
        os.unlink(path)


def share(path: str, root: os.stat_result) -> None:
    """Let the group of a shared repository use a new file or directory, whatever the umask of its members.

    A repository is shared if its group may write to its directory. The files of users outside that group stay as they
    are.
    """
    if WINDOWS or not root.st_mode & stat.S_IWGRP:
        return
    status = os.stat(path)
    bits = stat.S_IRWXG if stat.S_ISDIR(status.st_mode) else stat.S_IRGRP | stat.S_IWGRP
    with suppress(OSError):
        if status.st_gid != root.st_gid:  # the directory does not hand its group on, as one with the setgid bit does
            os.chown(path, -1, root.st_gid)
        if status.st_mode & bits != bits:
            os.chmod(path, stat.S_IMODE(status.st_mode) | bits)


def make_directories(path: str, root: os.stat_result | None = None) -> None:
    """Make a directory and its missing parents. They are shared like `root`, or else like their parents."""
    parent = os.path.dirname(path)
    for left in range(_MKDIR_TRIES, 0, -1):  # another process may remove an empty parent at any time
        try:
            os.mkdir(path)
        except FileExistsError:
            if os.path.isdir(path):
                return
            raise
        except FileNotFoundError:
            if left == 1 or parent == path:  # in /proc, and in some folders that are mounted on demand
                raise
        else:
            share(path, root or os.stat(parent))
            return
        make_directories(parent, root)


def become_like(path: Path, new: os.stat_result, directory: str) -> bool:
    """Give a file the group and permissions of the status `new`; False if that is impossible, or if more would differ.

    Its disk, its owner, and what new files in `directory` inherit, such as access control lists, may differ too.
    """
    now = os.stat(path)
    if (new.st_dev, new.st_uid) != (now.st_dev, now.st_uid) or _inherits_more(directory):
        return False
    if not WINDOWS and new.st_gid != now.st_gid:
        os.chown(path, -1, new.st_gid)
    if stat.S_IMODE(new.st_mode) != stat.S_IMODE(now.st_mode):
        os.chmod(path, stat.S_IMODE(new.st_mode))
    return True


def _inherits_more(file: str) -> bool:
    """Whether a new file has inherited extended attributes; False if the file system has none.

    On Windows every file has inherited an access control list, and Python cannot compare two of them.
    """
    if WINDOWS or not hasattr(os, "listxattr"):
        return WINDOWS
    try:
        return bool(os.listxattr(file))
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return False
        raise


class Clock:
    """The clock by which a system or its file server stamps files, read from a file that was just written."""

    def __init__(self) -> None:
        self._noted: tuple[float, float, float] | None = None

    def note(self, status: os.stat_result) -> None:
        """Take note of a file that was just written."""
        if status.st_mtime > _LONG_AGO:
            self._noted = status.st_mtime, monotonic(), time.time()

    @property
    def is_known(self) -> bool:
        """Whether the clock was ever read."""
        return self._noted is not None

    def now(self) -> float | None:
        """Return the time by that clock in Unix seconds; None if it must be read again.

        This machine's clock may be wrong, or may be corrected at any time. A comparison with the monotonic clock,
        which nobody sets, shows that. It also shows that the machine slept, because the monotonic clock can stop then.
        """
        if self._noted is None:
            return None
        stamped, begun, told = self._noted
        passed = monotonic() - begun
        return stamped + passed if abs(time.time() - told - passed) < _JUMP else None


def is_on_own_disk(path: str) -> bool:
    """Whether a path lies on a disk of this machine, whose clock stamps its files. Raises OSError if it is missing."""
    if sys.platform != "linux":
        return False
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return is_of_this_machine(fd, os.fstat(fd))
    finally:
        os.close(fd)
