"""Checkouts: all or nothing, and nothing harmed."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keepsake.archive.reader import Archive
from keepsake.exceptions import CorruptedArchive, DoesNotExist, ValidationError, WriteError
from keepsake.restoring.checkout import checkout
from keepsake.restoring.undo import undo
from tests.archive.archives import KEY, member, plain_archive, stored, write_files
from tests.restoring.projects import (
    MINE,
    THEIRS,
    FaultPoint,
    Make,
    at_every_step,
    interrupt,
    no_space,
    plan_of,
    read_files,
    snapshot,
)
from tests.storage.memory import MemoryStorage

pytestmark = pytest.mark.usefixtures("warnings_said")


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


def test_a_directory_below_a_file_is_reported_in_words(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteError, match=r"into .*/file/x: Not a directory\. Nothing was changed\."):
        checkout([make({"a": b"1"})], tmp_path / "file/x")


def test_a_directory_that_is_a_file_is_an_error(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"out": b"mine"})
    with pytest.raises(WriteError, match=r"out: it is not a directory\. Name another one\."):
        checkout([make({"a": b"1"})], tmp_path / "out")
    assert read_files(tmp_path) == {"out": b"mine"}


# Failures in the middle


@pytest.mark.parametrize("failure", [no_space, interrupt])
def test_a_failure_at_any_step_leaves_everything_as_it_was(
    make_one: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], object]
) -> None:
    """Unless the failure is worked around: where no link can be made, a copy can."""
    archive = make_one(THEIRS)
    for number, point in enumerate(at_every_step(monkeypatch, failure)):
        with point.paused():
            directory = write_files(tmp_path / str(number), MINE)
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
        with point.paused():
            directory = write_files(tmp_path / str(number), MINE)
            checkout([first], directory)
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


def test_what_a_crash_of_an_unknown_process_left_goes_after_a_day(make_one: Make, tmp_path: Path) -> None:
    for name in ("checkout-old", "checkout-new"):
        write_files(tmp_path / ".keepsake" / name, {"large": b"x"})
    os.utime(tmp_path / ".keepsake/checkout-old", (time.time() - 90_000,) * 2)
    checkout([make_one({"a": b"1"})], tmp_path)
    assert {path.name for path in (tmp_path / ".keepsake").iterdir()} == {"checkout-new", "undo"}
