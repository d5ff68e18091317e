"""Jobs in background threads, and what happens to them when the caller gives up."""

from __future__ import annotations

import threading
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
