"""What a process prints, as lines in a file of limited size.

This module uses the standard library alone, because tee.py loads it without the package.
"""

from __future__ import annotations

import codecs
import os
import re
import threading
from collections import deque

HEAD_BYTES, TAIL_BYTES = 1_000_000, 9_000_000  # what stays of a longer transcript
_ROWS = 50  # the last rows can still be changed, as by several progress bars
_ROW_CHARACTERS = 65_536  # the beginning of a longer row is final
_QUEUE_BYTES = 16_000_000
_PAUSE_SECONDS = 0.1  # between two writes
_RETRY_SECONDS = 1.0  # after a failed write
_HELD_CHARACTERS = 4096  # of an escape sequence that is not complete yet

_TOKEN = re.compile(
    r"""(?P<text> [^\x00-\x08\x0a-\x1f\x7f-\x9f]+ )
      | \x1b\[ (?P<numbers> [0-9;:]* ) (?P<kind> [A-Za-z] )
      | (?: \x1b\[ [0-?]* [ -/]* [@-~] | \x1b[]PX^_] [^\x07\x1b]* (?: \x07 | \x1b\\ ) | \x1b [ -/]* [0-Z\\^-~] )
      | (?P<open> \x1b (?: \[ [0-?]* [ -/]* | []PX^_] [^\x07\x1b]* \x1b? | [ -/]* )? \Z )
      | (?P<control> [\x00-\x1f\x7f-\x9f] )""",
    re.VERBOSE,
)
_SPECIAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LEFT_OUT = re.compile(rb"^\.\.\. ([0-9]+) lines? \([0-9]+ bytes\) left out \.\.\.$", re.MULTILINE)


class Screen:
    """The rows that text leaves on a terminal. Colours stay, and other escape sequences are carried out or dropped.

    A progress bar, which is drawn again and again, leaves only its last state.
    """

    def __init__(self) -> None:
        self._rows = [""]
        self._row = 0
        self._is_at_start = False  # of the row, whose text the next one replaces
        self._colors = ""  # for the next text
        self._open = ""  # an escape sequence that is not complete yet

    def add(self, text: str) -> str:
        """Print text; return the rows that are now final."""
        text = self._open + text
        self._open = ""
        if self._is_at_start or self._colors or self._row + 1 < len(self._rows) or _SPECIAL.search(text):
            for token in _TOKEN.finditer(text):
                self._print(token)
        else:
            first, *others = text.split("\n")
            self._rows[-1] += first
            self._rows += others
            self._row = len(self._rows) - 1
        return self._settled()

    def rows(self) -> str:
        """Return the rows that can still change, and what follows them."""
        return "\n".join(self._rows) + self._colors

    def _print(self, token: re.Match[str]) -> None:
        if token["text"]:
            self._replace(self._colors + token["text"])
            self._colors = ""
        elif token["kind"]:
            self._obey(token["kind"], token["numbers"], token[0])
        elif token["open"]:
            self._open = token[0] if len(token[0]) < _HELD_CHARACTERS else ""
        elif token["control"] == "\n":
            self._rows[self._row] += self._colors
            self._colors = ""
            self._row += 1
            self._is_at_start = self._row < len(self._rows)
            if not self._is_at_start:
                self._rows.append("")
        elif token["control"] == "\r":
            self._is_at_start = True
        elif token["control"] == "\b" and not self._is_at_start:
            self._rows[self._row] = self._rows[self._row][:-1]

    def _replace(self, text: str) -> None:
        self._rows[self._row] = text if self._is_at_start else self._rows[self._row] + text
        self._is_at_start = False

    def _obey(self, kind: str, numbers: str, sequence: str) -> None:
        count = int(numbers[:6]) if numbers[:6].isdigit() else 0
        if kind == "m":
            self._colors += sequence
        elif kind in "AF":
            self._row = max(0, self._row - max(count, 1))
            self._is_at_start = self._is_at_start or kind == "F"
        elif kind in "BE":
            self._row = min(len(self._rows) - 1, self._row + max(count, 1))
            self._is_at_start = self._is_at_start or kind == "E"
        elif kind == "G" and count <= 1:
            self._is_at_start = True
        elif kind == "K" and (count == 2 or (count == 0 and self._is_at_start)):
            self._rows[self._row] = ""
        elif kind == "J" and count == 0 and self._is_at_start:
            self._rows[self._row :] = [""]

    def _settled(self) -> str:
        surplus = len(self._rows) - _ROWS
        settled = ""
        if surplus > 0:
            settled = "\n".join(self._rows[:surplus]) + "\n"
            del self._rows[:surplus]
            self._row = max(0, self._row - surplus)
        if len(self._rows[self._row]) > _ROW_CHARACTERS and self._row == len(self._rows) - 1:
            settled += "\n".join(self._rows)
            self._rows, self._row = [""], 0
        return settled


