"""Content on its way from a bucket: a part of an object, or a stream of ranges that are fetched ahead.

Every byte that has arrived counts. After a cut connection, only what is missing is asked for, from the same version.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, BinaryIO, NamedTuple, cast

from keepsake.exceptions import DoesNotExist, ReadError
from keepsake.storage import network

PIECE = 64 << 10  # bytes that are read at once; those of the piece in which a connection is cut are lost
_TRIES = 4  # requests one after the other that bring nothing
_PAUSE = 0.1  # seconds before the second of them; then four times as long each


class Cut(Exception):
    """An answer ended early."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error  # the SDK's


class Changed(Exception):
    """The object was replaced while it was being read."""


class Fetched(NamedTuple):
    """A part of an object."""

    data: bytes
    total: int  # bytes of the whole object
    version: str  # equal for all parts of one version of the object


class Download:
    """A part of an object as far as it has arrived, in one answer or several.

    Args:
        start: where it begins. A negative number counts from the end of the object.
        stop: where it ends; None: at the end of the object.
        version: the version of the object; None: any.
    """

    def __init__(self, start: int, stop: int | None, version: str | None) -> None:
        self._from, self.stop, self.version = start, stop, version
        self.size = 0  # bytes that have arrived
        self._begun = 0  # where they begin
        self._total: int | None = None  # bytes of the whole object, if a range was asked for
        self._data: list[bytes] = []

    @property
    def start(self) -> int:
        """Where the missing rest begins."""
        return self._begun + self.size if self.size else self._from

    def begin(self, content_range: str | None, version: str) -> None:
        """Take note of an answer's head. Raises Changed, or Cut if the answer does not go on with what has arrived."""
        if content_range is None:
            if (self._from, self.stop) != (0, None):
                raise network.Unexpected("the whole object instead of a part")
            self.restart()  # the server ignores ranges
            self.version = version
            return
        first, total = _parse(content_range)
        if self.size and (version != self.version or self._total not in (None, total)):
            raise Changed
        start = max(0, total + self.start) if self.start < 0 else self.start
        if first != start:
            other = network.Unexpected(f"another part of the object ({content_range})")
            raise Cut(other) if self.size else other
        self._begun, self._total, self.version = start - self.size, total, version

    def take(self, data: bytes) -> None:
        """Add what has arrived."""
        self._data.append(data)
        self.size += len(data)

    def end(self) -> Fetched:
        """Return the content after the end of an answer. Raises Cut if something is missing."""
        if self._total is None:
            return Fetched(b"".join(self._data), self.size, self.version or "")
        stop = self._total if self.stop is None else min(self.stop, self._total)
        if (missing := stop - self._begun - self.size) > 0:
            raise Cut(network.Unexpected("less of the object than was asked for"))
        if missing < 0:
            raise network.Unexpected("more of the object than was asked for")
        return Fetched(b"".join(self._data), self._total, self.version or "")

    def nothing(self) -> None:
        """Take note that the object has nothing where the rest is missing. Raises Changed if that was there before."""
        if self.size:
            raise Changed
        self._total, self.version, self.stop = 0, "", 0

    def restart(self) -> None:
        """Forget what has arrived."""
        self.size, self._total, self._data, self.version = 0, None, [], None


def _parse(content_range: str) -> tuple[int, int]:
    """Return where the part in an answer begins, and the size of the whole object."""
    span, _, total = content_range.removeprefix("bytes ").partition("/")
    return int(span.partition("-")[0]), int(total)


def fetch(
    receive: Callable[[Download], None], start: int = 0, stop: int | None = None, version: str | None = None
) -> Fetched:
    """Fetch a part of an object by as many requests as it takes, as long as they bring something.

    `receive` makes one request for what is missing. It raises Cut if its answer ends early.
    """
    download = Download(start, stop, version)
    changes = tries = 0  # tries that brought nothing
    while True:
        before = download.size
        try:
            receive(download)
            return download.end()
        except Changed:
            download.restart()
            changes += 1
            failed: Exception = network.Unexpected("another version of the object each time")
        except Cut as cut:
            tries = 0 if download.size > before else tries + 1
            failed = cut.error
        if max(changes, tries) == _TRIES:
            raise failed
        if tries:
            time.sleep(_PAUSE * 4 ** (tries - 1))


# Returns content[start:stop], cut to the object's size, of that version if possible. A negative start counts from the
# end.
Fetch = Callable[[int, "int | None", "str | None"], Fetched]

FIRST = 1 << 20  # bytes of the first request, small because a reader may stop early


def open_ranges(fetch: Fetch, name: str, start: int, length: int | None) -> AbstractContextManager[BinaryIO]:
    """Return a stream of an object's bytes. It fetches long objects ahead, several ranges at once."""
    if start < -network.PART:
        start = max(0, fetch(0, 1, None).total + start)
    size = -start if start < 0 else FIRST if length is None else max(1, min(length, network.PART))
    part = fetch(start, start + size if start >= 0 else None, None)
    if start < 0:
        start = max(0, part.total + start)
    end = part.total if length is None else min(part.total, start + length)
    if len(part.data) < min(end - start, size):
        raise ReadError(f"{name} ended early. Try again.")
    return cast(BinaryIO, io.BufferedReader(_Ranges(fetch, name, start, end, part)))


class _Ranges(io.RawIOBase):
    """The bytes from `position` to `end` of an object. `part` was fetched already."""

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
        while self._next < self._end and len(self._ahead) < network.PARALLEL:
            start, stop = self._next, min(self._next + network.PART, self._end)
            job = partial(self._fetch, start, stop, self._version)
            self._ahead.append((stop - start, network.movers().submit(job)))
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
