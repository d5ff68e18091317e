"""Fault points: a place before every file-system call that Keepsake makes, at which a test can do harm.

`install(base)` wraps the functions of `os`, `io` and `shutil` through which Python reaches the file system. A call on a
path below one of the `base` directories is a point, named by the call and the path with all random names replaced:
`replace repo/metadata/experiments/<id>.json`. So the same point is found again in another run, whatever the threads do.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_RANDOM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{16}|[0-9a-f]{8}(?=[./-])|(?<=checkout-)\w+|(?<=tmp)\w{8}")
_TORN_BYTES = 20  # of a write that is torn
_READING = ("get", "list", "open", "read", "scandir", "listdir", "stat", "lstat")
_OF_DESCRIPTORS = ("write", "writev", "read", "fsync", "ftruncate", "posix_fallocate")
_OF_PATHS = (
    *("mkdir", "rmdir", "unlink", "remove", "replace", "rename", "link", "utime", "chmod", "truncate"),
    *("stat", "lstat", "scandir", "listdir"),
)


class Point(NamedTuple):
    """The `occurrence`-th time (from 1) that a run makes this call on this path."""

    call: str
    path: str
    occurrence: int

    @property
    def is_write(self) -> bool:
        """Whether the call carries data, so that it can be torn."""
        return self.call in ("write", "writev")

    @property
    def changes(self) -> bool:
        """Whether the call changes something: a kill before a call that only reads is one before the next change."""
        return self.call not in _READING


Action = Callable[[Point], "int | None"]  # raises, kills, or returns how many bytes of a write to let through


class Injector:
    """Counts the points as they are reached, and calls `action` at each."""

    def __init__(self, bases: list[Path], action: Action = lambda point: None) -> None:
        self._bases = [f"{os.path.realpath(base)}{os.sep}" for base in bases]
        self._counts: Counter[tuple[str, str]] = Counter()
        self._files: dict[int, str] = {}  # descriptor → path
        self._lock = threading.RLock()
        self._inside = threading.local()
        self.action = action
        self.reached: list[Point] = []
        self.directory = os.getcwd()

    def at(self, call: str, path: object) -> int | None:
        """Be at a point, if `path` lies where faults are wanted."""
        name = self._name(path)
        if name is None or getattr(self._inside, "busy", False):
            return None
        with self._lock:
            self._counts[call, name] += 1
            point = Point(call, name, self._counts[call, name])
            self.reached.append(point)
        self._inside.busy = True
        try:
            return self.action(point)
        finally:
            self._inside.busy = False

    def opened(self, descriptor: int, path: object) -> None:
        """Remember what a descriptor stands for."""
        self.closed(descriptor)
        if isinstance(path, (str, bytes, os.PathLike)) and self._name(path) is not None:
            self._files[descriptor] = os.path.join(self.directory, os.fsdecode(path))

    def closed(self, descriptor: int) -> None:
        """Forget it."""
        self._files.pop(descriptor, None)

    def _name(self, path: object) -> str | None:
        if isinstance(path, int):
            path = self._files.get(path)
        if not isinstance(path, (str, bytes, os.PathLike)):
            return None
        whole = os.path.join(self.directory, os.fsdecode(path))
        for base in self._bases:
            if f"{whole}{os.sep}".startswith(base):
                return _RANDOM.sub("<id>", os.path.normpath(whole[len(base) :]))
        return None


def install(bases: list[Path], action: Action = lambda point: None) -> Injector:
    """Put fault points around everything this process does below `bases` from now on."""
    injector = Injector(bases, action)
    for name in _OF_PATHS:
        setattr(os, name, _on_path(injector, name, getattr(os, name)))
    for name in _OF_DESCRIPTORS:
        if hasattr(os, name):
            setattr(os, name, _on_descriptor(injector, name, getattr(os, name)))
    _wrap_open(injector)
    # These go through system calls of their own, which cannot be torn: plain copies instead
    shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]
    return injector


def _on_path(injector: Injector, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any = ".", *rest: Any, **options: Any) -> Any:
        # Of two paths, the second is the one that is seen by others
        injector.at(name, rest[0] if name in ("replace", "rename", "link") else path)
        return real(path, *rest, **options)

    _keep_supported(real, call)
    return call


def _keep_supported(real: Callable[..., Any], call: Callable[..., Any]) -> None:
    """`os.chmod in os.supports_fd` and the like are to go on being true."""
    for names in (os.supports_fd, os.supports_follow_symlinks, os.supports_dir_fd):
        if real in names:
            names.add(call)


def _on_descriptor(injector: Injector, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(descriptor: int, *rest: Any) -> Any:
        allowed = injector.at(name, descriptor)
        if name == "write" and allowed is not None:
            return real(descriptor, rest[0][:allowed])
        if name == "writev" and allowed is not None:
            return real(descriptor, [b"".join(rest[0])[:allowed]])
        return real(descriptor, *rest)

    return call


def _wrap_open(injector: Injector) -> None:
    real_open, real_close, real_builtin = os.open, os.close, builtins.open

    def os_open(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        injector.at("create" if flags & os.O_CREAT else "open", path)
        descriptor = real_open(path, flags, *rest, **options)
        injector.opened(descriptor, path)
        return descriptor

    def os_close(fd: int) -> None:
        injector.closed(fd)
        real_close(fd)

    class FileIO(io.FileIO):
        def __init__(self, file: Any, mode: str = "r", closefd: bool = True, opener: Any = None) -> None:
            self._path = file
            if opener is None:  # one that is given calls os.open
                injector.at("open" if mode.startswith("r") and "+" not in mode else "create", file)
            super().__init__(file, mode, closefd, opener)

        def close(self) -> None:
            if not self.closed:
                injector.closed(self.fileno())
            super().close()

        def write(self, data: Any) -> int:
            allowed = injector.at("write", self._path)
            return super().write(data if allowed is None else memoryview(data).cast("B")[:allowed]) or 0

        def readinto(self, buffer: Any) -> int:
            injector.at("read", self._path)
            return super().readinto(buffer) or 0

        def read(self, size: int | None = -1) -> bytes:
            injector.at("read", self._path)
            return super().read(-1 if size is None else size) or b""

        def readall(self) -> bytes:
            injector.at("read", self._path)
            return super().readall() or b""

    def builtin_open(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if injector._name(file) is None:
            return real_builtin(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = FileIO(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering < 0 else buffering
        kind: Any = io.BufferedReader
        if raw.writable():
            kind = io.BufferedRandom if raw.readable() else io.BufferedWriter
        buffered = kind(raw, size)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    os.open, os.close = os_open, os_close
    io.FileIO = FileIO  # type: ignore[misc]
    builtins.open = io.open = builtin_open


# What to do at a point


def kill_at(target: Point, *, torn: bool = False) -> Action:
    """End the process as kill -9 does when it gets to `target`; `torn`: after a part of what it writes there."""
    reached = False

    def action(point: Point) -> int | None:
        nonlocal reached
        if reached:
            os.kill(os.getpid(), signal.SIGKILL)  # the part that was let through is written: the next call comes
        if point != target:
            return None
        if torn:
            reached = True
            return _TORN_BYTES
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    return action


def fail_at(target: Point, code: int, *, times: int = 1) -> Action:
    """Let the call at `target` fail with an errno, and those after it that do the same, `times` in all."""
    left = times

    def action(point: Point) -> int | None:
        nonlocal left
        if left and point[:2] == target[:2] and point.occurrence >= target.occurrence:
            left -= 1
            raise OSError(code, os.strerror(code), point.path)
        return None

    return action


def full_from(target: Point) -> Action:
    """Let the disk be full from `target` on: nothing can be created, and a part of what is written fits once."""
    full = False

    def action(point: Point) -> int | None:
        nonlocal full
        if full and point.call in ("create", "mkdir", "link", "write", "writev", "posix_fallocate"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), point.path)
        if point == target:
            full = True
            return _TORN_BYTES if point.is_write else None
        return None

    return action


def short_writes(size: int) -> Action:
    """Let every write take at most `size` bytes, as an interrupted one or a network file system may."""
    return lambda point: size if point.is_write else None
