"""The spool: every reader, on every reading, finds all that checkpoint() returned for."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keepsake.archive import pack as _snapshot
from keepsake.exceptions import WriteError
from keepsake.spool import damage, journal, places
from keepsake.spool import entry as entry_module
from keepsake.spool.entry import Entry
from tests.threads import in_this_thread

RECORD = {"id": "a" * 64, "created": "2021-02-03T04:05:06Z"}
# Lines that would make the record of an experiment unreadable
HOSTILE = [
    b'{"checkpoint": {"id": "../x"}}',
    b'{"experiment": {"id": "x"}}',
    b'{"experiment": {"created": 5}}',
    b'{"experiment": {"params": "x"}}',
    b'{"experiment": []}',
    b'{"experiment": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}",
    b'{"checkpoint": {"id": "%s"}}' % (b"c" * 64),
    b'{"checkpoint": {"id": "%s", "created": "2021-02-03T04:05:06Z", "metrics": [1]}}' % (b"c" * 64),
    b'{"labels": {"add": "x"}}',
    b'{"labels": {"name": 5}}',
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".keepsake" / "spool"


@pytest.fixture
def entry(root: Path) -> Entry:
    return Entry.create(root, RECORD, "file:///repo", in_repository=False)


def checkpoint(number: int) -> dict[str, object]:
    return {"id": f"{number:064x}", "created": "2021-02-03T04:05:06Z"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_directory_of_the_repository_is_for_the_group_of_the_project(tmp_path: Path, root: Path) -> None:
    """The spool makes it before there is a repository, and stays the user's."""
    tmp_path.chmod(0o2775)
    before = os.umask(0o022)
    try:
        entry = Entry.create(root, RECORD, "file:///repo", in_repository=False)
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (root.parent, root, entry.directory)]
    assert modes == [0o775, 0o755, 0o700]


@pytest.mark.parametrize(
    "in_the_way", [lambda place: place.write_text(""), lambda place: place.symlink_to("gone/disk")]
)
@pytest.mark.parametrize("name", [".keepsake", ".keepsake/spool"])
def test_where_no_spool_can_be_made_one_of_the_users_is_used(
    tmp_path: Path, in_the_way: Callable[[Path], object], name: str
) -> None:
    """Such as a link to a disk that this machine does not have."""
    assert places.spool_root(tmp_path) == tmp_path / ".keepsake/spool"
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    in_the_way(place)
    found = places.spool_root(tmp_path)
    assert not found.is_relative_to(tmp_path)
    assert found in places.spool_roots(tmp_path)
    Entry.create(found, RECORD, "file:///repo", in_repository=False)
    assert [entry.id for entry in places.entries(found)] == [RECORD["id"]]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a permission there")
def test_a_spool_of_the_users_is_found_by_any_path_to_the_project(tmp_path: Path) -> None:
    (project := tmp_path / "project").mkdir()
    (project / ".keepsake").write_text("in the way")
    (tmp_path / "link").symlink_to(project)
    assert places.spool_root(tmp_path / "link") == places.spool_root(project)


