"""The storage contract: keys and bytes. Nothing here knows of experiments.

Every backend passes tests/storage/, which states each promise below as a test.
"""

from __future__ import annotations

import io
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar, cast

from keepsake.exceptions import DoesNotExist, PreconditionFailed, ReadError

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

# What a backend has not finished writing carries this in its name; no key may
TEMPORARY = ".keepsake-tmp"
_NO_SEGMENTS = {"", ".", ".."}


class ObjectInfo(NamedTuple):
    """What a listing says of one object."""

    key: str
    size: int  # bytes
    etag: str  # opaque; equal only if the content is unchanged
    modified: float  # Unix seconds, by the storage's clock


def check_key(key: str) -> str:
    """Return `key`, a relative POSIX path in Unicode, or raise ValueError.

    No segment is empty, `.` or `..`, nothing in it looks like a temporary name, and there is no backslash and no NUL.
    """
    if not is_key(key):
        raise ValueError(f"not a valid storage key: {key!r}")
    return key


def is_key(key: str) -> bool:
    """Whether `key` could have been written by us; listings skip what could not."""
    if "\\" in key or "\0" in key or TEMPORARY in key or not _NO_SEGMENTS.isdisjoint(key.split("/")):
        return False
    return key.isascii() or not any("\ud800" <= character <= "\udfff" for character in key)


class Storage(ABC):
    """A flat map from keys to bytes. One instance serves many threads.

    Only errors from keepsake.exceptions come out, with their cause chained; their text names the URL, the key and
    what to try. (A key that `is_key` refuses is a ValueError: a mistake in the program, not in what it met.)
    """

    url: str  # without secrets: it is printed and stored; open_storage(url) opens the same storage
    directory: Path | None = None  # where it is, if that is on this machine's disk
    seconds_between_writes = 0.1  # of one object that changes all the time; a server may not like it quicker

    @abstractmethod
    def open(self, key: str, *, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        """Stream an object down, or `length` bytes of it from `start`; a negative `start` counts from its end.

        A range is cut to what is there, as a slice is. Raises DoesNotExist at once. A cut connection is a ReadError,
        never an end of file. The stream cannot seek.
        """

    @abstractmethod
    def get(self, key: str) -> tuple[bytes, str]:
        """Return a small object's content and etag, which belong together. Raises DoesNotExist."""

    @abstractmethod
    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write a small object whole and return its etag.

        `if_absent` writes only a new object, `if_match` only over the one with that etag; otherwise PreconditionFailed.
        (Also when the server's answer to a write that went through was lost: read again and compare.)
        If it raises, what was there before still is.
        """

    @abstractmethod
    def upload(self, key: str, source: BinaryIO) -> None:
        """Stream an object of unknown length up, whole or not at all.

        An exception from `source.read` aborts it and comes out as it is.
        """

    @abstractmethod
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the directory `prefix` ("" for all), sorted by key; none if it is missing.

        A prefix is a directory: `a/b` does not match `a/bc`. Names that could not be keys, and the backend's own
        temporary objects, are skipped.
        """

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, in batches where the server has them. Missing ones are fine.

        Everything is tried; then one WriteError lists what failed.
        """

    def ensure_writable(self) -> None:
        """Create what the first write needs (a missing bucket), or raise the error that says why it cannot be."""

    def now(self) -> float:
        """The storage's clock in Unix seconds: by it, heartbeats of machines whose own clocks differ are compared."""
        return time.time()

    def get_many(self, keys: Iterable[str], workers: int = 16) -> Iterator[tuple[str, bytes, str]]:
        """Yield (key, content, etag) of many small objects as they come; what has vanished is skipped."""
        return (found for found in map(self._get_if_there, keys) if found)

    def leftovers(self) -> Iterator[ObjectInfo]:
        """Yield what crashes left of unfinished writes, under names that are no keys; only for `remove_leftover`."""
        return iter(())

    def remove_leftover(self, leftover: ObjectInfo) -> None:
        """Remove what `leftovers` yielded."""

    def _get_if_there(self, key: str) -> tuple[str, bytes, str] | None:
        try:
            return (key, *self.get(key))
        except DoesNotExist:
            return None


# What the cloud backends share: the server's clock, threads of their own, and reading by pages and ranges


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


class _Threads:
    """Daemon threads that take jobs first in, first out; the same serve all storages of the process.

    An executor's would not do: it refuses work while the interpreter exits, which is when the last checkpoints are
    saved. At exit no thread can be started either, so a backend starts them when it is made.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._count = 0
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()

    def start(self) -> None:
        """Start what is not running yet, as far as possible."""
        while self._count < self._limit:
            self._count += 1
            try:
                threading.Thread(target=self._work, name="keepsake-storage", daemon=True).start()
            except RuntimeError:  # the interpreter is exiting, or there is a limit
                self._count -= 1
                break

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Have a thread call `job`, or call it here and now if there is none."""
        from concurrent.futures import Future

        self.start()
        future: Future[T] = Future()
        if self._count:
            self._jobs.put((future, job))
        else:
            _run(future, job)
        return future

    def _work(self) -> None:
        while True:
            _run(*self._jobs.get())


def _run(future: Future[T], job: Callable[[], T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(job())
        except BaseException as error:  # noqa: BLE001 - the one who waits for it raises it
            future.set_exception(error)


threads = _Threads(limit=16)  # for what is small
movers = _Threads(limit=6)  # for the parts of what is large: each thread that ever held one keeps some memory


def in_parallel(jobs: Iterable[Callable[[], T]], limit: int) -> Iterator[T]:
    """Yield the results of `jobs` as they come, with up to `limit` under way; further jobs are taken as needed."""
    pending = iter(jobs)
    done: SimpleQueue[Future[T]] = SimpleQueue()
    running: set[Future[T]] = set()
    try:
        while True:
            for job in islice(pending, limit - len(running)):
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
