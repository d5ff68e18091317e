"""What is listed and saved: repositories in the format of docs/repository-format.md, and files. Made once."""

from __future__ import annotations

import json
import random
import shutil
from array import array
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import CACHE

_PACKAGES = {f"package-{number}": f"{number}.{number % 7}.2" for number in range(15)}


def repository(experiments: int, checkpoints: int) -> Path:
    """Return a project whose repository has so many experiments with so many checkpoints each."""

    def make(path: Path) -> None:
        metadata, source = path / "repo/metadata/experiments", random.Random(42)
        metadata.mkdir(parents=True)
        (path / "keepsake.yaml").write_text("repository: file://repo\n")
        (path / "repo/repository.json").write_text('{"version":1}')
        for number in range(experiments):
            record = _experiment(source, datetime(2024, 1, 1) + timedelta(minutes=7 * number), checkpoints)
            (metadata / f"{record['id']}.json").write_text(json.dumps(record, indent=1))

    return _once(f"{experiments}x{checkpoints}", make)


def ids(project: Path) -> list[str]:
    """Return the IDs of the experiments of a project."""
    return sorted(path.stem for path in (project / "repo/metadata/experiments").iterdir())


def weights(size: int) -> Path:
    """Return a file like the weights of a model: normally distributed 32-bit floats, `size` bytes of them."""
    numbers = map(random.Random(42).gauss, [0.0] * 10**6, [0.02] * 10**6)
    return _once(f"weights-{size}", lambda path: _fill(path, size, array("f", numbers).tobytes()))


def text(size: int) -> Path:
    """Return a file of `size` bytes that shrinks well: a table of numbers."""
    lines = (f"{n},{random.Random(n).random():.6f},cat\n" for n in range(10**5))
    return _once(f"text-{size}", lambda path: _fill(path, size, "".join(lines).encode()))


def sources() -> Path:
    """Return a directory of 1,000 small files."""

    def make(path: Path) -> None:
        for number in range(1000):
            file = path / f"package{number // 50}/module{number}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"value = {number}\n" * 200)

    return _once("sources", make)


def _once(name: str, make: Callable[[Path], None]) -> Path:
    path, making = CACHE / name, CACHE / f"{name}.making"
    if not path.exists():
        shutil.rmtree(making, ignore_errors=True)
        make(making)
        making.rename(path)
    return path


def _fill(path: Path, size: int, content: bytes) -> None:
    with open(path, "wb") as file:
        while left := size - file.tell():
            file.write(content[:left])


def _experiment(source: random.Random, created: datetime, checkpoints: int) -> dict[str, Any]:
    return {
        "id": f"{source.getrandbits(256):064x}",
        "created": created.strftime("%Y-%m-%dT%H:%M:%S.123456789Z"),
        "params": {
            "learning_rate": 10 ** -source.uniform(1, 5),
            "optimizer": source.choice(["adam", "sgd", "rmsprop"]),
            "layers": source.randint(1, 9),
        },
        "user": source.choice(["ana", "ben", "cho"]),
        "config": {"repository": "file://repo", "storage": ""},
        "command": "train.py --alpha=0.3 --epochs 10",
        "python_version": "3.11.7",
        "python_packages": _PACKAGES,
        "checkpoints": [
            {
                "id": f"{source.getrandbits(256):064x}",
                "created": (created + timedelta(seconds=step)).strftime("%Y-%m-%dT%H:%M:%S.987654321Z"),
                "metrics": {"loss": source.random() / (step + 1), "accuracy": source.random(), "epoch": step},
                "step": step,
                "path": "",
                "primary_metric": {"name": "loss", "goal": "minimize"},
            }
            for step in range(checkpoints)
        ],
        "keepsake_version": "0.4.2",
    }
