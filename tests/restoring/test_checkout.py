"""Checkouts: all or nothing, nothing harmed, and overwritten files can be restored."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keepsake.archive.reader import Archive
from keepsake.exceptions import CorruptedArchive, DoesNotExist, ReadError, ValidationError, WriteError
from keepsake.restoring import checkout as _checkout
from keepsake.restoring import configuration as _configuration
from keepsake.restoring import places as _places
from keepsake.restoring import undo as _undo
from keepsake.restoring.checkout import Plan, checkout
from keepsake.restoring.undo import undo
from tests.archive import archives
from tests.archive.archives import KEY, archive_bytes, freeze_files, member, plain_archive, stored, write_files
from tests.storage.memory import MemoryStorage
from tests.threads import in_this_thread

Make = Callable[..., Archive]


@pytest.fixture(params=["table", "plain", "pack"])
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes an archive of files: with a table of contents, without one, or one that is still to be made."""

    def make(files: dict[str, bytes]) -> Archive:
        if request.param == "plain":
            return stored(
                plain_archive(*(member(f"id/{name}", content, mode=0o644) for name, content in files.items()))
            )
        pack = freeze_files(tmp_path_factory.mktemp("pack"), files)
        return Archive(MemoryStorage(), KEY, pack) if request.param == "pack" else stored(archive_bytes(pack))

    return make


