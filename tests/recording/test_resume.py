"""A job that is killed and started again is one run: one experiment, each step once, nothing lost."""

from __future__ import annotations

import errno
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import DoesNotExist, KeepsakeError, ValidationError
from keepsake.experiment import Experiment
from keepsake.metadata import END_FIELDS, time_text
from keepsake.recording import cluster
from keepsake.repository.view import View
from keepsake.spool import places
from keepsake.spool.entry import Entry
from tests.spools import nothing_waits
from tests.waiting import wait_until

JOB = {"SLURM_JOB_ID": "123"}
AGAIN = {**JOB, "SLURM_RESTART_COUNT": "1"}
ELASTIC = {"TORCHELASTIC_RESTART_COUNT": "1"}

TRAIN = """
import os, signal, sys
import keepsake
end = os.environ.get("END", "")
experiment = keepsake.init(params={"lr": float(os.environ.get("LR", "0.1"))})
last = experiment.latest()
start = 0
if last is not None:
    with last.open("model.pth") as file:
        start = int(file.read()) + 1
for step in range(start, start + 3):
    open("model.pth", "w").write(str(step))
    experiment.checkpoint(path="model.pth", step=step, metrics={"attempt": int(os.environ["ATTEMPT"])})
print(experiment.id, start)
sys.stdout.flush()
if end.startswith("SIG"):
    os.kill(os.getpid(), getattr(signal, end))
elif end:
    sys.exit(int(end))
"""


@pytest.fixture(autouse=True)
def project(project_directory: Path) -> Path:
    (project_directory / "train.py").write_text(TRAIN)
    return project_directory


