"""Passing an archive on while it is checked. It is read once, and only an intact archive arrives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from queue import Empty, Queue
from typing import BinaryIO, cast

from keepsake.archive.gzip import as_stream
from keepsake.archive.reader import Archive
from keepsake.exceptions import CorruptedArchive
from keepsake.storage.base import Storage
from keepsake.util.streams import watched

_AHEAD = 8  # blocks that are checked before they are passed on
_BLOCK = 256 << 10  # bytes


@contextmanager
def open_checked(storage: Storage, key: str) -> Iterator[BinaryIO]:
    """Open an archive as a stream that ends only if the archive is intact.

    Otherwise `read` raises the error of `Archive.verify` instead of ending. An upload that reads the stream then keeps
    the old object.
    """
    with as_stream(_Check(storage, key).blocks()) as stream:
        yield stream


def is_whole(storage: Storage, key: str) -> bool:
    """Whether an archive is undamaged. The whole archive is read. Raises DoesNotExist, or ReadError if that fails."""
    try:
        Archive(storage, key).verify()
    except CorruptedArchive:
        return False
    return True


class _Check:
    """Stands between an archive and its storage, and passes on the bytes that the verification reads."""

    def __init__(self, storage: Storage, key: str) -> None:
        self.url = storage.url
        self._storage = storage
        self._key = key
        self._found: Queue[bytes | BaseException | None] = Queue(_AHEAD)
        self._is_given_up = False

    def blocks(self) -> Iterator[bytes]:
        """Yield the archive. Raises an error instead of ending if the archive is damaged."""
        threading.Thread(target=self._run, name="keepsake-check", daemon=True).start()
        try:
            while isinstance(block := self._found.get(), bytes):
                yield block
            if block is not None:
                raise block
        finally:
            self._is_given_up = True
            with suppress(Empty):  # the thread may wait for room
                while True:
                    self._found.get_nowait()

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        """Open the archive as `Storage.open` does."""
        source = self._storage.open(key, start=start, length=length)
        return self._passed_on(source) if (start, length) == (0, None) else source

    @contextmanager
    def _passed_on(self, source: AbstractContextManager[BinaryIO]) -> Iterator[BinaryIO]:
        with source as stream:
            copied = watched(stream, self._pass_on)
            yield copied
            while copied.read(_BLOCK):
                pass  # passes on the bytes that the verification did not need

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            Archive(cast(Storage, self), self._key).verify()
        except BaseException as error:  # noqa: BLE001 - `blocks` raises it
            end = error
        self._found.put(end)

    def _pass_on(self, block: bytes) -> None:
        if self._is_given_up:
            raise BrokenPipeError("the reader of this archive has stopped")
        if block:
            self._found.put(block)
