"""The versions of objects on a disk, told apart by their status and by their content."""

from __future__ import annotations

import os

from keepsake.storage import claims, reading
from keepsake.storage.reading import ABSENT, etag_of

_REMEMBERED = 1000  # objects


class Versions:
    """What versions hold, because a file system that caches names may report a stale status."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}  # path → etag and checksum of its content

    def remember(self, path: str, etag: str, data: bytes) -> None:
        """Remember what a version of an object holds."""
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[path] = etag, claims.checksum(data)

    def content(self, path: str, version: str | None) -> str | None:
        """Return the checksum of an object's content; None if it has another version (None: does not exist)."""
        if version is None:
            return None if os.path.lexists(path) else claims.NEW
        try:
            fd, _ = reading.open_to_read(path)
        except ABSENT:
            return None
        try:
            status = reading.fresh_status(fd)
            if etag_of(status) != version:
                return None
            data = reading.read_all(fd, status)
        finally:
            os.close(fd)
        content = claims.checksum(data)
        etag, known = self._known.get(path, ("", ""))
        if etag != version:
            self.remember(path, version, data)
            return content
        return content if content == known else None
