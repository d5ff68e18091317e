"""Files written below a directory: whole, with holes for long runs of zeros, whatever the file system refuses."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keepsake.archive.contents import ArchiveEntry
from keepsake.archive.extraction import Extraction
from keepsake.archive.gzip import Parts
from keepsake.exceptions import WriteError
from tests.archive.archives import archive_bytes, freeze_files, read_files, stored, write_files

BLOCK = 64 << 10
CONTENTS = {
    "nothing": b"",
    "a zero": b"\0",
    "zeros only": bytes(5 * BLOCK),
    "zeros at the end": b"x" * BLOCK + bytes(7 * BLOCK + 3),
    "zeros at the beginning": bytes(7 * BLOCK + 3) + b"x",
    "zeros between": b"x" * 5 + bytes(9 * BLOCK) + b"y" * 70_000 + bytes(3 * BLOCK) + b"z",
    "no zeros": os.urandom(5 * BLOCK + 7),
}


def write(directory: Path, content: bytes, part: int) -> Path:
    """Write `content` in parts."""
    parts: list[Parts] = [[content[start : start + part]] for start in range(0, len(content), part)]
    Extraction(directory).write(ArchiveEntry("file", len(content), 0o640, 10**9), parts, is_dense=False)
    return directory / "file"


@pytest.mark.parametrize("part", [1000, BLOCK, 4 * BLOCK, 5 * BLOCK + 11])
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_what_is_written_is_read(tmp_path: Path, content: bytes, part: int) -> None:
    path = write(tmp_path, content, part)
    assert path.read_bytes() == content
    assert path.stat().st_mtime == 1


def refused(*_: Any) -> Any:
    raise OSError(errno.EINVAL, "Invalid argument")


def a_write_after_a_hole_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems take bytes only in sequence."""
    real = os.write

    def in_a_row(descriptor: int, data: bytes) -> int:
        if os.lseek(descriptor, 0, os.SEEK_CUR) != os.fstat(descriptor).st_size:
            refused()
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", in_a_row)


def no_position_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "lseek", refused)


def few_bytes_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:10_007]))


@pytest.mark.parametrize("harm", [a_write_after_a_hole_is_refused, no_position_can_be_set, few_bytes_are_taken_at_once])
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_holes_are_filled_where_they_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, harm: Callable[[pytest.MonkeyPatch], None]
) -> None:
    harm(monkeypatch)
    assert write(tmp_path, content, 4 * BLOCK).read_bytes() == content


def test_a_sparse_file_comes_back_sparse(tmp_path: Path) -> None:
    """From an archive; where the file system has holes at all."""
    trial = tmp_path / "trial"
    with open(trial, "wb") as file:
        file.truncate(1 << 20)
    if not hasattr(os, "posix_fallocate") or trial.stat().st_blocks:
        pytest.skip("there are no holes here")
    content = b"x" + bytes(20 << 20) + b"y"
    archive = stored(archive_bytes(freeze_files(tmp_path / "pack", {"sparse": content, "dense": os.urandom(2 << 20)})))
    archive.extract(tmp_path / "out")
    assert (tmp_path / "out/sparse").read_bytes() == content
    assert (tmp_path / "out/sparse").stat().st_blocks * 512 < 2 << 20
    assert (tmp_path / "out/dense").stat().st_blocks * 512 >= 2 << 20


def test_nothing_is_written_through_a_link(small: bytes, tmp_path: Path) -> None:
    write_files(tmp_path, {"outside/file": b"precious"})
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/b").symlink_to(tmp_path / "outside")
    (tmp_path / "b/a").symlink_to(tmp_path / "outside/file")
    for target in ("a", "b"):
        with pytest.raises(WriteError):
            stored(small).extract(tmp_path / target)
    assert read_files(tmp_path / "outside") == {"file": b"precious"}


def test_existing_files_are_not_overwritten(small: bytes, tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"mine"})
    with pytest.raises(WriteError, match="exists"):
        stored(small).extract(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_a_file_that_cannot_be_written_fully_is_removed(tmp_path: Path) -> None:
    def content() -> Iterator[Parts]:
        yield [b"half"]
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteError, match="No space left on device"):
        Extraction(tmp_path).write(ArchiveEntry("a/b", 8, 0o644, 0), content())
    assert read_files(tmp_path) == {}
