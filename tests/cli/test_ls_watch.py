"""`keepsake ls --watch`, on a real pseudo terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keepsake.cli import watching
from keepsake.exceptions import ReadError
from tests.cli.conftest import World, experiment, on_disk
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo terminals like these")


class Watched:
    """A command on a terminal of 60 × 8 characters, and what it has written so far."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        import fcntl
        import struct
        import termios

        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 8, 60, 0, 0))
        command = [sys.executable, "-m", "keepsake", *arguments]
        environment = {**os.environ, "TERM": "xterm"}
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self.process = subprocess.Popen(command, cwd=cwd, env=environment, start_new_session=True, **streams)  # type: ignore[call-overload]
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._shown = b""

    def shown(self) -> str:
        try:
            while data := os.read(self._ours, 1 << 16):
                self._shown += data
        except OSError:  # nothing new, or the end
            pass
        return self._shown.decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def watched(world: World) -> Iterator[Watched]:
    world.add(*(experiment(f"e{number}00000000", 60, params={"lr": number}) for number in range(9)))
    watched = Watched("ls", "--watch=0.1", cwd=world.project)
    yield watched
    watched.close()


@on_disk
def test_new_runs_appear_until_it_is_interrupted(world: World, watched: Watched) -> None:
    wait_until(lambda: watched.shown().count("Updated at ") > 1)
    first = watched.shown()
    assert first.startswith("\x1b[?1049h\x1b[?25l\x1b[?2026h\x1b[H")
    assert "\x1b[2J" not in first  # clearing the screen would flicker
    frame = first.split("\x1b[H")[1].split("\x1b[J")[0]
    assert frame.count("\n") == 7  # it fits the height
    assert "... 4 earlier" in frame
    assert "e800000" in frame
    world.add(experiment("f000000000", 0, params={"lr": 1}))
    wait_until(lambda: "f000000" in watched.shown())
    watched.process.send_signal(2)
    assert watched.process.wait(20) == 0
    rest = watched.shown().rpartition("\x1b[?25h\x1b[?1049l")[2]
    assert [line[:7] for line in rest.splitlines()[1:]] == [*(f"e{number}00000" for number in range(9)), "f000000"]


def test_an_error_is_shown_below_what_was_found_last(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: Iterator[Any] = iter([["one"], ReadError("The server is away."), KeyboardInterrupt()])

    def find() -> Any:
        found = next(looks)
        if isinstance(found, BaseException):
            raise found
        return found

    out = io.StringIO()
    out.fileno = lambda: 1  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((60, 8)))
    watching.watch(find, lambda found, height: found, 0.01)
    frames = out.getvalue().split("\x1b[H")
    assert "Ctrl-C ends it." in frames[1]
    assert "one" in frames[2]
    assert "The server is away." in frames[2]
    assert frames[2].endswith("\x1b[?25h\x1b[?1049lone\n")


def test_an_error_at_first_is_an_error() -> None:
    def find() -> None:
        raise ReadError("gone")

    with pytest.raises(ReadError):
        watching.watch(find, lambda found, height: [], 1)
