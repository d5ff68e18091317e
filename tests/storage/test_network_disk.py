"""Disks that are not quite disks: file systems in user space that cache or refuse, and mounts that look like one disk.

They are mounted for real, in a mount namespace of their own, where the tests run as root on Linux. sshfs is mounted on
OpenSSH's server of SFTP, without a connection in between. Two mounts of one directory are two clients, with bindfs too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNSHARE = ["unshare", "--mount", "--propagation", "private"]

_CANNOT_MOUNT = "mounting needs root on Linux, and unshare"
_NO_FUSE = "needs root on Linux, /dev/fuse and bindfs (apt install bindfs)"
_NO_SSHFS = "needs root on Linux, /dev/fuse, sshfs and sftp-server (apt install sshfs openssh-sftp-server)"
_SFTP = next(filter(os.path.exists, ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")), "")


def _can_mount() -> bool:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


def _has_fuse(program: str) -> bool:
    return _can_mount() and os.path.exists("/dev/fuse") and shutil.which(program) is not None


needs_mounts = pytest.mark.skipif(not _can_mount(), reason=_CANNOT_MOUNT)
needs_fuse = pytest.mark.skipif(not _has_fuse("bindfs"), reason=_NO_FUSE)
needs_sshfs = pytest.mark.skipif(not (_has_fuse("sshfs") and _SFTP), reason=_NO_SSHFS)


_MOUNTED = """
set -e
pids=
mounted() { "$@" & pids="$pids $!"; }
{mounts}
for place in {places}; do until mountpoint -q "$place"; do sleep 0.02; done; done
set +e
"$PYTHON" program.py; status=$?
umount -l {places}
for pid in $pids; do kill "$pid" 2>/dev/null; done
wait
exit "$status"
"""


def run_on(mounts: dict[str, str], program: str, directory: Path) -> None:
    """Run a program in `directory` while directories in it are mounted: place → command that mounts it there.

    A command that does not return, as those of file systems in user space, begins with `mounted`.
    """
    for place in mounts:
        (directory / place).mkdir(parents=True, exist_ok=True)
    (directory / "program.py").write_text(textwrap.dedent(program))
    lines = "\n".join(f"{command} {place}" for place, command in mounts.items())
    script = _MOUNTED.replace("{mounts}", lines).replace("{places}", " ".join(mounts))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", script], cwd=directory, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


# A run in a project, and what comes back of it
_TRAIN = """
import glob, os, random
os.chdir("{project}")
open("keepsake.yaml", "w").write("repository: file://{repository}\\n")
import keepsake
weights = random.Random(0).randbytes(2_500_000)
open("weights", "wb").write(weights)
open("text", "w").write("text")
experiment = keepsake.init(path="text", params={{"a": 1}})
ids = [experiment.checkpoint(path="weights", metrics={{"number": number}}, quiet=True).id for number in range(3)]
experiment.stop()
assert glob.glob(".keepsake/spool/*/") == []
(found,) = keepsake.experiments.list()
assert [checkpoint.id for checkpoint in found.checkpoints] == ids
for checkpoint in found.checkpoints:
    with checkpoint.open("weights") as file:
        assert file.read() == weights
