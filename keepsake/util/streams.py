"""Streams that tell what passes through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO


class Watched:
    """A stream that tells how many bytes were read of it."""

    def __init__(self, source: BinaryIO, moved: Callable[[int], None] | None) -> None:
        self._source = source
        self._moved = moved

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        data = self._source.read(size)
        if self._moved:
            self._moved(len(data))
        return data
