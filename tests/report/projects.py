"""Projects with runs for reports: records as they lie in a repository, and archives with code."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from keepsake.archive.pack import FrozenFiles, freeze
from keepsake.archive.writer import write_archive
from tests.archive.archives import write_files

START = 1_790_000_000  # Unix seconds


def an_id(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def checkpoint(run: object, step: int, created: float, metrics: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": an_id(run, step),
        "created": iso(created),
        "metrics": dict(metrics),
        "step": step,
        "path": "",
        "primary_metric": {"name": "val_loss", "goal": "minimize"},
    } | fields


def record(
    number: int, params: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], **fields: Any
) -> dict[str, Any]:
    """A run that began `number` hours after START, with a checkpoint each second."""
    created = START + 3600 * number
    return {
        "id": an_id(number),
        "created": iso(created),
        "params": dict(params),
        "host": "gpu-1",
        "user": "kim",
        "config": {"repository": "file://repo", "storage": ""},
        "command": f"train.py --seed {number}",
        "path": "",
        "python_version": "3.11.7",
        "python_packages": {"numpy": "2.0.0"},
        "checkpoints": [checkpoint(number, step, created + step, each) for step, each in enumerate(metrics, 1)] or None,
        "keepsake_version": "1.0.0",
        "ended": iso(created + len(metrics) + 1),
        "end_reason": "finished",
    } | fields


class Project:
    """The repository `repo` of a project directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.repository = directory / "repo"
        for name in ("metadata/experiments", "metadata/heartbeats", "experiments"):
            (self.repository / name).mkdir(parents=True, exist_ok=True)
        (self.repository / "repository.json").write_text('{"version":1}')
        (directory / "keepsake.yaml").write_text("repository: file://repo\n")

    def add(self, *records: dict[str, Any]) -> None:
        for each in records:
            path = self.repository / "metadata/experiments" / f"{each['id']}.json"
            path.write_text(json.dumps(each))

    def beat(self, id: str, seconds: float) -> None:
        heartbeat = {"experiment_id": id, "last_heartbeat": iso(seconds)}
        (self.repository / "metadata/heartbeats" / f"{id}.json").write_text(json.dumps(heartbeat))

    def save(self, id: str, files: Mapping[str, bytes]) -> None:
        """Store the files that a run saved when it began."""
        source = self.directory / "sources" / id
        write_files(source, files)
        pack = source.with_suffix(".pack")
        freeze(source, ".", pack)
        with FrozenFiles(pack) as frozen, write_archive(id, frozen) as stream:
            (self.repository / "experiments" / f"{id}.tar.gz").write_bytes(stream.read())


def sweep(project: Project, count: int, points: int = 30, *, code: bool = True) -> list[dict[str, Any]]:
    """Add runs of a sweep over learning rates, widths and three seeds; return their records."""
    made = []
    for number in range(count):
        lr = [0.001, 0.01, 0.1, 0.03][number // 3 % 4]
        width = [64, 128][number // 6 % 2]
        floor = 0.2 + abs(math.log10(lr) + 2) * 0.3 + 0.01 * (number % 3) + 0.0001 * number
        metrics = [
            {
                "val_loss": floor + math.exp(-step / 8) + max(0, step - 20) * 0.01,
                "train_loss": floor * 0.8 + math.exp(-step / 7),
                "accuracy": 1 - floor / 2 - math.exp(-step / 8) / 2,
            }
            for step in range(points)
        ]
        params = {"optimizer": {"name": "adam", "lr": lr}, "width": width, "seed": number % 3, "batch_size": 32}
        made.append(record(number, params, metrics, path="." if code else ""))
        if code:
            text = f"import model\n\nLR = {lr}\nprint(model)\n".encode()
            project.save(made[-1]["id"], {"train.py": text, "model.py": b"LAYERS = 3\n" * 20, "icon.png": b"\x89PNG\0"})
    project.add(*made)
    return made
