"""The experiments that somebody removed from a repository.

A missing experiment was not necessarily removed: a file may be lost, or an old backup restored. So a removal is written
down first. A process that still saves the experiment can then tell the two cases apart.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from keepsake.metadata import time_text
from keepsake.repository.keys import REMOVED
from keepsake.storage import Storage


class Removals:
    """The removals of a repository."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def ids(self) -> set[str]:
        """Return the IDs of all experiments that were removed."""
        return {experiment_id for _, experiments in self._all() for experiment_id in experiments}

    def add(self, experiment_ids: Iterable[str]) -> None:
        """Record that experiments are being removed."""
        self._write(f"{REMOVED}/{os.urandom(8).hex()}.json", experiment_ids)

    def forget(self, experiment_ids: Iterable[str]) -> None:
        """Forget that experiments were removed. This comes before they are copied here again."""
        ids = set(experiment_ids)
        for key, experiments in self._all():
            if ids & experiments:
                self._write(key, experiments - ids)

    def _write(self, key: str, experiment_ids: Iterable[str]) -> None:
        content = {"experiments": sorted(experiment_ids), "removed": time_text()}
        self._storage.put(key, json.dumps(content).encode())

    def _all(self) -> Iterator[tuple[str, set[str]]]:
        keys = [info.key for info in self._storage.list(REMOVED)]
        for key, data, _ in self._storage.get_many(keys) if keys else ():
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                yield key, set(json.loads(data)["experiments"])
