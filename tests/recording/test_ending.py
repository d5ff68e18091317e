"""How a run ends: nothing that checkpoint() returned for is lost, and the status is right at once."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import WriteError
from keepsake.experiment import Experiment
from keepsake.recording import exit_status, saver
from keepsake.repository.heartbeats import Heartbeats
from keepsake.spool.entry import Entry
from tests.spools import nothing_waits
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork are POSIX")

PRELUDE = """
import os, signal, sys, time
import keepsake
experiment = keepsake.init(path="train.py")
print(experiment.id, flush=True)
for number in range(3):
    open("model.pth", "w").write(f"weights {number}" * 1000)
    experiment.checkpoint(path="model.pth", metrics={"number": number}, quiet=True)
"""


def run(program: str, *, prelude: str = PRELUDE, status: int = 0, **environment: str) -> tuple[str, str]:
    """Run a training script to its end; return the ID it printed, and its stderr."""
    Path("run.py").write_text(prelude + textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, "run.py"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == status, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.fixture(autouse=True)
def project(project_directory: Path) -> Path:
    (project_directory / "train.py").write_text("code")
    return project_directory


def check_whole(experiment_id: str, numbers: int = 3) -> Experiment:
    """Every checkpoint is there with its files as they were."""
    experiment = keepsake.experiments.get(experiment_id)
    assert sorted(experiment.checkpoints.metrics["number"]) == list(range(numbers))
    for checkpoint in experiment.checkpoints:
        assert checkpoint.metrics is not None
        with checkpoint.open("model.pth") as file:
            assert file.read().decode() == f"weights {checkpoint.metrics['number']}" * 1000
    return experiment


@pytest.mark.parametrize(
    ("program", "status", "reason"),
    [
        ("", 0, "finished"),
        ("sys.exit(0)", 0, "finished"),
        ("sys.exit(3)", 3, "exit status 3"),
        ("sys.exit('no data')", 1, "exit status 1"),
        ("exit(2)", 2, "exit status 2"),
        ("raise SystemExit(4)", 4, "exit"),
        ("try: raise RuntimeError\nexcept RuntimeError: sys.exit(1)", 1, "exit status 1"),
        ("try: sys.exit(1)\nexcept SystemExit: pass", 0, "finished"),
        ("import threading; t = threading.Thread(target=sys.exit, args=(1,)); t.start(); t.join()", 0, "finished"),
        ("sys.excepthook = lambda *_: None; raise ValueError", 1, "exception: ValueError"),
        ("try: raise KeyboardInterrupt\nexcept KeyboardInterrupt: sys.exit(130)", 130, "exit status 130"),
        ("raise ValueError('diverged')", 1, "exception: ValueError"),
        # As `ipython train.py` does, and as an interactive program does
        ("sys.ps1 = 'In: '; sys.last_value = ValueError(); sys.exit(1)", 1, "exception: ValueError"),
        ("sys.ps1 = 'In: '; sys.last_value = ValueError(); sys.exit()", 0, "finished"),
        ("time.sleep(0.5); os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT, "interrupted"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM, "terminated"),
    ],
)
def test_whatever_ends_the_program_all_is_saved_and_its_status_tells(
    project: Path, program: str, status: int, reason: str
) -> None:
    experiment_id, _ = run(program, status=status)
    experiment = check_whole(experiment_id)
    assert experiment.status == ("failed" if reason.startswith(("exception", "exit status")) else "stopped")
    assert experiment.end_reason == reason
    assert nothing_waits(project)


def test_a_program_that_ends_at_once_has_its_packages_recorded() -> None:
    experiment_id, _ = run("", prelude="import yaml, keepsake\nprint(keepsake.init().id)")
    assert "pyyaml" in (keepsake.experiments.get(experiment_id).python_packages or {})


def test_the_exception_that_ends_a_program_is_in_the_record(project: Path) -> None:
    """Its type, message and traceback, with causes, and without secrets."""
    experiment_id, _ = run(
        """
        def train():
            try: {}["loss"]
            except KeyError as error: raise ArithmeticError("diverged, --password=hunter2") from error
        train()
        """,
        status=1,
    )
    found = keepsake.experiments.get(experiment_id)
    assert found.error == "ArithmeticError: diverged, --password=***"
    trace = found.traceback or ""
    assert [text in trace for text in ("KeyError: 'loss'", "in train", "direct cause", found.error)] == [True] * 4
    assert "hunter2" not in str(found.to_json())
    (summary,) = keepsake.Project(directory=project).workplace.view.summaries()
    assert (summary.status, summary.error, summary.ended) == ("failed", found.error, found.to_json()["ended"])


def test_an_exception_that_leaves_the_block_ends_its_run_alone(project: Path) -> None:
    """The program goes on, and the next run does well."""
    runs = []
    for loss in (float("nan"), 0.5):
        with suppress(ArithmeticError), keepsake.init(quiet=True) as experiment:
            runs.append(experiment)
            if loss != loss:
                raise ArithmeticError
    assert [(each.status, each.error) for each in runs] == [("failed", "ArithmeticError"), ("stopped", None)]
    assert "in test_an_exception" in (runs[0].traceback or "")


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="the call is one of CPython")
def test_an_exception_that_a_c_extension_leaves_as_handled_ends_no_program() -> None:
    """CatBoost leaves those of its callbacks so, after the program has survived them."""
    experiment_id, _ = run(
        """
        import ctypes
        error = ValueError("survived")
        objects = [ctypes.py_object(each) for each in (ValueError, error, None)]
        for each in objects:
            ctypes.pythonapi.Py_IncRef(each)  # the call takes them over
        ctypes.pythonapi.PyErr_SetExcInfo(*objects)
        assert sys.exc_info()[1] is error
        """
    )
    assert keepsake.experiments.get(experiment_id).end_reason == "finished"


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def deep(frames: int) -> None:
    if frames:
        deep(frames - 1)
    raise RecursionError("x" * 100_000)


@pytest.mark.parametrize(
    ("cause", "error"), [(lambda: exec("raise Silent", {"Silent": Silent}), "Silent"), (lambda: deep(500), "Recursion")]
)
def test_texts_of_an_exception_are_bounded_and_never_fail(cause: Callable[[], object], error: str) -> None:
    with suppress(Exception), keepsake.init(quiet=True) as experiment:
        cause()
    assert experiment.status == "failed"
    assert (experiment.error or "").startswith(error)
    assert len(experiment.error or "") < 1100
    assert error in (experiment.traceback or "")
    assert len(experiment.traceback or "") < 21_000


def test_a_handler_of_the_scripts_own_is_left_alone() -> None:
    experiment_id, _ = run(
        "os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.1)",
        prelude="import signal\nsignal.signal(signal.SIGTERM, lambda *_: None)\n" + PRELUDE,
    )
    assert check_whole(experiment_id).end_reason == "finished"


def test_after_kill_9_the_next_init_finishes_what_was_left(project: Path) -> None:
    experiment_id, _ = run("os.kill(os.getpid(), signal.SIGKILL)", status=-signal.SIGKILL)
    # What waits in the spool is seen before anything was recovered
    check_whole(experiment_id)
    keepsake.init().stop()
    wait_until(lambda: nothing_waits(project))
    check_whole(experiment_id)
    assert len(list((project / "repo/checkpoints").iterdir())) == 3


def test_after_kill_9_a_run_is_lost_once_its_heartbeat_is_stale(project: Path) -> None:
    experiment_id, _ = run("os.kill(os.getpid(), signal.SIGKILL)", status=-signal.SIGKILL)
    heartbeat = project / f"repo/metadata/heartbeats/{experiment_id}.json"
    heartbeat.write_text(f'{{"experiment_id": "{experiment_id}", "last_heartbeat": "2021-01-01T00:00:00Z"}}')
    assert keepsake.experiments.get(experiment_id).status == "lost"
    assert keepsake.experiments.list()[0].status == "lost"


def test_after_kill_9_without_a_repository_a_run_is_lost_before_and_after_it_is_sent(project: Path) -> None:
    run("os.kill(os.getpid(), signal.SIGKILL)", status=-signal.SIGKILL, KEEPSAKE_OFFLINE="1")
    for _ in range(2):
        (experiment,) = keepsake.experiments.list()
        assert experiment.status == keepsake.experiments.get(experiment.id).status == "lost"
        keepsake.Project().sync()
    assert nothing_waits(project)


def test_a_forked_child_that_checkpoints_loses_nothing() -> None:
    """Neither if it ends by os._exit, as multiprocessing's children do, nor if its parent ends first."""
    experiment_id, _ = run(
        """
        def child(number):
            open(f"model{number}", "w").write(f"weights {number}" * 1000)
            os.rename(f"model{number}", "model.pth")
            experiment.checkpoint(path="model.pth", metrics={"number": number}, quiet=True)
        for number in (3, 4):
            if (pid := os.fork()) == 0:
                child(number)
                os._exit(0)
            os.waitpid(pid, 0)
        """
    )
    experiment = check_whole(experiment_id, 5)
    assert experiment.status == "stopped"


