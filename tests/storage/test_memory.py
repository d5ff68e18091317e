"""The in-memory storage keeps the contract, so tests may stand on it."""

from __future__ import annotations

import pytest

from tests.storage.benches import MemoryBench
from tests.storage.contract import StorageContract


class TestMemory(StorageContract):
    @pytest.fixture
    def bench(self) -> MemoryBench:
        return MemoryBench()

    def test_foreign_names_are_skipped(self, bench: MemoryBench) -> None:
        """Names that could not be keys do not come out of a listing."""
        bench.seed({"a//b": b"", "a/../b": b"", "/x": b"", "a/": b"", "a/good": b""})
        assert [info.key for info in bench.storage.list("")] == ["a/good"]
