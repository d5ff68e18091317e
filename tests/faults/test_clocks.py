"""Clocks that are wrong by minutes neither make a running experiment look lost nor a dead one look alive."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

import keepsake
from keepsake.exceptions import KeepsakeError
from keepsake.metadata import time_text
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.storage import open_storage, writing
from tests.faults.programs import run
from tests.spools import nothing_waits
from tests.storage.faults import FaultyStorage
from tests.threads import in_this_thread

EXPERIMENT = "e" * 64
NOW = 1_700_000_000.0
SKEWS = [-3_600.0, -300.0, -40.0, 0.0, 40.0, 300.0, 3_600.0]  # seconds


class SharedStorage(FaultyStorage):
    """A storage with a clock of its own, which tells it to every machine, as the answers of S3 and GCS do."""

    def now(self) -> float:
        return NOW


def repository(project: Path) -> Repository:
    """The repository as a machine sees it that asks the storage for the time."""
    seen = Repository(SharedStorage(open_storage("file://repo", project)))
    seen.ensure()
    return seen


@pytest.mark.parametrize("writer", SKEWS)
def test_machine_clocks_do_not_matter_if_the_storage_tells_the_time(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, writer: float
) -> None:
    """A heartbeat counts by the storage's clock, for who writes it and for who reads it."""
    monkeypatch.setattr("time.time", lambda: NOW + writer)
    repository(project_directory).heartbeats.beat(EXPERIMENT)
    for reader in SKEWS:
        monkeypatch.setattr("time.time", lambda reader=reader: NOW + reader)
        reading = repository(project_directory)
        assert View(reading).status(EXPERIMENT, "1.0.0") == "running"


@pytest.mark.parametrize(
    ("age", "status"),
    [(0.0, "running"), (20.0, "running"), (29.0, "running"), (31.0, "lost"), (300.0, "lost"), (-20.0, "running")],
)
def test_a_heartbeat_counts_for_half_a_minute(project_directory: Path, age: float, status: str) -> None:
    """0.4.2 beats every 5 s; one that is older than 30 s is stale, and was lost by a run of ours."""
    heartbeat = f'{{"experiment_id": "{EXPERIMENT}", "last_heartbeat": "{time_text(NOW - age)}"}}'
    reading = repository(project_directory)
    reading.storage.put(f"metadata/heartbeats/{EXPERIMENT}.json", heartbeat.encode())
    assert View(reading).status(EXPERIMENT, "1.0.0") == status
    assert View(reading).status(EXPERIMENT, "0.4.2") in (status, "stopped")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("skew", [-300, -120, 120, 300])
