"""Commands that are run while a training goes on in the same project: neither harms the other."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import keepsake
from keepsake.archive import writer
from tests.faults import inspect_repository as inspect
from tests.faults.programs import keepsake as command
from tests.faults.programs import run, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="removes files that are open")

# Prints its ID when it has begun, and the ID of each checkpoint when it has returned
_TRAIN = """
import os, sys, time, keepsake
experiment = keepsake.init(path="train.py")
print(experiment.id, flush=True)
end = time.monotonic() + 2
number = 0
while time.monotonic() < end:
    with open("model.pth", "w") as file:
        file.write(f"weights {number}" * 1000)
    checkpoint = experiment.checkpoint(path="model.pth", metrics={"number": number}, quiet=True)
    print(checkpoint.id, number, flush=True)
    number += 1
    time.sleep(0.01)
"""


@pytest.fixture(autouse=True)
def project(project_directory: Path) -> Path:
    (project_directory / "train.py").write_text("code")
    return project_directory


def _rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for a script's end and return what it wrote since; communicate() forgets what was read ahead of a line."""
    assert process.stdout is not None
    assert process.stderr is not None
    output, messages = process.stdout.read(), process.stderr.read()
    process.wait()
    return output, messages


@pytest.mark.parametrize(
    "arguments",
    [("sync",), ("doctor", "--thorough", "--fix"), ("show",), ("checkout", "-f", "-o", "out"), ("push",)],
    ids=lambda arguments: arguments[0],
)
def test_a_command_beside_a_run_costs_it_nothing(project: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Again and again until the run has ended; then all that had returned is there."""
    calls = 0
    with start(_TRAIN) as process:
        assert process.stdout is not None
        experiment_id = process.stdout.readline().strip()
        extra = {"push": (f"file://{tmp_path / 'copy'}",), "show": (experiment_id,), "checkout": (experiment_id,)}
        while process.poll() is None:
            command(*arguments, *extra.get(arguments[0], ()), status=None)
            calls += 1
        output, messages = _rest(process)
    assert (process.returncode, calls > 0) == (0, True)
    assert "Traceback" not in messages
    lines = [line.split() for line in output.splitlines()]
    returned: dict[str, inspect.Contents] = {
        checkpoint: {"model.pth": (f"weights {number}" * 1000).encode()} for checkpoint, number in lines
    }
    assert len(returned) > 5
    assert inspect.broken(project / "repo") == []
    assert inspect.missing(project, returned, experiment_id) == []
    if arguments[0] == "push":  # the last one was before the end
        command(*arguments, *extra["push"])
        (tmp_path / "copy").rename(project / "copy")
        (project / "repo").rename(project / "original")
        (project / "copy").rename(project / "repo")
        assert inspect.broken(project / "repo") == []
        assert inspect.missing(project, returned, experiment_id) == []


def test_a_run_that_is_deleted_goes_on_and_does_not_come_back(project: Path) -> None:
    """It is said once; nothing of it is left in the repository or in the spool."""
    with start(_TRAIN) as process:
        assert process.stdout is not None
        experiment_id = process.stdout.readline().strip()
        process.stdout.readline()
        command("rm", "-f", experiment_id)
        _, messages = _rest(process)
    assert process.returncode == 0, messages
    assert "Traceback" not in messages
    assert messages.count("was deleted") == 1
    run("import keepsake\nkeepsake.init()")
    assert experiment_id not in [experiment.id for experiment in keepsake.experiments.list()]
    assert [key for key in inspect.objects(project / "repo") if experiment_id in key] == []
    assert not (project / ".keepsake").exists()


def test_a_checkpoint_whose_directory_goes_and_comes_while_it_is_written_is_saved(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a run is deleted while another thread of it begins its entry in the spool again."""
    experiment = keepsake.init()
    freeze = writer.freeze
    removed: list[Path] = []

    def freeze_without_directory(project_dir: Path, path: str, directory: Path, archive_id: str) -> object:
        if removed:
            return freeze(project_dir, path, directory, archive_id)
        removed.append(directory)
        shutil.rmtree(directory)
        try:
            return freeze(project_dir, path, directory, archive_id)
        finally:
            directory.mkdir(parents=True)

    monkeypatch.setattr(writer, "freeze", freeze_without_directory)
    checkpoint = experiment.checkpoint(path="train.py", quiet=True)
    experiment.stop()
    assert removed
    assert checkpoint is not None
    with keepsake.experiments.get(experiment.id).checkpoints[0].open("train.py") as file:
        assert file.read() == b"code"


def test_checkpoints_whose_files_are_deleted_stay_deleted(project: Path) -> None:
    """`rm CHECKPOINT` while the run goes on: the metrics stay, the files do not come back."""
    with start(_TRAIN) as process:
        assert process.stdout is not None
        experiment_id = process.stdout.readline().strip()
        deleted = []
        while process.poll() is None and (line := process.stdout.readline()):
            if int(line.split()[1]) % 20 == 5:
                deleted.append(line.split()[0])
                command("rm", "-f", deleted[-1])
        _rest(process)
    assert process.returncode == 0
    experiment = keepsake.experiments.get(experiment_id)
    there = {checkpoint.id: checkpoint for checkpoint in experiment.checkpoints}
    assert deleted
    for checkpoint_id in deleted:
        assert there[checkpoint_id].path is None
        assert not (project / f"repo/checkpoints/{checkpoint_id}.tar.gz").exists()
    for checkpoint in experiment.checkpoints:
        if checkpoint.id not in deleted:
            with checkpoint.open("model.pth") as file:
                assert file.read().startswith(b"weights")
    assert not (project / ".keepsake").exists()
