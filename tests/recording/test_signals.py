"""Signals that end runs, in forked children too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.recording.test_ending import PRELUDE, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork are POSIX")


def test_a_signal_that_comes_at_once_ends_a_forked_child(project_directory: Path) -> None:
    """It does not end the parent's run, and does not wait forever for a lock that the parent holds."""
    Path("train.py").write_text("code")
    first = "import os, signal\nos.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
    run(
        """
        child = os.fork()
        if child == 0:
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert keepsake.experiments.get(experiment.id).ended is None
        """,
        prelude=first + PRELUDE,
    )
