"""Freezing files in a pack, and reading them there."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsake.archive import pack as _snapshot
from keepsake.archive.pack import FrozenFiles, freeze
from keepsake.exceptions import CorruptedArchive, DoesNotExist, ValidationError, WriteError
from keepsake.util import ignore
from tests.unit.archives import freeze_files, write_files

LARGE = 1 << 20


@pytest.fixture(autouse=True)
def warnings_said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(ignore, "warn", said.append)
    ignore.leave_out.cache_clear()
    return said


def contents(pack: Path) -> dict[str, bytes]:
    with FrozenFiles(pack) as frozen:
        return {entry.name: frozen.read(entry, 0, entry.size) for entry in frozen.entries}


FILES = {
    "a.txt": b"hello",
    "empty": b"",
    "large.bin": os.urandom(2 * LARGE + 17),
    "nested/just-large.bin": os.urandom(LARGE),
    "nested/not-large.bin": os.urandom(LARGE - 1),
    "ünïcode/名前": b"\0\n",
}


def test_what_was_frozen_is_read_back(tmp_path: Path) -> None:
    assert contents(freeze_files(tmp_path, FILES)) == FILES


def test_freeze_returns_what_the_pack_lists(tmp_path: Path) -> None:
    write_files(tmp_path / "project", FILES)
    entries = freeze(tmp_path / "project", ".", tmp_path / "pack")
    with FrozenFiles(tmp_path / "pack") as frozen:
        assert frozen.entries == entries
    assert [entry.name for entry in entries] == sorted(FILES)
    assert {entry.name: entry.size for entry in entries} == {name: len(content) for name, content in FILES.items()}


def test_modes_and_times_are_kept(tmp_path: Path) -> None:
    write_files(tmp_path / "p", {"run.sh": b"#!/bin/sh"})
    (tmp_path / "p/run.sh").chmod(0o6755)
    os.utime(tmp_path / "p/run.sh", ns=(0, 1_234_567_890_123_456_789))
    (entry,) = freeze(tmp_path / "p", "run.sh", tmp_path / "pack")
    assert entry.mode == 0o755, "setuid and setgid are no permission bits of ours"
    assert entry.mtime_ns == 1_234_567_890_123_456_789


def test_large_files_begin_where_a_file_system_can_share_their_blocks(tmp_path: Path) -> None:
    write_files(tmp_path / "p", FILES)
    entries = freeze(tmp_path / "p", ".", tmp_path / "pack")
    assert [entry.offset % 4096 for entry in entries if entry.size >= LARGE] == [0, 0]


def test_only_the_path_is_frozen(tmp_path: Path) -> None:
    write_files(tmp_path / "p", {"a/b": b"1", "c": b"3"})
    entries = freeze(tmp_path / "p", "a", tmp_path / "pack")
    assert [entry.name for entry in entries] == ["a/b"]


def test_a_pack_is_private(tmp_path: Path) -> None:
    assert freeze_files(tmp_path, {"a": b"1"}).stat().st_mode & 0o777 == 0o600


def test_a_pack_replaces_what_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "files.pack").write_bytes(b"old")
    assert contents(freeze_files(tmp_path, {"a": b"1"})) == {"a": b"1"}


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.binary(max_size=100) | st.just(bytes(LARGE)), min_size=1)
)
def test_any_files_are_read_back(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        assert contents(freeze_files(Path(directory), files)) == files


# Files that change, or cannot be read


def test_a_file_that_shrinks_while_it_is_copied_is_kept_as_far_as_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "p", {"shrinks": b"x" * 3 * LARGE, "z": b"after"})
    meanwhile(monkeypatch, lambda: os.truncate(tmp_path / "p/shrinks", LARGE + 5))
    entries = freeze(tmp_path / "p", ".", tmp_path / "pack")
    assert [entry.size for entry in entries] == [LARGE + 5, 5]
    assert contents(tmp_path / "pack") == {"shrinks": b"x" * (LARGE + 5), "z": b"after"}


def test_a_file_that_grows_while_it_is_copied_is_kept_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "p", {"log": b"x" * LARGE, "z": b"after"})
    meanwhile(monkeypatch, lambda: write_files(tmp_path / "p", {"log": b"y" * 2 * LARGE}))
    assert [entry.size for entry in freeze(tmp_path / "p", ".", tmp_path / "pack")] == [LARGE, 5]


def meanwhile(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Do something after a large file was opened and before it is copied."""
    monkeypatch.setattr(_snapshot, "set_space_aside", lambda *_: action())


class Failing(io.FileIO):
    """A file that cannot be read, or not beyond its first bytes."""

    def __init__(self, path: Path, opener: Any) -> None:
        super().__init__(path, opener=opener)
        self.failing = path.name.startswith("bad")
        if path.name == "bad-open":
            self.close()
            raise PermissionError(errno.EACCES, "Permission denied")

    def readinto(self, buffer: Any) -> int | None:
        if self.failing and self.tell():
            raise OSError(errno.EIO, "Input/output error")
        return super().readinto(buffer)


def test_files_that_cannot_be_read_are_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_said: list[str]
) -> None:
    monkeypatch.setattr(io, "FileIO", Failing)
    good = {"a": b"1", "c": os.urandom(LARGE), "z": b"2"}
    bad = {"bad-open": b"x", "bad-read": b"x" * 3 * LARGE}
    assert contents(freeze_files(tmp_path, good | bad)) == good
    assert len(warnings_said) == 2
    assert "Permission denied" in warnings_said[0]
    assert "Input/output error" in warnings_said[1]


