"""What the cloud backends share: jobs in parallel, pages, ranges and parts."""

from __future__ import annotations

import io
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from keepsake.exceptions import ReadError
from keepsake.storage import downloads, network
from keepsake.storage.base import ObjectInfo
from keepsake.storage.downloads import Fetched, open_ranges
from keepsake.storage.network import (
    AT_ONCE,
    PART,
    Clock,
    in_parallel,
    list_pages,
    movers,
    read_part,
)
from keepsake.util.workers import Workers

# Jobs


def test_results_come_as_they_are_ready() -> None:
    """A slow job does not hold up the others."""
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
    """At the interpreter's exit, no thread can be started, so they run in the caller."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    workers = Workers(4)
    for name in ("threads", "movers"):
        monkeypatch.setattr(network, name, lambda: workers)
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


def pages_of(
    names: list[str],
    size: int,
    *,
    starts: bool = True,
    tokens: bool = True,
    order: Callable[[str], str] = str,
    repeats: int = 1,
) -> network.GetPage:
    """A server that lists `size` names per answer, in `order`; it may lack beginning after a name, or tokens."""
    ordered = sorted(names, key=order)

    def get_page(after: str, token: str | None) -> network.Page:
        first = int(token) if token else next((n for n, name in enumerate(ordered) if name > after), len(ordered))
        first = 0 if token is None and not starts else first
        found = ordered[first : first + size]
        more = first + size < len(ordered)
        return network.Page(
            [ObjectInfo(name, 0, "", 0.0) for name in found for _ in range(repeats)],
            more,
            str(first + size) if more and tokens else None,
        )

    return get_page


NAMES = [f"m/{first}{second}{end}" for first, second, end in itertools.product("0Zaf~é", "09~g", ("", ".json"))]
NAMES += ["m/0", "m/~", "m/日", "m/-"]


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize(
    "server",
    [{}, {"tokens": False}, {"starts": False}, {"order": lambda name: name[::-1]}, {"repeats": 2}],
    ids=["usual", "without tokens", "without start-after", "unsorted", "with repeats"],
)
def test_pages_make_one_list(size: int, server: dict[str, Any]) -> None:
    """Nothing twice, nothing missing, in order, for all names; names that are not keys are left out."""
    if "order" in server and size < 7:
        pytest.skip("a page this short may be in order by chance")
    listed = [info.key for info in list_pages(pages_of([*NAMES, "m/x//y", "m/"], size, **server), "m/")]
    assert listed == sorted(NAMES)


@pytest.mark.parametrize("server", ["no token", "the same token", "the same page", "empty pages", "new tokens"])
def test_a_listing_that_does_not_go_on_is_an_error(server: str) -> None:
    """Rather than a listing without end, or one that is cut."""

    def get_page(after: str, token: str | None) -> network.Page:
        found = [ObjectInfo("m/1", 0, "", 0.0)] if server not in ("empty pages", "new tokens") else []
        tokens = {"no token": None, "the same token": "t", "new tokens": str(next(names))}
        return network.Page(found, True, tokens.get(server, f"{token}" * 2))

    requests, names = itertools.count(), itertools.count()

    def limited(after: str, token: str | None) -> network.Page:
        assert next(requests) < 300
        return get_page(after, token and token[:4])

    with pytest.raises(network.Unexpected, match="does not go on"):
        list(list_pages(limited, "m/"))


def test_one_page_is_one_request() -> None:
    requests: list[str] = []

    def get_page(after: str, token: str | None) -> network.Page:
        requests.append(after)
        return pages_of(["m/1", "m/2"], 2)(after, token)

    assert len(list(list_pages(get_page, "m/"))) == 2
    assert requests == [""]


# Ranges and parts


def fetch_from(data: bytes, requests: list[tuple[int, int | None]] | None = None) -> downloads.Fetch:
    def fetch(start: int, stop: int | None, version: str | None) -> Fetched:
        if requests is not None:
            requests.append((start, stop))
        return Fetched(data[start:stop], len(data), "1")

    return fetch


def test_little_is_fetched_ahead() -> None:
    """While the reader stands still, no more than a few parts wait for it."""
    requests: list[tuple[int, int | None]] = []
    with open_ranges(fetch_from(bytes(20 * PART), requests), "k", 0, None) as stream:
        stream.read(downloads.FIRST + 1)
        movers().submit(int).result()
        assert 1 < len(requests) <= 1 + network.PARALLEL
    assert len(requests) <= 1 + network.PARALLEL


@pytest.mark.parametrize("short", [0, 1, PART - 1])
def test_a_part_that_is_too_short_is_an_error(short: int) -> None:
    def fetch(start: int, stop: int | None, version: str | None) -> Fetched:
        return Fetched(bytes(downloads.FIRST if start == 0 else short), 3 * PART, "1")

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


def test_all_parts_but_the_last_are_full() -> None:
    source = Trickle(bytes(range(25)))
    assert [read_part(source, 10) for _ in range(4)] == [
        bytes(range(10)),
        bytes(range(10, 20)),
        bytes(range(20, 25)),
        b"",
    ]


# The clock


def test_an_invalid_date_changes_no_clock() -> None:
    clock = Clock()
    for date in (None, "", "yesterday"):
        clock.note(date)
    assert clock.offset is None