def test_on_a_shared_disk_a_machine_whose_clock_is_wrong_shows_as_running(project_directory: Path, skew: int) -> None:
    """Its heartbeats carry the time of the disk, as the kernel or the file server stamps files."""
    run(
        f"""
        import time
        real, real_ns = time.time, time.time_ns
        time.time = lambda: real() + {skew}
        time.time_ns = lambda: real_ns() + {skew} * 10**9
        import os, signal, keepsake
        keepsake.init()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        status=-9,
    )
    (experiment,) = keepsake.experiments.list()
    assert experiment.status == "running"
    assert keepsake.default_project.workplace.view.summaries()[0].status == "running"


@pytest.mark.parametrize("writes_again", [False, True])
@pytest.mark.parametrize("skews", [(300.0, 0.0), (0.0, -300.0), (-300.0, 86_400.0)])
def test_a_disks_clock_is_known_though_the_machines_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skews: tuple[float, float], writes_again: bool
) -> None:
    """Set right by NTP, or by hand, or because the machine slept: heartbeats go on carrying the disk's time."""
    real, real_ns, skew = time.time, time.time_ns, skews[0]
    monkeypatch.setattr("time.time", lambda: real() + skew)
    monkeypatch.setattr("time.time_ns", lambda: real_ns() + int(skew * 10**9))
    storage = open_storage("file://.", tmp_path)
    for skew in skews:
        if writes_again or skew == skews[0]:
            storage.put("k", b"x")
        assert abs(storage.now() - real()) < 5
        assert abs(next(storage.list("")).modified - real()) < 60
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize("is_own", [True, False])
def test_the_time_is_asked_of_a_disk_only_where_it_may_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    """A reader makes no file on a disk of this machine; on another disk, it removes the file at once."""
    monkeypatch.setattr(writing, "is_on_own_disk", lambda path: is_own)
    made: list[str] = []
    real = os.open

    def open_file(path: str, flags: int, *rest: int) -> int:
        made.extend([path] if flags & os.O_CREAT else [])
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", in_this_thread(open_file, real))
    storage = open_storage("file://.", tmp_path)
    for _ in range(3):
        assert abs(storage.now() - time.time()) < 5
    assert len(made) == (0 if is_own else 1)
    assert list(tmp_path.iterdir()) == []


def test_a_heartbeat_from_the_future_does_not_last_forever(project_directory: Path) -> None:
    """A run whose clock was an hour ahead and that was killed is not running for that hour."""
    reading = repository(project_directory)
    heartbeat = f'{{"experiment_id": "{EXPERIMENT}", "last_heartbeat": "{time_text(NOW + 3_600)}"}}'
    reading.storage.put(f"metadata/heartbeats/{EXPERIMENT}.json", heartbeat.encode())
    assert View(reading).status(EXPERIMENT, "1.0.0") != "running"


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_clock_that_is_set_while_training_costs_nothing(project_directory: Path, jump: int) -> None:
    """Checkpoints before and after are saved, in the order they were made; the latest is the last one."""
    output, _ = run(
        f"""
        import time, keepsake
        experiment = keepsake.init()
        experiment.checkpoint(metrics={{"number": 0}}, quiet=True)
        real, real_ns = time.time, time.time_ns
        time.time = lambda: real() + {jump}
        time.time_ns = lambda: real_ns() + {jump} * 10**9
        experiment.checkpoint(metrics={{"number": 1}}, quiet=True)
        print(experiment.id)
        """
    )
    experiment = keepsake.experiments.get(output.strip())
    assert experiment.checkpoints.metrics["number"] == [0, 1]
    assert experiment.checkpoints.step == [0, 1]
    assert experiment.status == "stopped"
    assert nothing_waits(project_directory)


@pytest.mark.parametrize("how", ["set back", "behind"])
def test_the_last_checkpoint_is_the_last_whatever_the_clock_says(project_directory: Path, how: str) -> None:
    """It is the one that `keep` keeps. The clock is set back during a run, or is behind where it is restarted."""
    output, _ = run(
        f"""
        import time, keepsake
        real = time.time
        experiment = keepsake.init(keep="last:1")
        for step in range(4):
            if step == 2:
                if {how == "behind"}:
                    experiment.stop()
                time.time = lambda: real() - 3600
                if {how == "behind"}:
                    experiment = keepsake.init(resume=experiment.id)
            open("w", "w").write(str(step))
            experiment.checkpoint(path="w", quiet=True)
            time.sleep(0.3)
        print(experiment.id)
        """
    )
    experiment = keepsake.experiments.get(output.split()[0])
    latest = experiment.latest()
    assert latest is not None
    assert latest.step == 3
    assert [bool(checkpoint.path) for checkpoint in experiment.checkpoints] == [False, False, False, True]
    assert [path.name[:64] for path in project_directory.glob("repo/checkpoints/*")] == [latest.id]


def test_an_entry_from_the_future_is_recovered(project_directory: Path) -> None:
    """A spool that was touched when the clock was a day ahead is not taken to be somebody's work for a day."""
    output, _ = run(
        """
        import glob, os, signal, keepsake
        experiment = keepsake.init()
        experiment.checkpoint(metrics={"number": 0}, quiet=True)
        print(experiment.id, flush=True)
        (record,) = glob.glob(".keepsake/spool/*/record.json")
        os.utime(record, (4_000_000_000, 4_000_000_000))
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        status=-9,
    )
    run("import keepsake\nkeepsake.init()")
    try:
        assert len(keepsake.experiments.get(output.strip()).checkpoints) == 1
    except KeepsakeError as error:
        raise AssertionError(error) from error
    assert nothing_waits(project_directory)
