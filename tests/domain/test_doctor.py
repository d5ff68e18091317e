"""Looking for what is wrong in a repository, in each place, and repairing it without losing anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import keepsake
from keepsake.exceptions import KeepsakeError
from keepsake.experiment import Experiment
from keepsake.repository.doctor import Problem
from tests.storage.benches import Bench, DiskBench, S3Bench

HOURS = 2 * 3600

pytestmark = pytest.mark.usefixtures("place")
on_disk = pytest.mark.parametrize("place", ["file"], indirect=True)


@pytest.fixture
def trained(project_directory: Path) -> Experiment:
    (project_directory / "model.pth").write_text("weights" * 1000)
    experiment = keepsake.init(path="model.pth")
    experiment.checkpoint(path="model.pth", metrics={"loss": 0.5})
    experiment.stop()
    return experiment


def examine(*, thorough: bool = True) -> list[Problem]:
    return list(keepsake.Project()._examine(thorough=thorough, fix=True).problems())


def kinds(*, thorough: bool = True) -> list[str]:
    return sorted(problem.kind for problem in examine(thorough=thorough))


def fix() -> None:
    for problem in examine():
        if problem.fix:
            problem.fix()


def hours_later(place: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(place.storage), "now", lambda self: time.time() + HOURS)


def test_in_a_sound_repository_all_is_well(trained: Experiment, place: Bench) -> None:
    before = place.contents()
    assert kinds() == []
    assert place.contents() == before


def test_where_there_is_no_repository_there_is_nothing_to_find(project_directory: Path, place: Bench) -> None:
    assert kinds() == []
    assert place.listed() == set()


@pytest.mark.parametrize(("content", "kind"), [(None, "spec-missing"), (b"version 1", "spec-corrupt")])
def test_the_spec_is_written_anew(trained: Experiment, place: Bench, content: bytes | None, kind: str) -> None:
    place.remove("repository.json")
    if content:
        place.write("repository.json", content)
    assert kinds() == [kind]
    fix()
    assert kinds() == []
    assert [e.id for e in keepsake.Project().experiments.list()] == [trained.id]


def test_a_repository_of_a_later_version_is_left_alone(trained: Experiment, place: Bench) -> None:
    place.write("repository.json", b'{"version":2}')
    with pytest.raises(KeepsakeError, match="upgrade"):
        examine()


def test_a_record_that_cannot_be_read_is_reported_and_nothing_of_it_is_touched(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(f"metadata/experiments/{trained.id}.json", b"{")
    hours_later(place, monkeypatch)
    before = place.contents()
    assert kinds() == ["record-unreadable"]
    fix()
    assert place.contents() == before


def test_archives_that_are_missing_cut_off_or_damaged_are_reported(trained: Experiment, place: Bench) -> None:
    archive = f"checkpoints/{trained.checkpoints[0].id}.tar.gz"
    content = place.read(archive)
    place.write(archive, content[: len(content) // 2])
    assert kinds() == ["archive-damaged"]
    middle = len(content) // 4
    place.write(archive, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    assert kinds() == ["archive-damaged"]
    assert kinds(thorough=False) == []
    place.remove(archive)
    assert kinds(thorough=False) == ["archive-missing"]


def test_archives_and_heartbeats_that_are_nobodys_go_once_they_are_old(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = place.contents()
    place.write(f"checkpoints/{'a' * 64}.tar.gz", b"{}")
    place.write(f"experiments/{'b' * 64}.tar.gz", b"{}")
    place.write(f"metadata/heartbeats/{'c' * 64}.json", b"{}")
    assert kinds() == []  # they may just be being saved
    hours_later(place, monkeypatch)
    assert kinds() == ["archive-orphan", "archive-orphan", "heartbeat-orphan"]
    fix()
    assert place.contents() == before
    assert keepsake.experiments.get(trained.id).checkpoints[0].open("model.pth").close() is None


def test_stale_heartbeats_go_but_not_the_one_that_says_a_run_was_lost(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"id": "d" * 64, "created": "2021-01-01T00:00:00Z", "keepsake_version": "0.4.2"}
    place.write(f"metadata/experiments/{'d' * 64}.json", json.dumps(old).encode())
    for experiment_id in (trained.id, "d" * 64):
        heartbeat = {"experiment_id": experiment_id, "last_heartbeat": "2021-01-01T00:00:00Z"}
        place.write(f"metadata/heartbeats/{experiment_id}.json", json.dumps(heartbeat).encode())
    hours_later(place, monkeypatch)
    assert kinds() == ["heartbeat-stale"]
    fix()
    assert {e.id: e.status for e in keepsake.experiments.list()} == {trained.id: "lost", "d" * 64: "stopped"}


def test_what_a_crash_left_in_the_middle_of_a_write_goes(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Cloud Storage that is Google's business: an upload that does not end goes by itself."""
    before = place.contents()
    if isinstance(place, S3Bench):
        place.client.create_multipart_upload(Bucket=place.bucket, Key=f"{place.root}/checkpoints/x.tar.gz")
    elif isinstance(place, DiskBench):
        place.write(".0123456789abcdef.keepsake-tmp", b"half an obj")
    hours_later(place, monkeypatch)
    assert kinds() == ([] if place.url.startswith("gs:") else ["temporary"])
    fix()
    assert kinds() == []
    assert place.contents() == before


@on_disk
def test_files_that_wait_on_this_machine_are_not_called_missing(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, trained: Experiment
) -> None:
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    trained.checkpoint(path="model.pth")
    pack = next((project_directory / ".keepsake").rglob("*.pack")).read_bytes()
    trained.stop()
    monkeypatch.delenv("KEEPSAKE_OFFLINE")
    project = keepsake.Project()
    (waiting,) = project._pending()
    assert project._send(waiting, lambda count: None) is None
    assert kinds() == []
    path = project_directory / f".keepsake/spool/{trained.id}/{trained.checkpoints[1].id}.pack"
    path.parent.mkdir(parents=True)
    path.write_bytes(pack)
    waiting.entry.write_record()
    assert kinds() == ["archive-waiting"]


@on_disk
def test_the_command_exits_with_1_where_something_is_wrong(trained: Experiment, place: DiskBench) -> None:
    def doctor(*options: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "keepsake", "doctor", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    assert doctor("--thorough") == (0, "", "═══╡ All is well.\n")
    orphan = place.root / f"experiments/{'b' * 64}.tar.gz"
    orphan.write_bytes(b"")
    os.utime(orphan, times=(0, time.time() - HOURS))
    status, printed, said = doctor()
    assert status == 1
    assert printed.startswith(f"archive-orphan: experiments/{'b' * 64}.tar.gz\n  No experiment names this archive")
    assert said == "═══╡ Found: 1 problem. `keepsake doctor --fix` repairs 1 of them.\n"
    (found,) = json.loads(doctor("--json")[1])
    assert (found["kind"], found["fixable"]) == ("archive-orphan", True)
    assert doctor("--fix")[::2] == (0, "═══╡ Repaired: 1 problem.\n")
    assert not orphan.exists()
