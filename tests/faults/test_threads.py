"""The threads that save and beat survive every exception, start again, and do not hold up other repositories."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import ReadError, WriteError
from keepsake.experiment import Experiment
from keepsake.recording import background, heartbeat, job, lane, saver, steps
from keepsake.repository.heartbeats import Heartbeats
from keepsake.repository.repository import Repository
from keepsake.spool.entry import Entry
from keepsake.storage import open_storage
from keepsake.util import loop
from tests.faults.programs import HANGING, run
from tests.faults.programs import keepsake as command
from tests.spools import nothing_waits
from tests.waiting import wait_until

_ERRORS = [
    OSError(errno.ESTALE, os.strerror(errno.ESTALE)),
    OSError(errno.EIO, os.strerror(errno.EIO), "file"),
    ReadError("the repository cannot be read"),
    WriteError("the repository cannot be written"),
    RuntimeError("a bug"),
    RecursionError(),
    MemoryError(),
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
]


@pytest.fixture(autouse=True)
def project(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose threads are new, and quick to try again."""
    monkeypatch.setattr(saver, "_saver", saver.Saver())
    monkeypatch.setattr(job, "_RETRY_SECONDS", (0.02,) * 5)
    monkeypatch.setattr(lane, "REFUSED_SECONDS", 0.02)
    monkeypatch.setattr(loop, "_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.02)
    (project_directory / "model.pth").write_text("weights")
    return project_directory


def fail(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: BaseException, times: int = 2) -> list[int]:
    """Let a function raise some times, and work after that; return a list that grows with each call."""
    real, calls = getattr(owner, name), []

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    return calls


def published(experiment: Experiment, project: Path) -> list[dict[str, Any]]:
    """Its checkpoints in the repository, whatever the spool says."""
    record = json.loads((project / f"repo/metadata/experiments/{experiment.id}.json").read_text())
    return record["checkpoints"] or []


@pytest.mark.parametrize("error", _ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("owner", "name"), [(steps, "publish"), (steps, "upload"), (Entry, "sync"), (Entry, "size"), (background, "warn")]
)
def test_an_error_of_any_kind_only_delays_what_is_saved(
    project: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: BaseException
) -> None:
    """The error is in a step itself, or in the handling of errors."""
    experiment = keepsake.init()
    calls = fail(monkeypatch, owner, name, error)
    if owner is background and name == "warn":
        fail(monkeypatch, steps, "publish", ReadError("away"))
    checkpoint = experiment.checkpoint(path="model.pth", metrics={"a": 1}, quiet=True)
    assert checkpoint is not None
    wait_until(lambda: len(calls) > (0 if name == "warn" else 2))
    wait_until(lambda: published(experiment, project))
    wait_until((project / f"repo/checkpoints/{checkpoint.id}.tar.gz").exists)
    experiment.stop()
    assert nothing_waits(project)


@pytest.mark.parametrize("error", _ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("owner", "name"), [(Entry, "touch"), (Heartbeats, "beat")])
def test_an_error_of_any_kind_does_not_stop_the_heartbeat(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: BaseException
) -> None:
    """The run would look lost."""
    experiment = keepsake.init()
    fail(monkeypatch, owner, name, error)
    beats = fail(monkeypatch, Heartbeats, "beat", error, times=0)
    wait_until(lambda: len(beats) > 4)
    assert experiment.is_running()
    experiment.stop()
    assert experiment.status == "stopped"


def test_no_heart_beats_in_another_repository_at_the_same_place(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another disk may be mounted there."""
    experiment = keepsake.init()
    (project / "other").mkdir()
    Repository(open_storage("file://other", project)).ensure()
    (project / "repo").rename(project / "unmounted")
    (project / "other").rename(project / "repo")
    turns = fail(monkeypatch, Repository, "require", OSError(), times=0)
    wait_until(lambda: len(turns) > 2)
    assert not (project / "repo/metadata/heartbeats").exists()
    (project / "repo").rename(project / "other")
    (project / "unmounted").rename(project / "repo")
    experiment.stop()


def test_adding_to_a_run_of_the_same_process_leaves_its_heartbeat_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback that looks the experiment up does that."""
    experiment = keepsake.init()
    keepsake.experiments.get(experiment.id).checkpoint(metrics={"a": 1}, quiet=True)
    beats = fail(monkeypatch, Heartbeats, "beat", OSError(), times=0)
    wait_until(lambda: len(beats) > 4)
    experiment.stop()
    assert experiment.status == "stopped"


@pytest.mark.parametrize("error", _ERRORS, ids=lambda error: type(error).__name__)
def test_a_deleted_experiment_that_cannot_be_discarded_holds_up_no_other(
    project: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    """An NFS client, for example, keeps a file that is open."""
    deleted, other = keepsake.init(), keepsake.init()
    wait_until(lambda: not any((project / ".keepsake").rglob("*.jsonl")))
    fail(monkeypatch, Entry, "discard", error)
    with monkeypatch.context() as elsewhere:  # on another machine
        elsewhere.setenv("KEEPSAKE_SPOOL", str(project / "spool of another"))
        command("rm", "--force", deleted.id)
    deleted.checkpoint(metrics={"a": 1}, quiet=True)
    wait_until(lambda: "was removed" in capsys.readouterr().err)
    other.checkpoint(metrics={"a": 1}, quiet=True)
    wait_until(lambda: published(other, project))
    wait_until(lambda: not (project / f"repo/metadata/heartbeats/{deleted.id}.json").exists())
    for experiment in (deleted, other):
        experiment.stop()


def test_threads_that_are_refused_cost_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of a container: init() and checkpoint() go on, and the threads start when they can."""
    real = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    experiment = keepsake.init()
    assert experiment.checkpoint(path="model.pth", metrics={"a": 1}, quiet=True) is not None
    assert not published(experiment, project)
    monkeypatch.setattr(threading.Thread, "start", real)
    time.sleep(0.02)
    experiment.checkpoint(metrics={"a": 2}, quiet=True)
    wait_until(lambda: len(published(experiment, project)) == 2)
    experiment.stop()


def test_without_any_thread_the_end_saves_all() -> None:
    """The waiting thread does the work."""
    output, messages = run(
        """
        import threading, keepsake
        def refuse(thread):
            raise RuntimeError("can't start new thread")
        threading.Thread.start = refuse
        experiment = keepsake.init(path="model.pth")
        experiment.checkpoint(path="model.pth", metrics={"a": 1}, quiet=True)
        print(experiment.id)
        """
    )
    experiment = keepsake.experiments.get(output.strip())
    assert experiment.status == "stopped"
    with experiment.checkpoints[0].open("model.pth") as file:
        assert file.read() == b"weights"
    assert "not fully saved" not in messages
    assert nothing_waits(Path())


def test_a_thread_that_has_died_is_started_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ended it."""
    experiment = keepsake.init()
    wait_until(lambda: not any((project / ".keepsake").rglob("*.jsonl")))
    ending = saver.Saver._next
    monkeypatch.setattr(saver.Saver, "_next", lambda *arguments: None)  # lets every thread end at its next turn
    with saver.saver()._changed:
        saver.saver()._changed.notify_all()
    experiment.checkpoint(metrics={"a": 1}, quiet=True)
    wait_until(lambda: not any(thread.runs for thread in loops()))
    monkeypatch.setattr(saver.Saver, "_next", ending)
    experiment.checkpoint(metrics={"a": 2}, quiet=True)
    wait_until(lambda: len(published(experiment, project)) == 2)
    experiment.stop()


def loops() -> list[loop.Loop]:
    """The threads of this test's saver."""
    return [thread for lane in saver.saver()._lanes.values() for thread in lane.loops.values()]


def test_the_threads_of_a_repository_that_is_done_with_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may use very many repositories in turn. The threads start again if one is used again."""
    monkeypatch.setattr(background, "_IDLE_SECONDS", 0.05)
    keepsake.init().stop()
    threads = loops()
    with saver.saver()._changed:
        saver.saver()._changed.notify_all()
    wait_until(lambda: not any(thread.runs for thread in threads))
    experiment = keepsake.init()
    experiment.checkpoint(metrics={"a": 1}, quiet=True)
    experiment.stop()
    assert len(experiment.checkpoints) == 1
    assert experiment.status == "stopped"


@pytest.mark.parametrize("which", ["", 'verb="put"', 'verb="upload"', 'key="heartbeats"'])
def test_a_repository_that_hangs_holds_up_no_other(which: str) -> None:
    """Neither its checkpoints, nor its heartbeat, nor its stop()."""
    output, _ = run(
        HANGING
        + f"""
import glob, json, os, time
import keepsake
from keepsake.recording import heartbeat

heartbeat.BEAT_SECONDS = 0.05
hanging = keepsake.Project(repository="file://hanging").experiments.create(quiet=True)
healthy = keepsake.init()
healthy.project.workplace.repository.storage.fault = lambda moment, verb, key: None
hang({which})
open("model.pth", "w").write("weights")
for number in range(3):
    for experiment in (hanging, healthy):
        experiment.checkpoint(path="model.pth", metrics={{"number": number}}, quiet=True)
    time.sleep(0.05)
beat = f"repo/metadata/heartbeats/{{healthy.id}}.json"
before, deadline = open(beat).read(), time.monotonic() + 20
while open(beat).read() == before or len(glob.glob("repo/checkpoints/*.gz")) < 3:
    assert time.monotonic() < deadline
    time.sleep(0.01)
started = time.monotonic()
healthy.stop()
assert time.monotonic() - started < 5
record = json.load(open(f"repo/metadata/experiments/{{healthy.id}}.json"))
assert len(record["checkpoints"]) == 3, record
print("healthy", flush=True)
os._exit(0)
"""
    )
    assert output == "healthy\n"
