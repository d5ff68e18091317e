"""Training scripts that are run as a person runs them: by Python, in the project directory."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
_numbers = itertools.count()

# From here on `hang()` makes every operation of the storage wait forever, and `hang(verb=…, key=…)` some of them
HANGING = """
import threading
import keepsake.workplace
from tests.storage.faults import FaultyStorage

_wanted = []

def hang(verb="", key=""):
    _wanted.append((verb, key))

def _fault(moment, verb, key):
    if moment == "before" and any(v in verb and k in key for v, k in _wanted):
        threading.Event().wait()

_open_storage = keepsake.workplace.open_storage
keepsake.workplace.open_storage = lambda *arguments: FaultyStorage(_open_storage(*arguments), _fault)
"""


def start(program: str, *, prefix: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
    """Start a script in the working directory. `prefix` is a command that is to run it."""
    file = Path(f"script-{next(_numbers)}.py").absolute()
    file.write_text(textwrap.dedent(program))
    variables = {name: value for name, value in os.environ.items() if name != "KEEPSAKE_STRICT"}
    return subprocess.Popen(
        [*prefix, sys.executable, str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**variables, "PYTHONPATH": str(ROOT), **environment},
    )


def run(
    program: str, status: int = 0, prefix: tuple[str, ...] = (), seconds: float = 120, **environment: str
) -> tuple[str, str]:
    """Run a script to its end and return what it wrote to stdout and stderr; fail if its exit status is another."""
    with start(program, prefix=prefix, **environment) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with its children
            output, errors = process.communicate()
            raise AssertionError(f"did not end within {seconds} s:\n{output}\n{errors}") from None
    assert process.returncode == status, f"exit status {process.returncode}:\n{output}\n{errors}"
    return output, errors


def keepsake(*arguments: str, status: int | None = 0) -> tuple[str, str]:
    """Run the command line and return what it wrote to stdout and stderr. A `status` of None allows for any."""
    done = subprocess.run(
        [sys.executable, "-m", "keepsake", *arguments], capture_output=True, text=True, timeout=120, cwd=os.getcwd()
    )
    assert status in (None, done.returncode), f"exit status {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr
