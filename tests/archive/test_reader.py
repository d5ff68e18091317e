"""Archives, read whole and in part."""

from __future__ import annotations

import errno
import gzip
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from keepsake.archive import gzip as gzip_format
from keepsake.archive import writer
from keepsake.archive.reader import Archive
from keepsake.exceptions import CorruptedArchive, DoesNotExist, ReadError, WriteError
from keepsake.util.workers import Workers
from tests.archive.archives import (
    FILES,
    KEY,
    archive_bytes,
    extracted,
    freeze_files,
    member,
    plain_tar,
    read,
    read_each,
    stored,
    without_table,
)
from tests.storage.memory import MemoryStorage


def test_entries_say_what_is_there(data: bytes) -> None:
    entries = stored(data).entries()
    assert [(e.name, e.size, e.xxh128) for e in entries] == [
        (name, len(content), xxhash.xxh3_128(content).hexdigest()) for name, content in sorted(FILES.items())
    ]


def test_a_whole_archive_is_extracted(data: bytes) -> None:
    assert extracted(stored(data)) == FILES


def test_some_files_are_extracted(data: bytes) -> None:
    wanted = {"a.txt", "data/large.bin", "empty"}
    moved: list[int] = []
    files = extracted(stored(data), wanted=wanted.__contains__, progress=moved.append)
    assert files == {name: FILES[name] for name in wanted}
    assert sum(moved) == sum(map(len, files.values()))


@pytest.mark.parametrize("name", FILES)
def test_any_file_is_opened(data: bytes, name: str) -> None:
    assert read(stored(data), name) == FILES[name]


def test_an_opened_file_is_a_real_one(data: bytes) -> None:
    with stored(data).open("./data/../data/text.csv") as file:
        assert file.seekable()
        assert os.fstat(file.fileno()).st_size == len(FILES["data/text.csv"])
        assert os.fstat(file.fileno()).st_nlink == 0, "no other process can open it, and nothing has to be deleted"
        file.seek(-4, os.SEEK_END)
        assert file.read() == b"0.3\n"
    assert file.closed


def test_a_file_that_is_not_there_is_named(data: bytes) -> None:
    for archive in (stored(data), stored(without_table(data))):
        with pytest.raises(DoesNotExist, match="'nope'"):
            archive.open("nope")


def test_an_archive_that_is_not_there() -> None:
    archive = Archive(MemoryStorage(), KEY)
    calls: list[Callable[[], object]] = [archive.entries, lambda: archive.open("a"), lambda: archive.has_table]
    for call in calls:
        with pytest.raises(DoesNotExist):
            call()


# Requests


