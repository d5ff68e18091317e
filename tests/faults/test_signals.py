"""Signals that come at a bad moment, and those of processes that a run has forked."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

import keepsake
from tests.faults.programs import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork are POSIX")


@pytest.fixture(autouse=True)
def project(project_directory: Path) -> Path:
    return project_directory


@pytest.mark.parametrize("line", ["checkpoint", "end_reason"])
def test_sigterm_in_the_middle_of_writing_a_line_holds_up_nothing(project: Path, line: str) -> None:
    """Of a checkpoint, or of the goodbye at the end. The threads that save write lines too, and need not wait."""
    output, messages = run(
        f"""
        import os, signal, time, keepsake
        from keepsake.recording import run
        from keepsake.recording import spool as _spool

        _append = _spool._append
        run.get_imported_packages = lambda modules: time.sleep(0.5) or {{"late": "1.0"}}

        def append(journal, data):
            global _append
            if b"{line}" in data and _spool._append is append:
                _spool._append = _append
                os.kill(os.getpid(), signal.SIGTERM)
            return _append(journal, data)

        experiment = keepsake.init()
        print(experiment.id, flush=True)
        _spool._append = append
        experiment.checkpoint(metrics={{"number": 1}}, quiet=True)
        """,
        status=-signal.SIGTERM,
    )
    assert "not fully saved" not in messages
    experiment = keepsake.experiments.get(output.strip())
    assert (experiment.status, experiment.end_reason) == ("stopped", "terminated")
    assert experiment.python_packages == {"late": "1.0"}
    assert not (project / ".keepsake").exists()


def test_ctrl_c_ends_the_program_by_its_signal_whatever_is_imported_meanwhile() -> None:
    """As a shell needs to know, to end a loop of runs. exec(), of which named tuples are made, makes CPython forget."""
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
    """Also if it comes just before they block in C, as Pool.terminate() can: no handler in Python is called then."""
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
