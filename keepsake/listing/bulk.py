"""Reading records by the thousand, for the index or as they are.

It is imported only then: msgspec needs a third of the standard library's time for the JSON, but takes 8 ms to load.
"""

from __future__ import annotations

import json
from typing import Any, TypedDict

import msgspec

from keepsake.metadata import Record, are_usual_ids, are_usual_times, is_deep, valid_id

_Scalar = str | float | int | bool | None


class _Identified(TypedDict):
    id: str
    created: str


class _Checkpoint(_Identified, total=False):
    metrics: dict[str, _Scalar] | None
    step: int | None
    path: str | None
    primary_metric: dict[str, str] | None


class _Experiment(_Identified, total=False):
    params: dict[str, Any] | None
    host: str | None
    user: str | None
    config: dict[str, Any] | None
    command: str | None
    path: str | None
    python_version: str | None
    python_packages: dict[str, _Scalar] | None
    checkpoints: list[_Checkpoint] | None
    keepsake_version: str | None
    ended: str | None
    end_reason: str | None
    error: str | None
    name: str | None
    tags: list[str] | None
    notes: str | None
    parent: str | None
    job: dict[str, Any] | None


_decode_any = msgspec.json.Decoder().decode
_decode = msgspec.json.Decoder(_Experiment).decode
_encode = msgspec.json.Encoder().encode


def usual_record(data: bytes, experiment_id: str) -> Record | None:
    """Return the record without unknown fields; None if parse_experiment must decide.

    msgspec checks types while it reads. It accepts less than the standard library, and reads nothing differently.
    """
    try:
        record: Any = _decode(data if data.isascii() else data.decode())  # skipped fields must be valid UTF-8 too
    except (ValueError, RecursionError):
        return None
    checkpoints = record.get("checkpoints") or ()
    is_usual = (
        record["id"] == experiment_id
        and valid_id(experiment_id)
        and are_usual_times([record["created"], *[checkpoint["created"] for checkpoint in checkpoints]])
        and (not checkpoints or are_usual_ids([checkpoint["id"] for checkpoint in checkpoints]))
        and all("name" in primary for each in checkpoints if (primary := each.get("primary_metric")) is not None)
        and "keepsake_version" in record
        and not is_deep([record.get("params"), record.get("config"), record.get("job")])
    )
    return record if is_usual else None


def loads(data: bytes) -> Any:
    """Return what json.loads does. msgspec accepts less, and json decides about the rest."""
    try:
        return _decode_any(data)
    except (ValueError, RecursionError):
        return json.loads(data)


def dumps(value: Any) -> str:
    """Return the JSON of a part of a usual record."""
    return _encode(value).decode()
