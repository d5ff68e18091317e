"""The descriptors 1 and 2 lead through another process, which keeps what it passes on (util/tee.py).

They lead into a pipe, or a pseudo-terminal where they led to a terminal. So C extensions and child processes are heard
too, a kill of this process loses nothing, and printing never waits for this interpreter. This process keeps both ends
open. If the other one is killed, nobody is cut off: a thread here takes over. What is printed just then may overtake
some of what was printed before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from keepsake.util import tee
from keepsake.util.clock import monotonic
from keepsake.util.transcript import live_path

_POLL_SECONDS = 0.002
_PIPE_BYTES = 256 << 10  # the system gives all pipes of a user some 64 MB
_F_SETPIPE_SZ = 1031  # of Linux
_BLOCK = 65536

Identity = tuple[int, int]


@dataclass
class Channel:
    """Descriptors that lead to the same place, and their way through the other process.

    Attributes:
        descriptors: 1, 2 or both; none for what is only kept.
        target: a copy of the place to which they led; -1 without descriptors.
        source: where the other process reads.
        sink: what the descriptors lead to now.
        identity: of the sink, to tell whether they still do.
    """

    descriptors: list[int]
    target: int
    source: int
    sink: int
    identity: Identity

    @classmethod
    def open(cls, descriptors: list[int]) -> Channel:
        """Prepare a channel. Raises OSError."""
        target = _above_standard(os.dup(descriptors[0])) if descriptors else -1
        if target >= 0 and os.isatty(target):
            source, sink = _pseudo_terminal(target)
        else:
            source, sink = map(_above_standard, os.pipe())
            if sys.platform == "linux" and descriptors:
                import fcntl

                with suppress(OSError):  # a limit of the user's
                    fcntl.fcntl(sink, _F_SETPIPE_SZ, _PIPE_BYTES)
        return cls(descriptors, target, source, sink, _identity(sink))

    def redirect(self) -> None:
        """Lead the descriptors into the channel."""
        for descriptor in self.descriptors:
            os.dup2(self.sink, descriptor)
        if self.descriptors:
            os.close(self.sink)
            self.sink = -1

    def restore(self) -> None:
        """Lead them back, unless the program has meanwhile led them elsewhere."""
        for descriptor in self.descriptors:
            with suppress(OSError):
                if _identity(descriptor) == self.identity:
                    os.dup2(self.target, descriptor)

    def close(self) -> None:
        """Close what only this process uses."""
        for descriptor in (self.sink, self.source, self.target):
            if descriptor >= 0:
                with suppress(OSError):
                    os.close(descriptor)
        self.sink = self.source = self.target = -1

    def pass_on(self, *, wait: bool) -> None:
        """Do the work of the other process, but keep nothing; with `wait`, until nobody can print here."""
        with suppress(OSError, ValueError):
            while tee.readable([self.source], None if wait else 0) and (data := os.read(self.source, _BLOCK)):
                while data and self.target >= 0:
                    data = data[os.write(self.target, data) :]


class Redirection:
    """The channels of this process. Raises OSError if there can be none.

    Arguments:
        program: the Python interpreter.
    """

    def __init__(self, program: str) -> None:
        self._channels: list[Channel] = []
        self._has_ended = False
        control, self._control = map(_above_standard, os.pipe())
        self._reports, reports = map(_above_standard, os.pipe())
        try:
            self._channels.append(Channel.open([]))
            for descriptors in _places():
                self._channels.append(Channel.open(descriptors))
            self._run(program, control, reports)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(control)
            os.close(reports)
        for channel in self._channels:
            channel.redirect()

    def _run(self, program: str, control: int, reports: int) -> None:
        """Start the other process as a child of none: the program may wait for all of its own children."""
        ways = [(control, reports), *((channel.source, channel.target) for channel in self._channels)]
        command = [program, "-I", "-S", tee.__file__, *(f"{source}:{target}" for source, target in ways)]
        process = subprocess.Popen(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[descriptor for way in ways for descriptor in way if descriptor >= 0],
            start_new_session=True,
            cwd=os.sep,
        )
        process.wait()

    @property
    def descriptors(self) -> set[int]:
        """The descriptors that lead through the other process."""
        return {descriptor for channel in self._channels for descriptor in channel.descriptors}

    def begin(self, path: str) -> None:
        """Keep what is printed from now on in a file."""
        self._send(b"b", path)

    def end(self, path: str, seconds: float) -> None:
        """Finish a file, and wait for it."""
        self._send(b"e", path)
        deadline = monotonic() + seconds
        while os.path.exists(live_path(path)) and not self._has_ended and monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if self._has_ended:
            with suppress(OSError):
                os.replace(live_path(path), path)

    def hear(self, data: bytes) -> None:
        """Keep what did not go through the descriptors."""
        with suppress(OSError):
            while data:
                data = data[os.write(self._channels[0].sink, data) :]

    def wait(self, seconds: float) -> str | None:
        """Wait for a problem, and return it: "" if there was none; None if the other process has ended."""
        with suppress(OSError, ValueError):
            if not tee.readable([self._reports], seconds):
                return ""
            if data := os.read(self._reports, _BLOCK):
                return data.decode("utf-8", "replace").strip()
        self._has_ended = True
        return None

    def restore(self) -> None:
        """Lead the descriptors back. The other process ends when no process is left that can print to it."""
        for channel in self._channels:
            channel.restore()
        self._send(b"q", "")  # ends the wait

    def rescue(self) -> None:
        """Lead the descriptors back, and pass on what comes from processes that have inherited the old ones."""
        for channel in self._channels[1:]:
            channel.pass_on(wait=False)
        self.restore()
        for channel in self._channels[1:]:
            pass_on = partial(channel.pass_on, wait=True)
            threading.Thread(target=pass_on, name="keepsake-output", daemon=True).start()
        self._channels[0].close()

    def close(self) -> None:
        """Close what only this process uses."""
        for descriptor in (self._control, self._reports):
            os.close(descriptor)
        for channel in self._channels:
            channel.close()

    def _send(self, command: bytes, path: str) -> None:
        with suppress(OSError):  # the other process was killed, which `wait` notices
            os.write(self._control, command + os.fsencode(path) + b"\0")


def _places() -> Iterator[list[int]]:
    """Yield the descriptors of standard streams that are open. Those that lead to one place come together."""
    places: dict[Identity, list[int]] = {}
    for descriptor, stream in ((1, sys.__stdout__), (2, sys.__stderr__)):
        # Where a stream is closed or missing, its descriptor may be that of any file by now.
        with suppress(OSError, ValueError):
            if stream is not None and stream.fileno() == descriptor:
                places.setdefault(_identity(descriptor), []).append(descriptor)
    yield from places.values()


def _identity(descriptor: int) -> Identity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _above_standard(descriptor: int) -> int:
    """Return the descriptor, or a copy in its place that is none of a closed standard stream."""
    if descriptor > 2 or sys.platform == "win32":
        return descriptor
    import fcntl

    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return copy


def _pseudo_terminal(terminal: int) -> tuple[int, int]:
    """Return both ends of a terminal of the real one's size. It changes no text, because the real one does that."""
    if sys.platform == "win32":
        raise OSError("Windows has other terminals")
    import tty

    source, sink = map(_above_standard, os.openpty())
    tty.setraw(sink)
    if size := tee.terminal_size(terminal):
        tee.set_terminal_size(source, size)
    return source, sink
