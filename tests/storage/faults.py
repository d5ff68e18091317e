"""A storage that fails, or is slow, where a test wants it to."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, TypeVar

from keepsake.exceptions import ReadError, WriteError
from keepsake.storage.base import ObjectInfo, Storage

T = TypeVar("T")
Fault = Callable[[str, str, str], None]  # (moment "before" or "after", verb, key); raises, sleeps or does nothing


class FaultyStorage(Storage):
    """Calls `fault` before and after every operation of `inner`.

    An error raised "before" is a request that never arrived; one raised "after" is an answer that was lost.
    `calls` counts operations by verb.
    """

    def __init__(self, inner: Storage, fault: Fault = lambda moment, verb, key: None) -> None:
        self.inner = inner
        self.fault = fault
        self.url = inner.url
        self.calls: Counter[str] = Counter()

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        return self._call("open", key, lambda: self.inner.open(key, start=start, length=length))

    def get(self, key: str) -> tuple[bytes, str]:
        return self._call("get", key, lambda: self.inner.get(key))

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        return self._call("put", key, lambda: self.inner.put(key, data, if_absent=if_absent, if_match=if_match))

    def upload(self, key: str, source: BinaryIO) -> None:
        self._call("upload", key, lambda: self.inner.upload(key, source))

    def link(self, key: str, path: Path, *, is_object: bool = False) -> bool:
        return self._call("link", key, lambda: self.inner.link(key, path, is_object=is_object))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._call("list", prefix, lambda: self.inner.list(prefix))

    def refresh(self, prefix: str) -> None:
        self._call("refresh", prefix, lambda: self.inner.refresh(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        self._call("delete", " ".join(keys), lambda: self.inner.delete(keys))

    def retire(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        self._call("delete", " ".join(keys), lambda: self.inner.retire(keys))

    def ensure_writable(self) -> None:
        self._call("ensure_writable", "", self.inner.ensure_writable)

    def now(self) -> float:
        return self.inner.now()

    def leftovers(self) -> Iterator[ObjectInfo]:
        return self.inner.leftovers()

    def remove_leftover(self, leftover: ObjectInfo) -> None:
        self._call("remove_leftover", leftover.key, lambda: self.inner.remove_leftover(leftover))

    def _call(self, verb: str, key: str, operation: Callable[[], T]) -> T:
        self.calls[verb] += 1
        self.fault("before", verb, key)
        result = operation()
        self.fault("after", verb, key)
        return result


def latency(seconds: float) -> Fault:
    """Make every operation take that much longer."""

    def fault(moment: str, verb: str, key: str) -> None:
        if moment == "before":
            time.sleep(seconds)

    return fault


def failing(rate: float, seed: int = 0, verbs: Iterable[str] = ()) -> Fault:
    """Fail a share of all operations (of `verbs`, if given), before or after they were carried out."""
    generator = random.Random(seed)
    chosen = frozenset(verbs)
    lock = threading.Lock()

    def fault(moment: str, verb: str, key: str) -> None:
        with lock:
            hit = generator.random() < rate / 2
        if hit and (not chosen or verb in chosen):
            raise _failure(moment, verb, key)

    return fault


def failing_at(step: int) -> Fault:
    """Let `step` moments pass and fail at every one after that, as a server that dies does."""
    left = [step]

    def fault(moment: str, verb: str, key: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise _failure(moment, verb, key)

    return fault


def _failure(moment: str, verb: str, key: str) -> Exception:
    kind = ReadError if verb in ("open", "get", "list") else WriteError
    return kind(f"Injected fault {moment} {verb} {key}.")
