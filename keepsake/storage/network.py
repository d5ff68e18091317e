"""Many requests to a server, or to a disk that waits: jobs in parallel, listings by pages, contents by ranges."""

from __future__ import annotations

import functools
import io
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

from keepsake.exceptions import DoesNotExist, ReadError
from keepsake.storage.base import ObjectInfo, is_key
from keepsake.util.workers import Workers

T = TypeVar("T")

AT_ONCE = 32  # requests for what is small


@functools.cache
def threads() -> Workers:
    """The threads for small requests. They serve all storages of the process and start with the first one."""
    return Workers(AT_ONCE)


@functools.cache
def movers() -> Workers:
    """The threads for the parts of large objects. They are few: each keeps the memory of the largest part it held."""
    return Workers(6)


class Clock:
    """A server's clock, known from the dates of its answers."""

    def __init__(self) -> None:
        self.offset: float | None = None  # seconds that it is ahead of ours
        self._noted = 0.0

    def note(self, date: str | None) -> None:
        """Take note of an answer's date; one every few seconds is enough."""
        from email.utils import parsedate_to_datetime

        now = time.time()
        if date and not 0 <= now - self._noted < 5:
            with suppress(ValueError):
                self.offset = parsedate_to_datetime(date).timestamp() + 0.5 - now  # the date is cut to a second
                self._noted = now

    def now(self) -> float:
        """The time by the server's clock as far as it is known, in Unix seconds."""
        return time.time() + (self.offset or 0.0)


def in_parallel(jobs: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Yield the results of `jobs` as they come, with some under way; further jobs are taken as needed."""
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
    token: str | None  # by which the server knows the next page


# Return the page that a token names; without one, the first page of the objects whose keys lie after a key ("": all)
GetPage = Callable[[str, "str | None"], Page]


class Unexpected(Exception):
    """An answer that an SDK accepts but that its cloud never gives. The text names it: `a web page`."""


class _Repeats(Exception):
    """A page holds keys that an earlier page held, or keys out of order."""


def list_pages(get_page: GetPage, prefix: str) -> Iterator[ObjectInfo]:
    """Yield the objects below `prefix` ("" or with its slash), in order; after the first page by several requests.

    IDs are random hex, so the ranges between first digits are alike in size. Servers that cannot begin a listing
    after a given key, or that do not sort, are asked for one page after the other.
    """
    first = get_page("", None)
    keys = [info.key for info in first.objects]
    if not first.more or not keys or keys != sorted(keys):
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
    """Return the objects whose keys lie after the first and not after the second."""
    found: list[ObjectInfo] = []
    token: str | None = None
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
        if (after, token) == asked:
            raise _Repeats


def _whole_list(get_page: GetPage, page: Page) -> list[ObjectInfo]:
    """Return the objects of `page` and of those after it, in order, whatever order the server has."""
    found = {info.key: info for info in page.objects}
    tokens: set[str] = set()
    while page.more:
        if page.token is None or page.token in tokens:
            raise Unexpected("a listing that does not go on")
        tokens.add(page.token)
        page = get_page("", page.token)
        found.update((info.key, info) for info in page.objects)
    return [found[key] for key in sorted(found) if is_key(key)]


class Fetched(NamedTuple):
    """A part of an object."""

    data: bytes
    total: int  # bytes of the whole object
    version: str  # equal for all parts of one version of the object


def total_of(content_range: str | None, start: int, size: int) -> int:
    """Return the size of the whole object, told by the answer that ends its part of `size` bytes from `start`."""
    if content_range is None:
        raise Unexpected("the whole object instead of a part")
    span, _, total = content_range.removeprefix("bytes ").partition("/")
    if int(span.partition("-")[2]) + 1 != (start + size if start >= 0 else int(total)):
        raise Unexpected(f"another part of the object ({content_range})")
    return int(total)


# Return content[start:stop], cut to what is there, of the version if possible; a negative start counts from the end
Fetch = Callable[[int, "int | None", "str | None"], Fetched]

FIRST = 1 << 20  # bytes fetched first of a stream that may be left early
PART = 8 << 20  # bytes per request in long transfers
PARALLEL = 4  # requests in flight per transfer


def open_ranges(fetch: Fetch, name: str, start: int, length: int | None) -> AbstractContextManager[BinaryIO]:
    """Return a stream of an object's bytes that fetches ahead what is long, several ranges at once."""
    if start < -PART:
        start = max(0, fetch(0, 1, None).total + start)
    size = -start if start < 0 else FIRST if length is None else max(1, min(length, PART))
    part = fetch(start, start + size if start >= 0 else None, None)
    if start < 0:
        start = max(0, part.total + start)
    end = part.total if length is None else min(part.total, start + length)
    if len(part.data) < min(end - start, size):
        raise ReadError(f"{name} ended early. Try again.")
    return cast(BinaryIO, io.BufferedReader(_Ranges(fetch, name, start, end, part)))


class _Ranges(io.RawIOBase):
    """The bytes from `position` to `end` of an object, of which `part` is there already."""

    def __init__(self, fetch: Fetch, name: str, position: int, end: int, part: Fetched) -> None:
        self._fetch, self._name, self._end = fetch, name, end
        self._version, self._total = part.version, part.total
        self._current = memoryview(part.data)[: max(0, end - position)]
        self._next = position + len(self._current)
        self._ahead: deque[tuple[int, Future[Fetched]]] = deque()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._current and (self._ahead or self._next < self._end):
            self._advance()
        size = min(len(buffer), len(self._current))
        buffer[:size] = self._current[:size]
        self._current = self._current[size:]
        return size

    def _advance(self) -> None:
        while self._next < self._end and len(self._ahead) < PARALLEL:
            start, stop = self._next, min(self._next + PART, self._end)
            job = partial(self._fetch, start, stop, self._version)
            self._ahead.append((stop - start, movers().submit(job)))
            self._next = stop
        size, future = self._ahead.popleft()
        replaced = ReadError(f"{self._name} was replaced or deleted while it was being read. Try again.")
        try:
            data, *version = future.result()
        except DoesNotExist as error:
            raise replaced from error
        if version != [self._total, self._version]:
            raise replaced
        if len(data) != size:
            raise ReadError(f"{self._name} ended early: {size - len(data)} bytes are missing. Try again.")
        self._current = memoryview(data)

    def close(self) -> None:
        for _, future in self._ahead:
            future.cancel()
        self._ahead.clear()
        super().close()


def read_part(source: BinaryIO, size: int = PART) -> bytes:
    """Read `size` bytes, and fewer only at the end of `source`, however little it gives at once."""
    blocks = []
    while size and (block := source.read(size)):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)
