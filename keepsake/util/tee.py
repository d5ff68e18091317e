"""A program that passes on what another one prints, and keeps it.

It is a process of its own, so nothing is lost if the other program is killed, and printing never waits for the other
program's interpreter. It ends when no process is left that can print. Its arguments, `CONTROL:REPORTS
SOURCE:TARGET...`, are the numbers of open files:

    CONTROL   where commands come from: `b` or `e`, the path of a transcript to begin or end, and a NUL; or `q` and a
              NUL, after which no more commands come
    REPORTS   where a line goes for each problem; it is closed at the last command
    SOURCE    what is printed
    TARGET    where that goes; -1: it is only kept
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING or __name__ != "__main__":
    from keepsake.util.transcript import Transcript
else:  # without the package, which would take longer to load
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from transcript import Transcript

_BLOCK = 65536
_AT_ONCE = 16  # blocks that were printed before a command and are read before it is obeyed
_LOOK_SECONDS = 1.0  # between two looks at the size of a terminal, and for problems
_IGNORED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGPIPE", "SIGTSTP", "SIGTTOU", "SIGTTIN", "SIGUSR1", "SIGUSR2")


class Tee:
    """Sources with their targets, and the transcripts that are kept now."""

    def __init__(self, control: int, reports: int, targets: dict[int, int]) -> None:
        self._control = control
        self._reports = reports
        self._targets = targets
        self._transcripts: dict[str, Transcript] = {}
        self._told: set[str] = set()  # transcripts whose problem was reported
        self._commands = b""  # one that is not complete yet
        self._ending: list[str] = []
        self._terminals = {source: b"" for source, target in targets.items() if target >= 0 and os.isatty(target)}

    def run(self) -> None:
        """Pass on and keep what comes until all sources have ended."""
        while self._targets:
            self._resize()
            controls = [self._control] if self._control >= 0 else []
            is_watching = self._terminals or self._transcripts
            for source in readable([*controls, *self._targets], _LOOK_SECONDS if is_watching else None):
                if source in self._targets:
                    self._pass_on(source)
            self._take_commands()
            self._end_some()
            self._report()
        for transcript in self._transcripts.values():
            transcript.end()

    def _pass_on(self, source: int) -> bool:
        """Pass on one block; return False at the end of the source."""
        try:
            data = os.read(source, _BLOCK)
        except OSError:  # a terminal that no process has open
            data = b""
        if not data:
            del self._targets[source]
            self._terminals.pop(source, None)
            return False
        if self._targets[source] >= 0 and not _write(self._targets[source], data):
            self._targets[source] = -1
        self._take_commands()  # this block may have been printed after a transcript was begun
        for transcript in self._transcripts.values():
            transcript.add(data, source)
        return True

    def _take_commands(self) -> None:
        if self._control < 0 or not readable([self._control], 0):
            return
        data = os.read(self._control, _BLOCK)
        if not data:  # the other program has ended, or only its descendants can still print
            self._hang_up()
        *commands, self._commands = (self._commands + data).split(b"\0")
        for command in commands:
            path = os.fsdecode(command[1:])
            if command[:1] == b"b":
                self._transcripts[path] = Transcript(path)
            elif command[:1] == b"e":
                self._ending.append(path)
            else:
                self._hang_up()

    def _hang_up(self) -> None:
        os.close(self._reports)
        self._control = self._reports = -1

    def _end_some(self) -> None:
        """End transcripts, after what was printed before they were told to end."""
        if not self._ending:
            return
        for source in list(self._targets):
            for _ in range(_AT_ONCE):
                if not readable([source], 0) or not self._pass_on(source):
                    break
        while self._ending:
            if transcript := self._transcripts.pop(self._ending.pop(), None):
                transcript.end()

    def _report(self) -> None:
        for path, transcript in self._transcripts.items():
            complaint = transcript.complaint
            if complaint and path not in self._told and self._reports >= 0:
                self._told.add(path)
                _write(self._reports, f"{complaint}\n".encode())

    def _resize(self) -> None:
        """Give the terminal of the other program the size of the real one."""
        for source, before in self._terminals.items():
            size = terminal_size(self._targets[source])
            if size and size != before:
                self._terminals[source] = size
                set_terminal_size(source, size)


def readable(sources: Iterable[int], seconds: float | None) -> list[int]:
    """Wait until one of these descriptors can be read or has ended, and return those that do; [] after that time."""
    return _ready(list(sources), [], seconds)


def _ready(sources: list[int], targets: list[int], seconds: float | None) -> list[int]:
    if sys.platform == "win32":
        raise OSError("Windows waits for sockets alone")
    if sys.platform == "darwin":  # its poll() does not know terminals; that of others knows descriptors above 1023
        ready = select.select(sources, targets, [], seconds)
        return [*ready[0], *ready[1]]
    poll = select.poll()
    for descriptors, event in ((sources, select.POLLIN), (targets, select.POLLOUT)):
        for descriptor in descriptors:
            poll.register(descriptor, event)
    return [descriptor for descriptor, _ in poll.poll(None if seconds is None else seconds * 1000)]


def terminal_size(descriptor: int) -> bytes:
    """Return the size of a terminal in the system's form; empty if it has none."""
    if sys.platform == "win32":
        return b""
    import fcntl
    import termios

    try:
        return fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return b""


def set_terminal_size(descriptor: int, size: bytes) -> None:
    """Set the size of a terminal."""
    if sys.platform == "win32":
        return
    import fcntl
    import termios

    try:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)
    except OSError:
        pass  # it keeps the size it has


def _write(target: int, data: bytes) -> bool:
    """Write all of it; return False if the reader is gone."""
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:
            _ready([], [target], None)
        except OSError:
            return False
    return True


def main() -> None:
    """Run until no process is left that can print."""
    for name in _IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    (control, reports), *ways = [(int(one), int(other)) for one, other in (way.split(":") for way in sys.argv[1:])]
    Tee(control, reports, dict(ways)).run()


if __name__ == "__main__":
    main()