class CountingStorage(MemoryStorage):
    """Counts the bytes that are asked for."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.transferred: list[int] = []
        self.upload(KEY, io.BytesIO(data))

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        stream = super().open(key, start=start, length=length)
        self.transferred.append(len(stream.read()))
        stream.seek(0)
        return stream


def test_a_small_file_costs_two_small_requests(data: bytes) -> None:
    storage = CountingStorage(data)
    assert read(Archive(storage, KEY), "a.txt") == b"hello"
    assert len(storage.transferred) == 2
    assert sum(storage.transferred) < 70_000


def test_files_that_are_neighbours_come_in_one_request(data: bytes) -> None:
    storage = CountingStorage(data)
    archive = Archive(storage, KEY)
    archive.entries()
    storage.transferred.clear()
    extracted(archive)
    assert len(storage.transferred) == 1
    extracted(archive, wanted=lambda name: name.startswith("data/") or name == "a.txt")
    assert len(storage.transferred) == 3


def test_a_table_that_is_longer_than_the_first_request(tmp_path: Path) -> None:
    files = {f"{number:04}": b"%d" % number for number in range(3000)}
    data = archive_bytes(freeze_files(tmp_path, files))
    storage = CountingStorage(data)
    assert len(Archive(storage, KEY).entries()) == 3000
    assert len(storage.transferred) == 2
    assert sum(storage.transferred) < len(data)
    assert extracted(stored(data)) == files
    assert dict(read_each(Archive(CountingStorage(data), KEY, tail=100))) == files


# Any files


@given(
    files=st.dictionaries(
        st.sampled_from(["a", "b/c", "b/d", "é", "e" * 150]),
        st.binary(max_size=300) | st.integers(0, 300).map(lambda size: b"ab" * size),
        min_size=1,
    ),
    chunk=st.sampled_from([1, 7, 100, 512, 1 << 20]),
    parallel=st.booleans(),
)
def test_any_files_come_back_whatever_the_size_of_a_chunk(files: dict[str, bytes], chunk: int, parallel: bool) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch, Workers(2) as workers:
        patch.setattr(writer, "CHUNK", chunk)
        patch.setattr(writer, "_SMALL", 0)  # so threads pack even the smallest files
        data = archive_bytes(freeze_files(Path(directory), files), workers if parallel else None)
        assert extracted(stored(data)) == files
        assert extracted(stored(without_table(data))) == files
        assert {name: read(stored(data), name) for name in files} == files


@pytest.fixture
def _without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_format, "_library", zlib)


@pytest.mark.usefixtures("_without_isal")
def test_zlib_does_what_isal_does(pack: Path, data: bytes) -> None:
    own = archive_bytes(pack)
    assert extracted(stored(own)) == extracted(stored(data)) == FILES
    assert extracted(stored(without_table(data))) == FILES
    damaged = bytearray(data)
    damaged[-100] ^= 1  # in the table of contents
    with pytest.raises(CorruptedArchive):
        extracted(stored(bytes(damaged)))


# Frozen files that are not yet an archive


def test_a_pack_is_read_like_the_archive_it_will_be(pack: Path) -> None:
    archive = Archive(MemoryStorage(), KEY, pack)
    assert [(entry.name, entry.size) for entry in archive.entries()] == [(n, len(c)) for n, c in sorted(FILES.items())]
    assert extracted(archive) == FILES
    assert read(archive, "data/text.csv") == FILES["data/text.csv"]
    assert not archive.has_table


def test_when_the_pack_is_gone_the_archive_is_read(tmp_path: Path) -> None:
    """The saver may have finished with it in between."""
    pack = freeze_files(tmp_path, {"a": b"1"})
    storage = MemoryStorage()
    archive = Archive(storage, KEY, pack)
    assert len(archive.entries()) == 1
    storage.upload(KEY, io.BytesIO(archive_bytes(pack)))
    pack.unlink()
    assert archive.has_table
    assert read(archive, "a") == b"1"
    assert archive.entries()[0].xxh128 == xxhash.xxh3_128(b"1").hexdigest()


# Archives without a table of contents


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_archives_by_other_programs_are_read(tar_format: int) -> None:
    files = {"a": b"1", "b/" + "x" * 90 + "/" + "y" * 80: bytes(1000), "empty": b"", "text": b"t" * 10_000}
    directory = member("5ffb/b", type=tarfile.DIRTYPE)
    members = [directory, *(member(f"5ffb/{name}", content, mode=0o600, mtime=1e9) for name, content in files.items())]
    archive = stored(gzip.compress(plain_tar(members, tar_format)))
    assert not archive.has_table
    assert [(e.name, e.size, e.xxh128, e.mode, e.mtime_ns) for e in archive.entries()] == [
        (name, len(content), None, 0o600, 10**18) for name, content in files.items()
    ]
    assert extracted(archive) == files
    assert {name: read(archive, name) for name in files} == files


def test_pax_headers_of_other_programs_are_read() -> None:
    """A global one, such as git's, and a time with a fraction."""
    info, content = member("id/é", b"1")
    info.pax_headers = {"mtime": "1234.5", "comment": "né"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "0123"}) as tar:
        tar.addfile(info, io.BytesIO(content))
    (entry,) = stored(gzip.compress(buffer.getvalue())).entries()
    assert (entry.name, entry.mtime_ns) == ("é", 1_234_500_000_000)


# Trouble


def test_too_little_room_for_temporary_files_is_reported(small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_space)
    with pytest.raises(WriteError, match="TMPDIR"):
        stored(small).open("a")


def test_a_cut_connection_is_not_corruption(data: bytes) -> None:
    class Broken(MemoryStorage):
        def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
            if start >= 0:
                raise ReadError("connection reset")
            return super().open(key, start=start, length=length)

    storage = Broken()
    storage.upload(KEY, io.BytesIO(data))
    with pytest.raises(ReadError, match="connection reset"):
        Archive(storage, KEY).open("a.txt")
