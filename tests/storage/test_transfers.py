"""What the cloud backends share: jobs in parallel, pages, ranges and parts."""

from __future__ import annotations

import io
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from keepsake.exceptions import ReadError
from keepsake.storage import network
from keepsake.storage.base import ObjectInfo
from keepsake.storage.network import (
    AT_ONCE,
    PART,
    Clock,
    Fetched,
    in_parallel,
    list_pages,
    movers,
    open_ranges,
    read_part,
)
from keepsake.util.workers import Workers

# Jobs


def test_results_come_as_they_are_ready() -> None:
    """A slow job holds up nobody else."""
    release = threading.Event()
    jobs: list[Callable[[], str]] = [lambda: str(release.wait(30)), *(partial(str, number) for number in range(5))]
    results = in_parallel(jobs)
    assert {next(results) for _ in range(5)} == set("01234")
    release.set()
    assert list(results) == ["True"]


def test_no_more_than_the_limit_is_under_way() -> None:
    """Neither taken from the source nor running."""
    taken: list[int] = []

    def jobs() -> Iterator[Callable[[], int]]:
        for number in range(200):
            taken.append(number)
            yield partial(int, number)

    results = in_parallel(jobs())
    assert len(taken) == 0
    for count, _ in enumerate(results, 1):
        assert len(taken) <= count + AT_ONCE
    assert len(taken) == 200


def test_a_job_that_fails_fails_the_caller() -> None:
    def fail() -> int:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        list(in_parallel([fail]))


def test_jobs_run_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the interpreter's exit, when none can be started: in the caller."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    for name in ("threads", "movers"):
        monkeypatch.setattr(network, name, Workers(4))
    caller = threading.get_ident()
    assert list(in_parallel([threading.get_ident] * 3)) == [caller] * 3
    with open_ranges(fetch_from(bytes(3 * PART)), "k", 0, None) as stream:
        assert stream.read() == bytes(3 * PART)


def _in_child() -> None:
    met = threading.Barrier(3)
    assert len(set(in_parallel([met.wait] * 3))) == 3


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    child = multiprocessing.get_context("fork").Process(target=_in_child)
    child.start()
    child.join(30)
    assert child.exitcode == 0


# Pages


def pages_of(names: list[str], size: int, requests: list[str]) -> network.Page:
    """A server that lists `size` names per answer."""

    def page(after: str, until: str | None) -> tuple[list[ObjectInfo], bool]:
        requests.append(after)
        found = [name for name in sorted(names) if name > after and (until is None or name <= until)]
        return [ObjectInfo(name, 0, "", 0.0) for name in found[:size]], len(found) > size

    return page


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1000])
def test_pages_fetched_at_once_make_one_list(size: int) -> None:
    """Nothing twice, nothing missing, in order, whatever the names; names that are no keys are left out."""
    names = [f"m/{first}{second}{end}" for first, second, end in itertools.product("0Zaf~é", "09~g", ("", ".json"))]
    names += ["m/0", "m/~", "m/日", "m/-"]
    listed = [info.key for info in list_pages(pages_of([*names, "m/x//y", "m/"], size, []), "m/")]
    assert listed == sorted(names)


def test_one_page_is_one_request() -> None:
    requests: list[str] = []
    assert len(list(list_pages(pages_of(["m/1", "m/2"], 2, requests), "m/"))) == 2
    assert requests == ["m/"]


# Ranges and parts


def fetch_from(data: bytes, requests: list[tuple[int, int | None]] | None = None) -> network.Fetch:
    def fetch(start: int, stop: int | None, version: str | None) -> Fetched:
        if requests is not None:
            requests.append((start, stop))
        return Fetched(data[start:stop], len(data), "1")

    return fetch


def test_little_is_fetched_ahead() -> None:
    """While the reader stands still, no more than a few parts wait for it."""
    requests: list[tuple[int, int | None]] = []
    with open_ranges(fetch_from(bytes(20 * PART), requests), "k", 0, None) as stream:
        stream.read(network.FIRST + 1)
        movers.submit(int).result()
        assert 1 < len(requests) <= 1 + network.PARALLEL
    assert len(requests) <= 1 + network.PARALLEL


@pytest.mark.parametrize("short", [0, 1, PART - 1])
def test_a_part_that_is_too_short_is_an_error(short: int) -> None:
    def fetch(start: int, stop: int | None, version: str | None) -> Fetched:
        return Fetched(bytes(network.FIRST if start == 0 else short), 3 * PART, "1")

    with (
        open_ranges(fetch, "s3://bucket/k", 0, None) as stream,
        pytest.raises(ReadError, match="s3://bucket/k ended early"),
    ):
        stream.read()


def test_the_first_part_may_not_be_short_either() -> None:
    def fetch(start: int, stop: int | None, version: str | None) -> Fetched:
        return Fetched(b"12345", 10, "1")

    with pytest.raises(ReadError, match="ended early"):
        open_ranges(fetch, "k", 0, None)


class Trickle(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 1, 3))


def test_parts_are_full_but_for_the_last() -> None:
    source = Trickle(bytes(range(25)))
    assert [read_part(source, 10) for _ in range(4)] == [
        bytes(range(10)),
        bytes(range(10, 20)),
        bytes(range(20, 25)),
        b"",
    ]


# The clock


def test_a_date_that_is_none_changes_no_clock() -> None:
    clock = Clock()
    for date in (None, "", "yesterday"):
        clock.note(date)
    assert clock.offset is None
