"""A disk that is really full: a small file system in memory, mounted where only the script under test sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.programs import run

_UNSHARE = (
    "unshare",
    "--mount",
    *(() if hasattr(os, "geteuid") and os.geteuid() == 0 else ("--user", "--map-root-user")),
)
_MOUNT = 'mount -t tmpfs -o size=8m,nr_inodes=3000 none small && export SMALL="$PWD/small"'

# 20 checkpoints of 1 MB each; what returned is noted, with its path: that of a checkpoint without its files is None
_TRAIN = """
import hashlib, json, os, random, subprocess, sys
import keepsake
{imports}
experiment = keepsake.init(params={{"a": 1}})
returned = {{}}
for number in range(20):
    content = random.Random(number).randbytes(1_000_000)
    with open("model.pth", "r+b" if number else "wb") as file:  # in place, which needs no more room
        file.write(content)
    checkpoint = experiment.checkpoint(path="model.pth", metrics={{"number": number}}, quiet=True)
    if checkpoint is not None:
        returned[checkpoint.id] = number if checkpoint.path else None
experiment.stop()
print(json.dumps([experiment.id, returned, experiment.status]), flush=True)
"""
# Makes room, lets the next run finish what was left, and checks it all
_CHECK = """
subprocess.run(["mount", "-o", "remount,size=64m", os.environ["SMALL"]], check=True)
from keepsake.recording import recovery
from keepsake.spool import entry
entry.FRESH_SECONDS = recovery.FRESH_SECONDS = 0.1  # what the first run tries again would be left to it
keepsake.init().stop()
import threading
for thread in threading.enumerate():
    if thread.name == "keepsake-recovery":
        thread.join()
saved = {checkpoint.id: checkpoint for checkpoint in keepsake.experiments.get(experiment.id).checkpoints}
assert returned.keys() <= saved.keys(), "checkpoints are missing"
for checkpoint_id, number in returned.items():
    if number is not None:
        with saved[checkpoint_id].open("model.pth") as file:
            assert file.read() == random.Random(number).randbytes(1_000_000), f"checkpoint {number} has other files"
