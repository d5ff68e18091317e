"""Running programs as children, and measuring them with all processes that they start."""

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
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

OURS, ORIGINAL, FLOOR = "1.0", "0.4.2", "floor"
CACHE = Path(__file__).parents[1] / ".cache" / "benchmarks"
REPOSITORY = ".keepsake"  # of each project, below its directory; never packed into itself, by either
_PROGRAMS = str(Path(__file__).with_name("programs.py"))
_PR_SET_CHILD_SUBREAPER = 36
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


@dataclass
class Run:
    """A program that has run, with all processes that it started; moments are by the monotonic clock."""

    output: str
    seconds: float  # until the program ended
    ended: float  # when it did
    settled: float  # when the last of its processes did
    cpu: float = 0.0  # seconds, of all of them
    memory: int = 0  # bytes at most, in the largest of them
    said: dict[str, Any] = field(default_factory=dict)  # what it measured itself


def run(command: list[str], directory: Path, environment: Mapping[str, str] | None = None) -> Run:
    """Run a program to its end, and that of all its processes. Raises RuntimeError if it fails."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": errors}
        start = time.monotonic()
        child = subprocess.Popen(command, cwd=directory, env=environment, start_new_session=True, **streams)  # type: ignore[call-overload]
        done = Run("", 0.0, 0.0, 0.0)
        with suppress(ChildProcessError):  # none is left
            while True:
                pid, status, used = os.wait4(-child.pid, 0)
                done.settled = time.monotonic()
                done.cpu += used.ru_utime + used.ru_stime
                done.memory = max(done.memory, used.ru_maxrss * _RSS_UNIT)
                if pid == child.pid:
                    done.ended, done.seconds = done.settled, done.settled - start
                    child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {errors.read().decode()}")
        done.output = output.read().decode()
        return done


@dataclass(frozen=True)
class Keepsake:
    """An installed Keepsake."""

    name: str
    programs: Path  # the directory with its `python` and `keepsake`
    home: Path  # for the person's files
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)  # beyond what every program gets

    def command(self, directory: Path, *arguments: str, program: str = "keepsake") -> Run:
        """Run its command line."""
        own = {"HOME": str(self.home), "KEEPSAKE_CACHE": str(self.home / "index"), "KEEPSAKE_NO_ANALYTICS": "1"}
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8", **own, **self.environment}
        return run([str(self.programs / program), *arguments], directory, environment)

    def program(self, directory: Path, *arguments: str) -> Run:
        """Run one of programs.py."""
        done = self.command(directory, _PROGRAMS, *arguments, program="python")
        done.said = json.loads(done.output)
        return done


class Bench:
    """What workloads work with; a context manager. `original`: where the programs of Keepsake 0.4.2 are, if at all."""

    def __init__(self, original: Path | None, *, full: bool = False, rounds: int | None = None) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
        self.full, self._rounds = full, rounds
        self.ours = Keepsake(OURS, Path(sys.executable).parent, self.work)
        self.both = [self.ours] + ([Keepsake(ORIGINAL, original, self.work)] if original else [])
        if sys.platform == "linux":  # a process that outlives its parent becomes our child
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.work)

    def project(self, files: Mapping[str, Path] | None = None) -> Path:
        """Make a project of copies of `files`, name → where, with an empty repository."""
        directory = Path(tempfile.mkdtemp(dir=self.work))
        (directory / "keepsake.yaml").write_text(f"repository: file://{REPOSITORY}\n")
        for name, source in (files or {}).items():
            (shutil.copytree if source.is_dir() else shutil.copy)(source, directory / name)
        os.sync()  # what was written before is none of its business
        return directory

    def in_project(self, measured: Callable[[Path], T], files: Mapping[str, Path] | None = None) -> T:
        """Return what `measured` does of a project that is made for it."""
        directory = self.project(files)
        try:
            return measured(directory)
        finally:
            shutil.rmtree(directory)

    def interleave(
        self, rounds: int, measured: Callable[[Keepsake], T], floor: Callable[[], T] | None = None, *, warm: bool = True
    ) -> dict[str, list[T]]:
        """Measure both in turns, and the floor with them, `rounds` times; `warm`: once more, before it counts.

        But half as often without `full`.
        """
        turns = {each.name: partial(measured, each) for each in self.both} | ({FLOOR: partial(floor)} if floor else {})
        rounds = self._rounds or (rounds if self.full else rounds // 2)
        samples = [{name: turn() for name, turn in turns.items()} for _ in range(rounds + warm)][-rounds:]
        return {name: [each[name] for each in samples] for name in turns}