def test_the_end_of_a_program_that_only_added_to_a_run_saves_that(project: Path) -> None:
    experiment_id, _ = run("")
    _, messages = run(
        """
        open("model.pth", "w").write("weights 3" * 1000)
        keepsake.experiments.list()[0].checkpoint(path="model.pth", metrics={"number": 3})
        """,
        prelude="import keepsake",
    )
    assert nothing_waits(project), messages
    check_whole(experiment_id, 4)


def test_a_forked_child_does_not_end_its_parents_run() -> None:
    run(
        """
        if (pid := os.fork()) == 0:
            sys.exit(0)
        os.waitpid(pid, 0)
        assert experiment.is_running()
        """
    )


def test_processes_of_multiprocessing_can_checkpoint() -> None:
    experiment_id, _ = run(
        """
        import multiprocessing
        def child(number):
            experiment.checkpoint(metrics={"number": number, "child": True}, quiet=True)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(child, range(3, 20))
        """
    )
    experiment = keepsake.experiments.get(experiment_id)
    assert sorted(experiment.checkpoints.metrics["number"]) == list(range(20))


def test_a_hundred_experiments_in_one_process_cost_few_threads_and_descriptors() -> None:
    run(
        """
        import threading
        for number in range(100):
            other = keepsake.init(params={"number": number})
            other.checkpoint(metrics={"a": 1}, quiet=True)
        assert threading.active_count() < 15, threading.enumerate()
        assert len(os.listdir("/proc/self/fd")) < 30 if os.path.exists("/proc/self/fd") else True
        """
    )
    assert len(keepsake.experiments.list()) == 101
    assert {e.status for e in keepsake.experiments.list()} == {"stopped"}


