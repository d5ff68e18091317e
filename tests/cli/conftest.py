"""A repository as 0.4.2 writes it, at a fixed time, and a way to run the command line in it."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from keepsake.cli import cli
from keepsake.util import console
from tests.storage.benches import Bench

NOW = datetime(2022, 3, 14, 9, 51, 7, tzinfo=timezone.utc).timestamp()

# For a test that proves nothing of the repository: over one storage is enough
on_disk = pytest.mark.parametrize("place", ["file"], indirect=True)

Run = Callable[..., Result]


def at(seconds_ago: float) -> str:
    moment = datetime.fromtimestamp(NOW - seconds_ago, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def checkpoint(id: str, ago: float, step: int, metrics: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    primary = {"name": "metric-1", "goal": "minimize"}
    record = {"id": id, "created": at(ago), "metrics": metrics, "step": step, "path": "", "primary_metric": primary}
    return record | fields


def experiment(id: str, ago: float, *checkpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": id,
        "created": at(ago),
        "params": None,
        "host": "",
        "user": "",
        "config": {"repository": "file://repo", "storage": ""},
        "command": "train.py",
        "path": "",
        "python_version": "",
        "python_packages": None,
        "checkpoints": list(checkpoints) or None,
        "keepsake_version": "0.4.2",
    } | fields


class World:
    """The repository of the project in the working directory."""

    def __init__(self, project: Path, repository: Bench) -> None:
        self.project = project
        self.repository = repository
        repository.write("repository.json", b'{"version":1}')

    def add(self, *records: dict[str, Any]) -> None:
        for record in records:
            self.repository.write(f"metadata/experiments/{record['id']}.json", json.dumps(record, indent=1).encode())

    def archive(self, key: str, **files: str) -> None:
        """An archive without a table of contents; `data__x` stands for the path `data/x`."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, text in files.items():
                member = tarfile.TarInfo(f"{key.split('/')[1]}/{name.replace('__', '/').replace('_py', '.py')}")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
        self.repository.write(f"{key}.tar.gz", buffer.getvalue())

    def beat(self, id: str, seconds_ago: float = 2) -> None:
        heartbeat = {"experiment_id": id, "last_heartbeat": at(seconds_ago)}
        self.repository.write(f"metadata/heartbeats/{id}.json", json.dumps(heartbeat).encode())


@pytest.fixture
def world(project_directory: Path, place: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty repository at NOW, in each place."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(type(place.storage), "now", lambda self: NOW)
    monkeypatch.setenv("KEEPSAKE_CACHE", str(project_directory.parent / "cache"))
    yield World(project_directory, place)
    console.set_color(None)


@pytest.fixture
def three_runs(world: World) -> World:
    """The experiments of the specification's examples."""
    hello = {"param-1": 200, "param-2": "hello"}
    packages = dict.fromkeys("abcde", "1.0") | {"tensorflow": "2.0.0"}
    common: dict[str, Any] = {"python_packages": packages, "path": "."}
    johanna = {"user": "johanna", "command": "train.py --alpha=0.3 -q"} | common
    world.add(
        experiment(
            "a37c2e9d04",
            600,
            checkpoint("4e19aa3b00", 360, 10, {"metric-1": 0.1, "metric-2": 2}, path="data"),
            checkpoint("9f02c7d300", 240, 20, {"metric-1": 0.01, "metric-2": 2}, path="data"),
            checkpoint("5d8f0b6a12", 180, 20, {"metric-1": 0.02, "metric-2": 2}, path="data"),
            **johanna | {"host": "10.1.1.1", "params": hello | {"param-1": 100}, "python_version": "3.4.5"},
        ),
        experiment("c90d1f4e55", 660, host="10.1.1.2", user="kim", params=hello, **common),
        experiment(
            "b51e7a0f66",
            60,
            checkpoint("d7718e5c77", 120, 5, {"metric-3": 0.5}),
            **johanna | {"host": "10.1.1.2", "params": hello | {"param-3": "hi"}, "python_version": "3.4.6"},
        ),
    )
    world.beat("a37c2e9d04")
    world.archive("experiments/a37c2e9d04", train_py="print(1)\n", data__x="old")
    world.archive("experiments/b51e7a0f66", train_py="print(2)\n")
    for id in ("4e19aa3b00", "9f02c7d300", "5d8f0b6a12"):
        world.archive(f"checkpoints/{id}", data__x=id)
    return world


@pytest.fixture
def run() -> Run:
    """Runs `keepsake` with arguments in this process. The exit status is 0 unless `status` says otherwise."""

    def run(*args: str, input: str = "", status: int = 0) -> Result:
        result = CliRunner().invoke(cli, args, input=input)
        assert result.exit_code == status, result.output
        return result

    return run
