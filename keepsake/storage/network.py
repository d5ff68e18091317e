"""For backends that wait for a network: the server's clock, jobs in parallel, reading by pages, ranges and parts."""

from __future__ import annotations

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

from keepsake.exceptions import DoesNotExist, PreconditionFailed, ReadError
from keepsake.storage.base import ObjectInfo, is_key
from keepsake.util.workers import Workers

T = TypeVar("T")

AT_ONCE = 32  # requests for what is small

# The same serve all storages of the process; they begin with the first one
threads = Workers(AT_ONCE)
movers = Workers(6)  # for the parts of what is large: each thread that ever held one keeps some memory


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
                future = threads.submit(job)
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


# Return a page of the objects whose keys lie after the first and not after the second, and whether there are more
Page = Callable[[str, "str | None"], "tuple[list[ObjectInfo], bool]"]


def list_pages(page: Page, prefix: str) -> Iterator[ObjectInfo]:
    """Yield the objects below `prefix` ("" or with its slash), in order; after the first page by several requests.

    IDs are random hex, so the ranges between first digits are alike in size.
    """
    objects, more = page(prefix, None)
    yield from (info for info in objects if is_key(info.key))
    if more:
        last = objects[-1].key
        bounds = [last, *(bound for digit in "0123456789abcde" if (bound := f"{prefix}{digit}~") > last), None]
        futures = [
            threads.submit(partial(_list_range, page, bounds[n] or "", bounds[n + 1])) for n in range(len(bounds) - 1)
        ]
        try:
            for future in futures:
                yield from (info for info in future.result() if is_key(info.key))
        finally:
            for future in futures:
                future.cancel()


def _list_range(page: Page, after: str, until: str | None) -> list[ObjectInfo]:
    found, more = page(after, until)
    while more:
        objects, more = page(found[-1].key, until)
        found += objects
    return found


class Fetched(NamedTuple):
    """A part of an object."""

    data: bytes
    total: int  # bytes of the whole object
    version: str  # what tells that the next part is of the same object


def total_of(content_range: str | None, name: str) -> int:
    """Return the size of the whole object that an answer with a part of it tells."""
    if content_range is None:
        raise ReadError(f"Could not read {name}: the server sends no parts of objects, as S3 and Cloud Storage do.")
    return int(content_range.rpartition("/")[2])


# Return content[start:stop], cut to what is there, of the version asked for; a negative start counts from the end
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
        self._fetch, self._name, self._version, self._end = fetch, name, part.version, end
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
            self._ahead.append((stop - start, movers.submit(job)))
            self._next = stop
        size, future = self._ahead.popleft()
        try:
            data = future.result().data
        except (DoesNotExist, PreconditionFailed) as error:
            raise ReadError(f"{self._name} was replaced or deleted while it was being read. Try again.") from error
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
