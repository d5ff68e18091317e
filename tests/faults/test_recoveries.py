"""Recoveries during runs, and many recoveries at once: nothing is lost, and little is done twice."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import keepsake
from tests.faults import inspect_repository as inspect
from tests.faults.programs import run, start
from tests.spools import nothing_waits

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and removes files that are open")

# Adds to one experiment from a parent, its children and a process that only knows its ID; prints what has returned
_TRAIN = """
import os, sys, time, keepsake

def several(who):
    end, number = time.monotonic() + float(os.environ["SECONDS"]), 0
    while time.monotonic() < end:
        name = f"weights-{who}"
        with open(name, "wb") as file:
            file.write(f"{who} {number} ".encode() * (300 if number % 2 else 100_000))
        checkpoint = experiment.checkpoint(path=name, metrics={"number": number}, quiet=True)
        if checkpoint is None or not checkpoint.path:
            os._exit(3)
        os.write(1, f"{checkpoint.id} {who} {number}\\n".encode())
        number += 1
        time.sleep(0.01)

if len(sys.argv) > 1:
    experiment = keepsake.experiments.get(sys.argv[1])
    several("other")
else:
    experiment = keepsake.init()
    os.write(1, (experiment.id + "\\n").encode())
    child = os.fork()
    several("child" if child == 0 else "parent")
    if child:
        assert os.waitpid(child, 0)[1] == 0
"""
_RECOVER = "import keepsake\nkeepsake.init()"


@contextmanager
def _old_spool(project: Path) -> Iterator[None]:
    """Make everything in the spool look an hour old, again and again, so that no process seems to be using it.

    What is half written keeps its time: after an hour, it is a crash's.
    """
    stopped = threading.Event()

    def make_old() -> None:
        then = time.time() - 3600
        while not stopped.wait(0.002):
            with suppress(OSError):  # directories go while they are listed
                for path in (project / ".keepsake/spool").glob("*/[!.]*"):
                    with suppress(OSError):
                        os.utime(path, (then, then))

    thread = threading.Thread(target=make_old)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _returned(lines: list[str]) -> dict[str, inspect.Contents]:
    returned: dict[str, inspect.Contents] = {}
    for line in lines:
        checkpoint_id, who, number = line.split()
        content = f"{who} {number} ".encode() * (300 if int(number) % 2 else 100_000)
        returned[checkpoint_id] = {f"weights-{who}": content}
    return returned


@pytest.mark.parametrize(
    ("rounds", "seconds"),
    [
        pytest.param(1, 2.0, id="quick"),
        pytest.param(30, 6.0, id="exhaustive", marks=[pytest.mark.exhaustive, pytest.mark.timeout(1200)]),
    ],
)
def test_recoveries_of_what_looks_old_cost_processes_that_record_nothing(
    project_directory: Path, rounds: int, seconds: float
) -> None:
    """A run, its child and another process add to an experiment. Every other time all of them are killed."""
    generator = random.Random(rounds)
    count = 0
    for number in range(rounds):
        with _old_spool(project_directory), start(_TRAIN, SECONDS=str(seconds)) as trainer:
            assert trainer.stdout is not None
            experiment_id = trainer.stdout.readline().strip()
            program = _TRAIN.replace("sys.argv[1]", repr(experiment_id)).replace("len(sys.argv) > 1", "True")
            with start(program, SECONDS=str(seconds / 2)) as other:
                recoveries = [start(_RECOVER) for _ in range(2)]
                if number % 2:
                    time.sleep(generator.uniform(0, seconds))
                    for process in (trainer, other, *recoveries):
                        with suppress(ProcessLookupError):
                            os.killpg(process.pid, signal.SIGKILL)
                for process in recoveries:
                    process.communicate(timeout=120)
                run(_RECOVER)
                others = other.communicate(timeout=120)[0].splitlines()
            lines = trainer.stdout.read().splitlines()
        if number % 2 == 0:
            assert (trainer.returncode, other.returncode) == (0, 0)
        with _old_spool(project_directory):
            time.sleep(0.05)
            run(_RECOVER)
        returned = _returned([line for line in lines + others if line.count(" ") == 2])
        assert inspect.missing(project_directory, returned, experiment_id) == []
        count += len(returned)
    assert inspect.broken(project_directory / "repo") == []
    print(f"{rounds} rounds, {count} checkpoints")
    assert count > 10 * rounds


# Writes down the key of each archive that it stores
_NOTED = """
import os, time
from keepsake.storage.disk import DiskStorage

def noted(real):
    def call(self, key, source):
        done = real(self, key, source)
        if done is not False:
            with open(os.environ["NOTES"], "a") as notes:
                notes.write(key + "\\n")
        return done
    return call

DiskStorage.upload, DiskStorage.link = noted(DiskStorage.upload), noted(DiskStorage.link)
while not os.path.exists("go"):
    time.sleep(0.001)
"""


@pytest.mark.parametrize(
    ("rounds", "how"),
    [
        pytest.param(1, "killed", id="quick"),
        pytest.param(1, "offline", id="quick-offline"),
        pytest.param(20, "killed", id="exhaustive", marks=[pytest.mark.exhaustive, pytest.mark.timeout(900)]),
    ],
)
def test_eight_runs_that_start_at_once_send_what_is_left_once(
    project_directory: Path, tmp_path: Path, rounds: int, how: str
) -> None:
    """It may be sent twice if one starts just as another finishes."""
    for number in range(rounds):
        notes = tmp_path / f"notes-{number}"
        notes.touch()
        output, _ = run(
            """
            import os, signal, keepsake
            experiment = keepsake.init()
            print(experiment.id, flush=True)
            for number in range(4):
                with open("weights", "wb") as file:
                    file.write(os.urandom(4_000_000) if number % 2 else b"text" * 1_000_000)
                print(experiment.checkpoint(path="weights", quiet=True).id, flush=True)
            if os.environ["HOW"] == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            """,
            status=-signal.SIGKILL if how == "killed" else 0,
            KEEPSAKE_OFFLINE="1",
            HOW=how,
        )
        experiment_id, *checkpoint_ids = output.split()
        Path("go").unlink(missing_ok=True)
        processes = [start(_NOTED + _RECOVER, NOTES=str(notes)) for _ in range(8)]
        Path("go").touch()
        for process in processes:
            _, messages = process.communicate(timeout=120)
            assert process.returncode == 0, messages
            assert "could not be sent" not in messages
        stored = Counter(notes.read_text().split())
        keys = [f"checkpoints/{checkpoint_id}.tar.gz" for checkpoint_id in checkpoint_ids]
        assert {key: stored[key] for key in keys if not 1 <= stored[key] <= 2} == {}
        there = {checkpoint.id for checkpoint in keepsake.experiments.get(experiment_id).checkpoints}
        assert there == set(checkpoint_ids)
    assert nothing_waits(project_directory)
    assert inspect.broken(project_directory / "repo") == []
