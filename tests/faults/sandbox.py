"""Projects to do harm to, each in a directory of its own, and the processes that run in them.

The processes are forked from one that has everything imported: a thousand runs then take minutes instead of an hour.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from tests.faults.injector import Action, Injector, Point, install

Work = Callable[["Sandbox"], None]

_PATIENCE_SECONDS = 120.0


class ChildDone(BaseException):
    """Brings a child to the end of the program, so that it ends as any program does."""


class Sandbox:
    """A project with a repository beside it, a home directory, and a log that survives kill -9."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.project = directory / "project"
        self.home = directory / "home"
        self.repository = self.project / "repo"
        self.log = directory / "returned.log"
        self.messages = directory / "stderr.txt"
        self._points = directory / "points.json"
        (self.project / "code").mkdir(parents=True)
        self.home.mkdir()
        (self.project / "keepsake.yaml").write_text("repository: file://repo\n")
        (self.project / "code/train.py").write_text("print('training')\n" * 50)
        (self.project / "code/empty").write_text("")

    # In the process under test

    def note(self, *words: object) -> None:
        """Write a line to the log; once this returns, nothing takes it back."""
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
        os.fsync(descriptor)
        os.close(descriptor)

    def noted(self) -> list[list[str]]:
        """Return the lines of the log, as words."""
        return [line.split(" ") for line in self.log.read_text().splitlines()] if self.log.exists() else []

    # In the process that tests

    def start(self, work: Work, action: Action | None = None, *, everywhere: bool = False) -> int:
        """Fork a process that does `work` in the project and then ends as a program does; return its number.

        With an `action`, there are points in the repository and the spool; `everywhere`: in all of the project.
        """
        sys.stdout.flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # it would interrupt Python's own fork
        pid = os.fork()
        if not pid:
            self._enter()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if pid:
            return pid
        if action is not None:
            bases = [self.project] if everywhere else [self.repository, self.project / ".keepsake"]
            injector = install([*bases, self.home], action)
            atexit.register(self._dump, injector)  # the first to be registered is the last to be called
        work(self)
        raise ChildDone

    def run(self, work: Work, action: Action | None = None, *, everywhere: bool = False) -> int:
        """Do the same and wait for its end; return its exit status, negative for a signal."""
        return wait(self.start(work, action, everywhere=everywhere))

    def reached(self) -> list[Point]:
        """Return the points that the last process with an action came by, unless it was killed."""
        return [Point(*point) for point in json.loads(self._points.read_text())] if self._points.exists() else []

    def said(self) -> str:
        """What all processes have written to stderr."""
        return self.messages.read_text() if self.messages.exists() else ""

    def complaints(self) -> list[str]:
        """Say what should never be said, whatever happens."""
        of_python = r"Traceback .*?\nKeyboardInterrupt:? *\n"  # which Ctrl-C leaves in any script
        said = re.sub(of_python, "", self.said(), flags=re.DOTALL)
        return [f"said {word!r}" for word in ("Traceback", "unexpected") if word in said]

    def _enter(self) -> None:
        descriptor = os.open(self.messages, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        os.chdir(self.project)
        for name in [name for name in os.environ if name.startswith("KEEPSAKE_")]:
            del os.environ[name]
        for name, place in (("HOME", ""), ("XDG_CACHE_HOME", ".cache"), ("XDG_STATE_HOME", ".local/state")):
            os.environ[name] = str(self.home / place)
        os.environ["TZ"] = "UTC"

    def _dump(self, injector: Injector) -> None:
        self._points.write_text(json.dumps(injector.reached))


def wait(pid: int, seconds: float = _PATIENCE_SECONDS) -> int:
    """Return the exit status of a child, negative for a signal; one that hangs is killed, and is an error."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError(f"a process did not end within {seconds:.0f} s")


def sandboxes(base: Path) -> Iterator[Sandbox]:
    """Yield new sandboxes below `base`."""
    number = 0
    while True:
        number += 1
        yield Sandbox(base / str(number))


@lru_cache(maxsize=8)
def weights(number: int) -> bytes:
    """What a model's file holds at a checkpoint: two chunks of an archive for even numbers, little for odd ones."""
    return random.Random(number).randbytes(2_400_000 if number % 2 == 0 else 1_000)
