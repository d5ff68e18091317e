"""A few threads of our own for hashing and compressing.

An executor's would not do: it refuses work while the interpreter exits, which is when the last checkpoints are saved.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Part = bytes | memoryview


class Workers:
    """Daemon threads that take jobs first in, first out. To be made early: at exit no thread can be started.

    In a forked child, where the threads are gone, a job is done by whoever submits it.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or min(4, max(2, os.cpu_count() or 2))
        self._process = os.getpid()
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        for number in range(self.count):
            threading.Thread(target=self._work, name=f"keepsake-worker-{number}", daemon=True).start()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the threads end when the jobs submitted so far are done."""
        for _ in range(self.count):
            self._jobs.put(None)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Have a thread call `job`; the future holds what it returns or raises."""
        future: Future[T] = Future()
        if self._process == os.getpid():
            self._jobs.put((future, job))
        else:
            _run(future, job)
        return future

    def _work(self) -> None:
        while (work := self._jobs.get()) is not None:
            _run(*work)
            del work  # what it holds would stay in memory until the next one comes


def _run(future: Future[T], job: Callable[[], T]) -> None:
    try:
        future.set_result(job())
    except BaseException as error:  # noqa: BLE001 (raised by the one who waits for it)
        future.set_exception(error)


def in_order(workers: Workers | None, jobs: Iterator[Callable[[], T]]) -> Iterator[T]:
    """Yield the results of `jobs` in their order, with only a few under way at once; without workers, one by one."""
    if workers is None:
        yield from (job() for job in jobs)
        return
    running: deque[Future[T]] = deque()
    for job in jobs:
        running.append(workers.submit(job))
        if len(running) > workers.count + 2:  # more would only cost memory, which is slower to get than to use
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


class Turns:
    """Hands the parts of a file, which several threads have, to `take` in their order: each part waits for its turn.

    With jobs taken first in, first out no thread waits for ever: the part before was taken before.
    """

    def __init__(self, take: Callable[[Part], object]) -> None:
        self._take = take
        self._turn = 0
        self._changed = threading.Condition()

    def add(self, index: int, produce: Callable[[], Part]) -> Part:
        """Return what `produce` returns, which is part number `index` (from 0) of the file."""
        part: Part = b""
        try:
            part = produce()
            return part
        finally:  # even if that failed: the parts after it must not wait
            with self._changed:
                self._changed.wait_for(lambda: self._turn == index)
                self._take(part)
                self._turn += 1
                self._changed.notify_all()
