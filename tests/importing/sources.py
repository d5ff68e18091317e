"""Folders and databases of other tools, written by hand as these tools write them."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"

Metrics = dict[str, list[tuple[int, float, int]]]  # name → milliseconds, value, step


def write_mlflow_run(
    store: Path,
    key: str,
    *,
    params: dict[str, str] | None = None,
    metrics: Metrics | None = None,
    tags: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
    **meta: Any,
) -> Path:
    """Write a run into a folder store; return its folder."""
    experiment = store / "123456789012345678"
    folder = experiment / key
    for name in ("params", "metrics", "tags", "artifacts"):
        (folder / name).mkdir(parents=True)
    (experiment / "meta.yaml").write_text("experiment_id: '123456789012345678'\nname: iris\nlifecycle_stage: active\n")
    about = {
        "run_id": key,
        "run_name": "calm-owl",
        "user_id": "ada",
        "lifecycle_stage": "active",
        "status": 3,
        "start_time": 1_700_000_000_000,
        "end_time": 1_700_000_100_500,
        "artifact_uri": "file:///gone/artifacts",
        **meta,
    }
    (folder / "meta.yaml").write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in about.items()))
    texts = {**_below("params", params), **_below("tags", tags), **_below("artifacts", files)}
    for name, points in (metrics or {}).items():
        lines = "".join(f"{time} {value} {step}\n" for time, value, step in points)
        texts[f"metrics/{name}"] = lines
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def _below(folder: str, texts: dict[str, str] | None) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in (texts or {}).items()}


def write_mlflow_database(path: Path) -> None:
    """Write a database with a finished run and a deleted one."""
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            create table experiments (experiment_id integer, name text, artifact_location text);
            create table runs (run_uuid text, name text, user_id text, status text, start_time integer,
                end_time integer, artifact_uri text, lifecycle_stage text, experiment_id integer);
            create table params (key text, value text, run_uuid text);
            create table tags (key text, value text, run_uuid text);
            create table metrics (key text, value float, timestamp integer, run_uuid text, step integer,
                is_nan boolean);
            create table trace_info (request_id text);
            insert into experiments values (0, 'Default', 'mlruns/0');
            insert into runs values ('abc', 'calm-owl', 'ada', 'FAILED', 1700000000000, 1700000100500,
                '/gone/mlruns/0/abc/artifacts', 'active', 0);
            insert into runs values ('old', 'x', 'ada', 'FINISHED', 1, 2, '', 'deleted', 0);
            insert into params values ('lr', '0.1', 'abc');
            insert into tags values ('team', 'blue', 'abc');
            insert into metrics values ('loss', 0.5, 1700000001000, 'abc', 0, 0);
            insert into metrics values ('loss', 0.0, 1700000002000, 'abc', 1, 1);
            insert into metrics values ('loss', -1.7976931348623157e308, 1700000003000, 'abc', 2, 0);
            insert into trace_info values ('t');
            """
        )
    connection.close()
    artifacts = path.parent / "mlruns/0/abc/artifacts"
    artifacts.mkdir(parents=True)
    (artifacts / "model.txt").write_text("weights")


def write_trackio_database(path: Path, *, with_ids: bool = True) -> None:
    """Write a database of one run; old ones have no IDs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    column, value = ("run_id text, ", "'c310', ") if with_ids else ("", "")
    with sqlite3.connect(path) as connection:
        connection.execute(f"create table metrics (id integer primary key, {column}timestamp text, run_name text, "
                           "step integer, metrics text)")  # fmt: skip
        connection.execute(f"create table configs (id integer primary key, {column}run_name text, config text)")
        config = {"lr": 0.1, "optimizer": {"name": "adam"}, "_Created": "2026-01-01T10:00:00+00:00", "_Username": "ada"}
        connection.execute(f"insert into configs values (1, {value}'first', ?)", (json.dumps(config).encode(),))
        for step, metrics in enumerate([{"loss": 0.5}, {"loss": "NaN", "big": "Infinity"}]):
            text = json.dumps(metrics).encode()
            time = f"2026-01-01T10:00:0{step}+00:00"
            connection.execute(f"insert into metrics values (?, {value}?, 'first', ?, ?)", (step, time, step, text))
    connection.close()


def write_wandb_run(path: Path, texts: dict[int, str], begun: int, losses: dict[int, float], exit_code: int) -> None:
    """Write a file of a run; `texts` are fields of its record, and each step takes a second."""
    run = b"".join(_field(number, text.encode()) for number, text in texts.items())
    messages = [_field(17, run + _field(17, _field(1, begun)))]
    for number, (step, loss) in enumerate(losses.items()):
        row = {"_step": step, "_timestamp": begun + number, "loss": loss}
        items = (_field(1, name.encode()) + _field(16, json.dumps(value).encode()) for name, value in row.items())
        messages.append(_field(2, b"".join(_field(1, item) for item in items)))
    messages.append(_field(18, _field(1, exit_code) + _field(2, len(losses))))
    log = (struct.pack("<IHB", zlib.crc32(b"\1" + each), len(each), 1) + each for each in messages)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b":W&B\xe1\xbe\0" + b"".join(log))


def _field(number: int, value: bytes | int) -> bytes:
    """Return a field of a protocol-buffer message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 | 128]) + _varint(number >> 7)
