"""What processes share is done once and wholly, whatever becomes of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

import pytest

from keepsake import _processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only where forking is safe")

ITEMS = [str(number) for number in range(700)]


@pytest.fixture(autouse=True)
def three_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fork, forked = os.fork, []

    def remembered() -> int:
        forked.append(process := fork())
        return process

    monkeypatch.setattr(os, "fork", remembered)
    monkeypatch.setattr(_processes, "_cores", lambda: 3)
    yield
    for process in forked:
        with pytest.raises(ProcessLookupError):  # it has ended, and was waited for
            os.kill(process, 0)


def where(items: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Each item, and the process that had it."""
    return ((item, str(os.getpid())) for item in items)


@pytest.mark.parametrize("rounds", [1, 4])
def test_all_is_done_once_by_all(monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    monkeypatch.setattr(_processes, "_FEWEST", 20)
    monkeypatch.setattr(_processes, "_ROUND", len(ITEMS) // rounds)
    done = list(_processes.share(ITEMS, where))
    assert sorted(item for item, _ in done) == sorted(ITEMS)
    assert len({process for _, process in done}) == 1 + 2 * rounds


@pytest.mark.parametrize("count", [0, 1, 399])
def test_little_is_done_here(count: int) -> None:
    done = list(_processes.share(ITEMS[:count], where))
    assert done == [(item, str(os.getpid())) for item in ITEMS[:count]]


def test_none_helps_where_there_is_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert {process for _, process in _processes.share(ITEMS, where)} == {str(os.getpid())}
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("item", ITEMS[:3])
def test_an_error_comes_out_of_any_process(item: str) -> None:
    def fail(items: Sequence[str]) -> Iterator[tuple[str, ...]]:
        for found in where(items):
            if found[0] == item:
                raise LookupError(f"no {item}")
            yield found

    with pytest.raises(LookupError, match=f"no {item}"):
        list(_processes.share(ITEMS, fail))


def test_what_a_killed_process_had_is_done_here() -> None:
    here = os.getpid()

    def die(items: Sequence[str]) -> Iterator[tuple[str, ...]]:
        for found in where(items):
            if os.getpid() != here:
                os.kill(os.getpid(), signal.SIGKILL)
            yield found

    done = list(_processes.share(ITEMS, die))
    assert sorted(done) == sorted((item, str(here)) for item in ITEMS)


def test_what_the_system_forgets_is_done_here() -> None:
    """Where SIGCHLD is ignored, nobody can tell how a process ended."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert sorted(item for item, _ in _processes.share(ITEMS, where)) == sorted(ITEMS)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_who_breaks_off_leaves_no_process() -> None:
    def slowly(items: Sequence[str]) -> Iterator[tuple[str, ...]]:
        for found in where(items):
            yield found
            signal.pause()

    results = _processes.share(ITEMS, slowly)
    next(results)
    assert isinstance(results, Iterator)
    results.close()  # type: ignore[attr-defined]
