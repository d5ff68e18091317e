"""Work that processes share, because an interpreter does one thing at a time: reading records by the thousand."""

from __future__ import annotations

import marshal
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar, cast

S = TypeVar("S")
Fields = tuple[str, ...]

_FEWEST = 200  # items that are worth a process
_MOST = 8  # processes, on machines that many people share
_ROUND = 10_000  # items, so that what a broken-off call has not yielded is no more


def share(items: Sequence[S], work: Callable[[Sequence[S]], Iterable[Fields]]) -> Iterator[Fields]:
    """Yield what `work` makes of `items`, in no order: it is called for parts of them, in several processes if it pays.

    They are forked, which takes a millisecond, on Linux and where there is one thread only: another's lock would never
    be given back in a fork. What a process could not do is done again here, and so its error comes out.
    """
    for start in range(0, len(items), _ROUND):
        some = items[start : start + _ROUND]
        count = min(len(some) // _FEWEST, _MOST, _cores()) or 1
        helpers: list[_Helper[S]] = []
        try:
            for number in range(1, count):
                helpers.append(_Helper(some[number::count], work))
            yield from work(some[::count])
            for helper in helpers:
                yield from helper.result()
        finally:
            for helper in helpers:
                helper.end()


def _cores() -> int:
    """Return how many processes can be at work at once, this one among them."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return 1
    return len(os.sched_getaffinity(0))


class _Helper(Generic[S]):
    """A forked process that does a part of the work, into a file in memory."""

    def __init__(self, part: Sequence[S], work: Callable[[Sequence[S]], Iterable[Fields]]) -> None:
        self._part, self._work = part, work
        self._file = os.memfd_create("keepsake")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # which would go on as we do
        try:
            self._process = os.fork()
            if self._process == 0:
                self._run()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _run(self) -> None:
        status = 1
        try:
            with open(self._file, "wb") as file:
                marshal.dump([tuple(fields) for fields in self._work(self._part)], file)
            status = 0
        finally:
            os._exit(status)  # the rest of the program is not for this process

    def result(self) -> Iterable[Fields]:
        """Return what it made, or make that here."""
        if not self._wait():
            return self._work(self._part)
        with open(self._file, "rb", closefd=False) as file:
            file.seek(0)
            return cast("list[Fields]", marshal.load(file))  # noqa: S302 - what we wrote ourselves

    def _wait(self) -> bool:
        process, self._process = self._process, 0
        try:
            return os.waitpid(process, 0)[1] == 0
        except ChildProcessError:  # who started this program told the system to forget such processes
            return False

    def end(self) -> None:
        """Let it go, at work or not."""
        if self._process:
            os.kill(self._process, signal.SIGKILL)
            self._wait()
        os.close(self._file)
