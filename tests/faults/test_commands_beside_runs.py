"""Commands that are run during a training in the same project: neither harms the other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake import Project
from keepsake.archive import writer
from keepsake.storage.disk import DiskStorage
from tests.faults import inspect_repository as inspect
from tests.faults.programs import keepsake as command
from tests.faults.programs import run, start
from tests.spools import nothing_waits

pytestmark = [
    pytest.mark.usefixtures("project"),
    pytest.mark.skipif(sys.platform == "win32", reason="removes files that are open"),
]

# Prints its ID when it has begun, and the ID of each checkpoint when it has returned
_TRAIN = """
import os, sys, time, keepsake
experiment = keepsake.init(path="train.py")
print(experiment.id, flush=True)
end = time.monotonic() + float(os.environ.get("SECONDS", "2"))
number = 0
while time.monotonic() < end:
    with open("model.pth", "w") as file:
        file.write(f"weights {number}" * 1000)
    checkpoint = experiment.checkpoint(path="model.pth", metrics={"number": number}, quiet=True)
    print(checkpoint.id, number, flush=True)
    number += 1
    time.sleep(0.01)
"""


_SECONDS = pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(2, id="quick"),
        pytest.param(60, id="exhaustive", marks=[pytest.mark.exhaustive, pytest.mark.timeout(400)]),
    ],
)


def _rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for a script's end and return what it wrote since; communicate() forgets what was read ahead of a line."""
    assert process.stdout is not None
    assert process.stderr is not None
    with ThreadPoolExecutor() as reading:  # a pipe that nobody reads fills up, and the script then waits for ever
        output, messages = reading.map(lambda stream: stream.read(), (process.stdout, process.stderr))
    process.wait()
    return output, messages


def _repeat(call: Callable[[], object], process: subprocess.Popen[str]) -> tuple[str, str]:
    """Call again and again until a script has ended; return what the script wrote meanwhile."""
    with ThreadPoolExecutor() as waiting:
        rest = waiting.submit(_rest, process)
        call()
        while not rest.done():
            call()
    return rest.result()


def _returned(output: str) -> dict[str, inspect.Contents]:
    """Return what the archive of each checkpoint holds whose ID the training printed. There are some."""
    lines = [line.split() for line in output.splitlines()]
    assert len(lines) > 5
    return {checkpoint: {"model.pth": (f"weights {number}" * 1000).encode()} for checkpoint, number in lines}


@pytest.mark.parametrize(
    "arguments",
    [("sync",), ("doctor", "--thorough", "--fix"), ("show",), ("checkout", "-f", "-o", "out"), ("push",)],
    ids=lambda arguments: arguments[0],
)
@_SECONDS
def test_a_command_beside_a_run_costs_it_nothing(
    project: Path, tmp_path: Path, arguments: tuple[str, ...], seconds: float
) -> None:
    """Again and again until the run has ended; then all that had returned is there."""
    with start(_TRAIN, SECONDS=str(seconds)) as process:
        assert process.stdout is not None
        experiment_id = process.stdout.readline().strip()
        extra = {"push": (f"file://{tmp_path / 'copy'}",), "show": (experiment_id,), "checkout": (experiment_id,)}
        call = partial(command, *arguments, *extra.get(arguments[0], ()), status=None)
        output, messages = _repeat(call, process)
    assert process.returncode == 0
    assert "Traceback" not in messages
    returned = _returned(output)
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
    assert messages.count("was removed") == 1
    run("import keepsake\nkeepsake.init()")
    assert experiment_id not in [experiment.id for experiment in keepsake.experiments.list()]
    assert [key for key in inspect.objects(project / "repo") if experiment_id in key] == []
    assert nothing_waits(project)


