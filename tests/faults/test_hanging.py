"""A storage that hangs never delays training, and delays the end of the program only briefly.

A message says what waits.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

import keepsake
from tests.faults.programs import HANGING, run
from tests.spools import nothing_waits

pytestmark = [
    pytest.mark.usefixtures("project"),
    pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX"),
]

_CHECKPOINTS = 100
_TRAIN = (
    HANGING
    + """
import os, signal, sys, time
import keepsake
from keepsake.recording import ending
from keepsake.recording import heartbeat
from keepsake.recording import run
from keepsake.recording import saver

heartbeat.BEAT_SECONDS = 0.05
experiment = keepsake.init(path="train.py")
print(experiment.id, flush=True)
{hang}
for number in range({count}):
    path = None
    if number % 25 == 0:
        path = "model.pth"
        open(path, "w").write(f"weights {{number}}")
    checkpoint = experiment.checkpoint(path=path, metrics={{"number": number}}, quiet=True)
    print(checkpoint.id, flush=True)
    time.sleep(0.001)
started = time.monotonic()
{end}
"""
)


def train(end: str, hang: str = "hang()") -> str:
    """Return a training script, whose storage hangs as soon as init() has returned."""
    return _TRAIN.format(end=end, hang=hang, count=_CHECKPOINTS)


def check_nothing_is_lost(output: str, status: str = "stopped") -> None:
    """Every checkpoint had returned although the storage hangs forever, and arrives once it works again."""
    experiment_id, *checkpoint_ids = output.split()
    assert len(checkpoint_ids) == _CHECKPOINTS
    run("import keepsake\nkeepsake.init()")
    experiment = keepsake.experiments.get(experiment_id)
    assert [checkpoint.id for checkpoint in experiment.checkpoints] == checkpoint_ids
    assert experiment.status == status
    for checkpoint in experiment.checkpoints:
        if checkpoint.path:
            with checkpoint.open("model.pth") as file:
                assert file.read().decode() == f"weights {checkpoint.step}"
    assert len(list(Path("repo/checkpoints").iterdir())) == 4
    assert nothing_waits(Path())


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os.environ['KEEPSAKE_EXIT_SECONDS'] = '0.5'", 0),
        ("os.environ['KEEPSAKE_EXIT_SECONDS'] = '0.5'; experiment.stop()", 0),
        ("os.environ['KEEPSAKE_EXIT_SECONDS'] = '0.5'; sys.exit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -2),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -15),
    ],
)
def test_whatever_ends_the_program_it_ends_and_says_what_is_pending(end: str, status: int) -> None:
    output, messages = run(train(end), status=status)
    assert f"Experiment {output[:7]} is not fully saved" in messages
    assert "keepsake sync" in messages
    assert "Exception ignored" not in messages
    check_nothing_is_lost(output, "failed" if status > 0 else "stopped")


@pytest.mark.parametrize(
    "which",
    [
        'verb="put", key="heartbeats"',
        'verb="upload"',
        *(pytest.param(f'verb="{verb}"', marks=pytest.mark.exhaustive) for verb in ("put", "delete", "get", "list")),
    ],
)
def test_one_kind_of_request_that_hangs_holds_up_nothing_either(which: str) -> None:
    """Only heartbeats, only archives, …: all that had returned arrives, and training is not held up."""
    output, _ = run(train("os.kill(os.getpid(), signal.SIGTERM)", f"hang({which})"), status=-15)
    check_nothing_is_lost(output)


def test_a_second_interrupt_ends_the_program_at_once() -> None:
    """While a normal end waits for a server that hangs, Ctrl-C cuts that short, and says what is pending."""
    end = "timer = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)); timer.daemon = True; timer.start()"
    output, messages = run(train(end))
    assert "is not fully saved" in messages
    check_nothing_is_lost(output)


def test_interrupting_many_experiments_takes_no_longer_than_one() -> None:
    """Ctrl-C waits 2 s in all. (12 s are allowed for: a machine may be busy. One after another would be 30 s.)"""
    program = train(
        "import atexit; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
        hang="others = [keepsake.init() for _ in range(15)]; hang(); time.sleep(0.2)",
    )
    started = time.monotonic()
    output, messages = run(program, status=-2)
    assert time.monotonic() - started < 12 + 4  # the script's own beginning
    assert "is not fully saved" in messages
    assert len(output.split()) == 1 + _CHECKPOINTS


def test_init_gives_up_and_names_the_switch() -> None:
    """A server that does not answer is a clear error on the first line of the training, and nothing is left behind."""
    program = """
    import time
    from keepsake.recording import contact
    import keepsake
    contact._DEADLINE_SECONDS = 0.5
    hang()
    try:
        keepsake.init(path="train.py")
    except keepsake.exceptions.WriteError as error:
        print(error)
    """
    output, _ = run(HANGING + re.sub(r"^    ", "", program, flags=re.MULTILINE))
    assert "does not answer" in output
    assert "KEEPSAKE_OFFLINE=1" in output
    assert nothing_waits(Path())


def test_an_init_that_was_given_up_does_not_hold_up_the_next_one() -> None:
    """Its thread would publish what is recorded, and still waits for the server."""
    program = """
import os, time
from keepsake.recording import contact
import keepsake
contact._DEADLINE_SECONDS = 0.2
first = os.urandom
os.urandom = lambda size: bytes(size) if size == 32 else first(size)  # the ID of the first
hang(key="0" * 64)
try:
    keepsake.init()
except keepsake.exceptions.WriteError as error:
    print(error)
os.urandom, contact._DEADLINE_SECONDS = first, 15.0
experiment = keepsake.init()
experiment.checkpoint(metrics={"a": 1}, quiet=True)
os.environ["KEEPSAKE_EXIT_SECONDS"] = "5"
experiment.stop()
print(experiment.id)
"""
    output, _ = run(HANGING + program)
    *message, experiment_id = output.split()
    assert "not answer" in " ".join(message)
    assert len(keepsake.experiments.get(experiment_id).checkpoints) == 1
    assert nothing_waits(Path())


def test_a_recovery_that_hangs_does_not_hold_up_the_next_run() -> None:
    """What an earlier run left is sent in the background; init() does not wait for it."""
    output, _ = run(train("os.kill(os.getpid(), signal.SIGKILL)"), status=-9)
    earlier = output.split()[0]
    program = f"""
import keepsake
from keepsake.recording import ending
ending._RECOVERY_SECONDS = 0.2
hang(key="{earlier}")
experiment = keepsake.init()
experiment.checkpoint(metrics={{"a": 1}}, quiet=True)
experiment.stop()
print(experiment.id)
"""
    later, _ = run(HANGING + program)
    assert len(keepsake.experiments.get(later.strip()).checkpoints) == 1
    check_nothing_is_lost(output, "running")  # as its heartbeat says for half a minute
