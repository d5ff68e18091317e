"""A stream whose bytes somebody watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, cast


def watched(source: BinaryIO, watch: Callable[[bytes], object]) -> BinaryIO:
    """Return a stream of the bytes of `source`. `watch` is called with each block that is read."""
    return cast(BinaryIO, _Watched(source, watch))


class _Watched:
    def __init__(self, source: BinaryIO, watch: Callable[[bytes], object]) -> None:
        self._source = source
        self._watch = watch

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._watch(data)
        return data
