"""Looking for what is wrong in a repository, and repairing it without losing anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import keepsake
from keepsake._doctor import Problem
from keepsake.exceptions import KeepsakeError
from keepsake.experiment import Experiment

HOURS_AGO = time.time() - 2 * 3600


@pytest.fixture
def trained(project_directory: Path) -> Experiment:
    (project_directory / "model.pth").write_text("weights" * 1000)
    experiment = keepsake.init(path="model.pth")
    experiment.checkpoint(path="model.pth", metrics={"loss": 0.5})
    experiment.stop()
    return experiment


@pytest.fixture
def repo(project_directory: Path) -> Path:
    return project_directory / "repo"


def examine(*, thorough: bool = True) -> list[Problem]:
    return list(keepsake.Project()._examine(thorough=thorough))


def kinds(*, thorough: bool = True) -> list[str]:
    return sorted(problem.kind for problem in examine(thorough=thorough))


def fix() -> None:
    for problem in examine():
        if problem.fix:
            problem.fix()


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (HOURS_AGO, HOURS_AGO))


def files(repo: Path) -> list[Path]:
    return sorted(path for path in repo.rglob("*") if path.is_file())


def test_in_a_sound_repository_all_is_well(trained: Experiment, repo: Path) -> None:
    before = files(repo)
    assert kinds() == []
    assert files(repo) == before


def test_where_there_is_no_repository_there_is_nothing_to_find(project_directory: Path, repo: Path) -> None:
    assert kinds() == []
    assert not repo.exists()


@pytest.mark.parametrize(("content", "kind"), [(None, "spec-missing"), ("version 1", "spec-corrupt")])
def test_the_spec_is_written_anew(trained: Experiment, repo: Path, content: str | None, kind: str) -> None:
    (repo / "repository.json").unlink()
    if content:
        put(repo / "repository.json", content)
    assert kinds() == [kind]
    fix()
    assert kinds() == []
    assert [e.id for e in keepsake.Project().experiments.list()] == [trained.id]


def test_a_repository_of_a_later_version_is_left_alone(trained: Experiment, repo: Path) -> None:
    put(repo / "repository.json", '{"version":2}')
    with pytest.raises(KeepsakeError, match="upgrade"):
        examine()


def test_a_record_that_cannot_be_read_is_reported_and_nothing_of_it_is_touched(trained: Experiment, repo: Path) -> None:
    put(repo / f"metadata/experiments/{trained.id}.json", "{")
    for archive in (repo / "checkpoints").iterdir():
        os.utime(archive, (HOURS_AGO, HOURS_AGO))
    before = files(repo)
    assert kinds() == ["record-unreadable"]
    fix()
    assert files(repo) == before


def test_archives_that_are_missing_cut_off_or_damaged_are_reported(trained: Experiment, repo: Path) -> None:
    (archive,) = (repo / "checkpoints").iterdir()
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    assert kinds() == ["archive-damaged"]
    middle = len(content) // 4
    archive.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    assert kinds() == ["archive-damaged"]
    assert kinds(thorough=False) == []
    archive.unlink()
    assert kinds(thorough=False) == ["archive-missing"]


def test_archives_and_heartbeats_that_are_nobodys_go_once_they_are_old(trained: Experiment, repo: Path) -> None:
    orphans = [
        repo / f"checkpoints/{'a' * 64}.tar.gz",
        repo / f"experiments/{'b' * 64}.tar.gz",
        repo / f"metadata/heartbeats/{'c' * 64}.json",
    ]
    for orphan in orphans:
        put(orphan, "{}")
    os.utime(orphans[0])  # may just be being saved
    assert kinds() == ["archive-orphan", "heartbeat-orphan"]
    fix()
    assert kinds() == []
    assert [orphan.exists() for orphan in orphans] == [True, False, False]
    assert keepsake.experiments.get(trained.id).checkpoints[0].open("model.pth").close() is None


def test_stale_heartbeats_go_but_not_the_one_that_says_a_run_was_lost(trained: Experiment, repo: Path) -> None:
    old = {"id": "d" * 64, "created": "2021-01-01T00:00:00Z", "keepsake_version": "0.4.2"}
    put(repo / f"metadata/experiments/{'d' * 64}.json", json.dumps(old))
    for experiment_id in (trained.id, "d" * 64):
        put(
            repo / f"metadata/heartbeats/{experiment_id}.json",
            json.dumps({"experiment_id": experiment_id, "last_heartbeat": "2021-01-01T00:00:00Z"}),
        )
    assert kinds() == ["heartbeat-stale"]
    fix()
    assert {e.id: e.status for e in keepsake.experiments.list()} == {trained.id: "lost", "d" * 64: "stopped"}


def test_what_a_crash_left_in_the_middle_of_a_write_goes(trained: Experiment, repo: Path) -> None:
    before = files(repo)
    put(repo / ".0123456789abcdef.keepsake-tmp", "half an obj")
    assert kinds() == ["temporary"]
    fix()
    assert files(repo) == before


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
    put(project_directory / f".keepsake/spool/{trained.id}/{trained.checkpoints[1].id}.pack", pack)
    waiting.entry.write_record()
    assert kinds() == ["archive-waiting"]


def test_the_command_exits_with_1_where_something_is_wrong(trained: Experiment, repo: Path) -> None:
    def doctor(*options: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "keepsake", "doctor", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    assert doctor("--thorough") == (0, "", "═══╡ All is well.\n")
    orphan = repo / f"experiments/{'b' * 64}.tar.gz"
    put(orphan, "")
    status, printed, said = doctor()
    assert status == 1
    assert printed.startswith(f"archive-orphan: experiments/{'b' * 64}.tar.gz\n  No experiment names this archive")
    assert said == "═══╡ Found: 1 problem. `keepsake doctor --fix` repairs 1 of them.\n"
    (found,) = json.loads(doctor("--json")[1])
    assert (found["kind"], found["fixable"]) == ("archive-orphan", True)
    assert doctor("--fix")[::2] == (0, "═══╡ Repaired: 1 problem.\n")
    assert not orphan.exists()
