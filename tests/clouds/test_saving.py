"""Saving to a bucket: everything arrives, even with other writers and a misbehaving server, and what it costs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keepsake.project import Project
from keepsake.storage import bucket
from tests.clouds.conftest import in_clouds
from tests.spools import nothing_waits
from tests.storage.benches import Bench
from tests.storage.contract import noise
from tests.storage.proxy import Proxy, Request, refusing, reply
from tests.waiting import wait_until


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

    def fault(request: Request) -> bytes | str | int | None:
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


def _refused(code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>"
    return reply("403 Forbidden", body, Content_Type="application/xml")


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_without_the_permission_to_delete_everything_is_saved(
    place: Bench, project_directory: Path, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    """The heartbeat stays, but shows at once that the run has ended. Restarts leave the files of repeated steps."""
    proxy.fault = lambda request: (
        _refused("AccessDenied") if request.method == "DELETE" or "?delete" in request.target else None
    )
    (project_directory / "model").write_bytes(noise(1))
    experiment = Project().experiments.create()
    for _ in range(2):
        experiment.checkpoint(path="model", step=1)
        experiment.stop()
        experiment = Project().experiments.create(resume=experiment.id)
    experiment.stop()
    said = capsys.readouterr().err
    assert "not fully saved" not in said
    assert "Waiting" not in said
    assert "Files of steps that were recorded again could not be deleted" in said
    assert nothing_waits(project_directory)
    assert sum(key.startswith("checkpoints/") for key in place.kept()) == 2
    assert f"metadata/heartbeats/{experiment.id}.json" in place.kept()
    assert Project().experiments.get(experiment.id).status == "stopped"


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_credentials_that_are_renewed_while_a_run_goes_on_are_used(
    place: Bench, project_directory: Path, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They expire after some hours, and a cron job writes new ones into the file."""
    monkeypatch.setattr(bucket, "_RENEWAL_SECONDS", 0.1)
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    file.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = test\n")
    experiment = Project().experiments.create()
    refused: list[str] = []

    def expire(request: Request) -> bytes | None:
        if "Credential=OLD/" not in request.headers.get("authorization", ""):
            return None
        refused.append(request.target)
        return _refused("ExpiredToken")

    proxy.fault = expire
    experiment.checkpoint(step=1)
    key = f"metadata/experiments/{experiment.id}.json"
    wait_until(lambda: any(key in target for target in refused))
    file.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = test\n")
    wait_until(lambda: len(json.loads(place.read(key))["checkpoints"] or []) == 1)
    experiment.stop()
    assert nothing_waits(project_directory)


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
