"""Messages on stderr: how they look, and that no state of stderr raises an error."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from keepsake.util.console import Progress, color_enabled, error, format_size, say, set_color, warn


class Terminal(io.StringIO):
    """A stand-in for a terminal of 40 columns."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 99


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    # Not sys.stderr itself, which pytest sets anew after the fixtures
    monkeypatch.setattr("keepsake.util.console.sys", SimpleNamespace(stderr=stream))
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((40, 24)))
    monkeypatch.setenv("TERM", "xterm")
    return stream


def test_a_terminal_that_does_not_know_its_width_is_as_wide_as_most(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((0, 0)))
    say("a message of some ten words that has room in one line")
    assert terminal.getvalue().count("\n") == 1


@pytest.fixture(autouse=True)
def _color_is_reset() -> Iterator[None]:
    yield
    set_color(None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as a list of one number that a test may change."""
    now = [0.0]
    monkeypatch.setattr("keepsake.util.console.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("speak", [say, warn, error])
def test_lines_get_prefixes_and_no_colour_in_a_pipe(
    speak: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    speak("first\n\n  third, " + "long " * 40)
    assert capsys.readouterr() == ("", "═══╡ first\n   │ \n   │   third, " + "long " * 40 + "\n")


@pytest.mark.parametrize(
    ("speak", "expected"),
    [
        (say, "\x1b[2m═══╡ \x1b[0mHello\n"),
        (warn, "\x1b[2m═══╡ \x1b[0m\x1b[33mHello\x1b[0m\n"),
        (error, "\x1b[2m═══╡ \x1b[0m\x1b[31mHello\x1b[0m\n"),
    ],
)
def test_colours_on_a_terminal(speak: Callable[[str], None], expected: str, terminal: Terminal) -> None:
    speak("Hello")
    assert terminal.getvalue() == expected


def test_messages_are_wrapped_to_the_terminal(terminal: Terminal) -> None:
    set_color(False)
    say("Creating checkpoint 5d8f0b6, copying\n  'data' to 'file:///a/very/long/path/that/cannot/be/broken/anywhere'")
    assert terminal.getvalue().splitlines() == [
        "═══╡ Creating checkpoint 5d8f0b6,",
        "   │ copying",
        "   │   'data' to",
        "   │   'file:///a/very/long/path/that/cannot/be/broken/anywhere'",
    ]


def test_control_characters_are_not_sent_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[2Jb\rc\td")
    assert capsys.readouterr().err == "═══╡ a\\x1b[2Jb\\x0dc   d\n"


def test_the_order_in_which_settings_decide_about_colour(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order: the command line, NO_COLOR, a dumb terminal, whether it is a terminal."""
    assert color_enabled(terminal)
    assert not color_enabled(io.StringIO())
    assert not color_enabled(None)
    monkeypatch.setenv("TERM", "dumb")
    assert not color_enabled(terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not color_enabled(terminal)
    set_color(True)
    assert color_enabled(io.StringIO())
    set_color(False)
    assert not color_enabled(terminal)


def test_what_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(buffer, encoding="ascii"))
    say("naïve\nx")
    assert buffer.getvalue() == b"===| na\\xefve\n   | x\n".replace(b"\n", os.linesep.encode())


@pytest.mark.parametrize("state", ["closed", "missing", "full"])
def test_a_broken_stderr_is_not_an_error(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", {"closed": closed, "missing": None, "full": Full()}[state])
    error("nobody hears this")
    with Progress("Copying", 10) as progress:
        progress.advance(5)


@pytest.mark.skipif(os.name == "nt", reason="closes a file descriptor")
def test_a_process_started_without_stderr_goes_on() -> None:
    code = "from keepsake.util import console; console.warn('lost'); print('done')"
    process = subprocess.run(
        f'"{sys.executable}" -c "{code}" 2>&-', shell=True, stdout=subprocess.PIPE, text=True, check=True
    )
    assert process.stdout == "done\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_speak_while_its_parent_speaks() -> None:
    """A lock that another thread of the parent held at the fork does not block the child."""
    code = """
import os, threading
from keepsake.util import console
held, release = threading.Event(), threading.Event()
def hold():
    with console._lock:
        held.set()
        release.wait()
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if not child:
    console.say("child")
    os._exit(0)
os.waitpid(child, 0)
release.set()
"""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, encoding="utf-8", timeout=60, check=True
    )
    assert process.stderr == "═══╡ child\n"


# Progress


def test_progress_shows_after_a_second_and_goes_at_the_end(terminal: Terminal, clock: list[float]) -> None:
    with Progress("Copying", 4_000_000) as progress:
        progress.advance(500_000)
        assert terminal.getvalue() == ""
        clock[0] = 1.0
        progress.advance(500_000)
        drawn = terminal.getvalue()
        progress.advance(1)
        assert terminal.getvalue() == drawn, "drawn more often than can be seen"
    assert drawn == "   │ Copying  [######..................]  25%  1.0 MB of 4.0 MB"[:39]
    assert terminal.getvalue() == drawn + "\r\x1b[K"


def test_progress_counts_things_and_need_not_know_how_many(terminal: Terminal, clock: list[float]) -> None:
    with Progress("Reading\x1b", None, "experiments") as progress:
        clock[0] = 2.0
        progress.advance(1234)
    assert terminal.getvalue() == "   │ Reading\\x1b  1,234 experiments\r\x1b[K"


def test_a_message_replaces_the_bar_that_stands_there(terminal: Terminal, clock: list[float]) -> None:
    set_color(False)
    with Progress("Copying", None) as progress:
        clock[0] = 2.0
        progress.advance(1)
        say("Hello")
    assert terminal.getvalue() == "   │ Copying  1 B\r\x1b[K═══╡ Hello\n"


def test_no_progress_bar_in_a_pipe(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("Copying", 10) as progress:
        clock[0] = 5.0
        progress.advance(5)
    assert capsys.readouterr().err == ""


def test_many_threads_may_advance(terminal: Terminal, clock: list[float]) -> None:
    with Progress("Copying", None, "files") as progress:

        def work() -> None:
            for _ in range(1000):
                progress.advance()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        clock[0] = 2.0
        progress.advance(0)
    assert "8,000 files" in terminal.getvalue()


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_550_000, "1.6 MB"), (999_960_000, "1.0 GB"), (5e12, "5.0 TB")],
)
def test_sizes_are_in_powers_of_1000(count: float, text: str) -> None:
    assert format_size(count) == text