def test_a_fifo_that_takes_a_files_place_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_said: list[str]
) -> None:
    write_files(tmp_path / "p", {"a": b"1"})
    os.mkfifo(tmp_path / "p/fifo")
    walked = [("a", tmp_path / "p/a"), ("fifo", tmp_path / "p/fifo")]
    monkeypatch.setattr(_snapshot, "walk_files", lambda *_: iter(walked))
    assert [entry.name for entry in freeze(tmp_path / "p", ".", tmp_path / "pack")] == ["a"]
    assert len(warnings_said) == 1


# Failures


def test_a_path_without_files_is_an_error(tmp_path: Path) -> None:
    write_files(tmp_path / "p", {".git/config": b""})
    (tmp_path / "p/empty").mkdir()
    for path in ("empty", ".git", "."):
        with pytest.raises(DoesNotExist, match=re.escape(repr(path))):
            freeze(tmp_path / "p", path, tmp_path / "pack")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_wrong_paths_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DoesNotExist):
        freeze(tmp_path / "p", "missing", tmp_path / "pack")
    with pytest.raises(ValidationError):
        freeze(tmp_path / "p", "/etc", tmp_path / "pack")


def test_a_pack_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    write_files(tmp_path / "p", {"a": b"1"})
    with pytest.raises(WriteError, match="No such file or directory"):
        freeze(tmp_path / "p", "a", tmp_path / "nowhere/pack")


def test_a_full_disk_is_told_with_figures_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "project", {"a": b"1", "large": bytes(LARGE)})
    (tmp_path / "spool").mkdir()

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(WriteError, match=r"No space left on device \([\d,]+ MB are free\).*KEEPSAKE_SPOOL"):
        freeze(tmp_path / "project", ".", tmp_path / "spool/pack")
    assert list((tmp_path / "spool").iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "project", {"a": b"1", "large": bytes(LARGE)})
    (tmp_path / "spool").mkdir()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_snapshot, "set_space_aside", interrupt)
    with pytest.raises(KeyboardInterrupt):
        freeze(tmp_path / "project", ".", tmp_path / "spool/pack")
    assert list((tmp_path / "spool").iterdir()) == []


# Where the system offers less, or more


def test_without_allocation_files_are_copied_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    assert contents(freeze_files(tmp_path, FILES)) == FILES


def test_a_file_system_that_cannot_allocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert contents(freeze_files(tmp_path, FILES)) == FILES


def test_a_file_system_that_shares_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does it: the content appears at the place that was asked for, and the file ends there."""

    def share(target: int, request: int, argument: bytes) -> None:
        source, start, length, place = struct.unpack("qQQQ", argument)
        assert (request, start, length, place % 4096) == (0x4020940D, 0, 0, 0)
        content = os.pread(source, 1 << 30, 0)
        assert os.pwrite(target, content, place) == len(content)
        shared.append(len(content))

    shared: list[int] = []
    monkeypatch.setattr("fcntl.ioctl", share)
    assert contents(freeze_files(tmp_path, FILES)) == FILES
    assert shared == [2 * LARGE + 17, LARGE]


# Reading


def test_parts_can_be_read_by_several_threads(tmp_path: Path) -> None:
    content = os.urandom(3 * LARGE)
    with FrozenFiles(freeze_files(tmp_path, {"a": content})) as frozen:
        wrong: list[int] = []

        def read(start: int) -> None:
            for at in range(start, start + LARGE, 65536):
                if frozen.read(frozen.entries[0], at, 65536) != content[at : at + 65536]:
                    wrong.append(at)

        threads = [threading.Thread(target=read, args=(number * LARGE,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert b"".join(frozen.parts(frozen.entries[0])) == content


def test_a_missing_pack_is_a_file_that_is_not_found(tmp_path: Path) -> None:
    """Another process may have finished with it meanwhile."""
    with pytest.raises(FileNotFoundError):
        FrozenFiles(tmp_path / "pack")


def test_a_pack_that_is_cut_off_anywhere_is_known_as_such(tmp_path: Path) -> None:
    pack = freeze_files(tmp_path, {"a": b"content", "b": b""})
    whole = pack.read_bytes()
    for length in range(len(whole)):
        pack.write_bytes(whole[:length])
        with pytest.raises(CorruptedArchive, match=r"files\.pack"):
            FrozenFiles(pack)


def test_a_pack_whose_table_is_damaged_is_known_as_such(tmp_path: Path) -> None:
    pack = freeze_files(tmp_path, {"a": b"content"})
    whole = pack.read_bytes()
    for position in range(len(b"content"), len(whole)):
        pack.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(CorruptedArchive):
            FrozenFiles(pack)


def test_a_pack_that_loses_its_end_while_it_is_read(tmp_path: Path) -> None:
    pack = freeze_files(tmp_path, {"a": b"content"})
    with FrozenFiles(pack) as frozen:
        os.truncate(pack, 3)
        with pytest.raises(CorruptedArchive, match="cut off at 3 bytes"):
            frozen.read(frozen.entries[0], 0, 7)
