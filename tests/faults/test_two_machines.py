"""Two machines on one project: one spool and one repository, each seen through the machine's own clock and cache."""

from __future__ import annotations

import os
import random
import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.faults import inspect_repository as inspect
from tests.faults.programs import run, start
from tests.storage.test_network_disk import needs_fuse, needs_sshfs, run_on, sshfs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="removes files that are open")

# A machine with a name and a clock of its own, on which no process of another one is seen
_MACHINE = """
import os, time
_time, _skew = time.time, float(os.environ["SKEW"])
time.time = lambda: _time() + _skew
time.time_ns = lambda: int(time.time() * 1e9)
from keepsake.util import processes
processes._place = lambda: os.environ["MACHINE"]
"""
_STAMP = """
# Files get the machine's own time, as from a server that takes it over
_utime = os.utime
def utime(path, times=None, *, ns=None, **options):
    if times is None and ns is None:
        times = (time.time(), time.time())
    _utime(path, times, **options) if ns is None else _utime(path, ns=ns, **options)
os.utime = utime
"""
# Prints its ID when it has begun, and each checkpoint's when it has returned
_TRAIN = """
import sys, keepsake
experiment = keepsake.init()
print(experiment.id, flush=True)
end = time.monotonic() + float(os.environ["SECONDS"])
number = 0
while time.monotonic() < end:
    name = f"weights-{os.environ['MACHINE']}-{os.getpid()}"
    with open(name, "wb") as file:
        file.write(f"weights {number}".encode() * (1000 if number % 2 else 200_000))
    checkpoint = experiment.checkpoint(path=name, metrics={"number": number}, quiet=True)
    if checkpoint is None or not checkpoint.path:
        raise SystemExit(f"not saved: {checkpoint}")
    print(checkpoint.id, name, number, flush=True)
    number += 1
    time.sleep(0.005)
"""
# Sends what waits again and again, as `keepsake sync` and the recoveries of other runs do
_SEND = """
from pathlib import Path
from keepsake.recording.recovery import send
from keepsake.spool.places import pending, spool_root
end = time.monotonic() + float(os.environ["SECONDS"])
count = 0
while time.monotonic() < end:
    for waiting in pending(spool_root(Path.cwd())):
        send(waiting, lambda sent: None)
        count += 1
print(count)
"""


def _returned(output: str) -> tuple[str, dict[str, inspect.Contents]]:
    """Return a run's experiment and what each of its checkpoints holds that had returned."""
    experiment_id, *lines = output[: output.rfind("\n")].splitlines()  # a kill may cut the last line off
    returned: dict[str, inspect.Contents] = {}
    for line in lines:
        checkpoint_id, name, number = line.split()
        returned[checkpoint_id] = {name: f"weights {number}".encode() * (1000 if int(number) % 2 else 200_000)}
    return experiment_id, returned


def _beside(skews: tuple[float, float], seconds: float, kill_after: float | None) -> tuple[str, str]:
    """Let one machine train and be killed, if wanted, while the other sends; return what the first one wrote."""
    one, two = (
        start(_MACHINE + _STAMP + program, MACHINE=name, SKEW=str(skew), SECONDS=str(seconds))
        for name, program, skew in zip(("one", "two"), (_TRAIN, _SEND), skews, strict=True)
    )
    with one as trainer, two as sender:
        if kill_after is not None:
            time.sleep(kill_after)
            os.killpg(trainer.pid, signal.SIGKILL)
        output, messages = trainer.communicate(timeout=120)
        sent, errors = sender.communicate(timeout=120)
    assert trainer.returncode == 0 if kill_after is None else trainer.returncode in (0, -signal.SIGKILL), messages
    assert sender.returncode == 0, errors
    assert "Traceback" not in messages
    return output, sent


@pytest.mark.parametrize(
    ("rounds", "seconds"),
    [
        pytest.param(2, 1.5, id="quick"),
        pytest.param(40, 4, id="exhaustive", marks=[pytest.mark.exhaustive, pytest.mark.timeout(1200)]),
    ],
)
def test_machines_whose_clocks_differ_lose_nothing(project_directory: Path, rounds: int, seconds: float) -> None:
    """One trains, and is killed in every other round. To the other, all of it looks hours old or comes from later."""
    generator = random.Random(rounds)
    total = 0
    for number in range(rounds):
        skews = generator.choice([(-7200.0, 0.0), (7200.0, 0.0), (-100.0, 100.0), (45.0, -45.0)])
        kill_after = generator.uniform(0.6, seconds) if number % 2 else None
        output, _ = _beside(skews, seconds, kill_after)
        for file in (project_directory / ".keepsake").rglob("*"):
            os.utime(file, (0, 0))
        run("import keepsake\nkeepsake.init()")
        if "\n" in output:
            experiment_id, returned = _returned(output)
            total += len(returned)
            assert inspect.missing(project_directory, returned, experiment_id) == []
    assert inspect.broken(project_directory / "repo") == []
    assert total > rounds
    print(f"{rounds} rounds, {total} checkpoints")


_ON_MOUNTS = """
import os, subprocess, sys

def machine(name, program, skew):
    environment = {{**os.environ, "MACHINE": name, "SKEW": str(skew), "SECONDS": "{seconds}"}}
    return subprocess.Popen([sys.executable, program], cwd=name, env=environment, stdout=subprocess.PIPE, text=True)

open("under/keepsake.yaml", "w").write("repository: file://repo\\n")
trainer = machine("one", "../train.py", 0)
output = trainer.stdout.readline()
sender = machine("two", "../send.py", {skew})
output += trainer.stdout.read()
trainer.wait()
sent = int(sender.communicate()[0])
open("output", "w").write(output)
assert (trainer.returncode, sender.returncode) == (0, 0)
assert sent >= 1, sent
"""


@pytest.mark.parametrize("skew", [0, 100])
@pytest.mark.parametrize(
    ("client", "seconds"),
    [
        pytest.param("bindfs", 3, id="quick", marks=needs_fuse),
        pytest.param("bindfs", 90, id="exhaustive", marks=[needs_fuse, pytest.mark.exhaustive]),
        pytest.param("sshfs", 60, id="sshfs", marks=[needs_sshfs, pytest.mark.exhaustive]),
    ],
)
def test_machines_that_cache_what_the_other_changes_lose_nothing(
    tmp_path: Path, seconds: int, skew: int, client: str
) -> None:
    """Each sees names as they were up to three seconds ago, as over NFS. No checkpoint is refused."""
    project = tmp_path / "under"
    project.mkdir()
    (tmp_path / "train.py").write_text(_MACHINE + _TRAIN)
    (tmp_path / "send.py").write_text(_MACHINE + _SEND)
    caches = "-o entry_timeout=3,attr_timeout=3,negative_timeout=3"
    command = f"mounted bindfs -f {caches} under" if client == "bindfs" else sshfs(tmp_path, caches)
    run_on({"one": command, "two": command}, textwrap.dedent(_ON_MOUNTS.format(seconds=seconds, skew=skew)), tmp_path)
    os.chdir(project)
    text = (tmp_path / "output").read_text()
    for file in (project / ".keepsake").rglob("*"):
        os.utime(file, (0, 0))
    for record in (project / ".keepsake/spool").glob("*/record.json"):  # the project moved: its URL is another one
        record.write_text(record.read_text().replace(str(tmp_path / "one"), str(project)))
    run("import keepsake\nkeepsake.init()")
    experiment_id, returned = _returned(text)
    assert len(returned) > 10
    assert inspect.missing(project, returned, experiment_id) == []
    print(f"{len(returned)} checkpoints")
