"""`keepsake ls --watch`: a screen that is drawn again and again in its place."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

import click

from keepsake.cli.rendering import encodable, faint, is_utf8
from keepsake.exceptions import KeepsakeError
from keepsake.util import console
from keepsake.util.clock import monotonic
from keepsake.util.values import escape_controls
from keepsake.util.width import cut_end

T = TypeVar("T")

_OPEN, _CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # a screen of its own, without a cursor
_BEGIN, _END = "\x1b[?2026h\x1b[H", "\x1b[J\x1b[?2026l"  # the terminal shows the text between them in one go
_NEXT_LINE = "\x1b[K\n"
_LOOK = 0.2  # seconds between two looks at the size of the terminal


def watch(find: Callable[[], T], render: Callable[[T, int | None], list[str]], seconds: float) -> None:
    """Show what is found, look again every few seconds, and leave the last state behind when Ctrl-C ends it.

    Args:
        find: looks. If it raises a KeepsakeError after the first time, the last state stays, with the error below it.
        render: returns what is found as lines that fit the terminal: at most so many; None: all of them.
        seconds: the time between two looks.
    """
    screen = _Screen(find, render, seconds)
    screen.look()
    gc.enable()  # the command line turns it off, which is right for short commands only
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _write(_OPEN)
        while True:
            screen.show()
            try:
                screen.look()
            except KeepsakeError as error:
                screen.problem = str(error)
    except KeyboardInterrupt:
        pass  # the user ends it so
    finally:
        _write(_CLOSE)
        signal.signal(signal.SIGTERM, before)
    for line in render(screen.found, None):
        click.echo(line, color=console.color_enabled(sys.stdout))
    sys.stderr.write(screen.messages)


class _Screen(Generic[T]):
    """What was found last, and when."""

    found: T

    def __init__(self, find: Callable[[], T], render: Callable[[T, int | None], list[str]], seconds: float) -> None:
        self._find, self._render, self._seconds = find, render, seconds
        self.messages = ""  # of the last look, on stderr
        self.problem = ""

    def look(self) -> None:
        """Look, and keep messages away from the screen."""
        messages = io.StringIO()
        with contextlib.redirect_stderr(messages):
            self.found = self._find()
        self.messages, self.problem = messages.getvalue(), ""
        self._when = datetime.now()

    def show(self) -> None:
        """Draw until it is time for another look; again when the terminal changes its size."""
        size, until = None, monotonic() + self._seconds
        while (left := until - monotonic()) > 0 or size is None:
            now = os.get_terminal_size(sys.stdout.fileno())
            if now != size:
                size = now
                _write(_BEGIN + _NEXT_LINE.join(self._lines(size)) + _END)
            time.sleep(max(0.0, min(_LOOK, left)))

    def _lines(self, size: os.terminal_size) -> list[str]:
        text = f"Updated at {self._when:%H:%M:%S}, every {self._seconds:g} s. Ctrl-C ends it."
        if trouble := self.problem or self.messages.strip(" ═╡\n").partition("\n")[0]:
            text = f"Updated at {self._when:%H:%M:%S}. {trouble}"
        text = encodable(escape_controls(text))
        footer = cut_end(text, size.columns - 1, "…" if is_utf8(sys.stdout) else "...")
        return [*self._render(self.found, max(size.lines - 1, 1)), faint(footer)]


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
