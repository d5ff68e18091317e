"""Undoing a checkout: it restores what was overwritten, loses no later work, and trusts no list of another."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keepsake.exceptions import DoesNotExist, ReadError, WriteError
from keepsake.restoring import manifest
from keepsake.restoring.checkout import checkout
from keepsake.restoring.places import copy
from keepsake.restoring.undo import undo
from tests.archive import archives
from tests.archive.archives import write_files
from tests.restoring.projects import (
    MINE,
    STEPS,
    THEIRS,
    Make,
    at_every_step,
    mode_of,
    no_space,
    plan_of,
    read_files,
    snapshot,
)

pytestmark = pytest.mark.usefixtures("warnings_said")


def test_undo_brings_back_what_was_overwritten_and_removes_what_was_added(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, MINE)
    (tmp_path / "a").chmod(0o700)
    os.utime(tmp_path / "a", (7, 7))
    before = snapshot(tmp_path)
    checkout([make(THEIRS)], tmp_path)
    undone = undo(tmp_path)
    assert (undone.restored, undone.removed) == (["a", "b/c"], ["b/new/er", "d/e", "z"])
    assert snapshot(tmp_path) == before
    assert (tmp_path / "a").stat().st_mtime == 7


def test_a_second_undo_takes_the_first_one_back(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, MINE)
    checkout([make(THEIRS)], tmp_path)
    after = snapshot(tmp_path)
    undo(tmp_path)
    undo(tmp_path)
    assert snapshot(tmp_path) == after


def test_undo_never_loses_later_work(make: Make, tmp_path: Path, warnings_said: list[str]) -> None:
    """An added file that changed since stays. An overwritten file that changed since is kept."""
    write_files(tmp_path, MINE)
    checkout([make(THEIRS)], tmp_path)
    write_files(tmp_path, {"z": b"my work", "d/mine": b"beside it", "a": b"edited"})
    undone = undo(tmp_path)
    assert (undone.edited, undone.left) == (["a"], ["z"])
    assert [text.split(": ")[1].split(".")[0] for text in warnings_said] == ["a", "z"]
    files = read_files(tmp_path)
    assert (files["z"], files["d/mine"], files["a"]) == (b"my work", b"beside it", b"mine")
    assert "d/e" not in files
    undo(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"edited"


def test_what_is_kept_is_private(make_one: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"mine"})
    checkout([make_one({"a": b"1"})], tmp_path)
    assert (tmp_path / ".keepsake/undo").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / ".keepsake").iterdir()] == ["undo"]


def test_the_last_checkout_is_undone_also_if_it_only_added(make_one: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"mine"})
    checkout([make_one({"a": b"1"})], tmp_path)
    write_files(tmp_path, {"a": b"a week's work"})
    checkout([make_one({"b": b"added", "c/d": b"added"})], tmp_path)
    assert undo(tmp_path).removed == ["b", "c/d"]
    assert read_files(tmp_path) == {"a": b"a week's work"}
    assert not (tmp_path / "c").exists()
    undo(tmp_path)
    assert read_files(tmp_path) == {"a": b"a week's work", "b": b"added", "c/d": b"added"}


def test_nothing_to_undo_is_an_error(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DoesNotExist, match="nothing to undo"):
            undo(directory)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_are_set_and_brought_back(make: Make, tmp_path: Path) -> None:
    """The file's content is the same already, and nothing else of it changes."""
    write_files(tmp_path, {"a": b"1", "b": b"1"})
    (tmp_path / "a").chmod(0o600)
    (tmp_path / "b").chmod(0o644)
    archive = make({"a": b"1", "b": b"1"})
    inode = (tmp_path / "a").stat().st_ino
    plan = plan_of([archive], tmp_path)
    assert (plan.modes, plan.same, plan.changed) == ({"a": 0o644}, ["b"], [])
    checkout([archive], tmp_path)
    assert mode_of(tmp_path / "a") == 0o644
    assert (tmp_path / "a").stat().st_ino == inode
    assert undo(tmp_path).modes == ["a"]
    assert mode_of(tmp_path / "a") == 0o600
    undo(tmp_path)
    assert mode_of(tmp_path / "a") == 0o644
    (tmp_path / "a").chmod(0o640)
    assert undo(tmp_path).modes == []
    assert mode_of(tmp_path / "a") == 0o640, "changed since"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_file_with_another_name_elsewhere_keeps_its_permissions_there(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"outside": b"1", "in/mine": b""})
    (tmp_path / "outside").chmod(0o600)
    os.link(tmp_path / "outside", tmp_path / "in/a")
    checkout([make({"a": b"1"})], tmp_path / "in")
    assert (mode_of(tmp_path / "in/a"), mode_of(tmp_path / "outside")) == (0o644, 0o600)
    undo(tmp_path / "in")
    assert mode_of(tmp_path / "in/a") == 0o600


def test_a_file_system_without_permissions_shows_no_difference(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"a": b"1"})
    (tmp_path / "a").chmod(0o755)
    real = os.chmod
    monkeypatch.setattr(os, "chmod", lambda path, mode, **_: real(path, 0o755))
    assert plan_of([make({"a": b"1"})], tmp_path).same == ["a"]


