"""The storage contract: keys and bytes. Nothing here knows of experiments.

Every backend passes tests/storage/, where each promise below is a test.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from keepsake.exceptions import DoesNotExist, PreconditionFailed
from keepsake.util.files import TEMPORARY

# The etag of an object that exists but cannot be read, such as a dangling link.
UNREADABLE = "unreadable"
_NO_SEGMENTS = {"", ".", ".."}
_COMPANION = "._"  # on a disk without extended attributes, macOS keeps those of `x` in a file `._x` beside it


class ObjectInfo(NamedTuple):
    """One object in a listing."""

    key: str
    size: int  # bytes
    etag: str  # opaque; equal only if the content is unchanged
    modified: float  # Unix seconds, by the storage's clock


def check_key(key: str) -> str:
    """Return `key` if it is a relative POSIX path in Unicode; raise ValueError otherwise.

    No segment may be empty, `.` or `..`, and the last one may not begin with `._`. A key may not contain a backslash,
    a NUL or the mark of temporary names.
    """
    if not is_key(key):
        raise ValueError(f"{key!r} is not a valid storage key.")
    return key


def is_key(key: str) -> bool:
    """Whether Keepsake could have written `key`. Listings skip other names."""
    if "\\" in key or "\0" in key or TEMPORARY in key or not _NO_SEGMENTS.isdisjoint(key.split("/")):
        return False
    if f"/{key}".rpartition("/")[2].startswith(_COMPANION):
        return False
    return key.isascii() or not any("\ud800" <= character <= "\udfff" for character in key)


class Storage(ABC):
    """A flat map from keys to bytes. One instance serves many threads.

    All errors come from keepsake.exceptions, with their cause chained. Their text names the URL, the key and what to
    try. The one exception is a key that `is_key` refuses: it is a ValueError, because the program is wrong.
    """

    url: str  # without secrets, because it is printed and stored; open_storage(url) opens the same storage
    directory: Path | None = None  # the directory, if the storage is on this machine's disk
    seconds_between_writes = 0.1  # of one object that changes all the time; servers may limit the rate

    @abstractmethod
    def open(self, key: str, *, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        """Stream an object down, or `length` bytes of it from `start`; a negative `start` counts from its end.

        A range is cut to the object's size, as a slice is. A missing object raises DoesNotExist at once. A cut
        connection is a ReadError, never an end of file. The stream cannot seek.
        """

    @abstractmethod
    def get(self, key: str) -> tuple[bytes, str]:
        """Return the content and the etag of one version of a small object. Raises DoesNotExist."""

    @abstractmethod
    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write a small object atomically and return its etag.

        `if_absent` writes only a new object, `if_match` only over the object with that etag. PreconditionFailed is
        raised otherwise, and also if a write succeeded but the server's answer was lost: read again and compare.
        After an error the old object is still there.
        """

    def has(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            with self.open(key, length=1):
                return True
        except DoesNotExist:
            return False

    def put_missing(self, objects: Mapping[str, bytes]) -> set[str]:
        """Write those of these small objects that do not exist, one after the other; return their keys."""
        written = set()
        for key, data in objects.items():
            with suppress(PreconditionFailed):
                self.put(key, data, if_absent=True)
                written.add(key)
        return written

    def put_for_now(self, key: str, data: bytes) -> None:
        """Write a small object atomically that matters for seconds only, like a heartbeat. A power cut may undo it."""
        self.put(key, data)

    def postponing(self) -> AbstractContextManager[None]:
        """Until its end, a power cut may undo the small objects that this thread writes. On a disk, that is quicker."""
        return nullcontext()

    @abstractmethod
    def upload(self, key: str, source: BinaryIO) -> None:
        """Upload a stream of unknown length as one object, completely or not at all.

        An exception from `source.read` aborts the upload and is passed on unchanged.
        """

    def link(self, key: str, path: Path, *, is_object: bool = False) -> bool:
        """Make a file the object without copying it, with the promises of `upload`; return False if that is impossible.

        The file keeps its name, and must not be changed any more. With `is_object` it is an object already, and keeps
        its time. Raises FileNotFoundError if there is no such file.
        """
        return False

    @abstractmethod
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the directory `prefix` ("" for all), sorted by key; none if it is missing.

        A prefix is a directory: `a/b` does not match `a/bc`. Names that are not keys and the backend's own temporary
        objects are skipped. An entry that is not a readable file has the etag UNREADABLE.
        """

    def refresh(self, prefix: str) -> None:
        """Let the next `list` of a directory show all that is there, where a client remembers listings for a while."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, in batches if the server supports them. Missing objects are ignored.

        Every object is tried. Then one WriteError lists the failures.
        """

    def retire(self, keys: Iterable[str]) -> None:
        """Delete objects as `delete` does, for good: no writer that uses `if_match` brings one back.

        A server compares and writes in one step. A storage that needs two overrides this.
        """
        self.delete(keys)

    def ensure_writable(self) -> None:
        """Create what the first write needs, such as a missing bucket, or raise the error that explains why not."""

    def now(self) -> float:
        """Return the time by the storage's clock, in Unix seconds.

        Heartbeats are compared by this clock, because the clocks of machines differ.
        """
        return time.time()

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
        """Yield (key, content, etag) of many small objects as they arrive. Missing objects are skipped.

        An object that cannot be read does not hide the others: its etag is UNREADABLE and its content is the reason.
        """
        return (found for found in map(self._get_if_there, keys) if found)

    def leftovers(self) -> Iterator[ObjectInfo]:
        """Yield the remains of writes that a crash interrupted. Their names are not keys; see `remove_leftover`."""
        return iter(())

    def remove_leftover(self, leftover: ObjectInfo) -> None:
        """Remove an item of `leftovers`, unless it has been written to since."""

    def _get_if_there(self, key: str) -> tuple[str, bytes, str] | None:
        try:
            return (key, *self.get(key))
        except DoesNotExist:
            return None