def test_threads_that_checkpoint_at_once_lose_nothing() -> None:
    experiment_id, _ = run(
        """
        import threading
        def work(start):
            for number in range(start, start + 20):
                experiment.checkpoint(metrics={"number": number}, quiet=True)
        threads = [threading.Thread(target=work, args=(3 + 20 * n,)) for n in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        """
    )
    experiment = keepsake.experiments.get(experiment_id)
    assert sorted(experiment.checkpoints.metrics["number"]) == list(range(83))
    assert sorted(step for step in experiment.checkpoints.step if step is not None) == list(range(83))


def test_what_cannot_be_saved_stays_in_the_spool_and_is_reported(project: Path) -> None:
    """The repository goes away while the script runs; training goes on, and the next run saves what is left."""
    experiment_id, messages = run(
        """
        time.sleep(0.5)
        os.rename("repo", "away"); open("repo", "w").close()
        experiment.checkpoint(path="model.pth", metrics={"number": 3}, quiet=True)
        """,
        KEEPSAKE_STRICT="",
    )
    assert "tried again" in messages
    assert "keepsake sync" in messages
    assert not nothing_waits(project)
    (project / "repo").unlink()
    (project / "away").rename(project / "repo")
    keepsake.init().stop()
    wait_until(lambda: nothing_waits(project))
    experiment = keepsake.experiments.get(experiment_id)
    assert experiment.checkpoints.metrics["number"] == [0, 1, 2, 3]
    assert experiment.status == "stopped"


def test_in_strict_mode_what_cannot_be_saved_ends_the_program_with_status_1() -> None:
    run(
        """
        os.rename("repo", "away"); open("repo", "w").close()
        experiment.checkpoint(metrics={"number": 3}, quiet=True)
        """,
        status=1,
        KEEPSAKE_STRICT="1",
    )