def test_a_failure_while_undoing_changes_nothing(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_one(THEIRS)
    for number, point in enumerate(at_every_step(monkeypatch, no_space, (*STEPS, "unlink"))):
        with point.paused():
            directory = write_files(tmp_path / str(number), MINE)
            checkout([archive], directory)
        before = snapshot(directory)
        try:
            undo(directory)
            assert read_files(directory).items() >= MINE.items()
        except WriteError:
            assert snapshot(directory) == before


def damage() -> Iterator[tuple[str, Callable[[dict[str, Any]], object]]]:
    """Changes of the list of what to undo that make it one that no checkout wrote."""
    yield "another place", lambda manifest: manifest.update(path="/elsewhere", inode=1)
    for name in (
        "../outside",
        "/outside",
        "link/outside",
        ".git/config",
        "sub/.Keepsake/x",
        "",
        ".",
        "x/../../outside",
    ):
        yield f"overwritten {name!r}", lambda manifest, name=name: manifest["overwritten"].append(name)  # type: ignore[misc]
        yield f"added {name!r}", lambda manifest, name=name: manifest["added"].update({name: [8, 8]})  # type: ignore[misc]
        yield f"modes {name!r}", lambda manifest, name=name: manifest["modes"].update({name: [511, 420]})  # type: ignore[misc]
        yield f"links {name!r}", lambda manifest, name=name: manifest["links"].update({name: "x"})  # type: ignore[misc]
        yield f"directories {name!r}", lambda manifest, name=name: manifest["directories"].append(name)  # type: ignore[misc]
    yield "below a file", lambda manifest: manifest["added"].update({"a/x": [1, 1]})
    yield "a directory that is a file", lambda manifest: manifest["directories"].append("a")
    yield "twice", lambda manifest: manifest["overwritten"].append("a")
    yield "no mode", lambda manifest: manifest["modes"].update(a=[1 << 70, 420])
    yield "no numbers", lambda manifest: manifest["added"].update(z=["a", 1])
    yield "no names", lambda manifest: manifest.update(overwritten="a")
    yield "no list", lambda manifest: manifest.pop("directories")
    yield "no text", lambda manifest: manifest["links"].update(a=1)


@pytest.mark.parametrize(("what", "change"), [pytest.param(*case, id=case[0]) for case in damage()])
def test_a_list_that_no_checkout_wrote_here_is_refused(
    make_one: Make, tmp_path: Path, what: str, change: Callable[[dict[str, Any]], object]
) -> None:
    write_files(tmp_path, {"outside": b"precious", "in/a": b"mine"})
    os.utime(tmp_path / "outside", ns=(8, 8))
    (tmp_path / "outside").chmod(0o644)
    directory = tmp_path / "in"
    (directory / "link").symlink_to(tmp_path)
    checkout([make_one({"a": b"1", "b": b"2"})], directory)
    path = directory / ".keepsake/undo/manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    before = snapshot(tmp_path)
    with pytest.raises((ReadError, WriteError)):
        undo(directory)
    assert snapshot(tmp_path) == before
    assert (directory / ".keepsake/undo/files/a").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["precious", "new"])
def test_a_list_whose_own_link_leads_outside_writes_and_deletes_nothing_there(
    make_one: Make, tmp_path: Path, name: str
) -> None:
    """The link would be put back first, and the file below it then goes where the link leads."""
    write_files(tmp_path, {"outside/precious": b"mine", "in/a": b"mine"})
    checkout([make_one({"a": b"1"})], tmp_path / "in")
    area = tmp_path / "in/.keepsake/undo"
    write_files(area, {f"files/away/{name}": b"evil"})
    manifest = json.loads((area / "manifest.json").read_text())
    manifest["overwritten"] += ["away", f"away/{name}"]
    manifest["links"]["away"] = str(tmp_path / "outside")
    (area / "manifest.json").write_text(json.dumps(manifest))
    before = snapshot(tmp_path)
    with pytest.raises(ReadError, match="contradicts itself"):
        undo(tmp_path / "in")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("what", ["undo/files", "checkout-1", "checkout-1/previous"])
def test_kept_files_are_not_taken_through_a_link(make_one: Make, tmp_path: Path, what: str) -> None:
    write_files(tmp_path, {"in/a": b"mine"})
    checkout([make_one({"a": b"1"})], tmp_path / "in")
    area, outside = tmp_path / "in/.keepsake", tmp_path / "outside"
    if what == "undo/files":
        (area / what).rename(outside)
    elif what == "checkout-1":
        outside.mkdir()
        (area / "undo").rename(outside / "previous")
    else:
        (area / "undo").rename(outside)
        (area / "checkout-1").mkdir()
    (area / what).symlink_to(outside)
    before = snapshot(tmp_path)
    with pytest.raises((ReadError, DoesNotExist)):
        undo(tmp_path / "in")
    assert snapshot(tmp_path) == before