class Transcript:
    """A file that follows what a process prints. `add` never waits for the disk: a thread writes.

    Its name ends in `.live` while it is written, and in `.log` afterwards. All of its content is kept in memory, so
    nothing is lost if the disk is full for a while, or if somebody removes the file.

    Arguments:
        path: of the finished file.

    Attributes:
        problem: why the last write failed; None if it did not.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._live = live_path(path)
        self._screen = Screen()
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}
        self._data = bytearray()  # the rows that are final
        self._written = 0  # how many bytes of it are in the file
        self._head = 0  # how many bytes stay before those that were left out
        self._left_out = [0, 0]  # lines, bytes
        self._descriptor = -1
        self.problem: OSError | None = None
        self._changed = threading.Condition()
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queued = self._dropped = 0
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="keepsake-transcript", daemon=True)
        self._thread.start()

    @property
    def complaint(self) -> str:
        """Why it cannot be written; empty if it can, or if its directory is gone because somebody removed the run."""
        problem = self.problem
        return "" if problem is None or isinstance(problem, FileNotFoundError) else problem.strerror or str(problem)

    def add(self, data: bytes, stream: int = 0) -> None:
        """Add what was printed to one of several streams."""
        with self._changed:
            if self._queued + len(data) > _QUEUE_BYTES:
                self._dropped += len(data)
            else:
                self._queue.append((stream, data))
                self._queued += len(data)
            self._changed.notify()

    def end(self, seconds: float | None = None) -> None:
        """Write what is left, and give the file the name of a finished one."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        self._write()
        while not self._is_ending or self._queue:
            with self._changed:
                while not (self._queue or self._dropped or self._is_ending):
                    self._changed.wait(None if self.problem is None else _RETRY_SECONDS)
                    if self.problem is not None:
                        break
                taken, dropped = list(self._queue), self._dropped
                self._queue.clear()
                self._queued = self._dropped = 0
            for stream, data in taken:
                self._settle(self._decoder(stream).decode(data))
            if dropped:
                self._settle(f"\n... {dropped} bytes left out, which came too quickly ...\n")
            self._write()
            with self._changed:
                self._changed.wait_for(lambda: self._is_ending, _PAUSE_SECONDS)
        self._finish()

    def _decoder(self, stream: int) -> codecs.IncrementalDecoder:
        return self._decoders.setdefault(stream, codecs.getincrementaldecoder("utf-8")("replace"))

    def _settle(self, text: str) -> None:
        self._data += self._screen.add(text).encode("utf-8", "replace")
        if len(self._data) > HEAD_BYTES + 2 * TAIL_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        """Leave out the middle."""
        head = self._head = self._head or self._data.rfind(b"\n", 0, HEAD_BYTES) + 1 or HEAD_BYTES
        tail = self._data.find(b"\n", len(self._data) - TAIL_BYTES) + 1 or len(self._data) - TAIL_BYTES
        gone = self._data[head:tail]
        if self._left_out[1]:
            del gone[: gone.find(b"\n") + 1]  # the line that says so
        self._left_out[0] += gone.count(b"\n")
        self._left_out[1] += len(gone)
        lines, size = self._left_out
        self._data[head:tail] = f"... {lines} line{'s' * (lines != 1)} ({size} bytes) left out ...\n".encode()
        self._written = min(self._written, head)

    def _write(self) -> None:
        try:
            if self._descriptor < 0 or os.fstat(self._descriptor).st_nlink == 0:
                self._close()
                flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
                self._descriptor = os.open(self._live, flags, 0o600)
                self._written = 0
            os.lseek(self._descriptor, self._written, os.SEEK_SET)
            data = bytes(self._data[self._written :]) + self._screen.rows().encode("utf-8", "replace")
            end = self._written + len(data)
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.ftruncate(self._descriptor, end)
            self._written = len(self._data)
            self.problem = None
        except OSError as error:
            self.problem = error

    def _finish(self) -> None:
        for decoder in self._decoders.values():
            self._settle(decoder.decode(b"", True))
        self._data += self._screen.rows().encode("utf-8", "replace")
        self._screen = Screen()
        if len(self._data) > HEAD_BYTES + TAIL_BYTES:
            self._shorten()
        self._write()
        self._close()
        try:
            os.replace(self._live, self._path)
        except OSError:
            pass  # the file is gone, or the disk has trouble; another process finishes it

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def live_path(path: str) -> str:
    """Return the path of a transcript while it is written."""
    return path.removesuffix(".log") + ".live"


def count(data: bytes) -> tuple[int, int]:
    """Return how many lines a transcript has, with those that were left out, and how many bytes without them."""
    marks = _LEFT_OUT.findall(data)
    lines = data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))
    return lines + (int(marks[0]) - 1 if marks else 0), len(data)
