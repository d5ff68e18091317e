"""The storage contract: keys and bytes. Nothing here knows of experiments.

Every backend passes tests/storage/, which states each promise below as a test.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from keepsake.exceptions import DoesNotExist

# What a backend has not finished writing carries this in its name; no key may
TEMPORARY = ".keepsake-tmp"
# The etag of what is there but cannot be read, such as a link that leads nowhere
UNREADABLE = "unreadable"
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

    def put_for_now(self, key: str, data: bytes) -> None:
        """Write a small object whole that matters for seconds only, like a heartbeat: a power cut may undo that."""
        self.put(key, data)

    @abstractmethod
    def upload(self, key: str, source: BinaryIO) -> None:
        """Stream an object of unknown length up, whole or not at all.

        An exception from `source.read` aborts it and comes out as it is.
        """

    def take(self, key: str, path: Path) -> bool:
        """Make a file the object if moving it is all that takes, or return False; with the promises of `upload`.

        Raises FileNotFoundError if there is no such file.
        """
        return False

    @abstractmethod
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the directory `prefix` ("" for all), sorted by key; none if it is missing.

        A prefix is a directory: `a/b` does not match `a/bc`. Names that could not be keys, and the backend's own
        temporary objects, are skipped. What is there but is no file that can be read has the etag UNREADABLE.
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

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
        """Yield (key, content, etag) of many small objects as they come; what has vanished is skipped.

        One that cannot be read does not hide the others: its etag is UNREADABLE, and its content says why.
        """
        return (found for found in map(self._get_if_there, keys) if found)

    def leftovers(self) -> Iterator[ObjectInfo]:
        """Yield what crashes left of unfinished writes, under names that are no keys; only for `remove_leftover`."""
        return iter(())

    def remove_leftover(self, leftover: ObjectInfo) -> None:
        """Remove what `leftovers` yielded, unless somebody has gone on writing it since."""

    def _get_if_there(self, key: str) -> tuple[str, bytes, str] | None:
        try:
            return (key, *self.get(key))
        except DoesNotExist:
            return None
