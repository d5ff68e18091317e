"""Heartbeats: small objects that show which experiments are running, by the storage's clock."""

from __future__ import annotations

import json

from keepsake.exceptions import DoesNotExist
from keepsake.metadata import time_seconds, time_text
from keepsake.repository.keys import HEARTBEATS, heartbeat_key, id_of
from keepsake.storage import Storage

RUNNING_SECONDS = 30.0  # a heartbeat is written every 5 s; an older one is stale
_SKEW_SECONDS = 600.0  # an object that is older than this is stale, even if its writer's clock says otherwise


class Heartbeats:
    """The heartbeats of a repository."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def beat(self, experiment_id: str) -> None:
        """Mark an experiment as running."""
        heartbeat = {"experiment_id": experiment_id, "last_heartbeat": time_text(self._storage.now())}
        self._storage.put_for_now(heartbeat_key(experiment_id), json.dumps(heartbeat).encode())

    def leave(self, experiment_id: str, seconds: float, *, if_absent: bool = False) -> None:
        """Mark an experiment as lost at that Unix time: it ran then, and nobody knows how it ended.

        `if_absent`: raises PreconditionFailed if it has a heartbeat.
        """
        heartbeat = {"experiment_id": experiment_id, "last_heartbeat": time_text(seconds)}
        self._storage.put(heartbeat_key(experiment_id), json.dumps(heartbeat).encode(), if_absent=if_absent)

    def end(self, experiment_id: str) -> None:
        """Mark an experiment as no longer running."""
        self._storage.delete([heartbeat_key(experiment_id)])

    def all(self) -> dict[str, bool]:
        """Return the experiments with a heartbeat, and whether it is fresh."""
        found, recent = {}, []
        listed = list(self._storage.list(HEARTBEATS))
        now = self._storage.now() if listed else 0.0
        for info in listed:
            found[id_of(info.key)] = False
            if now - info.modified < _SKEW_SECONDS:
                recent.append(info.key)
        for key, data, _ in self._storage.get_many(recent):
            found[id_of(key)] = self._is_fresh(data)
        return found

    def of(self, experiment_id: str) -> bool | None:
        """Return whether the heartbeat of an experiment is fresh; None if it has none."""
        last = self.last(experiment_id)
        return None if last is None else self._is_fresh(last)

    def last(self, experiment_id: str) -> bytes | None:
        """Return the last heartbeat of an experiment as it is stored; None if it has none."""
        try:
            return self._storage.get(heartbeat_key(experiment_id))[0]
        except DoesNotExist:
            return None

    def _is_fresh(self, data: bytes) -> bool:
        try:
            age = self._storage.now() - time_seconds(json.loads(data)["last_heartbeat"])
            return -_SKEW_SECONDS < age < RUNNING_SECONDS
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
