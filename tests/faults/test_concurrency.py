"""Many processes, threads and forks that write at once, and others that read meanwhile."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keepsake
from tests.faults import inspect_repository as inspect
from tests.faults.programs import run, start
from tests.spools import nothing_waits

pytestmark = [
    pytest.mark.usefixtures("project"),
    pytest.mark.skipif(sys.platform == "win32", reason="forks"),
]

# `checkpoint` prints the ID of a checkpoint when it has returned, and the name of its file, which tells what it holds
_BEGIN = """
import os, sys, threading, time
import keepsake

def checkpoint(experiment, who, number):
    name = f"weights-{who}-{number}-{os.getpid()}"
    with open(name, "w") as file:
        file.write(name * 100)
    made = experiment.checkpoint(path=name, metrics={"who": who, "number": number}, quiet=True)
    os.remove(name)
    os.write(1, f"{made.id} {name}\\n".encode())
"""


WAITING = re.compile(r"═+╡ Waiting for \S+, at most .*\n.*Ctrl-C ends the wait\. .*\n")


def check_all_is_there(project: Path, output: str, count: int) -> None:
    """All checkpoints that printed their ID are in the first experiment, with their files, and nothing else is."""
    lines = [line.split() for line in output.splitlines()]
    returned: dict[str, inspect.Contents] = {checkpoint: {name: (name * 100).encode()} for checkpoint, name in lines}
    experiment = keepsake.experiments.list()[0]
    assert len(returned) == count
    assert inspect.broken(project / "repo") == []
    assert inspect.missing(project, returned, experiment.id) == []
    assert len(experiment.checkpoints) == count
    assert nothing_waits(project)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_and_threads_of_multiprocessing_can_checkpoint(project: Path, method: str) -> None:
    """Four processes with two threads each, on the experiment of their parent."""
    output, messages = run(
        _BEGIN
        + f"""
import multiprocessing

