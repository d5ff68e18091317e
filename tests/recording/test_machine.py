"""What is recorded of the machine and of Git, and that it never costs a run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import keepsake
from keepsake.recording import machine


def git(*arguments: str) -> None:
    names = ("-c", "user.name=Kim", "-c", "user.email=kim@example.org")
    subprocess.run(["git", *names, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "_GIT_SECONDS", 30.0)  # a busy machine takes longer than a run waits
    git("init", "-b", "trunk")
    git("add", ".")
    git("commit", "-m", "first")
    return project_directory


def program(directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)


posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


def test_a_run_has_its_environment(repository: Path) -> None:
    with keepsake.init(quiet=True) as experiment:
        pass
    found = keepsake.experiments.get(experiment.id).environment
    assert found["python"].endswith(".".join(map(str, sys.version_info[:3])))
    assert found["cpus"] == os.cpu_count()
    assert found["git"]["branch"] == "trunk"
    assert len(found["git"]["commit"]) == 40


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://kim:hunter2@example.org/team/x.git", "https://example.org/team/x.git"),
        ("https://ghp_0123456789abcdefABCD@example.org/x", "https://example.org/x"),
        ("https://example.org/x?token=hunter2", "https://example.org/x?token=***"),
        ("git@example.org:team/x.git", "git@example.org:team/x.git"),
        ("ssh://git@example.org/x", "ssh://example.org/x"),
        ("", ""),
    ],
)
def test_the_branch_changes_and_remote_of_git_are_recorded_without_secrets(
    repository: Path, remote: str, shown: str
) -> None:
    if remote:
        git("remote", "add", "origin", remote)
    for dirty in (False, True):
        found = machine.environment(repository, quick=False)["git"]
        assert (found["branch"], found["dirty"], found["remote"]) == ("trunk", dirty, shown)
        (repository / "keepsake.yaml").write_text("repository: file://other")


@posix
def test_a_cloned_repository_starts_no_program(repository: Path, tmp_path: Path) -> None:
    program(tmp_path, "monitor", f"touch {tmp_path}/started")
    git("config", "core.fsmonitor", str(tmp_path / "monitor"))
    assert machine.environment(repository, quick=False)["git"]["dirty"] is False
    assert not (tmp_path / "started").exists()


@posix
@pytest.mark.parametrize("text", ["exit 3", "sleep 60"])
def test_programs_that_fail_or_hang_cost_nothing_but_their_answer(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(machine, "_GIT_SECONDS", 0.2)
    monkeypatch.setattr(machine, "_GPU_SECONDS", 0.2)
    for name in ("git", "nvidia-smi"):
        program(tmp_path, name, text)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    started = time.monotonic()
    found = machine.environment(repository, quick=False)
    assert time.monotonic() - started < 30
    assert {"git", "gpus"}.isdisjoint(found)
    assert "os" in found


@posix
def test_gpus_are_named_as_nvidia_smi_names_them(
    project_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "nvidia-smi", "echo 'NVIDIA H100'; echo 'NVIDIA H100'")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = machine.environment(project_directory, quick=False)
    assert (found["gpus"], found["visible_gpus"]) == (["NVIDIA H100"] * 2, "1")
    assert machine.facts(found)["GPU"] == "2 × NVIDIA H100"
    assert "gpus" not in machine.environment(project_directory, quick=True)


def test_gpus_are_named_by_torch_if_it_uses_them(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for is_initialized, gpus in ((True, ["MI300"]), (False, None)):
        cuda = SimpleNamespace(
            is_initialized=lambda answer=is_initialized: answer,
            device_count=lambda: 1,
            get_device_name=lambda _: "MI300",
        )
        monkeypatch.setitem(sys.modules, "torch.cuda", cuda)
        assert machine.environment(project_directory, quick=False).get("gpus") == gpus


@pytest.mark.parametrize(
    ("environment", "facts"),
    [
        ({}, {}),
        (None, {}),
        ({"git": 5, "gpus": {}, "cpu": [], "os": 5, "cpus": "8"}, {}),
        ({"cpu": "M4", "cpus": 8, "os": "Linux"}, {"OS": "Linux", "CPU": "M4 (8 cores)"}),
        ({"git": {"commit": "0123456789abcdef", "dirty": True}}, {"Git commit": "0123456789 with changes"}),
    ],
)
def test_any_record_has_readable_facts(environment: Any, facts: dict[str, str]) -> None:
    assert machine.facts(environment) == facts


def test_show_and_diff_show_the_environment(repository: Path) -> None:
    ids = []
    for branch in ("trunk", "other"):
        git("checkout", "-B", branch)
        with keepsake.init(quiet=True) as experiment:
            ids.append(experiment.id)
    left, right = map(keepsake.experiments.get, ids)
    assert left.diff(right).experiment["Git branch"] == ("trunk", "other")
    command = [sys.executable, "-m", "keepsake", "show", ids[1]]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Git branch:      other" in shown


def test_offline_runs_have_what_needs_no_other_program(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    with keepsake.init(quiet=True) as experiment:
        pass
    (found,) = keepsake.Project().workplace.view.waiting()
    assert found["id"] == experiment.id
    assert "os" in found["environment"]
    assert "git" not in found["environment"]
