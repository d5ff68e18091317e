"""Which experiments a person removed from a repository.

An experiment that is gone was not therefore removed: a backup may have been restored, or a file lost. So whoever
removes one writes that down first, and whoever still saves one can tell the two apart.
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
    """What was removed from a repository."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def ids(self) -> set[str]:
        """Return the IDs of all experiments that were removed."""
        return {experiment_id for _, experiments in self._all() for experiment_id in experiments}

    def add(self, experiment_ids: Iterable[str]) -> None:
        """Write down that experiments are being removed."""
        self._write(f"{REMOVED}/{os.urandom(8).hex()}.json", experiment_ids)

    def forget(self, experiment_ids: Iterable[str]) -> None:
        """Forget that experiments were removed, before they are copied here again."""
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
