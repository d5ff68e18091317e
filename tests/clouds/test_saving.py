"""Saving to a bucket: everything arrives, even with other writers and a misbehaving server, and what it costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keepsake.project import Project
from tests.clouds.conftest import in_clouds
from tests.spools import nothing_waits
from tests.storage.benches import Bench
from tests.storage.contract import noise
from tests.storage.proxy import Proxy, Request, refusing


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """One test server serves 32 machines here, and each of them may wait for it."""
    monkeypatch.setenv("KEEPSAKE_EXIT_SECONDS", "120")


MANY = """
import multiprocessing, os, sys
import keepsake.storage.s3, keepsake.storage.gcs
from keepsake import Project

URL = sys.argv[1]

def machine(number, experiment_ids):
    os.mkdir(f"machine{number}")
    os.chdir(f"machine{number}")
    experiment = Project(repository=URL, directory=".").experiments.get(experiment_ids[number // 4])
    for step in range(10):
        open("model", "w").write(f"{number} {step}")
        experiment.checkpoint(path="model", step=step, metrics={"number": number}, quiet=True)
    experiment.stop()

def begin(number):
    experiment = Project(repository=URL, directory=".").experiments.create(params={"number": number})
    experiment.stop()
    return experiment.id

context = multiprocessing.get_context("fork")
with context.Pool(1) as pool:
    experiment_ids = pool.map(begin, range(8))
machines = [context.Process(target=machine, args=(number, experiment_ids)) for number in range(32)]
for process in machines:
    process.start()
for process in machines:
    process.join()
assert [process.exitcode for process in machines] == [0] * 32
"""


@in_clouds
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_many_machines_lose_nothing(place: Bench, project_directory: Path, run_python: Callable[..., str]) -> None:
    """32 machines make 10 checkpoints each in one bucket, four of them in each experiment."""
    messages = run_python(MANY, place.url)  # the wait for a busy server may be explained
    assert "not fully saved" not in messages
    assert "Traceback" not in messages
    experiments = Project(repository=place.url).experiments.list()
    made = [(c.metrics or {}).get("number", -1) * 10 + (c.step or 0) for e in experiments for c in e.checkpoints]
    assert sorted(made) == list(range(320))
    assert len([key for key in place.kept() if key.startswith("checkpoints/")]) == 320
    checkpoint = experiments[0].checkpoints[0]
    with checkpoint.open("model") as file:
        assert file.read().decode() == f"{(checkpoint.metrics or {})['number']} {checkpoint.step}"


@in_clouds
def test_nothing_is_lost_if_a_third_of_requests_is_refused(
    place: Bench, project_directory: Path, proxy: Proxy, tmp_path: Path
) -> None:
    """From init() to stop(); what arrived is what was there, byte for byte."""
    refuse, answers = refusing(0.3), []

    def fault(request: Request) -> bytes | str | None:
        answers.append(refuse(request))
        return answers[-1]

    proxy.fault = fault
    (project_directory / "train.py").write_text("code")
    experiment = Project().experiments.create(path="train.py", params={"lr": 0.1})
    contents = [noise(size, size) for size in (*range(10, 20), 9_000_000)]
    for content in contents:
        (project_directory / "model").write_bytes(content)
        assert experiment.checkpoint(path="model", metrics={"size": len(content)}) is not None
    experiment.stop()
    assert 3 < len([answer for answer in answers if answer]) < len(answers) / 2
    proxy.fault = lambda request: None
    found = Project().experiments.get(experiment.id)
    assert found.status == "stopped"
    for checkpoint, content in zip(found.checkpoints, contents, strict=True):
        checkpoint.checkout(tmp_path / checkpoint.id)
        assert (tmp_path / checkpoint.id / "model").read_bytes() == content
        assert (tmp_path / checkpoint.id / "train.py").read_text() == "code"
    assert nothing_waits(project_directory)
    assert len(place.kept()) == 3 + len(contents)


@in_clouds
def test_a_small_file_of_a_large_checkpoint_transfers_little(
    place: Bench, project_directory: Path, request: pytest.FixtureRequest
) -> None:
    """Less than 1 MB, all requests counted, the search for the experiment too."""
    (project_directory / "model").write_bytes(noise(100_000_000))
    (project_directory / "small.txt").write_text("small")
    experiment = Project().experiments.create()
    experiment.checkpoint(path=".")
    experiment.stop()
    proxy: Proxy = request.getfixturevalue("proxy")
    with Project().experiments.get(experiment.short_id()).checkpoints[0].open("small.txt") as file:
        assert file.read() == b"small"
    assert 0 < proxy.sent < 1_000_000
