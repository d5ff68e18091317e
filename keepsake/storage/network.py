"""Many requests to a server or a slow disk: jobs in parallel, listings by pages, contents in parts."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import BinaryIO, NamedTuple, TypeVar

from keepsake.storage.base import ObjectInfo, is_key
from keepsake.util.workers import Workers

T = TypeVar("T")

AT_ONCE = 32  # requests for small objects
_MAX_EMPTY = 100  # pages without new objects that a listing may have one after the other


@functools.cache
def threads() -> Workers:
    """Return the threads for small requests. They serve all storages of the process and start with the first one."""
    return Workers(AT_ONCE)


@functools.cache
def movers() -> Workers:
    """Return the threads for parts of large objects: only a few, because each keeps the memory of its largest part."""
    return Workers(6)


class Clock:
    """A server's clock, known from the dates of its answers."""

    def __init__(self) -> None:
        self.offset: float | None = None  # seconds that it is ahead of this machine's clock
        self._noted = 0.0

    def note(self, date: str | None) -> None:
        """Take note of an answer's date; one every few seconds is enough."""
        from email.utils import parsedate_to_datetime

        now = time.time()
        if date and not 0 <= now - self._noted < 5:
            with suppress(ValueError):
                self.offset = parsedate_to_datetime(date).timestamp() + 0.5 - now  # the date has whole seconds
                self._noted = now

    def now(self) -> float:
        """Return the time by the server's clock, as far as it is known, in Unix seconds."""
        return time.time() + (self.offset or 0.0)


def in_parallel(jobs: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Yield the results of `jobs` as they arrive. Some jobs run at once; further jobs are taken as needed."""
    pending = iter(jobs)
    done: SimpleQueue[Future[T]] = SimpleQueue()
    running: set[Future[T]] = set()
    try:
        while True:
            for job in islice(pending, AT_ONCE - len(running)):
                future = threads().submit(job)
                running.add(future)
                future.add_done_callback(done.put)
            if not running:
                return
            future = done.get()
            running.remove(future)
            yield future.result()
    finally:
        for future in running:
            future.cancel()


class Page(NamedTuple):
    """One answer to a request for a listing."""

    objects: list[ObjectInfo]
    more: bool  # whether there are objects after these
    token: str | None  # the server's name for the next page


# Returns the page that a token names; without a token, the first page of the objects whose keys follow a key ("": all).
GetPage = Callable[[str, "str | None"], Page]


class Unexpected(Exception):
    """An SDK accepted an answer that its cloud never gives. The text names the answer: `a web page`."""


class _Repeats(Exception):
    """A page repeats keys of an earlier page, or its keys are out of order."""


def list_pages(get_page: GetPage, prefix: str) -> Iterator[ObjectInfo]:
    """Yield the objects below `prefix` ("" or with its slash), in order. Several requests run after the first page.

    IDs are random hex, so the ranges between first digits are similar in size. Servers that cannot begin a listing
    after a given key, or that do not sort, get one request after the other.
    """
    first = get_page("", None)
    keys = [info.key for info in first.objects]
    if not first.more or not keys or keys != sorted(set(keys)):
        yield from _whole_list(get_page, first)
        return
    yield from (info for info in first.objects if is_key(info.key))
    last = keys[-1]
    bounds = [last, *(bound for digit in "0123456789abcde" if (bound := f"{prefix}{digit}~") > last), None]
    futures = [
        threads().submit(partial(_list_range, get_page, bounds[n] or "", bounds[n + 1])) for n in range(len(bounds) - 1)
    ]
    try:
        for future in futures:
            for info in future.result():
                last = info.key
                if is_key(last):
                    yield info
    except _Repeats:
        yield from (info for info in _whole_list(get_page, first) if info.key > last)
    finally:
        for future in futures:
            future.cancel()


def _list_range(get_page: GetPage, after: str, until: str | None) -> list[ObjectInfo]:
    """Return the objects whose keys lie after `after` and not after `until`."""
    found: list[ObjectInfo] = []
    token: str | None = None
    empty = 0
    while True:
        asked = after, token
        page = get_page(after, token)
        for info in page.objects:
            if info.key <= after:
                raise _Repeats
            after = info.key
            if until is not None and after > until:
                return found
            found.append(info)
        if not page.more:
            return found
        token = page.token
        empty = 0 if page.objects else empty + 1
        if (after, token) == asked or empty > _MAX_EMPTY:
            raise _Repeats


def _whole_list(get_page: GetPage, page: Page) -> list[ObjectInfo]:
    """Return the objects of `page` and of the pages after it, sorted, even if the server does not sort them."""
    found = {info.key: info for info in page.objects}
    tokens: set[str] = set()
    empty = 0
    while page.more:
        if page.token is None or page.token in tokens or empty > _MAX_EMPTY:
            raise Unexpected("a listing that does not go on")
        tokens.add(page.token)
        page = get_page("", page.token)
        known = len(found)
        found.update((info.key, info) for info in page.objects)
        empty = 0 if len(found) > known else empty + 1
    return [found[key] for key in sorted(found) if is_key(key)]


PART = 8 << 20  # bytes per request in long transfers
PARALLEL = 4  # requests in flight per transfer


def read_part(source: BinaryIO, size: int = PART) -> bytes:
    """Read `size` bytes in as many calls as `source` needs, and fewer only at its end."""
    blocks = []
    while size and (block := source.read(size)):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)
