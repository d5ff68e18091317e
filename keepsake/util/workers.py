"""A few background threads for hashing, compressing and parallel requests.

An executor of the standard library refuses work while the interpreter exits. The last checkpoints are saved then, so
this module has threads of its own.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, TypeVar

from keepsake.util.errors import no_thread_can_start

T = TypeVar("T")
_Queue = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]


class Workers:
    """Daemon threads that take jobs first in, first out. A forked child has lost them and starts its own.

    Make them early, because no thread can start while the interpreter exits. Without threads, `submit` does the job.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or min(4, max(2, os.cpu_count() or 2))
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._jobs: _Queue = SimpleQueue()
        self._running = 0
        try:
            for number in range(self.count):
                name = f"keepsake-worker-{number}"
                threading.Thread(target=self._work, args=(self._jobs,), name=name, daemon=True).start()
                self._running += 1
        except RuntimeError as error:
            if not no_thread_can_start(error):
                raise

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the threads end when the jobs submitted so far are done."""
        for _ in range(self._running):
            self._jobs.put(None)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Have a thread call `job`; the future holds what it returns or raises."""
        if self._process != os.getpid():
            self._start()
        future: Future[T] = Future()
        if self._running:
            self._jobs.put((future, job))
        else:
            _run(future, job)
        return future

    @staticmethod
    def _work(jobs: _Queue) -> None:
        while (work := jobs.get()) is not None:
            _run(*work)
            del work  # frees its memory now rather than when the next job comes


def _run(future: Future[T], job: Callable[[], T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(job())
        except BaseException as error:  # noqa: BLE001 - the future raises it
            future.set_exception(error)


def in_order(workers: Workers | None, jobs: Iterator[Callable[[], T]]) -> Generator[T, None, None]:
    """Yield the results of `jobs` in their order, running a few at once; without workers, one by one.

    However this ends, no job runs any more, so the caller may close what the jobs use.
    """
    if workers is None:
        yield from (job() for job in jobs)
        return
    running: deque[Future[T]] = deque()
    try:
        for job in jobs:
            running.append(workers.submit(job))
            if len(running) > workers.count + 2:  # more would cost memory and save no time
                yield running[0].result()
                running.popleft()
        while running:
            yield running[0].result()
            running.popleft()
    finally:
        wait([future for future in running if not future.cancel()])