def work(experiment, who):
    threads = [threading.Thread(target=several, args=(experiment, f"{{who}}.{{n}}")) for n in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

def several(experiment, who):
    for number in range(5):
        checkpoint(experiment, who, number)

if __name__ == "__main__":
    experiment = keepsake.init()
    context = multiprocessing.get_context("{method}")
    processes = [context.Process(target=work, args=(experiment, who)) for who in range(4)]
    [process.start() for process in processes]
    several(experiment, "parent")
    [process.join() for process in processes]
    assert [process.exitcode for process in processes] == [0] * 4
"""
    )
    assert "Traceback" not in messages
    check_all_is_there(project, output, 45)


def test_processes_that_know_of_nothing_but_the_id_can_checkpoint(project: Path) -> None:
    """Six processes, started one by one, on an experiment that has ended."""
    experiment_id = run("import keepsake\nprint(keepsake.init().id)")[0].strip()
    program = f"{_BEGIN}\nexperiment = keepsake.experiments.get('{experiment_id}')\nfor number in range(5):\n"
    running = [start(f"{program}    checkpoint(experiment, {who}, number)\n") for who in range(6)]
    outputs = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 6
    output = "".join(text for text, _ in outputs)
    run("import keepsake\nkeepsake.init()")  # of two that leave at once, neither may tidy up
    check_all_is_there(project, output, 30)


def test_forks_while_threads_save_neither_hang_nor_lose_anything(project: Path) -> None:
    """Children end in every way there is, at any moment of their parent's work; some record something themselves."""
    output, messages = run(
        _BEGIN
        + """
experiment = keepsake.init()
children = []
for number in range(24):
    checkpoint(experiment, "parent", number)
    pid = os.fork()
    if pid == 0:
        kind = number % 6
        if kind == 0:
            os._exit(0)
        if kind == 1:
            sys.exit(0)
        if kind == 2:
            os.execv(sys.executable, [sys.executable, "-c", ""])
        checkpoint(experiment, "child", number)
        if kind == 3:
            os._exit(0)
        if kind == 4:
            sys.exit(0)
        experiment.stop()
        os._exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
assert experiment.is_running()
"""
    )
    assert "Traceback" not in messages
    check_all_is_there(project, output, 24 + 12)


_SLOW = """
import importlib.abc, sys, threading, time

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.02)

sys.meta_path.insert(0, Slow())
"""


def test_a_fork_waits_for_imports_that_go_on_in_the_background(project: Path) -> None:
    """A child forked in the middle of one would wait forever when it imports the same module."""
    output, _ = run(
        _SLOW
        + _BEGIN
        + """
experiment = keepsake.init(path="train.py")
children = []
for number in range(20):
    pid = os.fork()
    if pid == 0:
        import email, hashlib, importlib.metadata, shutil, tarfile, tempfile, zipfile
        checkpoint(experiment, "child", number)
        os._exit(0)
    children.append(pid)
    time.sleep(0.02)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
""",
        seconds=30,
    )
    check_all_is_there(project, output, 20)


@pytest.mark.parametrize("also", ["", "import logging"])
def test_forks_and_imports_in_the_background_take_the_lock_of_logging_in_the_same_order(also: str) -> None:
    """Every fork takes the lock. So does a module that creates a logger on import, and a recovery may import one."""
    run("import keepsake\nkeepsake.init(path='train.py')", KEEPSAKE_OFFLINE="1")
    _, messages = run(
        f"""{_SLOW}
import os, keepsake
{also}
keepsake.init()
for _ in range(30):
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    time.sleep(0.001)
""",
        seconds=30,
    )
    assert "Exception ignored" not in messages


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_runs_that_children_of_multiprocessing_begin_end_with_them(project: Path, method: str) -> None:
    """A search over hyperparameters: a process for each run, or a pool, whose end sends SIGTERM to its workers."""
    _, messages = run(
        f"""
        import multiprocessing, sys, keepsake

        def train(number):
            experiment = keepsake.init(path="train.py", params={{"number": number}})
            experiment.checkpoint(path="train.py", metrics={{"number": number}}, quiet=True)
            if number == 1:
                raise ValueError("diverged")

        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            processes = [context.Process(target=train, args=(number,)) for number in range(2)]
            [process.start() for process in processes]
            [process.join() for process in processes]
            assert [process.exitcode for process in processes] == [0, 1]
            with context.Pool(2) as pool:
                pool.map(train, range(2, 6), chunksize=1)
        """
    )
    assert "not fully saved" not in messages
    assert nothing_waits(project)
    ends = {}
    for experiment in keepsake.experiments.list():
        assert experiment.params is not None
        ends[experiment.params["number"]] = (experiment.status, experiment.end_reason)
        assert len(experiment.checkpoints) == 1
    assert [ends[number] for number in range(2)] == [("stopped", "finished"), ("failed", "exception: ValueError")]
    assert {ends[number][0] for number in range(2, 6)} == {"stopped"}


def test_children_that_outlive_their_parent_lose_nothing(project: Path) -> None:
    """The parent is killed, and a recovery goes on while its children record."""
    process = start(
        _BEGIN
        + """
import signal
experiment = keepsake.init()
os.write(1, b"begun\\n")
for who in range(3):
    if os.fork() == 0:
        for number in range(20):
            checkpoint(experiment, who, number)
            time.sleep(0.02)
        sys.exit(0)
time.sleep(0.1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    for _ in range(4):
        run("import keepsake\nkeepsake.init()")
    with process:
        output, messages = process.communicate(timeout=60)
    assert "Traceback" not in messages
    # The end of a run waits only so long for the recovery of others
    subprocess.run([sys.executable, "-m", "keepsake", "sync"], check=True, capture_output=True)
    check_all_is_there(project, output, 60)


@pytest.mark.parametrize(
    "seconds",
    [4, pytest.param(60, marks=[pytest.mark.exhaustive, pytest.mark.timeout(600)])],
)
def test_a_listing_is_right_at_every_moment_while_sixteen_processes_write(project: Path, seconds: int) -> None:
    """No error and no warning; what was there stays there; and in the end the count is exact.

    A disk that stalls makes the writers say that they wait, which is no warning.
    """
    writers = start(
        f"""
        import os, sys, time, keepsake
        writers = []
        for who in range(16):
            if (pid := os.fork()) == 0:
                end = time.monotonic() + {seconds}
                while time.monotonic() < end:
                    experiment = keepsake.default_project.experiments.create(params={{"who": who}}, quiet=True)
                    for number in range(3):
                        best = ("loss", "minimize")
                        experiment.checkpoint(metrics={{"loss": number}}, primary_metric=best, quiet=True)
                    experiment.stop()
                    with open("made", "a") as made:  # a pipe that is read at the end would be full
                        made.write(experiment.id + "\\n")
                sys.exit(0)
            writers.append(pid)
        assert all(os.waitpid(pid, 0)[1] == 0 for pid in writers)
        """
    )
    seen: set[str] = set()
    listings = 0
    while writers.poll() is None:
        listed = _list()
        assert seen <= listed.keys(), "an experiment was listed once, and then it was not"
        seen, listings = set(listed), listings + 1
    _, messages = writers.communicate()
    assert (writers.returncode, WAITING.sub("", messages)) == (0, "")
    made = Path("made").read_text().split()
    listed = _list()
    assert sorted(listed) == sorted(made)
    assert {entry["num_checkpoints"] for entry in listed.values()} == {3}
    assert {entry["running"] for entry in listed.values()} == {False}
    assert listings > 1
    assert len(made) >= 16
    print(f"{listings} listings, {len(made)} experiments")


def _list() -> dict[str, dict[str, object]]:
    """Return what `keepsake ls --json` lists, each experiment once; fail if it says anything on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "keepsake", "ls", "--json"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr.replace("No experiments found.", "")) == (0, "") or "no experiments" in (
        done.stderr.lower()
    ), done.stderr
    entries = json.loads(done.stdout or "[]")
    listed = {entry["id"]: entry for entry in entries}
    assert len(listed) == len(entries)
    return listed


def test_a_fork_does_not_wait_while_the_versions_of_packages_are_read(project: Path) -> None:
    """That takes seconds on a network disk with many packages, and a DataLoader forks its workers meanwhile."""
    run(
        """
        import os, threading
        import keepsake
        from keepsake.recording import run as recording

        is_read, may_end = threading.Event(), threading.Event()

        def read(modules):
            is_read.set()
            may_end.wait()
            return {}

        recording.get_imported_packages = read
        experiment = keepsake.init(path="train.py")
        is_read.wait(20)
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        may_end.set()
        """,
        seconds=30,
    )
