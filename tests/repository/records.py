"""Made-up records, in a storage that tells what was fetched."""

from __future__ import annotations

import json
from typing import Any

from keepsake.metadata import Record, time_text
from tests.storage.memory import MemoryStorage


def make_id(number: int) -> str:
    """Return the ID of that number."""
    return f"{number:07x}" + "0" * 57


def make_record(number: int, **fields: object) -> Record:
    """Return the record of an experiment."""
    return {
        "id": make_id(number),
        "created": f"2021-01-01T00:00:{number % 60:02d}Z",
        "keepsake_version": "1.0.0",
        **fields,
    }


def make_checkpoint(number: int, **fields: object) -> Record:
    """Return the record of a checkpoint."""
    return {"id": f"c{number:06x}" + "0" * 57, "created": "2021-01-01T01:00:00Z", **fields}


class CountingStorage(MemoryStorage):
    """Remembers which keys were fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def get(self, key: str) -> tuple[bytes, str]:
        self.fetched.append(key)
        return super().get(key)


def put(storage: MemoryStorage, record: Record) -> None:
    """Write a record, as another process would."""
    storage.put(f"metadata/experiments/{record['id']}.json", json.dumps(record).encode())


def beat(storage: MemoryStorage, number: int, seconds_ago: float) -> None:
    """Write a heartbeat."""
    heartbeat = {"experiment_id": make_id(number), "last_heartbeat": time_text(storage.now() - seconds_ago)}
    storage.put(f"metadata/heartbeats/{make_id(number)}.json", json.dumps(heartbeat).encode())


def stored(storage: MemoryStorage, number: int) -> dict[str, Any]:
    """Return the record in the storage."""
    return json.loads(storage.objects[f"metadata/experiments/{make_id(number)}.json"].data)  # type: ignore[no-any-return]
