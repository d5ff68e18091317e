"""Projects that a checkout changes: what is in them, and failures in the middle."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keepsake.archive.reader import Archive
from keepsake.restoring.checkout import Plan, checkout
from tests.archive import archives
from tests.threads import in_this_thread

MINE = {"a": b"mine", "b/c": b"mine, too", "untouched": b"x"}
THEIRS = {"a": b"theirs", "b/c": b"2", "b/new/er": b"3", "d/e": b"4", "z": b"5"}
STEPS = ("link", "mkdir", "rename", "replace")
Make = Callable[..., Archive]


def read_files(directory: Path) -> dict[str, bytes]:
    """The files in a directory but our own."""
    return {name: data for name, data in archives.read_files(directory).items() if ".keepsake" not in name.split("/")}


def snapshot(directory: Path) -> dict[str, tuple[int, bytes | str]]:
    """All that is in a directory but our own: files with content, links with their target, directories."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if ".keepsake" not in path.parts:
            mode = path.lstat().st_mode
            found[name] = mode, os.readlink(path) if stat.S_ISLNK(mode) else path.read_bytes() if path.is_file() else ""
    return found


def plan_of(archives: list[Archive], directory: Path, path: str | None = None) -> Plan:
    plans: list[Plan] = []
    assert not checkout(archives, directory, path, confirm=lambda plan: bool(plans.append(plan)))  # type: ignore[func-returns-value]
    return plans[0]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class FaultPoint:
    """Counts the calls of this thread that change the disk, and does something before one of them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object], steps: Iterable[str] = STEPS
    ) -> None:
        self.left = number
        self.action = action
        for name in steps:
            monkeypatch.setattr(os, name, in_this_thread(self.wrap(real := getattr(os, name)), real))

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                self.action()
            return call(*arguments, **named)

        return wrapped

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Calls in this block do not count."""
        left, self.left = self.left, 1000
        yield
        self.left = left

    @property
    def has_happened(self) -> bool:
        return self.left < 0


def no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt() -> None:
    raise KeyboardInterrupt


def at_every_step(
    monkeypatch: pytest.MonkeyPatch, failure: Callable[[], object], steps: Iterable[str] = STEPS
) -> Iterator[FaultPoint]:
    """A fault point at the first step, then at the second, until there is none that it stands before."""
    number = 0
    while True:
        with monkeypatch.context() as patch:
            point = FaultPoint(patch, number, failure, steps)
            yield point
        if not point.has_happened:
            assert number > 8
            return
        number += 1
