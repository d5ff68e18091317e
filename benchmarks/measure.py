"""Running programs as children and measuring them: time, processor time and memory, of all their processes."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

OURS, ORIGINAL, FLOOR = "1.0", "0.4.2", "floor"
ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "benchmarks"
_PROGRAMS = Path(__file__).with_name("programs.py")
_PR_SET_CHILD_SUBREAPER = 36
# ru_maxrss is in bytes on macOS only
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Run:
    """A program that has run, with all processes that it started."""

    seconds: float  # until the program ended
    ended: float  # when it did, by the monotonic clock
    settled: float  # when the last of its processes did
    cpu: float  # seconds, of all
    memory: int  # bytes, at most at a time in one process
    output: str

    @cached_property
    def said(self) -> dict[str, float]:
        """What the program has measured itself."""
        return json.loads(self.output)  # type: ignore[no-any-return]


def run(command: list[str], directory: Path, environment: Mapping[str, str]) -> Run:
    """Run a program to its end, and that of all its processes. Raises RuntimeError if it fails."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        child = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        ended = cpu = 0.0
        memory = 0
        with suppress(ChildProcessError):  # there is none any more
            while True:
                pid, status, used = os.wait4(-child.pid, 0)
                cpu += used.ru_utime + used.ru_stime
                memory = max(memory, used.ru_maxrss * _RSS_UNIT)
                if pid == child.pid:
                    ended, child.returncode = time.monotonic(), os.waitstatus_to_exitcode(status)
        settled = time.monotonic()
        output.seek(0)
        errors.seek(0)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {errors.read().decode()}")
        return Run(ended - start, ended, settled, cpu, memory, output.read().decode())


@dataclass(frozen=True)
class Keepsake:
    """An installed Keepsake."""

    name: str
    programs: Path  # the directory with its `python` and `keepsake`
    environment: Mapping[str, str]

    def command(self, directory: Path, *arguments: str) -> Run:
        """Run its command line."""
        return run([str(self.programs / "keepsake"), *arguments], directory, self.environment)

    def program(self, directory: Path, *arguments: str) -> Run:
        """Run one of programs.py."""
        return run([str(self.programs / "python"), str(_PROGRAMS), *arguments], directory, self.environment)


class Bench:
    """What workloads work with. A context manager.

    Args:
        original: the directory of the programs of Keepsake 0.4.2; None: ours is measured alone.
        full: at full size.
        rounds: how often, if not as often as each workload wants.
    """

    def __init__(self, original: Path | None, *, full: bool = False, rounds: int | None = None) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
        self.full = full
        self._rounds = rounds
        self.index = self.work / "cache"
        environment = {
            "PATH": os.defpath,
            "HOME": str(self.work),
            "LANG": "C.UTF-8",
            "KEEPSAKE_CACHE": str(self.index),
            "KEEPSAKE_NO_ANALYTICS": "1",
        }
        self.ours = Keepsake(OURS, Path(sys.executable).parent, environment)
        self.both = [self.ours] + ([Keepsake(ORIGINAL, original, environment)] if original else [])
        if sys.platform == "linux":  # what outlives its parent becomes our child
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.work)

    def project(self) -> Path:
        """Make an empty project; its repository is its directory `repo`."""
        directory = Path(tempfile.mkdtemp(dir=self.work))
        (directory / "keepsake.yaml").write_text("repository: file://repo\n")
        return directory

    def in_project(self, measured: Callable[[Path], T]) -> T:
        """Do something in a fresh project, with no writes left over from before."""
        directory = self.project()
        os.sync()
        try:
            return measured(directory)
        finally:
            shutil.rmtree(directory)

    def interleave(
        self,
        rounds: int,
        measured: Callable[[Keepsake], T],
        floor: Callable[[], T] | None = None,
        *,
        warm: bool = True,
    ) -> dict[str, list[T]]:
        """Measure both in turns, and the floor with them; `warm`: each once before that."""
        turns = {each.name: partial(measured, each) for each in self.both}
        if floor is not None:
            turns[FLOOR] = partial(floor)
        samples: dict[str, list[Any]] = {name: [] for name in turns}
        for count in range(-1 if warm else 0, self._rounds or rounds):
            for name, turn in turns.items():
                sample = turn()
                if count >= 0:
                    samples[name].append(sample)
        return samples
