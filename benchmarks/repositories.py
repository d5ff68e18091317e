"""Repositories to list, written file by file in the format of docs/repository-format.md; made once."""

from __future__ import annotations

import json
import random
import shutil
from array import array
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import CACHE

_BEGINNING = datetime(2024, 1, 1)
_PACKAGES = {f"package-{number}": f"{number}.{number % 7}.2" for number in range(15)}


def repository(experiments: int, checkpoints: int) -> Path:
    """Return a project whose repository has so many experiments with so many checkpoints each."""
    project = CACHE / f"{experiments}x{checkpoints}"
    if not project.exists():
        making = project.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        metadata = making / "repo/metadata/experiments"
        metadata.mkdir(parents=True)
        (making / "keepsake.yaml").write_text("repository: file://repo\n")
        (making / "repo/repository.json").write_text('{"version":1}')
        source = random.Random(42)
        for number in range(experiments):
            record = _experiment(source, number, checkpoints)
            (metadata / f"{record['id']}.json").write_text(json.dumps(record, indent=1))
        making.rename(project)
    return project


def ids(project: Path) -> list[str]:
    """Return the IDs of the experiments of a project."""
    return sorted(path.stem for path in (project / "repo/metadata/experiments").iterdir())


def weights(size: int) -> Path:
    """Return a file of `size` bytes like the weights of a model: normally distributed 32-bit floats."""
    return _file(f"weights-{size}", size, array("f", map(random.Random(42).gauss, [0] * 10**6, [0.02] * 10**6)).tobytes)


def text(size: int) -> Path:
    """Return a file of `size` bytes that shrinks well: a table of numbers."""
    source = random.Random(42)
    return _file(
        f"text-{size}", size, lambda: "".join(f"{n},{source.random():.6f},cat\n" for n in range(10**6)).encode()
    )


def _file(name: str, size: int, make: Any) -> Path:
    path = CACHE / name
    if not path.exists():
        content = make()
        with open(path.with_suffix(".making"), "wb") as file:
            while left := size - file.tell():
                file.write(content[:left])
        path.with_suffix(".making").rename(path)
    return path


def _experiment(source: random.Random, number: int, checkpoints: int) -> dict[str, Any]:
    created = _BEGINNING + timedelta(minutes=7 * number)
    return {
        "id": f"{source.getrandbits(256):064x}",
        "created": _text(created),
        "params": {
            "learning_rate": 10 ** -source.uniform(1, 5),
            "optimizer": source.choice(["adam", "sgd", "rmsprop"]),
            "layers": source.randint(1, 9),
            "augment": source.random() < 0.5,
        },
        "host": "",
        "user": source.choice(["ana", "ben", "cho"]),
        "config": {"repository": "file://repo", "storage": ""},
        "command": "train.py --alpha=0.3 --epochs 10",
        "path": "",
        "python_version": "3.11.7",
        "python_packages": _PACKAGES,
        "checkpoints": [_checkpoint(source, created, step) for step in range(checkpoints)],
        "keepsake_version": "0.4.2",
    }


def _checkpoint(source: random.Random, created: datetime, step: int) -> dict[str, Any]:
    return {
        "id": f"{source.getrandbits(256):064x}",
        "created": _text(created + timedelta(seconds=step + 1)),
        "metrics": {"loss": source.random() / (step + 1), "accuracy": source.random(), "epoch": step},
        "step": step,
        "path": "",
        "primary_metric": {"name": "loss", "goal": "minimize"},
    }


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
