"""Checkouts on file systems that refuse what is not needed, and across mounts."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from keepsake.exceptions import DoesNotExist, ReadError, WriteError
from keepsake.restoring import places as _places
from keepsake.restoring.change import Change
from keepsake.restoring.checkout import checkout
from keepsake.restoring.undo import undo
from tests.archive.archives import write_files
from tests.restoring.projects import (
    MINE,
    THEIRS,
    Make,
    at_every_step,
    mode_of,
    no_space,
    read_files,
    snapshot,
)

pytestmark = pytest.mark.usefixtures("warnings_said")


OPTIONAL = ("link", "chmod", "utime", "posix_fallocate", "lseek", "rename between", "rename of directories", "rmdir")
ERRNOS = [
    *(errno.EPERM, errno.EACCES, errno.EXDEV, errno.EIO, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EMLINK),
    *(errno.EROFS, errno.ENOSPC, errno.EBUSY, errno.ETIMEDOUT),
]


def refuse(monkeypatch: pytest.MonkeyPatch, what: str, number: int) -> None:
    """Let a call fail, always and wherever it comes from."""

    def failing(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    if not what.startswith("rename"):
        monkeypatch.setattr(os, what, failing)
        return
    for name in ("rename", "replace"):
        real = getattr(os, name)

        def rename(source: str, target: str, real: Callable[..., None] = real) -> None:
            is_between = os.path.dirname(source) != os.path.dirname(target)
            if os.path.isdir(source) if what == "rename of directories" else is_between:
                raise OSError(number, os.strerror(number))
            real(source, target)

        monkeypatch.setattr(os, name, rename)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system has not all of these calls")
@pytest.mark.parametrize("what", OPTIONAL)
def test_refusals_of_a_file_system_are_worked_around(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whatever the error, the content is right, and undo restores the old one."""
    theirs = {**THEIRS, "zeros": bytes(1 << 20) + b"1"}
    archive = make_one(theirs)
    for number in ERRNOS:
        if what == "posix_fallocate" and number == errno.ENOSPC:
            continue  # there is no room
        directory = write_files(tmp_path / str(number), MINE)
        (directory / "z").symlink_to("untouched")
        before = read_files(directory)
        with monkeypatch.context() as patch:
            refuse(patch, what, number)
            checkout([archive], directory)
            assert read_files(directory) == {**MINE, **theirs}, errno.errorcode[number]
            undo(directory)
        assert read_files(directory) == before, errno.errorcode[number]
        assert os.readlink(directory / "z") == "untouched"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(sys.platform != "linux", reason="only there it is certain that a process is dead")
