"""Streams that report their progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO


class CountingReader:
    """A stream that reports how many bytes were read from it."""

    def __init__(self, source: BinaryIO, moved: Callable[[int], None] | None) -> None:
        self._source = source
        self._moved = moved

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        data = self._source.read(size)
        if self._moved:
            self._moved(len(data))
        return data