def test_an_entry_is_read_back_as_it_was_written(root: Path, entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    entry.append({"experiment": {"python_packages": {"numpy": "2"}}})
    (found,) = places.entries(root)
    assert (found.record, found.repository, found.in_repository) == (RECORD, "file:///repo", False)
    assert found.pending().checkpoints == [checkpoint(1)]
    assert found.pending().fields == {"python_packages": {"numpy": "2"}}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_only_the_user_can_read_it(entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    assert stat.S_IMODE(entry.directory.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(journal.stat().st_mode) == 0o600 for journal in entry.journals())


@pytest.mark.skipif(sys.platform == "win32", reason="opens files in another way")
def test_an_entry_is_found_while_its_record_is_replaced(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems in user space then say for a moment that the file is missing."""
    real, errors = os.open, [errno.ENOENT] * 3

    def open_file(path: str, flags: int, *rest: Any) -> int:
        if str(path).endswith("record.json") and errors:
            raise OSError(code := errors.pop(), os.strerror(code))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", open_file)
    assert Entry.load(entry.directory) is not None
    assert not errors


def test_a_torn_last_line_is_ignored(entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    with open(entry.journals()[0], "ab") as journal:
        journal.write(b'{"checkpoint": {"id": "bb')
    assert entry.pending().checkpoints == [checkpoint(1)]


def test_a_line_that_is_torn_because_the_disk_was_full_is_ignored(
    entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The caller was told."""
    entry.append({"checkpoint": checkpoint(1)})
    with open(entry.journals()[0], "ab") as torn:
        torn.write(b'!\n{"checkpoint": {"id": "bb')
    entry.append({"checkpoint": checkpoint(2)})
    taken = entry.take(others=True)
    taken.drop()
    assert taken.changes.checkpoints == [checkpoint(1), checkpoint(2)]
    assert entry.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "line", [b"\0\0\0", b'{"checkpoint": {"id": "\xff', b"[1]", b'{"of a newer version": 1}', *HOSTILE]
)
def test_a_damaged_journal_is_named_and_kept(entry: Entry, line: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    (damaged,) = entry.journals()
    damaged.write_bytes(content := damaged.read_bytes() + b"!\n" + line + b"\n")
    assert entry.pending().checkpoints == [checkpoint(1)]
    assert f"Lines of {damaged} are damaged" in capsys.readouterr().err
    taken = entry.take(others=True)
    assert taken.changes.checkpoints == [checkpoint(1)]
    taken.drop()
    assert entry.close()
    (kept,) = places.unnamed_files(entry.directory.parent)
    assert kept.read_bytes() == content
    assert f"Lines of {kept} are damaged" in capsys.readouterr().err


def test_what_is_not_an_entry_is_named_and_ignored(
    root: Path, entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = [("b" * 64, "{"), ("c" * 64, "null"), ("d" * 64, json.dumps({"experiment": RECORD}))]
    for name, content in damaged:
        (root / name).mkdir()
        (root / name / "record.json").write_text(content)
    (root / "e").write_text("")
    lost = root / ("f" * 64)
    lost.mkdir()
    for name in ("1.jsonl", "1.unnamed.pack"):
        (lost / name).write_text("")
    assert [found.id for found in places.entries(root)] == [entry.id]
    assert str(lost) not in (said := capsys.readouterr().err)  # its process may be about to write the record
    assert all(str(root / name) in said for name, _ in damaged)
    os.utime(lost / "1.jsonl", (1, 1))
    assert list(places.damaged(root)) == [*(root / name for name, _ in damaged), lost]


def test_a_record_that_only_seems_to_be_there_is_not_damaged(
    root: Path, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine has closed the entry, and a network disk shows its name for some seconds more."""
    (entry.directory / "record.json").unlink()
    monkeypatch.setattr(damage, "is_entry", lambda directory: True)
    assert list(places.entries(root)) == []
    assert places.damaged(root) == {}


def test_a_record_that_a_disk_does_not_show_yet_is_not_damaged(
    root: Path, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network disk may remember for seconds that a name was free. To a clock that is wrong, new lines look old."""
    entry.append({"checkpoint": checkpoint(1)})
    for file in entry.journals():
        os.utime(file, (1, 1))

    def find_nothing(path: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    monkeypatch.setattr(entry_module, "read_whole", find_nothing)
    monkeypatch.setattr(damage, "is_entry", lambda directory: False)
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    assert list(places.entries(root)) == []
    assert places.damaged(root) == {}


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("what", ["spool", "entry"])
def test_a_directory_that_cannot_be_listed_is_named_and_hides_nothing_else(
    root: Path, entry: Entry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, code: int
) -> None:
    """Something may wait in it, so nobody says that all is sent."""
    other = Entry.create(root, {**RECORD, "id": "b" * 64}, "file:///repo", in_repository=True)
    bad = os.fspath(root if what == "spool" else other.directory)
    for name in ("listdir", "scandir"):
        real = getattr(os, name)

        def refuse(path: str = ".", real: Callable[[str], object] = real) -> object:
            if os.fspath(path) == bad:
                raise OSError(code, os.strerror(code), path)
            return real(path)

        monkeypatch.setattr(os, name, refuse)
    found = [each.id for each in places.entries(root)]
    assert found == ([] if what == "spool" else [entry.id])
    assert f"{bad} cannot be read: {os.strerror(code)}" in capsys.readouterr().err
    assert list(map(os.fspath, places.damaged(root))) == [bad]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can be another user")
def test_the_private_spool_of_a_colleague_is_no_problem(
    root: Path, entry: Entry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the project of a group, one member's umask may be 077."""
    root.chmod(0o700)
    monkeypatch.chdir(root.parent)
    os.seteuid(12345)
    try:
        assert list(places.entries(Path("spool"))) == []
        assert places.damaged(Path("spool")) == {}
    finally:
        os.seteuid(0)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="makes a pipe")
def test_links_and_pipes_are_ignored_and_removed(root: Path, entry: Entry, tmp_path: Path) -> None:
    """A spool that comes from a stranger may hold them. A pipe would be read forever, a link could lead anywhere."""
    (tmp_path / "private").write_text("private")
    for name in ("1.jsonl", "1.pack", "1.log"):
        os.mkfifo(entry.directory / name)
    (entry.directory / f"{'1' * 64}.tar.gz").symlink_to(tmp_path / "private")
    (root / ("c" * 64)).symlink_to(entry.directory)
    (root / ("b" * 64)).mkdir()
    os.mkfifo(root / ("b" * 64) / "record.json")
    assert [found.id for found in places.entries(root)] == [entry.id]
    assert (entry.journals(), entry.packs(), entry.logs(live=True)) == ([], [], [])
    assert not entry.pending()
    entry.discard()
    assert not entry.directory.exists()
    assert (tmp_path / "private").read_text() == "private"


def test_what_comes_after_a_journal_was_taken_is_kept(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds if another process takes the journal meanwhile, and the new line is as long as the old one."""
    entry.append({"checkpoint": checkpoint(1)})
    taken = entry.take(others=False)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_process", "another")
        other = Entry.load(entry.directory)
        assert other is not None
        other.take(others=True).drop()
    entry.append({"checkpoint": checkpoint(2)})
    taken.drop()
    assert entry.pending().checkpoints == [checkpoint(2)]


def test_what_was_taken_and_could_not_be_saved_is_taken_again(entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    entry.take(others=False)
    entry.append({"checkpoint": checkpoint(2)})
    taken = entry.take(others=False)
    assert sorted(c["id"] for c in taken.changes.checkpoints) == [checkpoint(1)["id"], checkpoint(2)["id"]]
    taken.drop()
    assert entry.close()


def test_checkpoints_keep_their_order_where_journals_are_as_old_as_each_other(entry: Entry) -> None:
    """The clock by which files are stamped ticks every few milliseconds, and names of journals are random."""
    written = [{**checkpoint(number), "created": f"2021-02-03T04:05:06.{number:03}Z"} for number in range(1, 20)]
    for each in written:
        entry.append({"checkpoint": each})
        if each["id"] != written[-1]["id"]:
            entry.take(others=False)
    for path in entry.journals():
        os.utime(path, (1, 1))
    assert len(entry.journals()) == len(written)
    assert entry.pending().checkpoints == written
    assert entry.take(others=True).changes.checkpoints == written


def test_a_line_written_while_another_process_takes_the_journal_is_not_lost(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    real_write = os.write

    def taken_meanwhile(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", real_write)
        journal = entry.journals()[0]
        journal.unlink()  # taken, saved and dropped by a recovery that did not see this line
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", in_this_thread(taken_meanwhile, real_write))
    entry.append({"checkpoint": checkpoint(2)})
    assert entry.pending().checkpoints == [checkpoint(2)]


def test_another_process_takes_the_journal_by_renaming_it(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    monkeypatch.setattr(journal, "_process", "another")
    assert not entry.take(others=False).changes
    taken = entry.take(others=True)
    assert taken.changes.checkpoints == [checkpoint(1)]
    taken.drop()
    assert entry.close()


def test_a_journal_that_is_taken_while_files_are_listed_is_not_missed(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new name comes after the listing, and its lines are not in the repository yet."""
    entry.append({"checkpoint": checkpoint(1)})
    listed, taking = os.scandir, [True]

    @contextmanager
    def listed_before(directory: Path) -> Iterator[list[os.DirEntry[str]]]:
        with listed(directory) as entries:
            names = list(entries)
        if taking:
            taking.clear()
            entry.take(others=False)
        yield names

    monkeypatch.setattr(os, "scandir", listed_before)
    assert entry.pending().checkpoints == [checkpoint(1)]
    taking.append(True)
    assert entry.is_waiting()


def test_a_journal_that_has_grown_since_it_was_read_is_not_dropped(entry: Entry) -> None:
    """On a disk that caches names, its writer may not have seen that it was taken."""
    entry.append({"checkpoint": checkpoint(1)})
    taken = entry.take(others=False)
    (path,) = taken.sizes
    with open(path, "ab") as file:
        file.write(b"!\n" + json.dumps({"checkpoint": checkpoint(2)}).encode() + b"\n")
    taken.drop()
    assert entry.pending().checkpoints == [checkpoint(1), checkpoint(2)]


def test_an_inconsistent_disk_causes_no_endless_loop(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "samestat", lambda one, other: False)
    entry.append({"checkpoint": checkpoint(1)})
    assert {c["id"] for c in entry.pending().checkpoints} == {checkpoint(1)["id"]}


def test_an_entry_that_never_stays_is_reported(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(directory: Path, line: dict[str, Any]) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(journal, "append", refuse)
    with pytest.raises(WriteError, match="KEEPSAKE_SPOOL"):
        entry.append({"checkpoint": checkpoint(1)})


def test_an_entry_that_was_closed_begins_again(entry: Entry) -> None:
    assert entry.close()
    assert not entry.directory.exists()
    entry.append({"checkpoint": checkpoint(1)})
    assert entry.pending().checkpoints == [checkpoint(1)]


def test_what_its_process_knows_is_written_again_where_somebody_has_cleaned_up(
    entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    """`git clean -fdx` in the project removes what git ignores, the spool included."""
    lines = [{"checkpoint": {**checkpoint(number), "path": "w" if number == 1 else ""}} for number in range(5)]
    for line in lines[:3]:
        entry.append(line)
    shutil.rmtree(entry.directory.parent)
    entry.append(lines[3])
    assert len(entry.pending().checkpoints) == 4
    assert capsys.readouterr().err == "", "somebody may have removed the experiment, which another message says"
    entry.unsent.forget(entry.pending().checkpoints)
    assert "The files of 1 checkpoint, such as 0000000, are gone" in " ".join(capsys.readouterr().err.split())
    entry.append(lines[3])
    entry.discard()
    entry.append(lines[4])
    assert len(entry.pending().checkpoints) == 1, "what was given up does not come back"


@pytest.mark.parametrize("call", ["listdir", "unlink"])
def test_an_entry_that_cannot_be_discarded_is_named(entry: Entry, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """As by `keepsake rm`, whose spool is another user's, or on a disk that has become read-only."""
    entry.append({"checkpoint": checkpoint(1)})

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(WriteError, match=f"Cannot write to {re.escape(str(entry.directory))}"):
            entry.discard()
    assert entry.pending().checkpoints == [checkpoint(1)]


def test_an_entry_with_something_to_save_does_not_close(entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    assert not entry.close()
    assert entry.directory.exists()


def test_the_recording_process_notices_that_another_one_closed_the_entry(root: Path, entry: Entry) -> None:
    (found,) = places.entries(root)
    assert found.close()
    assert not entry.directory.exists()
    entry.append({"checkpoint": checkpoint(1)})
    (found,) = places.entries(root)
    assert found.pending().checkpoints == [checkpoint(1)]


def test_files_that_nobody_was_seen_to_name_are_kept(entry: Entry) -> None:
    """A process on a machine that was paused may still be about to name them."""
    pack = entry.directory / f"{'b' * 64}.pack"
    pack.write_bytes(b"frozen")
    assert not entry.close()
    entry.set_aside(pack)
    assert entry.size() == 0
    assert not entry.close()  # otherwise, no process would check again whether they are named
    kept = entry.frozen("b" * 64)
    assert kept is not None
    assert kept.read_bytes() == b"frozen"
    assert entry.unnamed() == [kept]


def test_the_spool_goes_with_its_last_entry_but_not_a_repository_beside_it(root: Path, entry: Entry) -> None:
    (root.parent / "repository.json").write_text("{}")
    assert entry.close()
    assert [path.name for path in root.parent.iterdir()] == ["repository.json"]


def test_a_full_disk_leaves_no_half_line(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:10]))
    with pytest.raises(WriteError, match="Cannot write"):
        entry.append({"checkpoint": checkpoint(2)})
    monkeypatch.undo()
    entry.append({"checkpoint": checkpoint(3)})
    assert entry.pending().checkpoints == [checkpoint(1), checkpoint(3)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_journal_that_is_as_large_as_a_file_may_be_is_continued_in_another(entry: Entry) -> None:
    """As while a run is offline, under `ulimit -f`."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    entry.keep_room()
    numbers = range(100)
    size = len(json.dumps({"checkpoint": checkpoint(0)}))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10 * size, before[1]))
        for number in numbers:
            entry.append({"checkpoint": checkpoint(number)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(each["id"] for each in entry.pending().checkpoints) == [checkpoint(n)["id"] for n in numbers]
    assert len(entry.journals()) < 20


def test_many_threads_append_whole_lines(entry: Entry) -> None:
    def append(start: int) -> None:
        for number in range(start, start + 50):
            entry.append({"checkpoint": checkpoint(number)})

    threads = [threading.Thread(target=append, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({c["id"] for c in entry.pending().checkpoints}) == 200


def test_a_directory_that_was_there_and_goes_is_made_again(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there when it is to be made, and gone when it is looked at."""
    mkdir = os.mkdir
    found: list[Path] = []

    def mkdir_as_it_goes(path: Path, *args: Any, **options: Any) -> None:
        if not found:
            found.append(path)
            shutil.rmtree(path)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        mkdir(path, *args, **options)

    monkeypatch.setattr(os, "mkdir", mkdir_as_it_goes)
    entry.write_record()
    assert found == [entry.directory]
    assert Entry.load(entry.directory) is not None


def test_a_file_in_the_place_of_the_directory_is_reported(entry: Entry) -> None:
    shutil.rmtree(entry.directory)
    entry.directory.write_text("mine")
    with pytest.raises(WriteError, match=re.escape(f"Cannot write to {entry.directory}: File exists.")):
        entry.write_record()


def test_an_entry_that_was_touched_is_fresh(entry: Entry) -> None:
    os.utime(entry.directory / "record.json", (0, 0))
    assert not entry.is_fresh()
    entry.touch()
    assert entry.is_fresh()


def test_a_line_without_its_line_feed_never_counts(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk may take all of a line except its end. checkpoint() then reports that nothing was saved."""
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:-1]))
    with pytest.raises(WriteError):
        entry.append({"checkpoint": checkpoint(1)})
    monkeypatch.undo()
    assert entry.pending().checkpoints == []
    entry.append({"checkpoint": checkpoint(2)})
    assert entry.pending().checkpoints == [checkpoint(2)]


def test_a_journal_of_before_is_read(entry: Entry) -> None:
    (entry.directory / "1234.jsonl").write_bytes(b'\n{"checkpoint":%b}\n' % json.dumps(checkpoint(1)).encode())
    assert entry.pending().checkpoints == [checkpoint(1)]


def test_the_spool_is_in_the_project_directory_or_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places.spool_root(tmp_path) == tmp_path / ".keepsake" / "spool"
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: tmp_path not in (path, *Path(path).parents) and access(path, mode)
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.with_name("state")))
    elsewhere = places.spool_root(tmp_path)
    assert tmp_path.with_name("state") in elsewhere.parents
    assert elsewhere != places.spool_root(tmp_path / "other")
    assert places.spool_roots(tmp_path) == [tmp_path / ".keepsake" / "spool", elsewhere]
    monkeypatch.setenv("KEEPSAKE_SPOOL", str(tmp_path / "chosen"))
    assert places.spool_root(tmp_path) == tmp_path / "chosen"


def test_a_nearly_full_disk_takes_no_more_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _snapshot.check_room(tmp_path)
    monkeypatch.setattr(_snapshot, "_RESERVE_BYTES", 1 << 62)
    monkeypatch.setattr(_snapshot, "_RESERVE_SHARE", 1.0)
    with pytest.raises(WriteError, match="nearly full"):
        _snapshot.check_room(tmp_path)


def test_what_a_crash_left_of_the_list_of_repositories_goes_when_it_is_old(root: Path, entry: Entry) -> None:
    old, new = (root / f".repositories.json-{number}.tmp" for number in (1, 2))
    for path in (old, new):
        path.write_bytes(b"{")
    os.utime(old, (0, 0))
    places.sweep(root)
    assert (old.exists(), new.exists()) == (False, True)
    assert [found.id for found in places.entries(root)] == [entry.id]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.ESTALE])
@pytest.mark.parametrize("place", [".keepsake", ".keepsake/spool"])
def test_a_disk_error_during_the_search_for_the_spool_is_not_fatal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, code: int
) -> None:
    """Whether it can be written shows when something is written, with an error that says what to do."""
    (tmp_path / place).mkdir(parents=True)
    real = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        if path in (tmp_path / place, str(tmp_path / place)):
            raise OSError(code, os.strerror(code))
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert places.spool_root(tmp_path) == tmp_path / ".keepsake" / "spool"


def test_a_file_system_that_only_says_that_it_cannot_be_written_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert places.spool_root(tmp_path) == tmp_path / ".keepsake" / "spool"