print("all there")
"""


def _can_mount() -> bool:
    if shutil.which("unshare") is None or sys.platform != "linux":
        return False
    command = [*_UNSHARE, "sh", "-c", "mount -t tmpfs none /mnt && mount -o remount,size=2m /mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not _can_mount(), reason="no right to mount a small file system")


@pytest.fixture(autouse=True)
def project(project_directory: Path) -> Path:
    (project_directory / "small").mkdir()
    return project_directory


def run_on_small_disk(program: str, then: str = "true", **environment: str) -> tuple[str, str]:
    """Run a script that sees 8 MB at `small`, when the shell command `then` has been run there."""
    prefix = (*_UNSHARE, "sh", "-c", f'{_MOUNT} && {then} && exec "$@"', "sh")
    return run(program, 0, prefix, 120, **environment)


def check_result(output: str, messages: str) -> list[int | None]:
    """Return which checkpoints had returned with their files; None for those without."""
    first, last = output.splitlines()
    assert last == "all there"
    assert "Traceback" not in messages
    assert "unexpected" not in messages
    _, returned, status = json.loads(first)
    assert status == "stopped"
    return list(returned.values())


def test_a_repository_that_gets_full_costs_nothing(project: Path) -> None:
    """What does not fit waits in the spool, and arrives when there is room."""
    (project / "keepsake.yaml").write_text("repository: file://small/repo\n")
    program = _TRAIN.format(imports="from keepsake.recording import job; job._RETRY_SECONDS = (0.1,) * 5") + _CHECK
    output, messages = run_on_small_disk(program)
    assert check_result(output, messages) == list(range(20))
    assert "No space left on device" in messages
    assert "kept in" in messages


def test_a_spool_that_gets_full_refuses_files_and_keeps_the_metrics(project: Path) -> None:
    """With the repository out of reach, so that nothing leaves the spool; the earlier checkpoints are not touched."""
    program = _TRAIN.format(imports="") + "del os.environ['KEEPSAKE_OFFLINE']" + _CHECK
    output, messages = run_on_small_disk(program, KEEPSAKE_SPOOL="small/spool", KEEPSAKE_OFFLINE="1")
    numbers = check_result(output, messages)
    assert len(numbers) >= 6
    assert numbers[:6] == list(range(6))
    assert "No space left" in messages or "nearly full" in messages


@pytest.mark.parametrize("what", ["bytes", "inodes"])
@pytest.mark.parametrize("holds", ["spool", "everything"])
def test_a_disk_that_somebody_else_fills_costs_the_files_and_not_the_metrics(
    project: Path, what: str, holds: str
) -> None:
    """To the last byte, or to the last file that can be made. Metrics need next to nothing, and that is kept back."""
    program = f"""
        import contextlib, itertools, os, shutil, time
        import keepsake
        from tests.waiting import wait_until

        open("w", "wb").write(bytes(500_000))
        experiment = keepsake.init()
        experiment.checkpoint(step=0)
        spool, small = experiment._run.entry.directory, os.environ["SMALL"]
        wait_until((spool / ".room").exists)
        wait_until(lambda: not list(spool.glob("*.jsonl")))
        os.mkdir(small + "/fill")
        with contextlib.suppress(OSError):
            for number in itertools.count():
                with open(small + f"/fill/{{number}}", "wb", buffering=0) as file:
                    file.write(bytes({4096 if what == "bytes" else 0}))
        for step in range(1, 6):
            experiment.checkpoint(path="w", step=step, metrics={{"number": step}}, quiet=True)
            time.sleep(0.1)
        shutil.rmtree(small + "/fill")
        experiment.stop()
        found = keepsake.experiments.get(experiment.id).checkpoints
        print([(checkpoint.step, checkpoint.metrics) for checkpoint in found])
        print([checkpoint.step for checkpoint in found if checkpoint.path])
    """
    environment = {"KEEPSAKE_SPOOL": "small/spool"} if holds == "spool" else {}
    then = "true" if holds == "spool" else "cp keepsake.yaml small && cd small"
    output, messages = run_on_small_disk(program, then=then, **environment)
    recorded, with_files = output.splitlines()
    assert recorded == str([(0, None), *((step, {"number": step}) for step in range(1, 6))])
    # A journal that has been sent gives back the one file that can be made, which the next checkpoint may take
    assert what == "inodes" or with_files == "[]"
    assert "is saved without its files" in messages


def test_a_disk_with_everything_on_it_gets_full(project: Path) -> None:
    """Project, spool and repository together, as usual: what had returned is there afterwards."""
    program = _TRAIN.format(imports="from keepsake.recording import job; job._RETRY_SECONDS = (0.1,) * 5") + _CHECK
    output, messages = run_on_small_disk(program, then="cp keepsake.yaml small && cd small")
    assert [number for number in check_result(output, messages) if number is not None][:2] == [0, 1]


def test_a_checkout_that_does_not_fit_changes_nothing(project: Path) -> None:
    """Before the first file is replaced, all of them are there; with the files of the person still in their place."""
    output, _ = run_on_small_disk(
        """
        import os, keepsake
        experiment = keepsake.init()
        for name in "abc":
            os.makedirs("code", exist_ok=True)
            open(f"code/{name}", "wb").write(os.urandom(3_000_000))
        checkpoint = experiment.checkpoint(path="code", quiet=True)
        experiment.stop()
        os.makedirs("small/code")
        open("small/code/b", "w").write("mine")
        try:
            checkpoint.checkout("small", quiet=True)
        except keepsake.exceptions.WriteError as error:
            print(error)
        assert open("small/code/b").read() == "mine"
        assert os.listdir("small/code") == ["b"], os.listdir("small/code")
        assert os.listdir("small") == ["code"], os.listdir("small")
        """
    )
    assert "No space left on device" in output


def test_a_full_home_does_not_stop_a_listing(project: Path) -> None:
    """The index is only a convenience: without it, everything is read from the repository."""
    run_on_small_disk(
        """
        import os, subprocess, sys, keepsake
        keepsake.init().stop()
        open("small/fill", "wb").write(bytes(1))
        try:
            open("small/fill", "wb").write(bytes(9_000_000))
        except OSError:
            pass
        done = subprocess.run([sys.executable, "-m", "keepsake", "ls", "-q"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert len(done.stdout.split()) == 1
        """,
        XDG_CACHE_HOME="small",
    )