@pytest.mark.parametrize("status", [0, 3])
def test_in_strict_mode_the_program_still_ends_in_good_order(project: Path, status: int) -> None:
    """Its own files are flushed, all handlers are called once, and a status of its own stays."""
    Path("run.py").write_text(
        textwrap.dedent(f"""
        import atexit, os, sys
        atexit.register(print, "early")
        import keepsake
        experiment = keepsake.init()
        atexit.register(print, "late")
        results = open("results.csv", "w")
        os.rename("repo", "away"); open("repo", "w").close()
        experiment.checkpoint(metrics={{"number": 3}}, quiet=True)
        results.write("0.5")
        if {status}:
            sys.exit({status})
        """)
    )
    done = subprocess.run([sys.executable, "run.py"], capture_output=True, text=True, timeout=60)
    assert done.returncode == (status or 1), done.stderr
    assert done.stdout.split() == ["late", "early"]
    assert (project / "results.csv").read_text() == "0.5"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), WriteError("broken"), RuntimeError("broken")])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Entry, "append"),
        (Entry, "close"),
        (Entry, "size"),
        (Heartbeats, "end"),
        (saver.Saver, "notify"),
        (saver.Saver, "finish"),
    ],
)
def test_stop_never_raises_into_a_script(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: Exception
) -> None:
    monkeypatch.setenv("KEEPSAKE_STRICT", "")
    monkeypatch.setenv("KEEPSAKE_EXIT_SECONDS", "0.1")
    experiment = keepsake.init()
    with monkeypatch.context() as patch:

        def fail(*arguments: object, **options: object) -> None:
            raise error

        patch.setattr(owner, name, fail)
        experiment.stop()
    experiment.stop()
    wait_until(lambda: experiment.status == "stopped")


def test_an_error_of_all_steps_is_reported_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A repository is gone for records, archives and the goodbye at once."""
    monkeypatch.setenv("KEEPSAKE_STRICT", "")
    monkeypatch.setenv("KEEPSAKE_EXIT_SECONDS", "1")
    experiment = keepsake.init()
    (project / "repo").rename(project / "away")
    for name in ("one", "two"):
        (project / name).write_text(name)
        experiment.checkpoint(path=name, metrics={"number": 1}, quiet=True)
        experiment.stop()
    messages = capsys.readouterr().err
    assert messages.count("is gone.") == 1
    assert "is not fully saved yet. The reason is given above." in messages
    (project / "away").rename(project / "repo")
    experiment.stop()
    assert nothing_waits(project)


def test_stop_says_what_is_not_saved(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What waits is sent later, by the same process if it lives on."""
    monkeypatch.setenv("KEEPSAKE_STRICT", "")
    experiment = keepsake.init()
    (project / "repo").rename(project / "away")
    (project / "repo").write_text("in its place")
    experiment.checkpoint(metrics={"number": 1}, quiet=True)
    experiment.stop()
    assert "is not fully saved yet" in capsys.readouterr().err
    (project / "repo").unlink()
    (project / "away").rename(project / "repo")
    experiment.stop()
    assert nothing_waits(project)
    assert len(keepsake.experiments.get(experiment.id).checkpoints) == 1


def test_in_strict_mode_stop_raises_what_cannot_be_saved() -> None:
    run(
        """
        os.rename("repo", "away"); open("repo", "w").close()
        experiment.checkpoint(metrics={"number": 3}, quiet=True)
        try:
            experiment.stop()
        except keepsake.exceptions.KeepsakeError:
            os._exit(0)
        """,
        prelude=PRELUDE,
        KEEPSAKE_STRICT="1",
    )


def test_the_main_thread_is_looked_at_without_a_collection_of_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python 3.11, a collection during `sys._current_frames()` is a deadlock."""
    collecting: list[bool] = []

    def frames() -> dict[int, FrameType]:
        collecting.append(gc.isenabled())
        return look()

    look = sys._current_frames
    monkeypatch.setattr(sys, "_current_frames", frames)
    monkeypatch.setattr(exit_status, "_watched", True)
    monkeypatch.setattr(exit_status, "_outermost", None)
    thread = threading.Thread(target=exit_status.watch)
    thread.start()
    thread.join()
    from_thread = exit_status._outermost
    exit_status.watch()
    assert from_thread is not None
    assert exit_status._outermost is from_thread
    assert collecting == [False]
    assert gc.isenabled()


def test_what_a_handler_of_atexit_records_last_is_saved(project: Path) -> None:
    """It was registered before the run began, so it is called after the run's end."""
    early = """
import atexit

@atexit.register
def save_last():
    open("model.pth", "w").write("weights 3" * 1000)
    experiment.checkpoint(path="model.pth", metrics={"number": 3})
"""
    experiment_id, errors = run("", prelude=early + PRELUDE)

    assert "Traceback" not in errors
    assert "not fully saved" not in errors
    assert nothing_waits(project)
    check_whole(experiment_id, numbers=4)