left = [name for name in os.listdir("{repository}") if "tmp" in name]
assert left == [], left
"""


@needs_mounts
@pytest.mark.parametrize(
    "mounts",
    [
        pytest.param({"project": "mount --bind under/a", "repository": "mount --bind under/b"}, id="project apart"),
        pytest.param({"repository/metadata": "mount --bind under/a"}, id="metadata apart"),
        pytest.param({"repository/checkpoints": "mount --bind under/a"}, id="archives apart"),
    ],
)
def test_mounts_that_look_like_one_disk(tmp_path: Path, mounts: dict[str, str]) -> None:
    """Nothing can be renamed from one to the other, though their device is the same."""
    for name in ("project", "repository", "under/a", "under/b"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    run_on(mounts, _TRAIN.format(project="project", repository="../repository"), tmp_path)


@needs_fuse
@pytest.mark.parametrize(
    "options",
    [
        "--xattr-none",
        "--chmod-deny --chown-deny --chgrp-deny",
        "--hide-hard-links --ctime-from-mtime",
        "-o entry_timeout=3,attr_timeout=3",
    ],
)
def test_file_systems_in_user_space(tmp_path: Path, options: str) -> None:
    """Without extended attributes, permissions that can be changed, or a status that is up to date."""
    (tmp_path / "under").mkdir()
    program = _TRAIN.format(project="mounted", repository="repository")
    run_on({"mounted": f"mounted bindfs -f {options} under"}, program, tmp_path)


def sshfs(directory: Path, options: str) -> str:
    """Return a command that mounts a new directory `under` by sshfs."""
    (directory / "under").mkdir(exist_ok=True)
    server = directory / "server"
    server.write_text(f"#!/bin/sh\nexec {_SFTP}\n")
    server.chmod(0o755)
    return f"mounted sshfs -f -o ssh_command={server} {options} host:{directory}/under"


@needs_sshfs
@pytest.mark.parametrize(
    "options", ["", "-o follow_symlinks", "-o cache=no", "-o disable_hardlink,workaround=rename", "-o kernel_cache"]
)
@pytest.mark.parametrize(("project", "repository"), [("mounted", "repository"), ("project", "../mounted/repository")])
def test_sshfs(tmp_path: Path, options: str, project: str, repository: str) -> None:
    """With the repository or all of the project on it, and with options that people set."""
    (tmp_path / "project").mkdir()
    run_on({"mounted": sshfs(tmp_path, options)}, _TRAIN.format(project=project, repository=repository), tmp_path)


_REMOVE = """
import os, subprocess, sys
open("under/keepsake.yaml", "w").write("repository: file://repo\\n")

def keepsake(machine, *arguments):
    done = subprocess.run([sys.executable, "-m", "keepsake", *arguments], cwd=machine, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr

train = "import keepsake; print(keepsake.init(quiet=True).id)"
ids = [subprocess.check_output([sys.executable, "-c", train], cwd="one", text=True).strip() for _ in range(2)]
keepsake("one", "rm", "-f", ids[0])
keepsake("one", "push", f"file://{os.getcwd()}/copy")
os.listdir("two/repo/removed")
keepsake("one", "rm", "-f", ids[1])
assert "Left out: 1 experiment" in keepsake("two", "pull", f"file://{os.getcwd()}/copy")
"""


@needs_sshfs
def test_what_another_client_has_just_removed_is_not_copied_back(tmp_path: Path) -> None:
    """sshfs remembers for 20 seconds which files a directory has."""
    command = sshfs(tmp_path, "")
    run_on({"one": command, "two": command}, _REMOVE, tmp_path)


_ADD = """
import json, subprocess, sys
ADDER = '''
import json, sys, time
from keepsake.exceptions import PreconditionFailed
from keepsake.storage import open_storage
storage = open_storage(sys.argv[1])
for number in range(30):
    while True:
        numbers, etag = storage.get("a/k")
        try:
            more = [*json.loads(numbers), f"{sys.argv[2]}{number}"]
            storage.put("a/k", json.dumps(more).encode(), if_match=etag)
            break
        except PreconditionFailed:
            pass
    time.sleep(0.02)
'''
from keepsake.storage import open_storage
open_storage("file://under").put("a/k", b"[]")
hosts = [subprocess.Popen([sys.executable, "-c", ADDER, f"file://{host}", host]) for host in ("one", "two")]
assert [host.wait() for host in hosts] == [0, 0]
numbers = json.load(open("under/a/k"))
assert sorted(numbers) == sorted(f"{host}{number}" for host in ("one", "two") for number in range(30)), numbers
"""


@needs_fuse
def test_two_clients_that_cache_lose_nothing(tmp_path: Path) -> None:
    """Each sees names and attributes as they were some seconds ago, as over NFS, and adds to the same object."""
    (tmp_path / "under").mkdir()
    cached = "mounted bindfs -f -o entry_timeout=3,attr_timeout=3,negative_timeout=3 under"
    run_on({"one": cached, "two": cached}, _ADD, tmp_path)


@needs_sshfs
@pytest.mark.parametrize("options", ["", "-o follow_symlinks", "-o dcache_timeout=60,attr_timeout=9,entry_timeout=9"])
def test_two_clients_of_sshfs_lose_nothing(tmp_path: Path, options: str) -> None:
    """Each makes up its own numbers of files, and is not told that a name is taken."""
    command = sshfs(tmp_path, options)
    run_on({"one": command, "two": command}, _ADD, tmp_path)
