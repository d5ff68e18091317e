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

from benchmarks.measure import CACHE, REPOSITORY

METADATA = f"{REPOSITORY}/metadata/experiments"

_source = random.Random(42)


def repository(experiments: int, checkpoints: int) -> Path:
    """Return a project whose repository has so many experiments with so many checkpoints each."""

    def make(path: Path) -> None:
        metadata, created = path / METADATA, datetime(2024, 1, 1)
        metadata.mkdir(parents=True)
        (path / "keepsake.yaml").write_text(f"repository: file://{REPOSITORY}\n")
        (path / REPOSITORY / "repository.json").write_text('{"version":1}')
        for number in range(experiments):
            record = _experiment(created + timedelta(minutes=7 * number), checkpoints)
            (metadata / f"{record['id']}.json").write_text(json.dumps(record, indent=1))

    return _once(f"{experiments}x{checkpoints}", make)


def ids(project: Path) -> list[str]:
    """Return the IDs of the experiments of a project."""
    return sorted(path.stem for path in (project / METADATA).iterdir())


def weights(size: int) -> Path:
    """Return a file like the weights of a model: normally distributed 32-bit floats, `size` bytes of them."""
    return _file(f"weights-{size}", size, lambda: array("f", (_source.gauss(0, 0.02) for _ in range(10**6))).tobytes())


def text(size: int) -> Path:
    """Return a file of `size` bytes that shrinks well: a table of numbers."""
    lines = (f"{number},{_source.random():.6f},cat\n" for number in range(10**5))
    return _file(f"text-{size}", size, lambda: "".join(lines).encode())


def sources() -> Path:
    """Return a directory of 1,000 small files."""

    def make(path: Path) -> None:
        for number in range(1000):
            file = path / f"package{number // 50}/module{number}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"value = {number}\n" * 200)

    return _once("sources", make)


def _file(name: str, size: int, content: Callable[[], bytes]) -> Path:
    def make(path: Path) -> None:
        block = content()
        with open(path, "wb") as file:
            while left := size - file.tell():
                file.write(block[:left])

    return _once(name, make)


def _once(name: str, make: Callable[[Path], None]) -> Path:
    path, making = CACHE / name, CACHE / f"{name}.making"
    if not path.exists():
        shutil.rmtree(making, ignore_errors=True)
        make(making)
        making.rename(path)
    return path


def _experiment(created: datetime, checkpoints: int) -> dict[str, Any]:
    return _dated(created) | {
        "params": {"learning_rate": 10 ** -_source.uniform(1, 5), "layers": _source.randint(1, 9), "optimizer": "adam"},
        "user": _source.choice(["ana", "ben", "cho"]),
        "config": {"repository": f"file://{REPOSITORY}", "storage": ""},
        "command": "train.py --alpha=0.3 --epochs 10",
        "python_version": "3.11.7",
        "python_packages": {f"package-{number}": f"{number}.{number % 7}.2" for number in range(15)},
        "checkpoints": [_checkpoint(created + timedelta(seconds=step), step) for step in range(checkpoints)],
        "keepsake_version": "0.4.2",
    }


def _checkpoint(created: datetime, step: int) -> dict[str, Any]:
    metrics = {"loss": _source.random() / (step + 1), "accuracy": _source.random(), "epoch": step}
    primary = {"name": "loss", "goal": "minimize"}
    return _dated(created) | {"metrics": metrics, "step": step, "path": "", "primary_metric": primary}


def _dated(created: datetime) -> dict[str, Any]:
    moment = created + timedelta(microseconds=_source.randrange(10**6))
    return {"id": f"{_source.getrandbits(256):064x}", "created": moment.isoformat() + "Z"}
