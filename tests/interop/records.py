"""Experiments written straight into a repository on disk, as JSON by hand: by neither side."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def ago(seconds: float) -> str:
    """Return the RFC 3339 time that was so many seconds ago."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))


def checkpoint(number: int, **fields: Any) -> Record:
    """Return a checkpoint; `number` makes its ID and its time."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_600_000_000 + number))
    plain = {"id": f"c{number:07d}", "created": created, "metrics": None, "step": number, "path": ""}
    return {**plain, "primary_metric": None, **fields}


def experiment(number: int, *checkpoints: Record, **fields: Any) -> Record:
    """Return an experiment; `number` makes its ID and its time."""
    plain = {
        "id": f"e{number:07d}",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_600_000_000 + number)),
        "params": None,
        "host": "",
        "user": "kim",
        "config": {"repository": "file://.keepsake", "storage": ""},
        "command": "train.py",
        "path": "",
        "python_version": "3.8.5",
        "python_packages": None,
        "checkpoints": list(checkpoints) or None,
        "keepsake_version": "0.4.2",
    }
    return {**plain, **fields}


def write(project: Path, *experiments: Record, repository: str = ".keepsake") -> None:
    """Add experiments to the repository of a project."""
    root = project / repository
    (root / "metadata/experiments").mkdir(parents=True, exist_ok=True)
    (root / "repository.json").write_text('{"version":1}')
    for record in experiments:
        (root / f"metadata/experiments/{record['id']}.json").write_text(json.dumps(record), "utf-8")


def read(project: Path, experiment_id: str, repository: str = ".keepsake") -> Record:
    """Return an experiment as it is on disk."""
    found: Record = json.loads((project / repository / f"metadata/experiments/{experiment_id}.json").read_text("utf-8"))
    return found


def metric(value: Any, name: str = "loss", goal: str = "minimize") -> Record:
    """Return the fields of a checkpoint that has one metric, the primary one."""
    return {"metrics": {name: value}, "primary_metric": {"name": name, "goal": goal}}


def keys(project: Path, repository: str = ".keepsake") -> set[str]:
    """Return the keys that a repository on disk holds, without those that 0.4.2 does not know (`added-objects`)."""
    root = project / repository
    return known({path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()})


def known(keys: set[str]) -> set[str]:
    """Return the keys that 0.4.2 knows of."""
    return {key for key in keys if key != "identity.json" and not key.startswith(("removed/", "spool/"))}


def write_heartbeat(project: Path, experiment_id: str, age: float, repository: str = ".keepsake") -> None:
    """Write the heartbeat that an experiment sent so many seconds ago."""
    path = project / repository / f"metadata/heartbeats/{experiment_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"experiment_id": experiment_id, "last_heartbeat": ago(age)}))
