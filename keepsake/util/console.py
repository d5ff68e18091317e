"""Messages and progress bars for the user, on stderr. A closed or broken stderr never raises an error here."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TextIO

from keepsake.util.clock import monotonic
from keepsake.util.errors import comes_from_handler
from keepsake.util.files import WINDOWS
from keepsake.util.fork import in_forked_child
from keepsake.util.values import escape_controls

_FIRST, _NEXT = "═══╡ ", "   │ "
_ASCII = str.maketrans({"═": "=", "╡": "|", "│": "|", "…": "...", "→": "->", "★": "*"})
_RESET, _FAINT, _YELLOW, _RED = "\x1b[0m", "\x1b[2m", "\x1b[33m", "\x1b[31m"
_CLEAR_LINE = "\r\x1b[K"
_BAR_WIDTH = 24
_STDOUT, _STDERR, _OBEY_SEQUENCES = -11, -12, 4  # of the console of Windows

# Re-entrant because a signal handler may print while its thread is printing.
_lock = threading.RLock()
_color: bool | None = None
_bar_is_drawn = False

told: set[str] = set()  # by `once`


def say(message: str) -> None:
    """Print `message` to stderr. It may have several lines. Control characters are escaped."""
    _print(message, "")


def warn(message: str) -> None:
    """Print `message` to stderr as a warning."""
    _print(message, _YELLOW)


def once(tell: Callable[[str], None], message: str, kind: str | None = None) -> None:
    """Call `say` or `warn`, unless this process has told the same, or something of the same kind, already."""
    if (about := kind or message) not in told:
        told.add(about)
        tell(message)


def error(message: str) -> None:
    """Print `message` to stderr as an error."""
    _print(message, _RED)


def set_color(color: bool | None) -> None:
    """Force colours on or off for this process (`--color`, `--no-color`); None: decide for each stream."""
    global _color
    _color = color


def color_enabled(stream: TextIO | None) -> bool:
    """Return whether to write colours to `stream`.

    `set_color` decides. Without it, a terminal gets colours unless `NO_COLOR` is set.
    """
    if _color is not None:
        return _color
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and is_terminal(stream)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether `stream` writes to a terminal. It then obeys escape sequences, on Windows too."""
    try:
        is_one = stream is not None and stream.isatty()
    except (AttributeError, OSError, ValueError) as error:
        if comes_from_handler(error):
            raise
        return False
    if WINDOWS and is_one:
        _obey_sequences()
    return is_one


def _obey_sequences() -> None:
    """Let the console of Windows obey escape sequences. An older one prints them unless it is told to."""
    if sys.platform == "win32":
        import ctypes

        kernel, mode = ctypes.WinDLL("kernel32"), ctypes.c_ulong()
        kernel.GetStdHandle.restype = ctypes.c_void_p
        for stream in (_STDOUT, _STDERR):
            handle = ctypes.c_void_p(kernel.GetStdHandle(stream))
            if kernel.GetConsoleMode(handle, ctypes.byref(mode)):
                kernel.SetConsoleMode(handle, mode.value | _OBEY_SEQUENCES)


def terminal_width(stream: TextIO) -> int:
    """Return the columns of the terminal that `stream` writes to, at least 25; 80 if they are unknown."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns  # 0: the width is unknown
        return max(columns, 25) if columns else 80
    except (AttributeError, OSError, ValueError):
        return 80


def format_size(count: float) -> str:
    """Return `count` bytes as readable text, in powers of 1000: `999 B`, `1.5 kB`, `2.0 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.95:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: `1 file`, `2,000 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def some(names: Sequence[str], most: int) -> str:
    """Return the first of many names, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class Progress:
    """A progress bar on stderr. It appears only on a terminal, and only after one second.

    Arguments:
        label: the name of the task, such as `Checking out`.
        total: the amount of work; None if it is unknown.
        unit: `B` for bytes, or else a word for the things counted.
    """

    def __init__(self, label: str, total: int | None, unit: str = "B") -> None:
        self._label = escape_controls(label)
        self._total = total
        self._unit = unit
        self._done = 0
        self._next = float("inf")

    def __enter__(self) -> Progress:
        if is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb":
            self._next = monotonic() + 1
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        with _lock:
            self._next = float("inf")
            _write("")

    def advance(self, n: int = 1) -> None:
        """Count `n` more units as done. Any thread may call this at any time."""
        with _lock:
            self._done += n
            now = monotonic()
            if now >= self._next:
                self._next = now + 0.1
                self._draw()

    def _draw(self) -> None:
        global _bar_is_drawn
        line = f"{_NEXT}{self._label}  {self._amounts()}"[: terminal_width(sys.stderr) - 1]
        _write(line)
        _bar_is_drawn = True

    def _amounts(self) -> str:
        done = self._amount(self._done)
        if not self._total:
            return done
        share = min(self._done / self._total, 1.0)
        bar = "#" * int(share * _BAR_WIDTH)
        return f"[{bar:.<{_BAR_WIDTH}}] {share:4.0%}  {done} of {self._amount(self._total)}"

    def _amount(self, count: int) -> str:
        return format_size(count) if self._unit == "B" else f"{count:,} {self._unit}"


def _print(message: str, color: str) -> None:
    colored = color_enabled(sys.stderr)
    width = terminal_width(sys.stderr) - len(_FIRST) if is_terminal(sys.stderr) else None
    lines = wrap(escape_controls(message.expandtabs(4), keep_newlines=True), width)
    text = ""
    for number, line in enumerate(lines):
        prefix = _NEXT if number else _FIRST
        if colored:
            prefix = f"{_FAINT}{prefix}{_RESET}"
            line = f"{color}{line}{_RESET}" if color and line else line
        text += prefix + line + "\n"
    with _lock:
        _write(text)


def wrap(message: str, width: int | None) -> list[str]:
    """Split `message` into lines of at most `width` characters. Words stay whole, and indentation is kept.

    `width`: None if it is unknown. Then only its own lines are split.
    """
    if width is None or all(len(line) <= width for line in message.split("\n")):
        return message.split("\n")
    import textwrap

    lines = []
    for line in message.split("\n"):
        indent = line[: len(line) - len(line.lstrip())][: width // 2]
        lines += textwrap.wrap(
            line, max(width, 20), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return lines


def _write(text: str) -> None:
    """Write `text` to stderr in one piece. It replaces a progress bar. The caller holds the lock."""
    global _bar_is_drawn
    stream = sys.stderr
    if _bar_is_drawn:
        text = _CLEAR_LINE + text
        _bar_is_drawn = False
    try:
        encoding = stream.encoding or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
        stream.write(text)
        stream.flush()
    except (AttributeError, LookupError, OSError, ValueError) as error:
        if comes_from_handler(error):
            raise
        # stderr is closed, missing or a limited stand-in, so the message has no reader


@in_forked_child
def _after_fork() -> None:
    """Make a new lock in a forked child, because another thread of the parent may have held the old one."""
    global _lock
    _lock = threading.RLock()
