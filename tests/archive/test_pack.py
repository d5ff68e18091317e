"""Freezing files in a pack, and reading them there."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import resource
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsake.archive import pack as _snapshot
from keepsake.archive import writer
from keepsake.archive.pack import FrozenFiles, freeze
from keepsake.archive.reader import Archive
from keepsake.exceptions import CorruptedArchive, DoesNotExist, ValidationError, WriteError
from keepsake.util import ignore
from tests.archive.archives import freeze_files, write_files
from tests.storage.memory import MemoryStorage

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
    assert entry.mode == 0o755, "setuid and setgid are not recorded"
    assert entry.mtime_ns == 1_234_567_890_123_456_789


def test_only_the_path_is_frozen(tmp_path: Path) -> None:
    write_files(tmp_path / "p", {"a/b": b"1", "c": b"3"})
    entries = freeze(tmp_path / "p", "a", tmp_path / "pack")
    assert [entry.name for entry in entries] == ["a/b"]


def test_a_pack_is_private(tmp_path: Path) -> None:
    assert freeze_files(tmp_path, {"a": b"1"}).stat().st_mode & 0o777 == 0o600


def test_a_pack_replaces_what_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "files.pack").write_bytes(b"old")
    assert contents(freeze_files(tmp_path, {"a": b"1"})) == {"a": b"1"}


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.none() | st.binary(max_size=100), min_size=1))
def test_any_files_are_read_back(drawn: dict[str, bytes | None]) -> None:
    files = {name: bytes(LARGE) if data is None else data for name, data in drawn.items()}  # None: a large one
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


def test_files_that_cannot_be_read_are_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_said: list[str]
) -> None:
    open_file, read = os.open, os.read

    def open_unless_bad(path: str, *arguments: Any) -> int:
        if os.path.basename(path) == "bad-open":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_file(path, *arguments)

    def read_unless_bad(descriptor: int, length: int) -> bytes:
        data = read(descriptor, length)
        if data.startswith(b"unreadable"):
            raise OSError(errno.EIO, "Input/output error")
        return data

    good = {"a": b"1", "c": os.urandom(LARGE), "z": b"2"}
    bad = {"bad-open": b"x", "bad-read": b"x" * 3 * LARGE + b"unreadable", "bad-small": b"unreadable"}
    write_files(tmp_path / "p", good | bad)
    monkeypatch.setattr(os, "open", open_unless_bad)
    monkeypatch.setattr(os, "read", read_unless_bad)
    freeze(tmp_path / "p", ".", tmp_path / "pack")
    monkeypatch.undo()
    assert contents(tmp_path / "pack") == good
    assert len(warnings_said) == 3
    assert "Permission denied" in warnings_said[0]
    assert "Input/output error" in warnings_said[1]


def test_a_fifo_that_takes_a_files_place_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_said: list[str]
) -> None:
    write_files(tmp_path / "p", {"a": b"1"})
    os.mkfifo(tmp_path / "p/fifo")
    walked = [("a", str(tmp_path / "p/a")), ("fifo", str(tmp_path / "p/fifo"))]
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


def test_a_full_disk_is_reported_with_figures_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "project", {"a": b"1", "large": bytes(LARGE)})
    (tmp_path / "spool").mkdir()

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_snapshot, "set_space_aside", no_space)
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


@pytest.mark.parametrize("answer", [OSError(errno.ENOENT, "no C library"), AttributeError("fallocate"), -1])
def test_without_allocation_files_are_copied_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Exception | int
) -> None:
    def library(name: None) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(fallocate=lambda *_: answer)

    monkeypatch.setattr(ctypes, "CDLL", library)
    assert contents(freeze_files(tmp_path, FILES)) == FILES


def test_no_more_space_is_set_aside_than_there_is(tmp_path: Path) -> None:
    """A size may be a lie, and allocating its blocks would fill the disk."""
    with open(tmp_path / "file", "wb") as file:
        _snapshot.set_space_aside(file, 0, 1 << 60)
        _snapshot.set_space_aside(file, 0, 2 * LARGE)
    status = (tmp_path / "file").stat()
    assert status.st_size == 0
    assert status.st_blocks * 512 <= 3 * LARGE


def test_a_limit_on_the_size_of_files_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    write_files(tmp_path / "p", {"model.pth": os.urandom(3 * LARGE)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "spool").mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE, before[1]))
    try:
        with pytest.raises(WriteError, match="ulimit -f"):
            freeze(tmp_path / "p", ".", tmp_path / "spool/pack")
        with pytest.raises(WriteError, match="ulimit -f"):
            writer.freeze(tmp_path / "p", ".", tmp_path / "spool", "a" * 64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "spool").iterdir()) == []


# Holes


@pytest.mark.parametrize("seek", ["as it is", OSError(errno.EINVAL, "Invalid argument")])
def test_holes_stay_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seek: str | OSError) -> None:
    """Where the file system cannot report them, everything is copied."""
    (tmp_path / "p").mkdir()
    noise = os.urandom(LARGE)
    with open(tmp_path / "p/sparse", "wb") as file:
        file.seek(4 * LARGE)
        file.write(noise)
        file.truncate(9 * LARGE + 1)
    if (tmp_path / "p/sparse").stat().st_blocks * 512 > 2 * LARGE:
        pytest.skip("this file system has no holes")
    if isinstance(seek, OSError):
        whole = os.lseek

        def refuse(descriptor: int, position: int, how: int) -> int:
            if how == os.SEEK_DATA:
                raise seek
            return whole(descriptor, position, how)

        monkeypatch.setattr(os, "lseek", refuse)
    made, _ = writer.freeze(tmp_path / "p", ".", tmp_path, "a" * 64)
    assert contents(made) == {"sparse": bytes(4 * LARGE) + noise + bytes(4 * LARGE + 1)}
    assert (made.stat().st_blocks * 512 < 2 * LARGE) == (seek == "as it is")
    writer.verify(made)


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
    """Another process may have stored it meanwhile."""
    with pytest.raises(FileNotFoundError):
        FrozenFiles(tmp_path / "pack")


def test_a_pack_that_is_cut_off_anywhere_is_recognised(tmp_path: Path) -> None:
    pack = freeze_files(tmp_path, {"a": b"content", "b": b""})
    whole = pack.read_bytes()
    for length in range(len(whole)):
        pack.write_bytes(whole[:length])
        with pytest.raises(CorruptedArchive, match=r"files\.pack"):
            FrozenFiles(pack)


def test_a_pack_whose_table_is_damaged_is_recognised(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("position", [0, LARGE, 3 * LARGE - 1, 3 * LARGE + 4])
def test_what_a_power_cut_left_is_not_taken_for_what_was_frozen(tmp_path: Path, position: int) -> None:
    """The table is on the disk, a part of the content is not."""
    pack = freeze_files(tmp_path, {"a": b"x" * 3 * LARGE, "b": b"content"})
    with open(pack, "r+b") as file:
        file.seek(position)
        file.write(b"\0")
    damaged = rf"files\.pack is damaged: {'a' if position < 3 * LARGE else 'b'} "
    with pytest.raises(CorruptedArchive, match=damaged):
        writer.verify(pack)
    with pytest.raises(CorruptedArchive, match=damaged), writer.open_archive(pack) as archive:
        archive.read()
    with pytest.raises(CorruptedArchive, match=damaged):
        Archive(MemoryStorage(), "key", pack).extract(tmp_path / "out")


def test_a_pack_of_an_early_build_has_no_hashes_and_is_read_all_the_same(tmp_path: Path) -> None:
    table = json.dumps([["a", 7, 0o644, 0, 0]]).encode()
    footer = struct.pack("<QQI8s", 7, len(table), zlib.crc32(table), b"KSPACK1\n")
    (tmp_path / "old.pack").write_bytes(b"content" + table + footer)
    writer.verify(tmp_path / "old.pack")
    assert contents(tmp_path / "old.pack") == {"a": b"content"}
