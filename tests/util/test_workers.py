"""Jobs in background threads, and what happens to them when the caller gives up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest

from keepsake.util.workers import Workers, in_order


@pytest.mark.parametrize("count", [None, 1, 3])
def test_results_come_in_the_order_of_their_jobs(count: int | None) -> None:
    workers = Workers(count) if count else None
    assert list(in_order(workers, (partial(pow, number, 2) for number in range(50)))) == [n * n for n in range(50)]


@pytest.mark.parametrize("how", ["the caller leaves", "a job fails"])
def test_no_job_runs_once_the_results_are_given_up(how: str) -> None:
    """The caller may close the files that they read."""
    running, begun, may_end = set(), threading.Event(), threading.Event()

    def job(number: int) -> int:
        running.add(number)
        if number == 2:
            begun.set()
            may_end.wait(10)
        running.discard(number)
        if number == 1 and how == "a job fails":
            raise ValueError(number)
        return number

    def leave() -> None:
        with closing(in_order(workers, (partial(job, number) for number in range(100)))) as results:
            next(results)
            begun.wait(10)
            threading.Timer(0.05, may_end.set).start()
            if how == "a job fails":
                next(results)

    with Workers(1) as workers:
        if how == "a job fails":
            with pytest.raises(ValueError, match="1"):
                leave()
        else:
            leave()
        assert running == set()


def test_results_come_in_order_and_few_jobs_are_under_way() -> None:
    under_way: list[int] = []
    started = 0

    def jobs() -> Iterator[Callable[[], int]]:
        nonlocal started
        for number in range(100):
            started += 1
            yield lambda number=number: number  # type: ignore[misc]

    with Workers(3) as workers:
        for done, result in enumerate(in_order(workers, jobs())):
            assert result == done
            under_way.append(started - done)
    assert 3 < max(under_way) <= 3 + 3


def test_a_jobs_error_comes_out_in_its_place() -> None:
    with Workers(2) as workers:
        results = in_order(workers, iter([lambda: 1, lambda: 1 // 0, lambda: 3]))
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_workers_end_when_they_are_closed() -> None:
    before = set(threading.enumerate())
    workers = Workers(3)
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    workers.close()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_the_work_itself() -> None:
    """Its copy of the workers has no threads."""
    with Workers(2) as workers:
        child = os.fork()
        if child == 0:
            os._exit(workers.submit(lambda: 42).result(timeout=10))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