@pytest.fixture
def make_one(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return lambda files: stored(archive_bytes(freeze_files(tmp_path_factory.mktemp("pack"), files)))


@pytest.fixture(autouse=True)
def warnings_said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    for module in (_checkout, _configuration, _undo):
        monkeypatch.setattr(module, "warn", said.append)
    return said


def read_files(directory: Path) -> dict[str, bytes]:
    """The files in a directory but our own."""
    return {name: data for name, data in archives.read_files(directory).items() if ".keepsake" not in name.split("/")}


def snapshot(directory: Path) -> dict[str, tuple[int, bytes | str]]:
    """All that is in a directory but our own: files with content, links with their target, directories."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if ".keepsake" not in path.parts:
            mode = path.lstat().st_mode
            found[name] = mode, os.readlink(path) if stat.S_ISLNK(mode) else path.read_bytes() if path.is_file() else ""
    return found


def plan_of(archives: list[Archive], directory: Path, path: str | None = None) -> Plan:
    plans: list[Plan] = []
    assert not checkout(archives, directory, path, confirm=lambda plan: bool(plans.append(plan)))  # type: ignore[func-returns-value]
    return plans[0]


# What is put where


def test_files_are_put_into_a_new_directory_and_nothing_else(make: Make, tmp_path: Path) -> None:
    files = {"a": b"1", "b/c/d": b"2", "e/e/e": b"e", "empty": b"", "large": bytes(3 << 20)}
    assert checkout([make(files)], tmp_path / "deep/er/out")
    assert read_files(tmp_path) == {f"deep/er/out/{name}": content for name, content in files.items()}
    assert plan_of([make(files)], tmp_path / "deep/er/out").same == sorted(files)


def test_the_checkpoints_files_are_put_over_the_experiments(make: Make, make_one: Make, tmp_path: Path) -> None:
    experiment, checkpoint = make({"train.py": b"code", "model": b"old"}), make_one({"model": b"new"})
    checkout([experiment, checkpoint], tmp_path)
    assert read_files(tmp_path) == {"train.py": b"code", "model": b"new"}


def test_the_plan_says_what_would_change(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"same": b"1", "other": b"2", "longer": b"22", "mine": b"3"})
    plan = plan_of([make({"same": b"1", "other": b"9", "longer": b"2", "new": b"4", "d/new": b"5"})], tmp_path)
    assert (plan.new, plan.changed, plan.same) == (["d/new", "new"], ["longer", "other"], ["same"])
    assert (plan.directory, plan.is_empty) == (tmp_path, False)


def test_a_directory_that_holds_only_our_own_is_empty(make_one: Make, tmp_path: Path) -> None:
    archive = make_one({"a": b"1"})
    assert plan_of([archive], tmp_path).is_empty
    assert plan_of([archive], tmp_path / "missing").is_empty
    (tmp_path / ".keepsake").mkdir()
    assert plan_of([archive], tmp_path).is_empty
    write_files(tmp_path, {"x": b""})
    assert not plan_of([archive], tmp_path).is_empty


def test_if_the_answer_is_no_nothing_is_touched(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"in/a": b"mine"})
    before = snapshot(tmp_path)
    for directory in (tmp_path / "in", tmp_path / "not/there"):
        assert not checkout([make({"a": b"1", "b": b"2"})], directory, confirm=lambda _: False)
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "in/.keepsake").exists()


def test_what_is_the_same_is_left_alone(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"same": b"1"})
    (tmp_path / "same").chmod(0o644)
    os.utime(tmp_path / "same", (5, 5))
    inode = (tmp_path / "same").stat().st_ino
    checkout([make({"same": b"1"})], tmp_path)
    status = (tmp_path / "same").stat()
    assert (status.st_ino, status.st_mtime) == (inode, 5)
    assert not (tmp_path / ".keepsake").exists(), "nothing was changed, so there is nothing to keep"


def test_a_checkout_that_changes_nothing_leaves_the_one_before_to_be_undone(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"mine"})
    for _ in range(2):
        checkout([make({"a": b"1"})], tmp_path)
    undo(tmp_path)
    assert read_files(tmp_path) == {"a": b"mine"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("model", {"model"}),
        ("data", {"data/x", "data/y/z"}),
        ("./data//y/", {"data/y/z"}),
        (".", {"model", "data/x", "data/y/z", "datafile"}),
    ],
)
def test_only_a_path_is_put(make: Make, tmp_path: Path, path: str, expected: set[str]) -> None:
    checkout([make({"model": b"1", "data/x": b"2", "data/y/z": b"3", "datafile": b"4"})], tmp_path, path)
    assert read_files(tmp_path).keys() == expected


def test_a_path_may_be_in_one_of_the_archives_only(make: Make, make_one: Make, tmp_path: Path) -> None:
    checkout([make({"a": b"1"}), make_one({"b": b"2"})], tmp_path, "a")
    checkout([make({"a": b"1"}), make_one({"b": b"2"})], tmp_path, "b")
    assert read_files(tmp_path) == {"a": b"1", "b": b"2"}


def test_a_missing_path_is_an_error_that_says_what_is_there(make: Make, tmp_path: Path) -> None:
    archive = make({"model.pth": b"1", "data/weights": b"2"})
    with pytest.raises(DoesNotExist, match=r"'model\.pt'.*'model\.pth'"):
        checkout([archive], tmp_path / "out", "model.pt")
    with pytest.raises(DoesNotExist, match=r"The files are: data, data/weights, model\.pth\."):
        checkout([archive], tmp_path / "out", "zzz")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", ["/etc", "..", "../x", "a/../../x"])
def test_a_path_that_leads_out_is_refused(make_one: Make, tmp_path: Path, path: str) -> None:
    with pytest.raises(ValidationError, match="inside"):
        checkout([make_one({"a": b"1"})], tmp_path, path)


# What may never happen


@pytest.mark.parametrize("name", [".git/hooks/post-checkout", ".keepsake/repository.json", "sub/.GIT/config"])
def test_files_that_would_act_by_themselves_are_left_out(
    make: Make, tmp_path: Path, name: str, warnings_said: list[str]
) -> None:
    archive = stored(plain_archive(member(f"id/{name}", b"evil"), member("id/a", b"1")))
    checkout([archive], tmp_path)
    assert read_files(tmp_path) == {"a": b"1"}
    assert name in warnings_said[0]


def test_a_link_is_replaced_not_followed(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"outside": b"precious"})
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").symlink_to("../outside")
    (tmp_path / "in/dangling").symlink_to("../created")
    checkout([make({"a": b"1", "dangling": b"2"})], tmp_path / "in")
    assert {name for name, (mode, _) in snapshot(tmp_path).items() if stat.S_ISLNK(mode)} == set()
    assert (tmp_path / "outside").read_bytes() == b"precious"
    assert not (tmp_path / "created").exists()
    undo(tmp_path / "in")
    assert os.readlink(tmp_path / "in/a") == "../outside"
    assert os.readlink(tmp_path / "in/dangling") == "../created"


def in_the_way(directory: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    path = directory / "data"
    yield "a link", lambda: path.symlink_to(directory.parent / "outside")
    yield "a file", lambda: path.write_bytes(b"mine")
    yield "a directory", lambda: (path / "x").mkdir(parents=True)


@pytest.mark.parametrize("index", range(3))
def test_what_is_in_the_way_is_an_error_and_nothing_changes(make: Make, tmp_path: Path, index: int) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "in").mkdir()
    what, put = list(in_the_way(tmp_path / "in"))[index]
    put()
    before = snapshot(tmp_path)
    with pytest.raises(WriteError, match=f"data(/x)? is {what}"):
        checkout([make({"a": b"1", "data/x": b"2"})], tmp_path / "in")
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "in/.keepsake").exists()


def test_a_damaged_archive_changes_nothing(make: Make, make_one: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"mine", "model": b"mine"})
    before = snapshot(tmp_path)
    with_table = archive_of(make_one, {"model": b"1", "z": b"2"})
    in_content = stored(with_table).entries()[1].offset + 12
    for whole, position in ((with_table, in_content), (plain_archive(member("id/model", b"1")), -6)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        with pytest.raises(CorruptedArchive):
            checkout([make({"a": b"1", "c": b"3"}), stored(bytes(damaged))], tmp_path)
        with pytest.raises(CorruptedArchive):
            checkout([make({"a": b"1", "c": b"3"}), stored(bytes(whole[: len(whole) // 2]))], tmp_path)
    assert snapshot(tmp_path) == before
    assert not (tmp_path / ".keepsake").exists()


def archive_of(make_one: Make, files: dict[str, bytes]) -> bytes:
    archive = make_one(files)
    assert isinstance(archive._storage, MemoryStorage)
    return archive._storage.objects[KEY].data


def test_a_missing_archive_changes_nothing(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"mine"})
    with pytest.raises(DoesNotExist):
        checkout([make({"a": b"1"}), Archive(MemoryStorage(), KEY)], tmp_path)
    assert read_files(tmp_path) == {"a": b"mine"}


def test_a_directory_that_is_a_file_is_an_error(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"out": b"mine"})
    with pytest.raises(WriteError, match=r"out: it is not a directory\. Name another one\."):
        checkout([make({"a": b"1"})], tmp_path / "out")
    assert read_files(tmp_path) == {"out": b"mine"}


MINE = {"a": b"mine", "b/c": b"mine, too", "untouched": b"x"}
THEIRS = {"a": b"theirs", "b/c": b"2", "b/new/er": b"3", "d/e": b"4", "z": b"5"}
STEPS = ("link", "mkdir", "rename", "replace")


class FaultPoint:
    """Counts the calls of this thread that change the disk, and does something before one of them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object], steps: Iterable[str] = STEPS
    ) -> None:
        self.left = number
        self.action = action
        for name in steps:
            monkeypatch.setattr(os, name, in_this_thread(self.wrap(real := getattr(os, name)), real))

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                self.action()
            return call(*arguments, **named)

        return wrapped

    @property
    def has_happened(self) -> bool:
        return self.left < 0


