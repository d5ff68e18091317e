"""Comparing the code of two runs in a bucket reads only two tables of contents and the files that differ."""

from __future__ import annotations

import random
from pathlib import Path

import keepsake
from tests.clouds.conftest import in_clouds
from tests.storage.benches import Bench
from tests.storage.proxy import Proxy

FILES = 1_000
CHANGED = ("package_3/module_017.py", "package_5/module_060.py", "package_9/module_099.py")
MOST = 200_000  # bytes


@in_clouds
def test_two_runs_of_a_large_project(project_directory: Path, place: Bench, proxy: Proxy) -> None:
    chance = random.Random(0)
    words = [f"name_{number}" for number in range(400)]
    for number in range(FILES):
        file = project_directory / f"src/package_{number // 100}/module_{number % 100:03}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"    {chance.choice(words)} = {chance.choice(words)}({chance.random()})\n" for _ in range(60))
        file.write_text(f"def function_{number}():\n" + "".join(lines))
    project = keepsake.Project(repository=place.url, directory=project_directory)
    one = record(project)
    for name in CHANGED:
        file = project_directory / "src" / name
        file.write_text(file.read_text() + "    return 1\n")
    other = record(project)
    reader = keepsake.Project(repository=place.url, directory=project_directory)
    proxy.sent = 0
    proxy.requests.clear()
    files = reader.experiments.get(one.id).diff(reader.experiments.get(other.id)).files
    assert files.changed == ["model.pth", *(f"src/{name}" for name in CHANGED)]
    assert files.text().count("+    return 1\n") == len(CHANGED)
    assert proxy.sent < MOST


def record(project: keepsake.Project) -> keepsake.Experiment:
    """A run with its code, and a checkpoint with weights that cannot be compressed."""
    experiment = project.experiments.create(path="src", quiet=True)
    Path("model.pth").write_bytes(random.Random(experiment.id).randbytes(2_000_000))
    experiment.checkpoint(path="model.pth", metrics={"loss": 1.0}, primary_metric=("loss", "minimize"))
    experiment.stop()
    return experiment
