"""The spool: what had returned is there, whoever reads it and however often."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from keepsake.archive import pack as _snapshot
from keepsake.exceptions import WriteError
from keepsake.recording import spool as _spool
from keepsake.recording.spool import Entry

RECORD = {"id": "a" * 64, "created": "2021-02-03T04:05:06Z"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".keepsake" / "spool"


@pytest.fixture
def entry(root: Path) -> Entry:
    return Entry.create(root, RECORD, "file:///repo", in_repository=False)


def checkpoint(number: int) -> dict[str, object]:
    return {"id": f"{number:064x}"}


def test_an_entry_is_read_back_as_it_was_written(root: Path, entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    entry.append({"experiment": {"python_packages": {"numpy": "2"}}})
    (found,) = _spool.entries(root)
    assert (found.record, found.repository, found.in_repository) == (RECORD, "file:///repo", False)
    assert found.pending().checkpoints == [checkpoint(1)]
    assert found.pending().fields == {"python_packages": {"numpy": "2"}}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_only_the_user_can_read_it(entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    assert stat.S_IMODE(entry.directory.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(journal.stat().st_mode) == 0o600 for journal in entry.journals())


def test_a_torn_last_line_is_passed_over(entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    with open(entry.journals()[0], "ab") as journal:
        journal.write(b'{"checkpoint": {"id": "bb')
    assert entry.pending().checkpoints == [checkpoint(1)]


def test_what_is_no_entry_is_passed_over(root: Path, entry: Entry) -> None:
    for name, content in (("b" * 64, "{"), ("c" * 64, "null"), ("d" * 64, json.dumps({"experiment": RECORD}))):
        (root / name).mkdir()
        (root / name / "record.json").write_text(content)
    (root / "e").write_text("")
    assert [found.id for found in _spool.entries(root)] == [entry.id]


def test_what_comes_after_a_journal_was_taken_is_kept(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if another process takes the same journal meanwhile, and the new line is as long as the old one."""
    entry.append({"checkpoint": checkpoint(1)})
    _, taken = entry.take(others=False)
    with monkeypatch.context() as patch:
        patch.setattr(_spool, "_process", "another")
        other = Entry.load(entry.directory)
        assert other is not None
        other.drop(other.take(others=True)[1])
    entry.append({"checkpoint": checkpoint(2)})
    entry.drop(taken)
    assert entry.pending().checkpoints == [checkpoint(2)]


def test_what_was_taken_and_could_not_be_saved_is_taken_again(entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    entry.take(others=False)
    entry.append({"checkpoint": checkpoint(2)})
    changes, taken = entry.take(others=False)
    assert sorted(c["id"] for c in changes.checkpoints) == [checkpoint(1)["id"], checkpoint(2)["id"]]
    entry.drop(taken)
    assert entry.close()


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

    monkeypatch.setattr(os, "write", taken_meanwhile)
    entry.append({"checkpoint": checkpoint(2)})
    assert entry.pending().checkpoints == [checkpoint(2)]


def test_another_process_takes_the_journal_by_renaming_it(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    monkeypatch.setattr(_spool, "_process", "another")
    assert not entry.take(others=False)[0]
    changes, taken = entry.take(others=True)
    assert changes.checkpoints == [checkpoint(1)]
    entry.drop(taken)
    assert entry.close()


def test_an_entry_that_was_closed_begins_again(entry: Entry) -> None:
    assert entry.close()
    assert not entry.directory.exists()
    entry.append({"checkpoint": checkpoint(1)})
    assert entry.pending().checkpoints == [checkpoint(1)]


def test_an_entry_with_something_to_save_does_not_close(entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    assert not entry.close()
    assert entry.directory.exists()


def test_another_process_does_not_close_the_entry_under_its_owners_hands(
    root: Path, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spool, "_owner", lambda: "another process elsewhere")
    (found,) = _spool.entries(root)
    assert found.close()
    found.release()
    assert entry.directory.exists()
    assert entry.is_alive()
    os.utime(entry.directory / "record.json", (0, 0))
    assert found.close()
    assert not entry.directory.exists()


def test_the_spool_goes_with_its_last_entry_but_not_a_repository_beside_it(root: Path, entry: Entry) -> None:
    (root.parent / "repository.json").write_text("{}")
    assert entry.close()
    assert [path.name for path in root.parent.iterdir()] == ["repository.json"]


def test_a_full_disk_leaves_no_half_line(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:10]))
    with pytest.raises(WriteError, match="cannot write"):
        entry.append({"checkpoint": checkpoint(2)})
    monkeypatch.undo()
    entry.append({"checkpoint": checkpoint(3)})
    assert entry.pending().checkpoints == [checkpoint(1), checkpoint(3)]


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


def test_an_owner_is_alive_until_it_says_otherwise(entry: Entry) -> None:
    entry.append({"checkpoint": checkpoint(1)})
    assert entry.is_alive()
    entry.release()
    assert not entry.is_alive()


def test_the_owner_that_is_gone_is_not_alive_however_fresh_its_record(entry: Entry) -> None:
    pid = os.spawnlp(os.P_NOWAIT, sys.executable, sys.executable, "-c", "") if hasattr(os, "fork") else 0
    if not pid:
        pytest.skip("needs processes that leave a number behind")
    os.waitpid(pid, 0)
    entry.owner = entry.owner.replace(str(os.getpid()), str(pid), 1)
    entry.write_record()
    assert not entry.is_alive()


def test_a_directory_that_was_there_and_goes_is_made_again(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path.mkdir finds it there, and then that it is none."""
    mkdir = Path.mkdir
    found: list[Path] = []

    def mkdir_as_it_goes(path: Path, *args: Any, **options: Any) -> None:
        if not found:
            found.append(path)
            shutil.rmtree(path)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir_as_it_goes)
    entry.write_record()
    assert found == [entry.directory]
    assert Entry.load(entry.directory) is not None


def test_a_file_in_the_place_of_the_directory_is_said(entry: Entry) -> None:
    shutil.rmtree(entry.directory)
    entry.directory.write_text("mine")
    with pytest.raises(WriteError, match=re.escape(f"{entry.directory}: File exists")):
        entry.write_record()


def test_an_entry_not_touched_for_long_is_not_alive(entry: Entry) -> None:
    os.utime(entry.directory / "record.json", (0, 0))
    assert not entry.is_alive()
    entry.touch()
    assert entry.is_alive()


def test_the_spool_is_in_the_project_directory_or_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _spool.spool_root(tmp_path) == tmp_path / ".keepsake" / "spool"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    elsewhere = _spool.spool_root(tmp_path)
    assert Path.home() in elsewhere.parents
    assert elsewhere != _spool.spool_root(tmp_path / "other")
    monkeypatch.setenv("KEEPSAKE_SPOOL", str(tmp_path / "chosen"))
    assert _spool.spool_root(tmp_path) == tmp_path / "chosen"


def test_a_nearly_full_disk_takes_no_more_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _snapshot.check_room(tmp_path)
    monkeypatch.setattr(_snapshot, "_RESERVE_BYTES", 1 << 62)
    monkeypatch.setattr(_snapshot, "_RESERVE_SHARE", 1.0)
    with pytest.raises(WriteError, match="nearly full"):
        _snapshot.check_room(tmp_path)
