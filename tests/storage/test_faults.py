"""The fault-injecting wrapper keeps the contract while it injects none, and injects what it is told."""

from __future__ import annotations

import io

import pytest

from keepsake.exceptions import KeepsakeError, ReadError, WriteError
from tests.storage.benches import MemoryBench
from tests.storage.contract import StorageContract
from tests.storage.faults import FaultyStorage, failing, failing_at


class FaultyBench(MemoryBench):
    """A wrapper around memory, seen from behind."""

    def __init__(self) -> None:
        super().__init__()
        self.storage = FaultyStorage(self.memory)


@pytest.fixture
def bench() -> FaultyBench:
    return FaultyBench()


class TestFaulty(StorageContract):
    @pytest.fixture
    def bench(self, bench: FaultyBench) -> FaultyBench:
        return bench


def test_a_server_can_die_between_any_two_moments(bench: FaultyBench) -> None:
    """Before the request arrives nothing has changed, after it everything has."""
    storage = FaultyStorage(bench.memory, failing_at(3))
    storage.put("a", b"")
    with pytest.raises(WriteError, match="after put b"):
        storage.put("b", b"")
    with pytest.raises(WriteError, match="before upload c"):
        storage.upload("c", io.BytesIO(b""))
    with pytest.raises(ReadError, match="before get a"):
        storage.get("a")
    assert sorted(bench.contents()) == ["a", "b"]
    assert storage.calls == {"put": 2, "upload": 1, "get": 1}


def test_a_share_of_operations_fails(bench: FaultyBench) -> None:
    """About as many as asked for, of the verbs asked for, the same ones for the same seed."""
    bench.seed({"k": b""})
    failed = []
    for _ in range(2):
        storage = FaultyStorage(bench.memory, failing(0.3, seed=1, verbs=["put"]))
        numbers = []
        for number in range(1000):
            try:
                storage.put("k", b"")
            except KeepsakeError:
                numbers.append(number)
            storage.get("k")
        failed.append(numbers)
    assert failed[0] == failed[1]
    assert 200 < len(failed[0]) < 400