def test_a_copy_that_finds_its_name_taken_leaves_what_is_there(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"new", "b": b"precious"})
    with pytest.raises(FileExistsError):
        copy(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"precious"


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b"[" * 100_000])
def test_a_damaged_list_of_what_to_undo_is_reported(make_one: Make, tmp_path: Path, manifest: bytes) -> None:
    write_files(tmp_path, {"a": b"mine"})
    checkout([make_one({"a": b"1"})], tmp_path)
    (tmp_path / ".keepsake/undo/manifest.json").write_bytes(manifest)
    with pytest.raises(ReadError, match=r"undo/files"):
        undo(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_list_that_cannot_be_read_is_reported_in_words(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"a": b"old"})
    checkout([make_one({"a": b"new"})], tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "manifest.json")

    monkeypatch.setattr(manifest, "open", refuse, raising=False)
    with pytest.raises(ReadError, match=r"/manifest\.json cannot be read: Input/output error\. .*/undo/files\.$"):
        undo(tmp_path)


def test_a_copy_of_a_project_has_nothing_to_undo_and_a_moved_one_has(make_one: Make, tmp_path: Path) -> None:
    project, copied = write_files(tmp_path / "project", {"a": b"mine"}), tmp_path / "copy"
    checkout([make_one({"a": b"1"})], project)
    shutil.copytree(project, copied)
    with pytest.raises(ReadError, match="made elsewhere"):
        undo(copied)
    assert read_files(copied) == {"a": b"1"}
    project.rename(tmp_path / "moved")
    undo(tmp_path / "moved")
    assert read_files(tmp_path / "moved") == {"a": b"mine"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("part", ["undo", "undo/manifest.json"])
def test_what_another_user_kept_is_refused(make_one: Make, tmp_path: Path, part: str) -> None:
    write_files(tmp_path, {"a": b"mine"})
    checkout([make_one({"a": b"1"})], tmp_path)
    os.chown(tmp_path / ".keepsake" / part, 12345, -1)
    with pytest.raises(ReadError, match="another user"):
        undo(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"1"


def strange_backups(backup: Path, outside: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "a link", lambda: backup.symlink_to(outside)
    yield "a pipe", lambda: os.mkfifo(backup)
    yield "a directory", lambda: (backup / "x").mkdir(parents=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes")
@pytest.mark.parametrize("index", range(3))
def test_a_backup_that_is_not_a_file_is_refused(make_one: Make, tmp_path: Path, index: int) -> None:
    write_files(tmp_path, {"outside": b"secret", "in/d/a": b"mine"})
    checkout([make_one({"d/a": b"1"})], tmp_path / "in")
    backup = tmp_path / "in/.keepsake/undo/files/d/a"
    backup.unlink()
    what, put = list(strange_backups(backup, tmp_path / "outside"))[index]
    put()
    with pytest.raises(WriteError, match=r"(link|special file|directory).*Move it away"):
        undo(tmp_path / "in")
    assert (tmp_path / "in/d/a").read_bytes() == b"1", what


def test_a_backup_with_another_name_elsewhere_is_not_put_back_as_that_file(make_one: Make, tmp_path: Path) -> None:
    """An edit of the file must not change the other one."""
    write_files(tmp_path, {"outside": b"precious", "in/a": b"mine"})
    checkout([make_one({"a": b"1"})], tmp_path / "in")
    backup = tmp_path / "in/.keepsake/undo/files/a"
    backup.unlink()
    os.link(tmp_path / "outside", backup)
    undo(tmp_path / "in")
    (tmp_path / "in/a").write_bytes(b"edited")
    assert (tmp_path / "outside").read_bytes() == b"precious"


def test_an_undo_area_of_somebody_else_is_never_replaced(make_one: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"mine", ".keepsake/undo/my-notes": b"precious"})
    with pytest.raises(WriteError, match="Move it away"):
        checkout([make_one({"a": b"1"})], tmp_path)
    assert archives.read_files(tmp_path) == {"a": b"mine", ".keepsake/undo/my-notes": b"precious"}


@pytest.mark.parametrize("place", [".keepsake", ".keepsake/undo"])
def test_another_users_place_in_a_shared_project_keeps_nobody_from_checking_out(
    make_one: Make, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What that user overwrote stays as it is, and so does what it says."""
    project = write_files(tmp_path / "project", {"a": b"mine"})
    checkout([make_one({"a": b"1"})], project)
    before = archives.read_files(project / ".keepsake")
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != f"{project}/{place}" and real(path, mode))
    checkout([make_one({"a": b"2", "b": b"2"})], project)
    assert read_files(project) == {"a": b"2", "b": b"2"}
    undo(project)
    assert read_files(project) == {"a": b"1"}
    assert archives.read_files(project / ".keepsake") == before
    monkeypatch.undo()
    undo(project)
    assert read_files(project) == {"a": b"mine"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_checkout_into_the_directory_of_a_group_leaves_room_for_the_groups_repository(
    make_one: Make, tmp_path: Path
) -> None:
    tmp_path.chmod(0o2775)
    before = os.umask(0o022)
    try:
        checkout([make_one({"a": b"1"})], tmp_path)
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in (".keepsake", ".keepsake/undo")]
    assert modes == [0o775, 0o700]
