"""Storage in a dict: the smallest thing that keeps the contract, for tests that need no files."""

from __future__ import annotations

import io
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from keepsake.exceptions import DoesNotExist, PreconditionFailed
from keepsake.storage.base import ObjectInfo, Storage, check_key, is_key


@dataclass(frozen=True)
class MemoryObject:
    """One object as it is held."""

    data: bytes
    etag: str
    modified: float


class MemoryStorage(Storage):
    """Objects in `objects`, which tests may read and change directly."""

    def __init__(self, url: str = "memory://test") -> None:
        self.url = url
        self.objects: dict[str, MemoryObject] = {}
        self._versions = itertools.count(1)
        self._lock = threading.Lock()

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        data = self._find(key).data
        first = max(0, len(data) + start) if start < 0 else start
        return io.BytesIO(data[first : None if length is None else first + length])

    def get(self, key: str) -> tuple[bytes, str]:
        found = self._find(key)
        return found.data, found.etag

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        check_key(key)
        with self._lock:
            current = self.objects.get(key)
            if (if_absent and current) or (if_match is not None and (current is None or current.etag != if_match)):
                raise PreconditionFailed(f"Another process wrote {self.url}/{key} first.")
            return self.seed(key, data)

    def upload(self, key: str, source: BinaryIO) -> None:
        check_key(key)
        blocks = []
        while block := source.read(1 << 20):
            blocks.append(block)
        self.put(key, b"".join(blocks))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        start = check_key(prefix) + "/" if prefix else ""
        objects = sorted(self.objects.items())
        return (
            ObjectInfo(key, len(found.data), found.etag, found.modified)
            for key, found in objects
            if key.startswith(start) and is_key(key)
        )

    def delete(self, keys: Iterable[str]) -> None:
        for key in [check_key(key) for key in keys]:
            self.objects.pop(key, None)

    def seed(self, key: str, data: bytes) -> str:
        """Put without looking at the key or what is there."""
        etag = str(next(self._versions))
        self.objects[key] = MemoryObject(bytes(data), etag, time.time())
        return etag

    def _find(self, key: str) -> MemoryObject:
        try:
            return self.objects[check_key(key)]
        except KeyError:
            raise DoesNotExist(f"{self.url}/{key} does not exist.") from None