@pytest.mark.parametrize("interrupt", ["KeyboardInterrupt", "SystemExit(143)"])
def test_a_signal_at_the_very_end_keeps_no_run_from_its_end(interrupt: str) -> None:
    """The second one is what a script's own handler of SIGTERM raises."""
    program = f"""
    from keepsake.recording.run import Run
    change = Run.change
    def interrupted(*arguments):
        Run.change = change
        raise {interrupt}
    Run.change = interrupted
    """
    experiment_id, errors = run(program, KEEPSAKE_STRICT="0")
    assert "Exception ignored" not in errors
    keepsake.Project().sync()
    assert keepsake.experiments.get(experiment_id).end_reason == "finished"


def test_handlers_of_atexit_that_a_program_calls_itself_end_its_runs_and_later_ones_end_as_usual() -> None:
    experiment_id, _ = run("import atexit\natexit._run_exitfuncs()\nexperiment = keepsake.init()\nprint(experiment.id)")

    for each in experiment_id.split():
        assert keepsake.experiments.get(each).end_reason == "finished"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("stop()", ""),
        ("checkpoint(metrics={'late': 1})", "A checkpoint"),
        ("tag('late')", "The labels"),
        ("update_params({'late': 1})", "The params"),
        ("__exit__(ValueError, ValueError(), None)", ""),
    ],
)
def test_what_a_global_object_records_when_python_takes_it_apart_is_one_line(call: str, said: str) -> None:
    experiment_id, errors = run(
        f"""
        class Trainer:
            def __del__(self):
                self.experiment.{call}

        trainer = Trainer()
        trainer.experiment = experiment
        trainer.itself = trainer
        del experiment
        """
    )

    assert "Traceback" not in errors
    assert "Waiting" not in errors
    assert ("cannot be saved" in errors) == bool(said)
    assert said in errors
    check_whole(experiment_id)


def test_a_run_whose_environment_is_upgraded_or_removed_ends_as_usual() -> None:
    """Nothing is imported later that was not imported when the run began."""
    experiment_id, errors = run(
        """
        from tests.waiting import wait_until
        wait_until(lambda: "opcode" in sys.modules and not keepsake.recording.saver.saver()._at_work)
        sys.path.clear()
        sys.meta_path.clear()
        open("model.pth", "w").write("weights 3" * 1000)
        experiment.checkpoint(path="model.pth", metrics={"number": 3}, metrix=1)
        experiment.tag("late")
        sys.exit(3)
        """,
        status=3,
        PYTHONPATH=str(Path(__file__).parents[2]),
    )

    assert "Traceback" not in errors
    assert "Error" not in errors
    experiment = check_whole(experiment_id, numbers=4)
    assert experiment.end_reason == "exit status 3"


def test_a_test_that_stops_the_clock_does_not_hang(project: Path) -> None:
    """As freezegun does: all clocks of `time` show the same moment for ever, in all modules."""
    frozen = """
import time
moment = time.time()
for name in ("time", "monotonic", "perf_counter"):
    setattr(time, name, lambda: moment)
"""
    experiment_id, _ = run("experiment.stop()", prelude=frozen + PRELUDE)

    assert nothing_waits(project)
    check_whole(experiment_id)


def test_a_program_that_hangs_is_not_taken_for_a_repository_that_does_not_answer(project: Path) -> None:
    """nvidia-smi hangs where a driver is broken, and git on a slow disk."""
    program = project / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 100\n")
    program.chmod(0o755)
    impatient = """
from keepsake.recording import machine, saver
machine._GPU_SECONDS = 0.5
saver._SILENCE_SECONDS = 0.1
"""
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    experiment_id, errors = run("experiment.stop()", prelude=impatient + PRELUDE, PATH=path)

    assert "does not answer" not in errors
    check_whole(experiment_id)


def test_what_another_thread_records_during_the_wait_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait does not include it, and the background saves it."""
    hurry = saver.Saver._hurry

    def record_late(self: saver.Saver, *arguments: Any, **options: Any) -> None:
        hurry(self, *arguments, **options)
        thread = threading.Thread(target=experiment.checkpoint, kwargs={"metrics": {"loss": 0.5}})
        thread.start()
        thread.join()

    experiment = keepsake.init(quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(saver.Saver, "_hurry", record_late)
        experiment.stop()  # an error would be raised, because tests run in strict mode
    wait_until(lambda: len(keepsake.experiments.get(experiment.id).checkpoints) == 1)
