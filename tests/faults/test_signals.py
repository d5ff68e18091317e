"""Signals that come at a bad moment, and those of processes that a run has forked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

import keepsake
from tests.faults.programs import run
from tests.spools import nothing_waits

pytestmark = [
    pytest.mark.usefixtures("project"),
    pytest.mark.skipif(sys.platform == "win32", reason="signals and fork are POSIX"),
]


@pytest.mark.parametrize("line", ["checkpoint", "end_reason"])
def test_sigterm_in_the_middle_of_writing_a_line_holds_up_nothing(project: Path, line: str) -> None:
    """The line is a checkpoint's or the goodbye's. The threads that save write lines too, and need not wait."""
    output, messages = run(
        f"""
        import os, signal, time, keepsake
        from keepsake.recording import run
        from keepsake.spool import journal

        _append = journal._append
        run.get_imported_packages = lambda modules: time.sleep(0.5) or {{"late": "1.0"}}

        def append(path, data):
            global _append
            if b"{line}" in data and journal._append is append:
                journal._append = _append
                os.kill(os.getpid(), signal.SIGTERM)
            return _append(path, data)

        experiment = keepsake.init()
        print(experiment.id, flush=True)
        journal._append = append
        experiment.checkpoint(metrics={{"number": 1}}, quiet=True)
        """,
        status=-signal.SIGTERM,
    )
    assert "not fully saved" not in messages
    experiment = keepsake.experiments.get(output.strip())
    assert (experiment.status, experiment.end_reason) == ("stopped", "terminated")
    assert experiment.python_packages == {"late": "1.0"}
    assert nothing_waits(project)


def test_ctrl_c_ends_the_program_by_its_signal_whatever_is_imported_meanwhile() -> None:
    """A shell must know it to end a loop of runs. exec(), which makes named tuples, makes CPython forget it."""
    run(
        """
        import atexit, os, signal, keepsake
        signal.signal(signal.SIGINT, signal.default_int_handler)
        keepsake.init()
        atexit.register(exec, "pass")
        os.kill(os.getpid(), signal.SIGINT)
        """,
        status=-signal.SIGINT,
    )


def test_sigterm_ends_forked_children_as_it_would_without_keepsake() -> None:
    """The signal may come just before they block in C, as with Pool.terminate(): then no Python handler is called."""
    output, _ = run(
        """
        import multiprocessing, os, signal, sys, threading, time, keepsake

        def wait(begin):
            if begin:
                keepsake.init()
            thread = threading.Thread(target=lambda: (
                time.sleep(0.2), signal.pthread_kill(threading.get_ident(), signal.SIGTERM), time.sleep(60)
            ))
            thread.start()
            lock = context.Lock()
            lock.acquire()
            lock.acquire()

        keepsake.init()
        context = multiprocessing.get_context("fork")
        for begin in (False, True):
            process = context.Process(target=wait, args=(begin,), daemon=True)
            process.start()
            process.join(20)
            print(process.exitcode)
            process.kill()
        """
    )
    assert output.split() == ["-15", "-15"]


CHAINED = """
import os, signal, sys, time, keepsake

experiment = keepsake.init()
print(experiment.id, flush=True)
experiment.checkpoint(metrics={{"number": 0}}, quiet=True)
told, before = [], signal.getsignal(signal.SIGTERM)
signal.signal(signal.SIGTERM, lambda *event: (told.append(1), before(*event)))
os.kill(os.getpid(), signal.SIGTERM)
assert told
print(len(experiment.checkpoints), flush=True)
{end}
"""


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        ("experiment.checkpoint(metrics={'number': 1}, quiet=True)", 0, "terminated"),
        ("experiment.checkpoint(metrics={'number': 1}, quiet=True); sys.exit(143)", 143, "terminated"),
        (
            (
                "from keepsake.recording import ending; ending._GRACE_SECONDS = 0\n"
                "assert experiment.is_running(); experiment.checkpoint(metrics={'number': 1}, quiet=True)"
            ),
            0,
            "finished",
        ),
        (
            (
                "experiment.checkpoint(metrics={'number': 1}, quiet=True)\n"
                "signal.signal(signal.SIGTERM, before); os.kill(os.getpid(), signal.SIGTERM)"
            ),
            -signal.SIGTERM,
            "terminated",
        ),
    ],
)
def test_called_by_another_handler_ours_saves_and_returns(end: str, status: int, reason: str) -> None:
    """The trainer decides what SIGTERM means; what it records after that is saved too."""
    output, messages = run(CHAINED.format(end=end), status=status)
    experiment = keepsake.experiments.get(output.split()[0])
    assert experiment.checkpoints.metrics["number"] == [0, 1]
    assert (experiment.status, experiment.end_reason) == ("stopped", reason)
    assert "not fully saved" not in messages


def test_what_waits_is_saved_before_a_chained_handler_returns(project: Path) -> None:
    """The trainer may be killed a moment later."""
    end = "os.kill(os.getpid(), signal.SIGKILL)"
    output, _ = run(CHAINED.format(end=end), status=-signal.SIGKILL)
    record = json.loads((project / f"repo/metadata/experiments/{output.split()[0]}.json").read_text())
    assert len(record["checkpoints"]) == 1


@pytest.mark.parametrize(
    ("prepare", "number", "status", "reason"),
    [
        ("", "SIGHUP", -signal.SIGHUP, "terminated"),
        ("signal.signal(signal.SIGHUP, signal.SIG_IGN)", "SIGHUP", 0, "finished"),  # as nohup does
        ("threading.Thread(target=lambda: keepsake.init().stop()).start()", "SIGTERM", -signal.SIGTERM, "terminated"),
    ],
)
def test_which_signals_end_a_run(prepare: str, number: str, status: int, reason: str) -> None:
    """A closed terminal too, and whichever thread called init() first; but no signal that the program ignores."""
    output, _ = run(
        f"""
        import os, signal, threading, keepsake
        {prepare}
        [thread.join() for thread in threading.enumerate() if thread.name.startswith("Thread")]
        experiment = keepsake.init()
        print(experiment.id, flush=True)
        os.kill(os.getpid(), signal.{number})
        """,
        status=status,
    )
    assert keepsake.experiments.get(output.strip()).end_reason == reason


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_process_1_of_a_container_ends_as_it_says(number: signal.Signals) -> None:
    """No signal has a default action there, so raising it again would do nothing."""
    prefix = ("unshare", "--pid", "--fork", "--kill-child")
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can make a process 1, with unshare")
    output, _ = run(
        f"""
        import os, signal, time, keepsake
        experiment = keepsake.init()
        assert os.getpid() == 1
        print(experiment.id)
        os.kill(1, {int(number)})
        time.sleep(60)
        """,
        status=128 + number,
        prefix=prefix,
    )
    experiment = keepsake.experiments.get(output.strip())
    assert (experiment.status, experiment.end_reason) == ("stopped", "terminated")
