"""A storage behaves like a dict, whatever is done to it in whatever order."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keepsake.exceptions import DoesNotExist, PreconditionFailed
from tests.storage.benches import Bench, DiskBench, GCSBench, MemoryBench, S3Bench

# Few and alike, so that they meet: files beside folders, prefixes of one another, signs below and above the slash
KEYS = st.sampled_from(["a", "b/a", "b/a.json", "b/a-", "b/aé", "b/a0/c", "b0/x", "b-/x", "ü/%2F", "m/0/1/2"])
PREFIXES = st.sampled_from(["", "a", "b", "b/a0", "b0", "m", "m/0", "nope"])
DATA = st.binary(max_size=40)
SOME_KEYS = st.lists(KEYS, max_size=4)


class Machine(RuleBasedStateMachine):
    """A storage and the dict that it should equal."""

    make: ClassVar[Any]

    @initialize()
    def start(self) -> None:
        self.bench: Bench = type(self).make()
        self.storage = self.bench.storage
        self.model: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.stale: str | None = None  # an etag that something had before

    def teardown(self) -> None:
        if isinstance(getattr(self, "bench", None), DiskBench):
            shutil.rmtree(self.bench.root, ignore_errors=True)  # type: ignore[attr-defined]

    def _written(self, key: str, data: bytes, etag: str) -> None:
        if self.model.get(key) not in (None, data):
            self.stale = self.etags[key]
        self.model[key] = data
        self.etags[key] = etag

    @rule(key=KEYS, data=DATA)
    def put(self, key: str, data: bytes) -> None:
        self._written(key, data, self.storage.put(key, data))

    @rule(key=KEYS, data=DATA)
    def put_if_absent(self, key: str, data: bytes) -> None:
        if key in self.model:
            with pytest.raises(PreconditionFailed):
                self.storage.put(key, data, if_absent=True)
        else:
            self._written(key, data, self.storage.put(key, data, if_absent=True))

    @rule(key=KEYS, data=DATA)
    def put_if_match(self, key: str, data: bytes) -> None:
        if key in self.model:
            self._written(key, data, self.storage.put(key, data, if_match=self.etags[key]))
        else:
            with pytest.raises(PreconditionFailed):
                self.storage.put(key, data, if_match=self.stale or "0")

    @precondition(lambda self: self.stale and self.stale not in self.etags.values())
    @rule(key=KEYS, data=DATA)
    def put_if_stale(self, key: str, data: bytes) -> None:
        with pytest.raises(PreconditionFailed):
            self.storage.put(key, data, if_match=self.stale)

    @rule(key=KEYS, data=DATA)
    def upload(self, key: str, data: bytes) -> None:
        self.storage.upload(key, io.BytesIO(data))
        self._written(key, data, self.storage.get(key)[1])

    @rule(keys=SOME_KEYS)
    def delete(self, keys: list[str]) -> None:
        self.storage.delete(keys)
        for key in keys:
            self.model.pop(key, None)
            self.etags.pop(key, None)

    @rule(key=KEYS, data=DATA)
    def somebody_else_writes(self, key: str, data: bytes) -> None:
        self.bench.seed({key: data})
        self._written(key, data, self.storage.get(key)[1])

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        if key in self.model:
            assert self.storage.get(key) == (self.model[key], self.etags[key])
        else:
            with pytest.raises(DoesNotExist):
                self.storage.get(key)

    @rule(key=KEYS, start=st.integers(-50, 50), length=st.none() | st.integers(0, 50))
    def open(self, key: str, start: int, length: int | None) -> None:
        if key in self.model:
            data = self.model[key]
            first = max(0, len(data) + start) if start < 0 else start
            with self.storage.open(key, start=start, length=length) as stream:
                assert stream.read() == data[first : None if length is None else first + length]
        else:
            with pytest.raises(DoesNotExist):
                self.storage.open(key, start=start, length=length)

    @rule(keys=SOME_KEYS)
    def get_many(self, keys: list[str]) -> None:
        found = {key: (data, etag) for key, data, etag in self.storage.get_many(set(keys))}
        assert found == {key: (self.model[key], self.etags[key]) for key in keys if key in self.model}

    @rule(prefix=PREFIXES)
    def list_some(self, prefix: str) -> None:
        expected = sorted(key for key in self.model if key.startswith(prefix + "/" if prefix else ""))
        listed = list(self.storage.list(prefix))
        assert [(info.key, info.size, info.etag) for info in listed] == [
            (key, len(self.model[key]), self.etags[key]) for key in expected
        ]

    @invariant()
    def nothing_else_is_there(self) -> None:
        assert getattr(self, "model", {}) == (self.bench.contents() if hasattr(self, "bench") else {})


def check(make: Any, examples: int, steps: int = 30) -> None:
    machine = type("Machine", (Machine,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


def test_memory_is_like_a_dict() -> None:
    check(MemoryBench, 100)


def test_disk_is_like_a_dict(tmp_path: Path) -> None:
    check(lambda: DiskBench(Path(tempfile.mkdtemp(dir=tmp_path))), 40)


def test_s3_is_like_a_dict(s3_bench: S3Bench) -> None:
    check(lambda: S3Bench(s3_bench.client.meta.endpoint_url), 5, steps=20)


def test_gcs_is_like_a_dict(gcs_bench: GCSBench) -> None:
    check(lambda: GCSBench(gcs_bench.endpoint), 8, steps=20)