def train(end: str, attempt: int, *arguments: str, **environment: str) -> tuple[str, int]:
    """Run a training of three steps; return the experiment's ID and the first step."""
    done = subprocess.run(
        [sys.executable, "train.py", *arguments],
        env={**os.environ, "END": end, "ATTEMPT": str(attempt), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout, done.stderr
    id, start = done.stdout.split()
    return id, int(start)


def test_twenty_kills_and_restarts_are_one_run(project: Path) -> None:
    """With SIGKILL and SIGTERM in turn, and no flag."""
    for attempt in range(20):
        restart = {"SLURM_RESTART_COUNT": str(attempt)} if attempt else {}
        _, start = train(["SIGKILL", "SIGTERM"][attempt % 2], attempt, **JOB, **restart)
        assert start == 3 * attempt  # the weights that the process before had saved
    train("", 20, **JOB, SLURM_RESTART_COUNT="20")
    (experiment,) = keepsake.experiments.list()
    assert experiment.checkpoints.step == list(range(63))
    assert experiment.checkpoints.metrics["attempt"] == [step // 3 for step in range(63)]
    assert (experiment.status, experiment.end_reason, len(experiment.restarts)) == ("stopped", "finished", 20)
    assert experiment.job == {"system": "slurm", "id": "123", "restart": 20}
    for left in (project / ".keepsake/spool").rglob("*"):
        os.utime(left, (1, 1))
    places.sweep(project / ".keepsake/spool")  # a half-made file of a kill goes when it is old
    assert nothing_waits(project)
    assert len(list((project / "repo/checkpoints").iterdir())) == 63
    shown = subprocess.run([sys.executable, "-m", "keepsake", "show", experiment.id], capture_output=True, text=True)
    assert "preempted, restarted 20 ×" in shown.stdout
    assert "slurm 123" in shown.stdout


def begun(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], **options: Any) -> keepsake.Experiment:
    """An experiment of another process, as far as this one can tell, of a job."""
    for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("keepsake.recording.ending._begun", 0)
    return keepsake.init(quiet=True, **options)


def view() -> View:
    return keepsake.Project().workplace.view


def end_by(experiment: keepsake.Experiment, reason: str) -> None:
    errors: dict[str, Callable[[], None]] = {"interrupted": raise_(KeyboardInterrupt), "exception": raise_(ValueError)}
    try:
        with experiment:
            errors.get(reason, raise_(None))()
    except (KeyboardInterrupt, ValueError):
        pass


def raise_(error: type[BaseException] | None) -> Callable[[], None]:
    def do() -> None:
        if error is not None:
            raise error

    return do


def test_what_is_kept_may_change_when_a_run_goes_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word, what the run began with holds."""
    for environment, keep, expected in ((JOB, "last:3", 3), (AGAIN, None, 3), (AGAIN, "last:1", 1)):
        experiment = begun(monkeypatch, environment, keep=keep)
        for step in range(4):
            (project / "model.pth").write_text(f"{keep} {step}")
            experiment.checkpoint("model.pth", step=step)
        end_by(experiment, "exception")
        assert len(list((project / "repo/checkpoints").iterdir())) == expected


def test_steps_that_are_recorded_again_are_replaced(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their files are replaced too. Two checkpoints of one step in one process are both kept."""
    first = begun(monkeypatch, JOB)
    for step in (*range(5), 4):
        (project / "model.pth").write_text(f"first {step}")
        first.checkpoint("model.pth", step=step, run=1)
    end_by(first, "exception")
    second = begun(monkeypatch, AGAIN)
    assert second == first
    assert [c.step for c in second.checkpoints] == [0, 1, 2, 3, 4, 4]
    for step in (3, 3, 4, 5):
        (project / "model.pth").write_text(f"second {step}")
        second.checkpoint("model.pth", step=step, run=2)
    expected = [(0, 1), (1, 1), (2, 1), (3, 2), (3, 2), (4, 2), (5, 2)]
    assert list(zip(second.checkpoints.step, second.checkpoints.metrics["run"], strict=True)) == expected
    second.stop()
    found = keepsake.experiments.get(first.id)
    assert list(zip(found.checkpoints.step, found.checkpoints.metrics["run"], strict=True)) == expected
    assert len(list((project / "repo/checkpoints").iterdir())) == 7
    assert nothing_waits(project)
    latest = found.latest()
    assert latest is not None
    with latest.open("model.pth") as file:
        assert file.read() == b"second 5"


ELSEWHERE = """
import os, sys
import keepsake
from keepsake.archive import pack
from keepsake.exceptions import WriteError
from keepsake.recording import mover

def refuse(*arguments, **options):
    raise WriteError("There is no room.")

mover._store = refuse
experiment = keepsake.init(resume=sys.argv[1], quiet=True)
experiment.checkpoint("train.py", step=1)
experiment.checkpoint(step=2, run=2)
pack.check_room = refuse
experiment.checkpoint("train.py", step=3, run=2)
print([checkpoint.step for checkpoint in experiment.checkpoints])
experiment.stop()
"""


def test_an_archive_that_arrives_after_it_was_replaced_does_not_stay(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another machine sends it late, from its spool or while the replacement is being sent."""
    first = begun(monkeypatch, JOB)
    checkpoint = first.checkpoint("train.py", step=0)
    end_by(first, "exception")
    assert checkpoint is not None
    archives = project / "repo/checkpoints"
    late = (archives / f"{checkpoint.id}.tar.gz").read_bytes()
    second = begun(monkeypatch, AGAIN)
    again = second.checkpoint("train.py", step=0)
    second.stop()
    assert again is not None
    expected = [f"{again.id}.tar.gz"]
    assert os.listdir(archives) == expected
    repository = keepsake.Project().workplace.repository
    repository.put_archive(first.id, checkpoint.id, io.BytesIO(late))
    assert os.listdir(archives) == expected
    monkeypatch.setattr(type(repository.storage), "upload", lambda *arguments: None)  # somebody else has deleted it
    repository.put_archive(first.id, checkpoint.id, io.BytesIO(late))
    entry = Entry.create(project / ".keepsake/spool", first.to_json(), repository.url, in_repository=True)
    (entry.directory / f"{checkpoint.id}.tar.gz").write_bytes(late)
    entry.rest()
    assert [sent.error for sent in keepsake.Project().sync()] == [None]
    assert os.listdir(archives) == expected
    assert nothing_waits(project)


@pytest.mark.parametrize("is_alive", [False, True])
def test_a_container_that_is_started_again_at_once_waits_to_see_whether_the_run_has_ended(
    project: Path, monkeypatch: pytest.MonkeyPatch, is_alive: bool
) -> None:
    """Its process number means nothing in another container, and its last heartbeat is still fresh."""
    job = {"PBS_JOBID": "17"}
    first = begun(monkeypatch, job, resume="auto")
    first.checkpoint("train.py", step=0)
    end_by(first, "exception")
    repository = keepsake.Project().workplace.repository
    record = json.loads((project / f"repo/metadata/experiments/{first.id}.json").read_text())
    lasting = {name: value for name, value in record.items() if name not in END_FIELDS}
    (project / f"repo/metadata/experiments/{first.id}.json").write_text(json.dumps(lasting))
    for module in ("keepsake.repository.heartbeats", "keepsake.recording.resume"):
        monkeypatch.setattr(f"{module}.RUNNING_SECONDS", 2.0)
    repository.heartbeats.beat(first.id)
    looks: list[float] = []

    def wait(seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        looks.append(seconds)
        if is_alive:
            repository.heartbeats.beat(first.id)
        sleep(seconds)

    monkeypatch.setattr("keepsake.recording.resume.time.sleep", wait)
    second = begun(monkeypatch, job, resume="auto")
    monkeypatch.undo()
    assert looks
    assert (second.id == first.id) is not is_alive
    second.stop()


def test_weights_stay_until_those_that_replace_them_are_there(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Weights that another machine still sends, and those that did not fit on the disk, replace none."""
    first = begun(monkeypatch, JOB)
    for step in range(4):
        first.checkpoint("train.py", step=step)
    end_by(first, "exception")
    spool = str(tmp_path / "spool")
    variables = {**os.environ, "KEEPSAKE_SPOOL": spool, "KEEPSAKE_EXIT_SECONDS": "0", "KEEPSAKE_STRICT": ""}
    command = [sys.executable, "-c", ELSEWHERE, first.id]
    assert subprocess.check_output(command, env=variables, text=True, timeout=60) == "[0, 2, 3, 1, 2, 3]\n"
    again = begun(monkeypatch, {}, resume=first.id)
    again.checkpoint("train.py", step=4)
    again.stop()
    archives = project / "repo/checkpoints"
    assert len(list(archives.iterdir())) == 5, "nothing has replaced the weights of step 1 yet"
    monkeypatch.setenv("KEEPSAKE_SPOOL", spool)
    assert [sent.error for sent in keepsake.Project().sync()] == [None]
    found = keepsake.experiments.get(first.id).checkpoints
    expected = [(0, True), (1, True), (2, False), (2, True), (3, False), (3, True), (4, True)]
    assert sorted((checkpoint.step, bool(checkpoint.path)) for checkpoint in found) == expected
    assert {path.name for path in archives.iterdir()} == {f"{c.id}.tar.gz" for c in found if c.path}


def test_the_end_of_an_earlier_process_that_arrives_late_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the spool of another machine, whose repository was away. What only it has found out is added."""
    first = begun(monkeypatch, JOB)
    wait_until(lambda: bool(view().load(first.id).get("environment")))
    (entry,) = view().entries()[first.id].entries
    entry.append({"experiment": {"end_reason": "exception", "ended": time_text(), "error": "E", "restarts": []}})
    entry.append({"experiment": {"job": {"system": "slurm", "id": "1"}, "found_late": "x"}})
    late = entry.pending()
    for journal in entry.journals():
        journal.unlink(missing_ok=True)  # the first process may have sent and removed its own meanwhile
    begun(monkeypatch, {}, resume=first.id).stop()
    before = view().load(first.id)
    after = view().repository.merge({"id": first.id}, late, create=False)
    assert (before["end_reason"], after["found_late"]) == ("stopped", "x")
    assert {name: after.get(name) for name in (*END_FIELDS, "restarts", "job")} == {
        name: before.get(name) for name in (*END_FIELDS, "restarts", "job")
    }


def test_a_process_that_was_thought_dead_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoints stay for steps that were not recorded again. Late ones for the other steps are dropped."""
    first = begun(monkeypatch, JOB)
    first.checkpoint(step=0, run=1)
    second = begun(monkeypatch, {}, resume=first.id)
    for step in (0, 1):
        second.checkpoint(step=step, run=2)
    for step in (1, 2):
        first.checkpoint(step=step, run=1)
    second.stop()
    first.stop()
    found = keepsake.experiments.get(first.id).checkpoints
    assert sorted(zip(found.step, found.metrics["run"], strict=True)) == [(0, 2), (1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("before", "after", "reason", "is_same"),
    [
        (JOB, AGAIN, "exception", True),
        (JOB, AGAIN, "interrupted", True),
        (JOB, AGAIN, "stopped", True),  # it asked to be started again
        (JOB, JOB, "exception", False),  # nothing says that this is the same training
        (JOB, {**AGAIN, "SLURM_JOB_ID": "124"}, "exception", False),
        (
            {**JOB, "SLURM_ARRAY_JOB_ID": "120", "SLURM_ARRAY_TASK_ID": "3"},
            {**AGAIN, "SLURM_ARRAY_JOB_ID": "120", "SLURM_ARRAY_TASK_ID": "4"},
            "exception",
            False,
        ),
        (
            {"TORCHELASTIC_RUN_ID": "a"},
            {"TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_RESTART_COUNT": "1"},
            "exception",
            True,
        ),
        (
            {"TORCHELASTIC_RUN_ID": "a"},
            {"TORCHELASTIC_RUN_ID": "b", "TORCHELASTIC_RESTART_COUNT": "1"},
            "exception",
            False,
        ),
        (JOB, {**JOB, "TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_RESTART_COUNT": "1"}, "exception", True),
        ({}, {}, "exception", False),
    ],
)
def test_only_the_next_start_of_the_same_job_goes_on_with_its_run(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, str], after: dict[str, str], reason: str, is_same: bool
) -> None:
    first = begun(monkeypatch, before)
    end_by(first, reason)
    assert (begun(monkeypatch, after) == first) is is_same


@pytest.mark.parametrize(("reason", "is_same"), [("exception", True), ("interrupted", True), ("stopped", False)])
def test_auto_goes_on_with_what_is_unfinished(monkeypatch: pytest.MonkeyPatch, reason: str, is_same: bool) -> None:
    first = begun(monkeypatch, JOB)
    end_by(first, reason)
    assert (begun(monkeypatch, JOB, resume="auto") == first) is is_same
    assert begun(monkeypatch, AGAIN, resume=False) != first


def test_auto_without_a_job_says_that_it_begins_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keepsake.init(resume="auto").stop()
    assert "no scheduler has started this program" in capsys.readouterr().err
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    keepsake.init(resume="auto").stop()
    assert "no scheduler" not in capsys.readouterr().err


def test_auto_leaves_a_run_alone_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on in this process, or in another one."""
    id, _ = train("SIGKILL", 0, **JOB)
    assert begun(monkeypatch, JOB, resume="auto").id != id  # another command
    first = begun(monkeypatch, JOB)
    assert begun(monkeypatch, JOB, resume="auto") != first


def test_each_run_of_a_job_goes_on_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that trains with one rate after the other, whether or not it skips what it has done."""
    runs = {}
    for lr in (0.1, 0.2, 0.3):
        runs[lr] = begun(monkeypatch, JOB, params={"lr": lr})
        monkeypatch.setattr("keepsake.recording.ending._begun", len(runs))
        end_by(runs[lr], "stopped" if lr < 0.3 else "exception")
    assert begun(monkeypatch, AGAIN, params={"lr": 0.3}) == runs[0.3]


def test_a_run_with_another_command_is_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless nothing else of the job has this run's command, and script and params are the same."""
    runs = {}
    for seed, reason in ((1, "stopped"), (2, "exception")):
        monkeypatch.setattr("sys.argv", ["train.py", f"--seed={seed}"])
        runs[seed] = begun(monkeypatch, JOB)
        end_by(runs[seed], reason)
    for command, is_second in (("train.py --seed=1", False), ("test.py", False), ("train.py --more", True)):
        monkeypatch.setattr("sys.argv", command.split())
        assert (begun(monkeypatch, AGAIN) == runs[2]) is is_second


def test_changed_params_are_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first = begun(monkeypatch, JOB, params={"lr": 0.1, "epochs": 3})
    end_by(first, "exception")
    again = begun(monkeypatch, AGAIN, params={"lr": 0.2, "epochs": 3})
    assert again.params == {"lr": 0.1, "epochs": 3}
    assert "differ from those of this process: lr (0.1 → 0.2)." in capsys.readouterr().err
    again.stop()
    (restart,) = keepsake.experiments.get(first.id).restarts
    assert (restart["reason"], restart["params"]) == ("exception: ValueError", {"lr": 0.2})


@pytest.mark.parametrize("name", ["id", "prefix", "latest"])
def test_any_experiment_can_be_gone_on_with(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Its end does not count until it ends again."""
    first = keepsake.init(params={"lr": 0.1})
    first.checkpoint(loss=0.5)
    end_by(first, "exception")
    again = keepsake.init(resume={"id": first.id, "prefix": first.id[:9], "latest": "latest"}[name])
    assert (again, again.status, again.error, again.ended) == (first, "running", None, None)
    made = again.checkpoint(loss=0.4)
    assert made is not None
    assert made.step == 1
    again.stop()
    found = keepsake.experiments.get(first.id)
    assert (found.status, found.end_reason, found.error) == ("stopped", "stopped", None)
    assert found.checkpoints.metrics["loss"] == [0.5, 0.4]


@pytest.mark.parametrize(
    ("resume", "error"), [("0000000", DoesNotExist), ("", ValidationError), (5, ValidationError), ("-1", DoesNotExist)]
)
def test_a_wrong_name_is_an_error_and_leaves_nothing(project: Path, resume: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        keepsake.init(resume=resume)
    assert keepsake.experiments.list() == []
    assert nothing_waits(project)


def test_what_waits_in_the_spool_is_gone_on_with(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its repository is away, or is not looked for. The weights to start from are there."""
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    for attempt in range(3):
        _, start = train("SIGKILL", attempt, **JOB, SLURM_RESTART_COUNT=str(attempt))
        assert start == 3 * attempt
    monkeypatch.delenv("KEEPSAKE_OFFLINE")
    assert not (project / "repo").exists()
    ((sent),) = keepsake.Project().sync()
    assert sent.error is None
    (experiment,) = keepsake.experiments.list()
    assert experiment.checkpoints.step == list(range(9))


@pytest.mark.parametrize("offline", ["", "1"])
def test_a_run_that_was_killed_before_its_files_were_saved_is_not_gone_on_with(
    project: Path, monkeypatch: pytest.MonkeyPatch, offline: str
) -> None:
    """Nobody was told that it exists, and its record would name files that are nowhere. The job begins anew."""
    monkeypatch.setenv("KEEPSAKE_OFFLINE", offline)
    first = begun(monkeypatch, JOB, path="train.py")
    record = first.to_json()
    first.delete()
    killed = {**record, "id": "d" * 64, "checkpoints": None}
    Entry.create(project / ".keepsake" / "spool", killed, view().repository.url, in_repository=False).rest()
    with pytest.raises(DoesNotExist):
        keepsake.init(resume=killed["id"])
    again = begun(monkeypatch, AGAIN, path="train.py")
    again.stop()
    monkeypatch.delenv("KEEPSAKE_OFFLINE")
    keepsake.Project().sync()
    (experiment,) = keepsake.experiments.list()
    assert experiment == again
    assert [file.path for file in experiment.files()] == ["train.py"]
    wait_until(lambda: nothing_waits(project))  # the second run's recovery looks at the first one's entry, too


def test_other_processes_of_the_job_know_the_weights_to_start_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """They know those from when the job was started again, whatever the first process has recorded since."""
    (Path("model.pth")).write_text("4")
    first = begun(monkeypatch, JOB)
    first.checkpoint("model.pth", step=4)
    end_by(first, "exception")
    with monkeypatch.context() as other:
        other.setenv("RANK", "1")
        inert = begun(other, AGAIN)
    begun(monkeypatch, AGAIN).checkpoint(step=5)
    latest = inert.latest()
    assert latest is not None
    with latest.open("model.pth") as file:
        assert (latest.step, file.read()) == (4, b"4")
    with monkeypatch.context() as other:
        other.setenv("RANK", "1")
        made = inert.checkpoint()
        assert made is not None
        assert made.step == 5
    assert keepsake.experiments.get(first.id).checkpoints.step == [4, 5]


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7"}, {"system": "slurm", "id": "7", "restart": 0}),
        ({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "x"}, {"system": "slurm", "id": "7", "restart": 0}),
        (
            {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "4", "SLURM_RESTART_COUNT": "2"},
            {"system": "slurm", "id": "7_4", "restart": 2},
        ),
        (
            {"TORCHELASTIC_RUN_ID": "job", "TORCHELASTIC_RESTART_COUNT": "1"},
            {"system": "torchrun", "id": "job", "restart": 1},
        ),
        (
            {"SLURM_JOB_ID": "7", "TORCHELASTIC_RUN_ID": "job", "TORCHELASTIC_RESTART_COUNT": "3"},
            {"system": "slurm", "id": "7", "restart": 0, "torchrun": {"id": "job", "restart": 3}},
        ),
        ({"PBS_JOBID": "5[2].server"}, {"system": "pbs", "id": "5[2].server", "restart": 0}),
        ({"LSB_JOBID": "5", "LSB_JOBINDEX": "0"}, {"system": "lsf", "id": "5", "restart": 0}),
        ({"JOB_ID": "5", "SGE_TASK_ID": "2"}, {"system": "sge", "id": "5_2", "restart": 0}),
    ],
)
def test_the_job_is_recorded(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], job: dict[str, object] | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cluster.current_job() == job


@pytest.mark.parametrize(
    ("name", "value", "process"),
    [("TORCHELASTIC_RUN_ID", "none", os.getppid()), ("SUBMITIT_LOCAL_JOB_ID", "17", 17)],
)
def test_a_launcher_without_an_id_is_known_by_its_host_and_process(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, process: int
) -> None:
    monkeypatch.setenv(name, value)
    job = cluster.current_job()
    assert job is not None
    assert job["id"] == f"{socket.gethostname()}:{process}" or os.name == "nt"


def test_a_spool_that_cannot_be_listed_is_named(trained: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the system has a message of ours, and what to do."""

    def scandir(path: object) -> object:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Entry, "finish_logs", lambda self: scandir(self.directory))
        with pytest.raises(KeepsakeError, match=f"{trained.id[:7]} cannot be read: .*KEEPSAKE_SPOOL"):
            keepsake.init(resume=trained.id)
    keepsake.init(resume=trained.id).stop()