def no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt() -> None:
    raise KeyboardInterrupt


def at_every_step(
    monkeypatch: pytest.MonkeyPatch, failure: Callable[[], object], steps: Iterable[str] = STEPS
) -> Iterator[FaultPoint]:
    """A fault point at the first step, then at the second, until there is none that it stands before."""
    number = 0
    while True:
        with monkeypatch.context() as patch:
            point = FaultPoint(patch, number, failure, steps)
            yield point
        if not point.has_happened:
            assert number > 8
            return
        number += 1


@pytest.mark.parametrize("failure", [no_space, interrupt])
def test_a_failure_at_any_step_leaves_everything_as_it_was(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], object]
) -> None:
    """Unless the failure is worked around: where no link can be made, a copy can."""
    archive = make_one(THEIRS)
    for number, point in enumerate(at_every_step(monkeypatch, failure)):
        left, point.left = point.left, 1000
        directory = write_files(tmp_path / str(number), MINE)
        point.left = left
        before = snapshot(directory)
        try:
            checkout([archive], directory)
            assert read_files(directory).items() >= THEIRS.items()
        except (WriteError, KeyboardInterrupt):
            assert snapshot(directory) == before
            assert not (directory / ".keepsake").exists()


def test_a_failure_keeps_what_an_earlier_checkout_overwrote(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_one({"a": b"first"}), make_one(THEIRS)
    for number, point in enumerate(at_every_step(monkeypatch, no_space)):
        left, point.left = point.left, 1000
        directory = write_files(tmp_path / str(number), MINE)
        checkout([first], directory)
        point.left = left
        try:
            checkout([second], directory)
        except WriteError:
            assert [path.name for path in (directory / ".keepsake").iterdir()] == ["undo"]
            assert (directory / ".keepsake/undo/files/a").read_bytes() == b"mine"


def test_after_a_kill_at_any_step_undo_brings_everything_back(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without undo, each file is the old one or the new one, whole."""
    archive = make_one(THEIRS)
    killed = 0
    while True:
        directory = write_files(tmp_path / str(killed), MINE)
        child = os.fork()
        if child == 0:
            FaultPoint(monkeypatch, killed, lambda: os._exit(9))
            checkout([archive], directory)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
        files = read_files(directory)
        assert MINE.keys() <= files.keys()
        assert all(content in (MINE.get(name), THEIRS.get(name)) for name, content in files.items())
        if (directory / ".keepsake/undo").exists():
            undo(directory)
        files = read_files(directory)
        assert files == MINE
        killed += 1
    assert killed > 8


def test_what_a_crash_left_goes_after_a_day(make_one: Make, tmp_path: Path) -> None:
    for name in ("checkout-old", "checkout-new"):
        write_files(tmp_path / ".keepsake" / name, {"large": b"x"})
    os.utime(tmp_path / ".keepsake/checkout-old", (time.time() - 90_000,) * 2)
    checkout([make_one({"a": b"1"})], tmp_path)
    assert {path.name for path in (tmp_path / ".keepsake").iterdir()} == {"checkout-new", "undo"}


# Undo


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


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_file_with_another_name_elsewhere_keeps_its_permissions_there(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"outside": b"1", "in/mine": b""})
    (tmp_path / "outside").chmod(0o600)
    os.link(tmp_path / "outside", tmp_path / "in/a")
    checkout([make({"a": b"1"})], tmp_path / "in")
    assert (mode_of(tmp_path / "in/a"), mode_of(tmp_path / "outside")) == (0o644, 0o600)
    undo(tmp_path / "in")
    assert mode_of(tmp_path / "in/a") == 0o600
    (tmp_path / "in/a").write_bytes(b"edited")


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
        left, point.left = point.left, 1000
        directory = write_files(tmp_path / str(number), MINE)
        checkout([archive], directory)
        point.left = left
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


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b"[" * 100_000])
def test_a_damaged_list_of_what_to_undo_is_reported(make_one: Make, tmp_path: Path, manifest: bytes) -> None:
    write_files(tmp_path, {"a": b"mine"})
    checkout([make_one({"a": b"1"})], tmp_path)
    (tmp_path / ".keepsake/undo/manifest.json").write_bytes(manifest)
    with pytest.raises(ReadError, match=r"undo/files"):
        undo(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"1"


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


# File systems that refuse what is not needed

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
    undo(tmp_path)
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


def test_a_mount_inside_the_project(make: Make, mounted: Path) -> None:
    before = snapshot(mounted)
    checkout([make(THEIRS)], mounted)
    assert read_files(mounted) == {**MINE, **THEIRS}
    assert sorted(os.listdir(mounted / "b")) == ["c", "new"]
    undo(mounted)
    assert snapshot(mounted) == before
    assert os.listdir(mounted / "b") == ["c"]


@pytest.mark.parametrize("content", [b"", b"theirs", b"theirs" * 100_000], ids=["empty", "short", "long"])
def test_a_mount_of_one_file(make: Make, mounted_file: Path, content: bytes) -> None:
    before = snapshot(mounted_file)
    checkout([make({**THEIRS, "a": content})], mounted_file)
    assert read_files(mounted_file) == {**MINE, **THEIRS, "a": content}
    undo(mounted_file)
    assert snapshot(mounted_file) == before
    undo(mounted_file)
    assert read_files(mounted_file) == {**MINE, **THEIRS, "a": content}


def test_a_failure_in_a_project_with_a_mount_changes_nothing(
    make_one: Make, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, before = make_one(THEIRS), snapshot(mounted)
    for point in at_every_step(monkeypatch, no_space):
        try:
            checkout([archive], mounted)
            assert read_files(mounted) == {**MINE, **THEIRS}
            left, point.left = point.left, 1000
            undo(mounted)
            point.left = left
        except WriteError:
            pass
        assert snapshot(mounted) == before


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no other file system to try it with")
def test_an_area_on_another_disk(make_one: Make, tmp_path: Path) -> None:
    write_files(tmp_path, MINE)
    before = read_files(tmp_path)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as area:
        (tmp_path / ".keepsake").symlink_to(area)
        checkout([make_one(THEIRS)], tmp_path)
        assert read_files(tmp_path) == {**MINE, **THEIRS}
        undo(tmp_path)
        assert read_files(tmp_path) == before
        assert os.listdir(area) == ["undo"]


# The project's own configuration

CONFIGURATIONS = [
    ({"keepsake.yaml": b"repository: s3://kim:secret@new/place\n"}, {"keepsake.yaml": b"repository: file://old\n"}),
    ({"keepsake.yml": b"repository: s3://new/place\n"}, {"keepsake.yaml": b"repository: file://old\n"}),
    ({"replicate.yaml": b"repository: s3://new/place\n"}, {"keepsake.yml": b"repository: file://old\n"}),
    ({"../keepsake.yaml": b"repository: s3://new/place\n"}, {"keepsake.yaml": b"repository: file://old\n"}),
]


@pytest.mark.parametrize(("ours", "theirs"), CONFIGURATIONS)
def test_a_configuration_that_points_elsewhere_is_reported_before_and_after(
    make: Make, tmp_path: Path, warnings_said: list[str], ours: dict[str, bytes], theirs: dict[str, bytes]
) -> None:
    directory = write_files(tmp_path / "project", {**ours, "mine": b""})
    archive = make({**theirs, "a": b"1"})
    plan_of([archive], directory)
    (announced,) = warnings_said
    assert "will be file://old instead of s3://new/place" in announced
    checkout([archive], directory)
    assert "is now file://old instead of s3://new/place" in warnings_said[-1]
    assert "--undo" in warnings_said[-1]
    assert "secret" not in "".join(warnings_said)
    undo(directory)
    assert "is now s3://new/place instead of file://old" in warnings_said[-1]


def test_a_configuration_that_can_no_longer_be_read_is_reported(
    make: Make, tmp_path: Path, warnings_said: list[str]
) -> None:
    write_files(tmp_path, {"keepsake.yaml": b"repository: file://old\n"})
    checkout([make({"keepsake.yaml": b"repository: ["})], tmp_path)
    assert all("cannot be read instead of file://old" in text for text in warnings_said)
    assert len(warnings_said) == 2


def test_a_relative_repository_of_the_directory_above_is_another_one(
    make: Make, tmp_path: Path, warnings_said: list[str]
) -> None:
    """This concerns a directory in use. A copy beside the project is expected."""
    config = {"keepsake.yaml": b"repository: file://repo\n"}
    write_files(tmp_path, {**config, "used/mine": b""})
    checkout([make(config)], tmp_path / "new")
    assert warnings_said == []
    checkout([make(config)], tmp_path / "used")
    assert [str(tmp_path) in text for text in warnings_said] == [True, True]


@pytest.mark.parametrize("ours", [b"# mine\nrepository: file://old\n", b"repository: [", None])
def test_an_unchanged_configuration_is_not_mentioned(
    make: Make, tmp_path: Path, warnings_said: list[str], ours: bytes | None
) -> None:
    write_files(tmp_path, {} if ours is None else {"keepsake.yaml": ours})
    checkout([make({"keepsake.yaml": b"repository: file://old\n"})], tmp_path)
    assert warnings_said == []
