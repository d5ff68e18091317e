"""A power cut: what was flushed to the disk survives, and only the last second was not flushed.

No test can pull the plug. Instead, the script notes what each file held at its last flush (fsync), and is then killed.
A power cut could take whatever the files hold beyond that.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from tests.faults.programs import HANGING, run

pytestmark = [
    pytest.mark.usefixtures("project"),
    pytest.mark.skipif(sys.platform != "linux", reason="reads open files by their descriptor"),
]

_FLUSHED = """
import hashlib, json, os, signal, stat, sys, threading, time
_flushed = {}
_fsync = os.fsync

def _noting(descriptor):
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):  # what is there before counts: what is written meanwhile may be left out
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            _flushed[status.st_ino] = hashlib.sha256(file.read()).hexdigest()
    _fsync(descriptor)

os.fsync = _noting

def settle():
    # Wait until the background has flushed what there is to flush
    from keepsake.recording.saver import saver
    deadline = time.monotonic() + 30
    while any("sync" in {*job.due, *job.active} or job.tasks for job in list(saver()._jobs.values())):
        assert time.monotonic() < deadline
        time.sleep(0.01)

def cut():
    print(json.dumps(_flushed), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

import keepsake
"""

_TWENTY_CHECKPOINTS = """
experiment = keepsake.init(path="train.py")
for number in range(20):
    open("model.pth", "w").write(f"weights {number}" * 1000)
    experiment.checkpoint(path="model.pth", metrics={"number": number}, quiet=True)
"""


def not_flushed(directory: Path, output: str) -> list[str]:
    """Return which files hold something else than when they were last flushed."""
    flushed = json.loads(output.splitlines()[-1])
    needless = ("repositories.json", ".room")  # which repositories were used before, and nothing
    files = [path for path in directory.rglob("*") if path.is_file() and path.name not in needless]
    files = [path for path in files if "tmp" not in path.suffix]
    return [
        path.relative_to(directory).as_posix()
        for path in files
        if flushed.get(str(path.stat().st_ino)) != hashlib.sha256(path.read_bytes()).hexdigest()
    ]


def test_every_object_is_flushed_before_it_gets_its_name(project: Path) -> None:
    """Records and archives are whole after a power cut. (A heartbeat need not be: it would be stale.)"""
    output, _ = run(
        f"{_FLUSHED}{_TWENTY_CHECKPOINTS}experiment.stop(); cut()",
        status=-9,
    )
    assert not_flushed(project / "repo", output) == []
    assert len(list((project / "repo").rglob("*.tar.gz"))) == 21


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param("pass", id="none"),
        pytest.param("hang()", id="hanging"),
        pytest.param("os.rename('repo', 'away'); open('repo', 'w').close()", id="unreachable"),
        pytest.param("hang('upload')", id="slow upload"),
    ],
)
def test_what_waits_is_flushed_within_a_second(project: Path, trouble: str) -> None:
    """The journal, and the record without which nobody could read it, whatever keeps them from being sent."""
    output, _ = run(
        HANGING
        + _FLUSHED
        + f"""
experiment = keepsake.init()
settle()
{trouble}
for number in range(200):
    experiment.checkpoint(metrics={{"number": number}}, quiet=True)
    time.sleep(0.002)
settle()
cut()
""",
        status=-9,
    )
    assert not_flushed(project / ".keepsake", output) == []


def test_what_is_recorded_offline_is_flushed_within_a_second(project: Path) -> None:
    """A compute node may not see its repository for days: files are flushed as well."""
    output, _ = run(
        f"{_FLUSHED}{_TWENTY_CHECKPOINTS}settle(); cut()",
        status=-9,
        KEEPSAKE_OFFLINE="1",
    )
    assert not_flushed(project / ".keepsake", output) == []


def test_init_does_not_wait_for_the_names_of_its_files(project: Path) -> None:
    """A disk takes milliseconds to make a name durable. It happens right after init() instead."""
    output, _ = run("""
import os, stat, threading, time
flushed, begun, sync = [], threading.Event(), os.fsync

def slow(descriptor):
    if stat.S_ISDIR(os.fstat(descriptor).st_mode) and threading.current_thread().name == "keepsake-publish":
        begun.wait()
        flushed.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
    sync(descriptor)

os.fsync = slow
import keepsake
experiment = keepsake.init()
begun.set()
while len(flushed) < 2:
    time.sleep(0.01)
print(sorted(flushed))
""")
    assert output == "['experiments', 'repo']\n"