def test_a_checkpoint_whose_directory_goes_and_comes_while_it_is_written_is_saved(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This happens when a run is deleted while another of its threads recreates its entry in the spool."""
    experiment = keepsake.init()
    freeze = writer.freeze
    removed: list[Path] = []

    def freeze_without_directory(project_dir: Path, path: str, directory: Path, archive_id: str) -> object:
        if removed:
            return freeze(project_dir, path, directory, archive_id)
        removed.append(directory)
        shutil.rmtree(directory, ignore_errors=True)  # the background may be removing it as well
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


def test_an_init_whose_entry_another_process_closes_before_it_has_files_is_saved(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clocks of the two differ, so the new entry looks old to the other one."""
    freeze = writer.freeze
    recovered: list[Path] = []

    def freeze_after_recovery(project_dir: Path, path: str, directory: Path, archive_id: str) -> object:
        if not recovered:
            recovered.append(directory)
            os.utime(directory / "record.json", (0, 0))
            assert [sent.error for sent in Project(directory=project).sync()] == [None]
            assert not directory.exists()
        return freeze(project_dir, path, directory, archive_id)

    monkeypatch.setattr(writer, "freeze", freeze_after_recovery)
    with keepsake.init(path="train.py", quiet=True) as experiment:
        pass
    assert recovered
    with keepsake.experiments.get(experiment.id).open("train.py") as file:
        assert file.read() == b"code"
    assert nothing_waits(project)


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
    assert nothing_waits(project)


def _archives(project: Path) -> set[str]:
    return {key for key in inspect.objects(project / "repo") if key.endswith(".tar.gz")}


def _remove_before(monkeypatch: pytest.MonkeyPatch, verb: str, key: str, remove: Callable[[], object]) -> list[str]:
    """Call `remove` when the archive of that key is ready and only its last step is left; return which verbs came."""
    last_step = getattr(DiskStorage, verb)
    came: list[str] = []

    def remove_and_go_on(self: DiskStorage, name: str, *arguments: Any) -> object:
        if name == key and not came:
            came.append(verb)
            remove()
        return last_step(self, name, *arguments)

    monkeypatch.setattr(DiskStorage, verb, remove_and_go_on)
    return came


@pytest.mark.parametrize("verb", ["upload", "link"])
@pytest.mark.parametrize("what", ["checkpoint", "experiment"])
def test_what_is_removed_while_its_files_are_on_their_way_leaves_none(
    project: Path, monkeypatch: pytest.MonkeyPatch, verb: str, what: str
) -> None:
    """Whether they are copied or moved into the repository."""
    weights = os.urandom(2_000_000) if verb == "link" else b"weights" * 1000  # what hardly shrinks is moved
    (project / "model.pth").write_bytes(weights)
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    experiment = keepsake.init(path="train.py")
    checkpoint = experiment.checkpoint(path="model.pth", quiet=True)
    assert checkpoint is not None
    experiment.stop()
    monkeypatch.delenv("KEEPSAKE_OFFLINE")
    removed = checkpoint.id if what == "checkpoint" else experiment.id
    key = f"checkpoints/{checkpoint.id}.tar.gz"
    came = _remove_before(monkeypatch, verb, key, lambda: command("rm", "-f", removed))
    keepsake.Project().sync()
    assert came == [verb]
    kept = {f"experiments/{experiment.id}.tar.gz"} if what == "checkpoint" else set()
    assert _archives(project) == kept
    assert not any(project.rglob("*.pack"))


def test_what_is_deleted_by_a_record_of_before_leaves_no_files(project: Path) -> None:
    """An Experiment does not know of checkpoints that came after it was read."""
    experiment = keepsake.init(path="train.py")
    experiment.checkpoint(path="train.py", quiet=True)
    read_before = keepsake.experiments.get(experiment.id)
    experiment.checkpoint(path="train.py", quiet=True)
    experiment.stop()
    assert len(_archives(project)) == 3
    read_before.delete()
    assert _archives(project) == set()


_SKEWED = """
import os, time
real, skew = time.time, float(os.environ["SKEW"])
time.time = lambda: real() + skew
time.time_ns = lambda: int(time.time() * 1e9)
"""


@pytest.mark.parametrize("skew", [-7200, 7200])
@_SECONDS
def test_a_repair_costs_a_run_on_a_machine_with_another_clock_nothing(project: Path, skew: int, seconds: float) -> None:
    """Its archives and temporary files look hours old, or come from the future."""
    with start(_SKEWED + _TRAIN, SKEW=str(skew), SECONDS=str(seconds)) as process:
        assert process.stdout is not None
        experiment_id = process.stdout.readline().strip()
        output, messages = _repeat(partial(command, "doctor", "--fix", status=None), process)
    assert process.returncode == 0, messages
    returned = _returned(output)
    assert inspect.missing(project, returned, experiment_id) == []
    assert not (project / "repo/orphaned").exists()


def test_a_push_that_is_killed_is_finished_by_the_next(project: Path, tmp_path: Path) -> None:
    """Until then, a record names every archive that is there."""
    (project / "model.pth").write_bytes(os.urandom(300_000))
    experiment = keepsake.init(path="train.py")
    for number in range(8):
        experiment.checkpoint(path="model.pth", metrics={"number": number}, quiet=True)
    experiment.stop()
    copy = tmp_path / "copy"
    push = [sys.executable, "-m", "keepsake", "push", f"file://{copy}"]
    kills = 0
    for arrived in (0, 1, 3, 6):
        with subprocess.Popen(push, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                if len(list(copy.glob("checkpoints/*"))) > arrived or (not arrived and (copy / "metadata").exists()):
                    process.kill()
        kills += process.returncode != 0
        records = [json.loads(path.read_text()) for path in copy.glob("metadata/experiments/*")]
        named = {c["id"] for record in records for c in record["checkpoints"]}
        assert {path.name.partition(".")[0] for path in copy.glob("checkpoints/*")} <= named
    assert kills
    command("push", f"file://{copy}")
    assert inspect.broken(copy) == []
    names = {path.relative_to(project / "repo") for path in (project / "repo").rglob("*.tar.gz")}
    assert {path.relative_to(copy) for path in copy.rglob("*.tar.gz")} == names
    assert len(names) == 9
