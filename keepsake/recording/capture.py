"""What this process prints is kept in files, one for each run that asks for it.

Where the system allows it, that is the work of another process (redirection.py). Streams of Python that do not write
to the descriptors 1 and 2, such as those of a notebook, are listened to here. So is everything on Windows and in frozen
programs. Nothing here keeps a program from printing, and nothing raises.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from keepsake.recording.redirection import Redirection
from keepsake.util.console import warn
from keepsake.util.fork import in_forked_child
from keepsake.util.transcript import Transcript

_LOOK_SECONDS = 30.0  # how often runs may send what was printed
_INTERPRETER = re.compile(r"(python|pypy)[0-9.]*[a-z]*(\.exe)?", re.IGNORECASE)


class InProcess:
    """Keeps what is printed with threads of this process, where another process cannot do it."""

    descriptors: frozenset[int] = frozenset()

    def __init__(self) -> None:
        self._transcripts: dict[str, Transcript] = {}
        self._is_over = threading.Event()

    def begin(self, path: str) -> None:
        """Keep what is printed from now on in a file."""
        self._transcripts[path] = Transcript(path)

    def end(self, path: str, seconds: float) -> None:
        """Finish a file, and wait for it."""
        if transcript := self._transcripts.pop(path, None):
            transcript.end(seconds)

    def hear(self, data: bytes) -> None:
        """Keep what a stream has printed."""
        for transcript in list(self._transcripts.values()):
            transcript.add(data)

    def wait(self, seconds: float) -> str | None:
        """Wait, and return a problem: "" if there is none; None at the end."""
        if self._is_over.wait(seconds):
            return None
        return next(filter(None, (transcript.complaint for transcript in list(self._transcripts.values()))), "")

    def restore(self) -> None:
        """End the wait."""
        self._is_over.set()

    def rescue(self) -> None:
        """Do nothing: no other process is there to be killed."""

    def close(self) -> None:
        """Forget all files, as in a forked child, where no thread writes."""
        self._transcripts.clear()


class Capture:
    """What keeps the output of this process, while there is at least one run that asks for it."""

    def __init__(self) -> None:
        _flush()
        self._keeper = _redirection() or InProcess()
        self._runs: dict[str, Callable[[], None]] = {}  # path → what sends the file now and then
        self._undo: list[Callable[[], None]] = []
        self.is_over = False
        for stream in {id(stream): stream for stream in (sys.stdout, sys.stderr)}.values():
            if stream is not None and not _leads_to(stream, self._keeper.descriptors):
                self._listen(stream)

    def watch(self) -> None:
        """Look after it in a thread. Raises RuntimeError if none can start."""
        try:
            threading.Thread(target=self._watch, name="keepsake-output", daemon=True).start()
        except RuntimeError:
            self._stop()
            self._keeper.close()
            raise

    def begin(self, path: str, look: Callable[[], None]) -> None:
        """Keep what is printed from now on in a file, and call `look` now and then."""
        _flush()
        self._runs[path] = look
        self._keeper.begin(path)

    def end(self, path: str, seconds: float) -> None:
        """Finish a file. After the last one, everything is as it was before."""
        _flush()
        self._keeper.end(path, seconds)
        self._runs.pop(path, None)
        if not self._runs and not self.is_over:
            self._stop()

    def forget(self) -> None:
        """Leave it to the parent of this forked process. What is printed here still goes there, if it can."""
        if isinstance(self._keeper, InProcess):
            self._keeper.close()

    def _stop(self) -> None:
        self.is_over = True
        for undo in self._undo:
            undo()
        self._keeper.restore()

    def _listen(self, stream: Any) -> None:
        """Hear what is written to a stream."""
        write = stream.write

        def heard(text: Any) -> Any:
            result = write(text)
            if isinstance(text, str) and not self.is_over:
                self._keeper.hear(text.encode("utf-8", "replace"))
            return result

        def undo() -> None:
            if vars(stream).get("write") is heard:  # otherwise somebody listens to this one
                del stream.write

        with suppress(AttributeError, TypeError):  # a stream that cannot be changed
            stream.write = heard
            self._undo.append(undo)

    def _watch(self) -> None:
        told: set[str] = set()
        while (problem := self._keeper.wait(_LOOK_SECONDS)) is not None:
            if problem and problem not in told:
                told.add(problem)
                warn(f"What the program prints cannot be kept now: {problem}. It is tried again. The run goes on.")
            for look in list(self._runs.values()):
                look()
        if self.is_over:
            self._keeper.close()
            return
        self.is_over = True
        self._keeper.rescue()
        warn("What the program prints is no longer kept: the process that keeps it was killed. The run goes on.")


_capture: Capture | None = None


def begin(path: Path, look: Callable[[], None]) -> None:
    """Keep what this process and its children print from now on in a file, and call `look` every 30 seconds.

    While it is written, its name ends in `.live` instead of `.log`.
    """
    global _capture
    try:
        if _capture is None or _capture.is_over:
            _capture = Capture()
            _capture.watch()
        _capture.begin(str(path), look)
    except Exception as error:  # noqa: BLE001 - such as a limit of threads; the training goes on
        warn(f"What the program prints is not kept: {error}. The run goes on.")


def end(path: Path, seconds: float) -> None:
    """Finish that file, and wait for that, but not longer than some seconds."""
    try:
        if _capture is not None:
            _capture.end(str(path), seconds)
    except Exception as error:  # noqa: BLE001 - the end of the run goes on
        warn(
            f"The last lines that the program printed may be missing from `keepsake logs`: {error}. All else is saved."
        )


def _redirection() -> Redirection | None:
    """Return the way through another process; None where there is none."""
    # A program that embeds Python may be named as the interpreter, and would start itself.
    is_python = _INTERPRETER.fullmatch(os.path.basename(sys.executable or "")) and not hasattr(sys, "frozen")
    if sys.platform == "win32" or not is_python:
        return None
    try:
        return Redirection(sys.executable)
    except OSError:  # a limit of processes or files
        return None


def _leads_to(stream: object, descriptors: frozenset[int] | set[int]) -> bool:
    """Whether a stream, or one that it writes to, has one of these descriptors."""
    return any(_descriptor(each) in descriptors for each in (stream, *getattr(stream, "__dict__", {}).values()))


def _descriptor(stream: Any) -> int | None:
    if not hasattr(stream, "write"):
        return None
    try:
        number = stream.fileno()
    except Exception:  # noqa: BLE001 - such as a limited stand-in
        return None
    return number if isinstance(number, int) else None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # it is closed, limited, or interrupted by the signal that ends the program
            stream.flush()


@in_forked_child
def _after_fork() -> None:
    global _capture
    if _capture is not None:
        _capture.forget()
    _capture = None
