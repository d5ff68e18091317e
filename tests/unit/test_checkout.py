"""Checkouts: all or nothing, nothing harmed, and what is overwritten can be brought back."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keepsake.archive.reader import Archive
from keepsake.exceptions import CorruptedArchive, DoesNotExist, ReadError, ValidationError, WriteError
from keepsake.restoring import checkout as _checkout
from keepsake.restoring import configuration as _configuration
from keepsake.restoring import undo as _undo
from keepsake.restoring.checkout import Plan, checkout
from keepsake.restoring.undo import undo
from tests.storage.memory import MemoryStorage
from tests.unit.archives import KEY, archive_bytes, freeze_files, member, plain_archive, read_files, stored, write_files

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
    monkeypatch.setattr(_checkout, "warn", said.append)
    return said


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
    (tmp_path / "same").chmod(0o755)
    os.utime(tmp_path / "same", (5, 5))
    inode = (tmp_path / "same").stat().st_ino
    checkout([make({"same": b"1"})], tmp_path)
    status = (tmp_path / "same").stat()
    assert (status.st_ino, status.st_mode & 0o777, status.st_mtime) == (inode, 0o755, 5)
    assert not (tmp_path / ".keepsake").exists(), "nothing was overwritten, so there is nothing to keep"


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
    with pytest.raises(DoesNotExist, match=r"There is: data, data/weights, model\.pth"):
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
    with pytest.raises(WriteError, match="out"):
        checkout([make({"a": b"1"})], tmp_path / "out")
    assert read_files(tmp_path) == {"out": b"mine"}


MINE = {"a": b"mine", "b/c": b"mine, too", "untouched": b"x"}
THEIRS = {"a": b"theirs", "b/c": b"2", "b/new/er": b"3", "d/e": b"4", "z": b"5"}
STEPS = ("link", "mkdir", "rename", "replace")


class FaultPoint:
    """Counts the calls that change the disk, and does something before one of them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object], steps: Iterable[str] = STEPS
    ) -> None:
        self.left = number
        self.action = action
        for name in steps:
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))

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
    """Or else it was gone round: where no link can be made, a copy can."""
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
    """And without it, each file is the old one or the new one, whole."""
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
        files = {name: content for name, content in read_files(directory).items() if not name.startswith(".keepsake")}
        assert MINE.keys() <= files.keys()
        assert all(content in (MINE.get(name), THEIRS.get(name)) for name, content in files.items())
        if (directory / ".keepsake/undo").exists():
            undo(directory)
        files = {name: content for name, content in read_files(directory).items() if not name.startswith(".keepsake")}
        assert files == MINE
        killed += 1
    assert killed > 8


def test_what_a_crash_left_goes_after_a_day(make_one: Make, tmp_path: Path) -> None:
    for name in ("checkout-old", "checkout-new"):
        write_files(tmp_path / ".keepsake" / name, {"large": b"x"})
    os.utime(tmp_path / ".keepsake/checkout-old", (time.time() - 90_000,) * 2)
    checkout([make_one({"a": b"1"})], tmp_path)
    assert [path.name for path in (tmp_path / ".keepsake").iterdir()] == ["checkout-new"]


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no other file system to try it with")
def test_an_area_on_another_disk_is_an_error(make_one: Make, tmp_path: Path) -> None:
    """Files could not be moved from there in one step."""
    if os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is on the same disk")
    (tmp_path / ".keepsake").symlink_to("/dev/shm")
    with pytest.raises(WriteError, match="another disk"):
        checkout([make_one({"a": b"1"})], tmp_path)


# Undo


def test_undo_brings_back_what_was_overwritten_and_removes_what_was_added(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, MINE)
    (tmp_path / "a").chmod(0o700)
    os.utime(tmp_path / "a", (7, 7))
    before = snapshot(tmp_path)
    checkout([make(THEIRS)], tmp_path)
    assert undo(tmp_path) == ["a", "b/c"]
    assert snapshot(tmp_path) == before
    assert (tmp_path / "a").stat().st_mtime == 7


def test_a_second_undo_takes_the_first_one_back(make: Make, tmp_path: Path) -> None:
    write_files(tmp_path, MINE)
    checkout([make(THEIRS)], tmp_path)
    after = snapshot(tmp_path)
    undo(tmp_path)
    undo(tmp_path)
    assert snapshot(tmp_path) == after


def test_undo_never_loses_later_work(make: Make, tmp_path: Path) -> None:
    """A file that was added and is changed since stays; one that was overwritten and is changed since is kept."""
    write_files(tmp_path, MINE)
    checkout([make(THEIRS)], tmp_path)
    write_files(tmp_path, {"z": b"my work", "d/mine": b"beside it", "a": b"edited"})
    undo(tmp_path)
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


def test_the_last_overwriting_checkout_is_the_one_that_is_undone(make_one: Make, tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"mine"})
    checkout([make_one({"a": b"1"})], tmp_path)
    checkout([make_one({"a": b"2"})], tmp_path)
    checkout([make_one({"b": b"added"})], tmp_path)
    undo(tmp_path)
    assert read_files(tmp_path)["a"] == b"1"


def test_nothing_to_undo_is_an_error(make_one: Make, tmp_path: Path) -> None:
    checkout([make_one({"a": b"1"})], tmp_path)
    with pytest.raises(DoesNotExist, match="nothing to undo"):
        undo(tmp_path)


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


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"overwritten":["a"],"added":[],"directories":[]}'])
def test_a_damaged_list_of_what_to_undo_is_told(make_one: Make, tmp_path: Path, manifest: bytes) -> None:
    write_files(tmp_path, {"a": b"mine"})
    checkout([make_one({"a": b"1"})], tmp_path)
    (tmp_path / ".keepsake/undo/manifest.json").write_bytes(manifest)
    with pytest.raises(ReadError, match=r"undo/files"):
        undo(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"1"


def test_where_there_are_no_hard_links(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_files(tmp_path, MINE)
    before = snapshot(tmp_path)
    checkout([make(THEIRS)], tmp_path)
    undo(tmp_path)
    assert snapshot(tmp_path) == before


# The project's own configuration


def test_a_configuration_that_points_elsewhere_is_told(make: Make, tmp_path: Path, warnings_said: list[str]) -> None:
    write_files(tmp_path, {"keepsake.yaml": b"repository: s3://kim:secret@new/place\n"})
    checkout([make({"keepsake.yaml": b"repository: file://old\n", "a": b"1"})], tmp_path)
    (said,) = warnings_said
    assert "file://old" in said
    assert "s3://new/place" in said
    assert "--undo" in said


@pytest.mark.parametrize("ours", [b"# mine\nrepository: file://old\n", b"repository: [", None])
def test_no_word_about_a_configuration_that_says_the_same_or_nothing(
    make: Make, tmp_path: Path, warnings_said: list[str], ours: bytes | None
) -> None:
    write_files(tmp_path, {} if ours is None else {"keepsake.yaml": ours})
    checkout([make({"keepsake.yaml": b"repository: file://old\n"})], tmp_path)
    assert warnings_said == []
