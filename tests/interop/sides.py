"""The two Keepsakes, each to be driven in the same way: by its command line, and by programs that use its library."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("driver.py")
ORIGINAL = "0.4.2"
SECONDS = 120  # for one command


class Failed(Exception):
    """What a library raised; the text is its message."""

    def __init__(self, kind: str, message: str, trace: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind  # the class's name
        self.message = message
        self.trace = trace


@dataclass(frozen=True)
class Done:
    """What a command did."""

    status: int
    stdout: str
    stderr: str


def _temporary_file() -> IO[str]:
    return tempfile.TemporaryFile("w+")


@dataclass(eq=False)
class Side:
    """One of the two: 0.4.2, or ours."""

    name: str
    python: str
    command: list[str]
    environment: dict[str, str]
    in_process: bool = False  # whether the driver runs the commands itself
    _driver: subprocess.Popen[str] | None = field(default=None, repr=False)
    _said: IO[str] = field(default_factory=_temporary_file, repr=False)

    def __str__(self) -> str:
        return self.name

    def run(self, *args: str, cwd: Path, answer: str = "") -> Done:
        """Run a command of the command line; `answer` is its stdin."""
        if self.in_process:
            return Done(**self.call("command_line", args=args, cwd=str(cwd), answer=answer))
        return self.process(*args, cwd=cwd, answer=answer)

    def process(self, *args: str, cwd: Path, answer: str = "", environment: Mapping[str, str] | None = None) -> Done:
        """Run a command in a process of its own, in any case."""
        return self._run([*self.command, *args], cwd, answer, environment)

    def script(self, path: Path, *args: str, environment: Mapping[str, str] | None = None) -> Done:
        """Run a training script in its directory."""
        return self._run([self.python, path.name, *args], path.parent, "", environment)

    def _run(self, command: list[str], cwd: Path, answer: str, extra: Mapping[str, str] | None) -> Done:
        done = subprocess.run(
            command,
            cwd=cwd,
            input=answer.encode(),
            capture_output=True,
            env={**self.environment, **(extra or {})},
            timeout=SECONDS,
        )
        return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def record(self, function: str = "record", until: Callable[[], bool] = lambda: True, /, **arguments: Any) -> Any:
        """Call a function of driver.py in a process of its own, at the end of which everything has been saved.

        0.4.2 may forget what it has not begun to save: its process ends only when `until` says so.
        """
        side = dataclasses.replace(self, _driver=None, _said=_temporary_file())
        try:
            result = side.call(function, **arguments)
            deadline = time.monotonic() + SECONDS
            while self.name == ORIGINAL and not until():
                assert time.monotonic() < deadline, "0.4.2 does not save what it recorded"
                time.sleep(0.05)
            return result
        finally:
            side.close()

    def call(self, function: str, **arguments: Any) -> Any:
        """Call a function of driver.py. Raises Failed if the library did."""
        driver = self._started()
        assert driver.stdin is not None
        assert driver.stdout is not None
        self._said.seek(0, os.SEEK_END)
        self._start_of_said = self._said.tell()
        print(json.dumps([function, arguments], default=str), file=driver.stdin, flush=True)
        line = driver.stdout.readline()
        if not line:
            raise AssertionError(f"{self.name} has died:\n{self.said()[-5000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"], answer["message"], answer["traceback"])
        return answer["result"]

    def said(self) -> str:
        """Return what the last call printed."""
        self._said.seek(self._start_of_said)
        return str(self._said.read())

    def _started(self) -> subprocess.Popen[str]:
        if self._driver is None:
            self._driver = subprocess.Popen(
                [self.python, str(DRIVER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                env=self.environment,
                cwd=self.environment["HOME"],
            )
        return self._driver

    def close(self) -> None:
        """End the driver, and with it what it started."""
        if self._driver is not None:
            assert self._driver.stdin is not None
            assert self._driver.stdout is not None
            self._driver.stdin.close()
            self._driver.stdout.close()
            try:
                self._driver.wait(30)
            except subprocess.TimeoutExpired:
                self._driver.kill()
                self._driver.wait()
            self._driver = None
        self._said.close()


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return what both run with: none of the person's settings, no colour, UTC."""
    clouds = ("AWS_", "BOTO", "CLOUDSDK_", "GCLOUD_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "HTTP_PROXY", "HTTPS_PROXY")
    personal = (*clouds, "KEEPSAKE_", "PYTHON", "PYTEST_", "COVERAGE_", "XDG_")
    temporary = home / "tmp"  # 0.4.2 has a fixed folder there
    temporary.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(personal)}
    return {
        **kept,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "TZ": "UTC",
        "NO_COLOR": "1",
        "PYTHONUTF8": "1",
        "KEEPSAKE_NO_ANALYTICS": "1",
        **more,
    }


def original(programs: Path, home: Path, more: Mapping[str, str] = MappingProxyType({})) -> Side:
    """The real 0.4.2, installed with its programs in a directory; `more` environment variables."""
    return Side(ORIGINAL, str(programs / "python"), [str(programs / "keepsake")], environment(home, more))


def ours(home: Path, more: Mapping[str, str] = MappingProxyType({})) -> Side:
    """This project."""
    path = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "keepsake"]
    return Side("ours", sys.executable, command, {**environment(home, more), **path}, in_process=True)