def test_what_a_kill_leaves_on_the_way_to_another_disk_goes_with_the_next_command(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, MINE)
    before, archive = snapshot(tmp_path), make_one(THEIRS)
    refuse(monkeypatch, "rename between", errno.EXDEV)
    child = os.fork()
    if child == 0:
        replace = os.replace
        monkeypatch.setattr(os, "replace", lambda *a: os._exit(9) if "/.keepsake-checkout-" in a[0] else replace(*a))
        checkout([archive], tmp_path)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(list(tmp_path.glob(".keepsake-checkout-*"))) == 1
    undo(tmp_path)
    assert snapshot(tmp_path) == before
    assert os.listdir(tmp_path / ".keepsake") == ["undo"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permissions")
def test_permissions_come_and_come_back_where_they_can_only_be_given_to_new_files(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a mount that refuses chmod, or over which the container has no say."""
    write_files(tmp_path, MINE)
    (tmp_path / "a").chmod(0o755)
    (tmp_path / "b/c").chmod(0o640)
    before = snapshot(tmp_path)
    refuse(monkeypatch, "chmod", errno.EPERM)
    refuse(monkeypatch, "link", errno.EPERM)
    checkout([make_one(THEIRS)], tmp_path)
    assert {mode_of(tmp_path / name) for name in THEIRS} == {0o644}
    undo(tmp_path)
    assert snapshot(tmp_path) == before


def test_files_that_can_be_neither_linked_nor_read_are_replaced_and_brought_back(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's, in a directory of one's own."""
    write_files(tmp_path, MINE)
    before = snapshot(tmp_path)
    with monkeypatch.context() as patch:
        refuse(patch, "link", errno.EPERM)
        patch.setattr(_places, "copy", os.link)
        checkout([make_one(THEIRS)], tmp_path)
        assert read_files(tmp_path) == {**MINE, **THEIRS}
        put_files, after = Change._put_files, snapshot(tmp_path)

        def fail(change: Change) -> None:
            put_files(change)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as failing:
            failing.setattr(Change, "_put_files", fail)
            with pytest.raises(WriteError):
                undo(tmp_path)
        assert snapshot(tmp_path) == after
        undo(tmp_path)
    assert snapshot(tmp_path) == before


def test_a_file_that_may_not_be_replaced_is_named_and_nothing_changes(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is immutable (chattr +i), or on Windows another program has it open: it can be neither linked nor put back."""
    write_files(tmp_path, MINE)
    before = snapshot(tmp_path)
    replace, busy = os.replace, str(tmp_path / "b" / "c")

    def refusing(source: str, target: str) -> None:
        if busy in (source, target):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), source, None, target)
        replace(source, target)

    refuse(monkeypatch, "link", errno.EPERM)
    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(WriteError, match=rf"{re.escape(busy)} cannot be replaced: .* Nothing was changed"):
        checkout([make_one(THEIRS)], tmp_path)
    assert snapshot(tmp_path) == before


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A project in which `b` is a mount: the same disk, but no file can be moved there."""
    yield from mounted_at("b", write_files(tmp_path / "volume", {"c": b"mine, too"}), tmp_path)


@pytest.fixture
def mounted_file(tmp_path: Path) -> Iterator[Path]:
    """A project in which `a` is a mount, as a single file is mounted into a container: it cannot be replaced."""
    volume = write_files(tmp_path / "volume", {"a": MINE["a"]})
    yield from mounted_at("a", volume / "a", tmp_path)


def mounted_at(name: str, volume: Path, directory: Path) -> Iterator[Path]:
    project = write_files(directory / "project", MINE)
    if sys.platform != "linux" or subprocess.run(["mount", "--bind", volume, project / name]).returncode:
        pytest.skip("this user cannot mount")
    yield project
    subprocess.run(["umount", "-l", project / name], check=True)


def test_a_mount_inside_the_project_is_changed_and_brought_back(make: Make, mounted: Path) -> None:
    before = snapshot(mounted)
    checkout([make(THEIRS)], mounted)
    assert read_files(mounted) == {**MINE, **THEIRS}
    assert sorted(os.listdir(mounted / "b")) == ["c", "new"]
    undo(mounted)
    assert snapshot(mounted) == before
    assert os.listdir(mounted / "b") == ["c"]


@pytest.mark.parametrize("content", [b"", b"theirs", b"theirs" * 100_000], ids=["empty", "short", "long"])
def test_a_mount_of_one_file_is_changed_and_brought_back(make: Make, mounted_file: Path, content: bytes) -> None:
    os.utime(mounted_file / "a", ns=(10**18, 10**18 + 1))
    before = snapshot(mounted_file)
    checkout([make({**THEIRS, "a": content})], mounted_file)
    assert read_files(mounted_file) == {**MINE, **THEIRS, "a": content}
    undo(mounted_file)
    assert snapshot(mounted_file) == before
    assert os.stat(mounted_file / "a").st_mtime_ns == 10**18 + 1
    undo(mounted_file)
    assert read_files(mounted_file) == {**MINE, **THEIRS, "a": content}


@pytest.mark.parametrize("harm", [False, True], ids=["", "and the checkout fails"])
def test_a_file_that_is_busy_is_changed_and_brought_back(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: bool
) -> None:
    """A file server refuses to replace a file that somebody has open. Its backup may be another name of it."""
    before = read_files(write_files(tmp_path, MINE))
    replace = os.replace

    def refuse_busy(source: str, target: str) -> None:
        if str(target) == f"{tmp_path}/a":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if harm and str(target) == f"{tmp_path}/b/c":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse_busy)
        with pytest.raises(WriteError) if harm else nullcontext():
            checkout([make_one({"a": b"theirs", "b/c": b"theirs"})], tmp_path)
    if not harm:
        assert read_files(tmp_path) == {**before, "a": b"theirs", "b/c": b"theirs"}
        undo(tmp_path)
    assert read_files(tmp_path) == before


def test_a_failure_in_a_project_with_a_mount_changes_nothing(
    make_one: Make, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, before = make_one(THEIRS), snapshot(mounted)
    for point in at_every_step(monkeypatch, no_space):
        try:
            checkout([archive], mounted)
            assert read_files(mounted) == {**MINE, **THEIRS}
            with point.paused():
                undo(mounted)
        except WriteError:
            pass
        assert snapshot(mounted) == before


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no other file system to try it with")
def test_an_area_on_another_disk_can_be_undone_from(make_one: Make, tmp_path: Path) -> None:
    write_files(tmp_path, MINE)
    before = read_files(tmp_path)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as area:
        (tmp_path / ".keepsake").symlink_to(area)
        checkout([make_one(THEIRS)], tmp_path)
        assert read_files(tmp_path) == {**MINE, **THEIRS}
        undo(tmp_path)
        assert read_files(tmp_path) == before
        assert [os.listdir(place) for place in Path(area).iterdir()] == [["undo"]]


@pytest.mark.skipif(os.name == "nt", reason="links need a permission there")
def test_directories_that_share_their_area_by_a_link_are_undone_one_by_one(make_one: Make, tmp_path: Path) -> None:
    """Such as projects whose `.keepsake` leads to one large disk."""
    archive = make_one({"train.py": b"1"})
    names = ("one", "other", "third")
    for name in names:
        write_files(tmp_path / name, {"train.py": name.encode()})
        (tmp_path / name / ".keepsake").symlink_to(tmp_path / "large")
    (tmp_path / "large").mkdir()
    for name in names[:2]:
        checkout([archive], tmp_path / name)
    with pytest.raises(DoesNotExist, match="nothing to undo"):
        undo(tmp_path / "third")
    for name in names[:2]:
        undo(tmp_path / name)
    assert [read_files(tmp_path / name) for name in names] == [{"train.py": name.encode()} for name in names]


@pytest.mark.skipif(os.name == "nt", reason="mounts are POSIX")
def test_containers_that_share_a_mounted_area_undo_their_own_checkouts(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They see their projects at the same path."""
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path).endswith(".keepsake"))
    shared, work = tmp_path / "shared", tmp_path / "work"
    shared.mkdir()
    for name in ("one", "other"):
        write_files(tmp_path / name, {"train.py": name.encode()})

    def in_container(name: str, action: Callable[[], object]) -> None:
        (tmp_path / name).rename(work)
        shared.rename(work / ".keepsake")
        action()
        (work / ".keepsake").rename(shared)
        work.rename(tmp_path / name)

    for name in ("one", "other"):
        in_container(name, lambda: checkout([make_one({"train.py": b"1"})], work))
    for name in ("one", "other"):
        in_container(name, lambda: undo(work))
        assert read_files(tmp_path / name) == {"train.py": name.encode()}


def test_the_list_of_a_directory_is_not_carried_out_in_another_one(make_one: Make, tmp_path: Path) -> None:
    """As in containers that have the same `.keepsake` mounted into different projects."""
    for name in ("one", "other"):
        write_files(tmp_path / name, {"train.py": name.encode()})
    checkout([make_one({"train.py": b"1"})], tmp_path / "one")
    (tmp_path / "one/.keepsake").rename(tmp_path / "other/.keepsake")
    with pytest.raises(ReadError, match="made elsewhere"):
        undo(tmp_path / "other")
    assert read_files(tmp_path / "other") == {"train.py": b"other"}
