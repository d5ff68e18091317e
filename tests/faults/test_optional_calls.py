"""System calls that a file system need not have: each is refused in every way, and a run is saved anyway.

A network share, a file system in user space or a container's mount refuses permissions, times, links or extended
attributes, with whatever error its authors chose. Everything that can be done without them is done.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from tests.faults.amounts import amounts
from tests.faults.programs import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the calls are POSIX")

_NAMES = """
EPERM EIO ENXIO EACCES EBUSY EXDEV ENODEV EINVAL EMFILE ENOTTY EFBIG ENOSPC EROFS EMLINK ENOSYS EOVERFLOW ENOTSUP
EOPNOTSUPP ETIMEDOUT ENOTCONN ESTALE EDQUOT EREMOTEIO ENODATA
"""
_ALL = [number for name in _NAMES.split() if (number := getattr(errno, name, None)) is not None]
_UNSUPPORTED = [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP]
# How a call is refused: `refuse(number)` raises; other things are said as code that runs for each `number`
_CALLS = {
    "chmod": ("os.chmod = refuse(number)", _ALL),
    "clock of files": ("os.utime = no_times", [0]),
    "copystat": ("shutil.copystat = refuse(number)", _ALL),
    "statvfs": ("os.statvfs = shutil.disk_usage = refuse(number)", _ALL),
    "fchmod": ("os.fchmod = refuse(number)", _ALL),
    "fchown": ("os.fchown = refuse(number)", _ALL),
    "link": ("os.link = refuse(number)", _ALL),
    "listxattr": ("os.listxattr = refuse(number)", _ALL),
    "posix_fadvise": ("os.posix_fadvise = refuse(number)", _ALL),
    "posix_fallocate": ("os.posix_fallocate = refuse(number)", [*_UNSUPPORTED, errno.EIO, errno.EPERM, errno.EBADF]),
    "symlink": ("os.symlink = refuse(number)", _ALL),
    "utime": ("os.utime = refuse(number)", _ALL),
    "writev": ("os.writev = refuse(number)", _ALL),
    "every one of them at once": (
        "os.chmod = os.fchmod = os.fchown = os.link = os.listxattr = os.symlink = os.utime = refuse(number)",
        _ALL,
    ),
    "clone": ("fcntl.ioctl = refuse(number)", _ALL),
    "fsync": ("os.fsync = refuse(number)", _UNSUPPORTED),
    "fsync in the spool": ("os.fsync = where(os.fsync, is_in_spool)", _ALL),
    "fsync of directories": ("os.fsync = where(os.fsync, lambda fd: stat.S_ISDIR(os.fstat(fd).st_mode))", _ALL),
    "open of directories": ("os.open = where(os.open, lambda path, flags, *_, **__: flags & os.O_DIRECTORY)", _ALL),
    "stat in directories": ("os.stat = where(os.stat, lambda path, dir_fd=None, **_: dir_fd is not None)", _ALL),
    "rename elsewhere": ("os.rename = os.replace = where(os.replace, goes_elsewhere)", [errno.EXDEV]),
    "rename out of the spool": ("os.rename = os.replace = where(os.replace, leaves_spool)", _ALL),
    "link in the spool": ("os.link = where(os.link, lambda source, target: '.keepsake' in str(source))", _ALL),
    # ENXIO is an answer: no data follows
    "seek to holes": ("os.lseek = where(os.lseek, lambda fd, start, how: how > 2)", [*{*_ALL} - {errno.ENXIO}]),
}
_PROGRAM = """
import fcntl, os, random, shutil, stat, tarfile
import keepsake


def refuse(number):
    def call(*arguments, **options):
        raise OSError(number, os.strerror(number))
    for functions in (os.supports_fd, os.supports_follow_symlinks):
        functions.add(call)
    return call

def where(real, condition):
    def call(*arguments, **options):
        return (refuse(number) if condition(*arguments, **options) else real)(*arguments, **options)
    for functions in (os.supports_fd, os.supports_follow_symlinks, os.supports_dir_fd):
        if real in functions:
            functions.add(call)
    return call

def goes_elsewhere(source, target):
    return os.path.dirname(os.path.abspath(source)) != os.path.dirname(os.path.abspath(target))

def leaves_spool(source, target):
    return ".keepsake/spool" in str(source) and ".keepsake/spool" not in str(target)

def is_in_spool(fd):
    return any(
        samestat(fd, os.path.join(directory, name)) for directory, _, names in os.walk(".keepsake") for name in names
    )

def samestat(fd, path):
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False

def no_times(path, times=None, *, ns=(0, 0), **options):
    real_utime(path, ns=tuple(time // 10**9 * 10**9 for time in ns))

real_utime = os.utime

def restore(calls=dict(vars(os)), ioctl=fcntl.ioctl, more=dict(vars(shutil))):
    vars(os).update(calls)
    vars(shutil).update(more)
    fcntl.ioctl = ioctl

def save_and_read_back():
    contents = {{"weights": random.Random(number).randbytes(1_300_000), "code/text": b"text" * 100}}
    os.makedirs("code", exist_ok=True)
    for name, content in contents.items():
        open(name, "wb").write(content)
    with open("sparse", "wb") as file:
        file.truncate(3_000_000)
        file.write(b"1")
    contents["sparse"] = open("sparse", "rb").read()
    experiment = keepsake.init(path="code", params={{"number": number}})
    paths = ["sparse", "weights"]
    checkpoints = [experiment.checkpoint(path=path, metrics={{"a": path}}, quiet=True) for path in paths]
    experiment.stop()
    for name in contents:
        os.unlink(name)
    os.rmdir("code")
    assert os.listdir(".keepsake/spool") == ["repositories.json"], os.listdir(".keepsake/spool")
    assert [name for name in os.listdir("repo") if "tmp" in name] == []
    found = keepsake.experiments.get(experiment.id)
    assert found.params == {{"number": number}} and found.status == "stopped"
    assert [checkpoint.id for checkpoint in found.checkpoints] == [checkpoint.id for checkpoint in checkpoints]
    with found.checkpoints[1].open("weights") as file:
        assert file.read() == contents["weights"]
    with tarfile.open(f"repo/experiments/{{found.id}}.tar.gz") as archive:
        (text,) = (member for member in archive if member.name.endswith("code/text"))
        assert archive.extractfile(text).read() == contents["code/text"]
    for checkpoint, path in zip(found.checkpoints, paths):
        os.makedirs("code")
        open("code/text", "w").write("my own")
        checkpoint.checkout(".", quiet=True)
        for name in (path, "code/text"):
            assert open(name, "rb").read() == contents[name], name
        keepsake.project.undo_checkout(".")
        assert open("code/text").read() == "my own"
        shutil.rmtree("code")

for number in {numbers}:
    {refusal}
    try:
        save_and_read_back()
    except BaseException:
        print("with", os.strerror(number), flush=True)
        raise
    finally:
        restore()
"""


@amounts(8, 0)
@pytest.mark.parametrize("call", _CALLS)
def test_a_run_is_saved_without(project_directory: Path, call: str, count: int) -> None:
    """All of a run's files and metadata come back, and nothing is left over."""
    refusal, numbers = _CALLS[call]
    step = max(1, len(numbers) // count) if count else 1
    run(_PROGRAM.format(refusal=refusal, numbers=numbers[::step]))
