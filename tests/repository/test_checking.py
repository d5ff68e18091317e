"""Archives that are checked while they are passed on."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO, cast

import pytest

from keepsake.exceptions import CorruptedArchive, DoesNotExist, ReadError
from keepsake.repository.checking import is_whole, open_checked
from tests.archive.archives import archive_bytes, freeze_files
from tests.storage.memory import MemoryStorage
from tests.waiting import wait_until

KEY = "checkpoints/5ffb0f6.tar.gz"
LARGE = 8 << 20  # bytes


def noise(size: int) -> bytes:
    """Return bytes that do not shrink, always the same ones."""
    import random

    return random.Random(0).randbytes(size)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive of weights and code."""
    return archive_bytes(freeze_files(tmp_path_factory.mktemp("large"), {"model.pth": noise(LARGE), "a.py": b"code"}))


class Metered(MemoryStorage):
    """Counts what is read of its objects."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.put(KEY, data)
        self.read = 0
        self.is_away = False

    @contextmanager
    def _metered(self, source: BinaryIO) -> Iterator[BinaryIO]:
        meter = self

        class Stream(io.RawIOBase):
            def read(self, size: int = -1) -> bytes:
                data = source.read(size)
                meter.read += len(data)
                return data

        yield cast(BinaryIO, Stream())

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:  # type: ignore[override]
        if self.is_away:
            raise ReadError("The network is away.")
        return self._metered(super().open(key, start=start, length=length))


def checks() -> int:
    return sum(thread.name == "keepsake-check" for thread in threading.enumerate())


def test_a_whole_archive_is_passed_on_as_it_is_and_read_once(large: bytes) -> None:
    storage = Metered(large)
    with open_checked(storage, KEY) as stream:
        assert stream.read() == large
    assert len(large) <= storage.read <= len(large) + (64 << 10)  # its table is read before


def test_it_is_not_read_faster_than_it_is_passed_on(large: bytes) -> None:
    storage = Metered(large)
    with open_checked(storage, KEY) as stream:
        assert stream.read(1) == large[:1]
        for _ in range(20):
            time.sleep(0.005)
            assert storage.read < LARGE * 0.6


def test_whoever_gives_up_leaves_no_thread(large: bytes) -> None:
    wait_until(lambda: checks() == 0)  # those of the tests before may still be ending
    with open_checked(Metered(large), KEY) as stream:
        stream.read(1)
        assert checks() == 1
    wait_until(lambda: checks() == 0)


def test_a_damaged_archive_has_no_end(large: bytes) -> None:
    for size in (0, 1, 1000, len(large) // 2, len(large) - 1):
        with open_checked(Metered(large[:size]), KEY) as stream, pytest.raises(CorruptedArchive, match="5ffb0f6"):
            stream.read()
        assert not is_whole(Metered(large[:size]), KEY)


def test_what_cannot_be_read_is_not_called_damaged(large: bytes) -> None:
    storage = Metered(large)
    with open_checked(storage, "checkpoints/missing.tar.gz") as stream, pytest.raises(DoesNotExist):
        stream.read(1)

    storage.is_away = True
    with pytest.raises(ReadError, match="network"):
        is_whole(storage, KEY)
    with open_checked(storage, KEY) as stream, pytest.raises(ReadError, match="network"):
        stream.read(1)
