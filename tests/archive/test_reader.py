"""Archives: made from packs, read whole and in part, and never trusted."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import random
import subprocess
import tarfile
import tempfile
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from keepsake.archive import contents as _toc
from keepsake.archive import gzip as _gzip
from keepsake.archive import tar as _tar
from keepsake.archive import writer
from keepsake.archive.extraction import Extraction
from keepsake.archive.pack import FrozenFiles, freeze
from keepsake.archive.reader import Archive, ArchiveEntry
from keepsake.archive.writer import write_archive
from keepsake.exceptions import CorruptedArchive, DoesNotExist, KeepsakeError, ReadError, WriteError
from keepsake.util.workers import Workers, in_order
from tests.archive.archives import (
    ID,
    KEY,
    archive_bytes,
    freeze_files,
    member,
    plain_archive,
    plain_tar,
    read_files,
    stored,
    write_files,
)
from tests.storage.memory import MemoryStorage

RANDOM = random.Random(1)
FILES = {
    "a.txt": b"hello",
    "block": RANDOM.randbytes(512),
    "data/large.bin": RANDOM.randbytes(5 << 20),
    "data/text.csv": b"0.1,0.2,0.3\n" * 400_000,
    "data/two-chunks.bin": RANDOM.randbytes(4 << 20),
    "empty": b"",
    "long/" + "d" * 120 + "/" + "n" * 200: b"long name",
    "ünïcode/名前 😀.txt": b"x",
}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return freeze_files(tmp_path_factory.mktemp("pack"), FILES)


@pytest.fixture(scope="module")
def data(pack: Path) -> bytes:
    with Workers() as workers:
        return archive_bytes(pack, workers)


def extracted(archive: Archive, **arguments: Any) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as directory:
        archive.extract(Path(directory), **arguments)
        return read_files(Path(directory))


def read(archive: Archive, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read()


# What is written


def test_tar_extracts_it(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "archive.tar.gz").write_bytes(data)
    done = subprocess.run(["tar", "xzf", "archive.tar.gz"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_files(tmp_path / ID) == FILES


def test_pythons_tarfile_extracts_it(data: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {info.name.removeprefix(ID + "/"): tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    assert files == FILES


def test_all_of_it_is_gzip(data: bytes) -> None:
    """Even the table of contents: programs that check more than the tar see nothing odd."""
    assert gzip.decompress(data).startswith(f"{ID}/a.txt".encode())


def test_equal_input_makes_equal_bytes_whoever_compresses(pack: Path, data: bytes) -> None:
    with Workers(1) as workers:
        assert archive_bytes(pack, workers) == data
    assert archive_bytes(pack) == data


def test_what_does_not_shrink_is_stored_and_what_does_is_compressed(tmp_path: Path) -> None:
    noise = freeze_files(tmp_path / "1", {"weights": RANDOM.randbytes(3 << 20)})
    text = freeze_files(tmp_path / "2", {"text": b"epoch,loss\n" * 300_000})
    assert len(archive_bytes(noise)) < (3 << 20) * 1.001 + 1000
    assert len(archive_bytes(text)) < (3 << 20) / 50


def test_a_file_whose_parts_differ_is_compressed_where_it_pays(tmp_path: Path) -> None:
    content = RANDOM.randbytes(writer.CHUNK) + bytes(writer.CHUNK) + RANDOM.randbytes(writer.CHUNK)
    data = archive_bytes(freeze_files(tmp_path, {"mixed": content}))
    lengths = stored(data).entries()[0].members
    assert lengths[1] < lengths[0] / 50
    assert read(stored(data), "mixed") == content


def test_modes_and_times_are_kept(tmp_path: Path) -> None:
    write_files(tmp_path / "p", {"run.sh": b"#!/bin/sh", "old": b""})
    (tmp_path / "p/run.sh").chmod(0o750)
    os.utime(tmp_path / "p/run.sh", ns=(0, 1_600_000_000_123_456_789))
    os.utime(tmp_path / "p/old", ns=(0, -1_000_000_000))
    freeze(tmp_path / "p", ".", tmp_path / "pack")
    archive = stored(archive_bytes(tmp_path / "pack"))
    archive.extract(tmp_path / "out")
    status = (tmp_path / "out/run.sh").stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o750, 1_600_000_000_123_456_789)
    assert (tmp_path / "out/old").stat().st_mtime_ns == -1_000_000_000


def test_a_name_that_is_not_utf_8_survives(tmp_path: Path) -> None:
    pack = freeze_files(tmp_path, {os.fsdecode(b"caf\xe9"): b"latin 1"})
    data = archive_bytes(pack)
    assert extracted(stored(data)) == extracted(stored(without_table(data))) == {os.fsdecode(b"caf\xe9"): b"latin 1"}


def test_the_stream_reads_in_any_portions(pack: Path, data: bytes) -> None:
    with FrozenFiles(pack) as frozen, write_archive(ID, frozen) as stream:
        portions = [stream.read(size) for size in (1, 10, 100_000, 3_000_000)]
        assert b"".join(portions) + stream.read() == data


def test_a_pack_that_loses_its_end_aborts_the_upload(tmp_path: Path) -> None:
    """Half an archive must not be published."""
    pack = freeze_files(tmp_path, {"a": bytes(3 << 20)})
    storage = MemoryStorage()
    with Workers() as workers, FrozenFiles(pack) as frozen, write_archive(ID, frozen, workers) as stream:
        os.truncate(pack, 1 << 20)
        with pytest.raises(CorruptedArchive, match="cut off"):
            storage.upload(KEY, stream)
    assert storage.objects == {}


def without_table(data: bytes) -> bytes:
    footer = _toc.decode_footer(data)
    assert footer is not None
    return data[: footer.offset]


# What is read


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


def read_each(archive: Archive) -> Iterator[tuple[str, bytes]]:
    for entry, content in archive.read():
        yield entry.name, b"".join(part for parts in content for part in parts)


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
        data = archive_bytes(freeze_files(Path(directory), files), workers if parallel else None)
        assert extracted(stored(data)) == files
        assert extracted(stored(without_table(data))) == files
        assert {name: read(stored(data), name) for name in files} == files


@pytest.fixture
def _without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gzip, "_library", zlib)


@pytest.mark.usefixtures("_without_isal")
def test_zlib_does_what_isal_does(pack: Path, data: bytes) -> None:
    own = archive_bytes(pack)
    assert extracted(stored(own)) == extracted(stored(data)) == FILES
    assert extracted(stored(without_table(data))) == FILES
    with pytest.raises(CorruptedArchive):
        extracted(stored(data[:-100] + b"x" + data[-99:]))


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


def test_pax_headers_of_other_programs() -> None:
    """A global one, such as git's, and a time with a fraction."""
    info, content = member("id/é", b"1")
    info.pax_headers = {"mtime": "1234.5", "comment": "né"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "0123"}) as tar:
        tar.addfile(info, io.BytesIO(content))
    (entry,) = stored(gzip.compress(buffer.getvalue())).entries()
    assert (entry.name, entry.mtime_ns) == ("é", 1_234_500_000_000)


# Damage


@contextmanager
def corrupted() -> Iterator[pytest.ExceptionInfo[CorruptedArchive]]:
    with pytest.raises(CorruptedArchive) as caught:
        yield caught
    assert KEY in str(caught.value), "the message names the archive"


SMALL = {"a": b"hello world", "b/c": RANDOM.randbytes(100), "d": b"x" * 3000}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return archive_bytes(freeze_files(tmp_path_factory.mktemp("small"), SMALL))


@pytest.mark.parametrize("table", [True, False])
def test_an_archive_that_is_cut_off_anywhere_is_recognised(small: bytes, table: bool) -> None:
    whole = small if table else without_table(small)
    for length in range(len(whole)):
        archive = stored(whole[:length])
        if length == len(without_table(small)):
            assert extracted(archive) == SMALL, "all but the table is there"
            continue
        if table and length > len(without_table(small)):
            continue  # the tar is whole; what is left of the table decides, see the next test
        with corrupted():
            extracted(archive)
        with corrupted():
            archive.open("d")


@pytest.mark.parametrize("table", [True, False])
def test_a_bit_that_is_flipped_anywhere_never_yields_wrong_data(small: bytes, table: bool) -> None:
    """There are bits that mean nothing, such as the name of the operating system."""
    whole = small if table else without_table(small)
    harmless = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        archive = stored(bytes(damaged))
        try:
            assert extracted(archive) == SMALL
            assert read(archive, "b/c") == SMALL["b/c"]
            harmless += 1
        except CorruptedArchive as error:
            assert KEY in str(error)
    assert harmless < len(whole) / 10 if not table else harmless < len(whole) / 2


@given(st.data())
def test_random_damage_never_yields_wrong_data(small: bytes, data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from([small, without_table(small)])))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        end = data.draw(st.integers(start, min(len(damaged), start + 50)))
        damaged[start:end] = data.draw(st.binary(max_size=50))
    try:
        files = extracted(stored(bytes(damaged)))
    except KeepsakeError:
        return
    assert files == SMALL


def test_the_damaged_file_is_named_and_the_others_can_be_read(data: bytes) -> None:
    entry = next(entry for entry in stored(data).entries() if entry.name == "data/large.bin")
    position = entry.offset + entry.members[0] + 1000
    archive = stored(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
    with corrupted() as caught:
        archive.open("data/large.bin")
    assert "data/large.bin" in str(caught.value)
    with corrupted():
        extracted(archive)
    assert read(archive, "data/text.csv") == FILES["data/text.csv"]


def test_verify_compares_every_checksum(data: bytes, small: bytes) -> None:
    for whole in (data, without_table(data)):
        moved: list[int] = []
        stored(whole).verify(moved.append)
        assert sum(moved) == sum(map(len, FILES.values()))


def test_verify_finds_what_only_another_reader_would_stumble_on(small: bytes) -> None:
    """Such as a bit in the first tar header, a wrong hash, or a file that only the table has."""
    entries = stored(small).entries()
    start = entries[0].offset
    extra = replace(entries[-1], name="z", offset=0, members=(start,), size=0)
    wrong = {
        "a tar header": small[: start - 20] + bytes([small[start - 20] ^ 1]) + small[start - 19 :],
        "a hash": with_entries(small, [entries[0], replace(entries[1], xxh128="0" * 32), entries[2]]),
        "a size": with_entries(small, [entries[0], replace(entries[1], size=99), entries[2]]),
        "a name": with_entries(small, [entries[0], replace(entries[1], name="b/d"), entries[2]]),
        "one more": with_entries(small, [extra, replace(entries[0], offset=start), *entries[1:]], start=0),
    }
    for what, data in wrong.items():
        with corrupted():
            stored(data).verify()
        if what != "a tar header":  # what is whole of a damaged archive can be read
            with corrupted():
                stored(data).open("b/c")


def test_members_that_changed_places_are_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them fits its own checksum."""
    monkeypatch.setattr(writer, "CHUNK", 1000)
    data = archive_bytes(freeze_files(tmp_path, {"a": RANDOM.randbytes(3000)}))
    entry = stored(data).entries()[0]
    first, second = entry.offset, entry.offset + entry.members[0]
    end = second + entry.members[1]
    swapped = data[:first] + data[second:end] + data[first:second] + data[end:]
    assert len(swapped) == len(data)
    with corrupted():
        stored(swapped).open("a")


def test_garbage_is_not_an_archive() -> None:
    for garbage in (b"", b"x", b"not an archive" * 100, gzip.compress(b""), gzip.compress(b"x" * 5000), bytes(10_000)):
        archive = stored(garbage)
        assert not archive.has_table
        with corrupted():
            archive.entries()


def test_a_tar_that_ends_early_in_a_whole_gzip_stream() -> None:
    """A writer that ran out of disk and closed what it could leaves such an archive."""
    tar = plain_tar([member("id/a", b"1"), member("id/b", bytes(5000))])
    for length in (512, 1024, 1536, 2000, 7167):
        with corrupted():
            extracted(stored(gzip.compress(tar[:length])))


def test_a_tar_that_goes_on_after_its_end() -> None:
    tar = plain_tar([member("id/a", b"1")])
    with corrupted():
        extracted(stored(gzip.compress(tar + tar)))


def test_an_archive_that_changes_while_it_is_read_is_not_believed(small: bytes, tmp_path: Path) -> None:
    storage = MemoryStorage()
    storage.upload(KEY, io.BytesIO(small))
    archive = Archive(storage, KEY)
    archive.entries()
    storage.upload(KEY, io.BytesIO(archive_bytes(freeze_files(tmp_path, {"a": b"other things"}))))
    with corrupted():
        archive.open("a")


# Hostile archives

HOSTILE_NAMES = ["../x", "a/../../x", "/x", "//x", "", ".", "a/./b", "a//b", "..\\x", "C:/x", "C:\\x", "a\0b", "a/"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_that_leads_out_is_refused(small: bytes, name: str, tmp_path: Path) -> None:
    entries = stored(small).entries()
    entries[0] = replace(entries[0], name=name)
    with corrupted():
        stored(with_entries(small, entries)).extract(tmp_path / "out")
    if "\0" not in name and not name.endswith("/"):  # which tarfile cannot write
        with corrupted():
            stored(plain_archive(member(f"id/{name}", b"evil"))).extract(tmp_path / "out")
    assert read_files(tmp_path) == {}


@pytest.mark.parametrize("name", ["x", "/etc/x", "../id/x"])
def test_a_name_without_the_id_before_it_cannot_lead_out(name: str, tmp_path: Path) -> None:
    """The first component is dropped, whatever it is."""
    try:
        stored(plain_archive(member(name, b"evil"))).extract(tmp_path / "out/in")
    except CorruptedArchive:
        pass
    assert {tmp_path / "out/in" / path for path in read_files(tmp_path / "out/in")} == {
        path for path in tmp_path.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE,
        b"Z",
    ],
)
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    archive = stored(plain_archive(member("id/a", type=kind, linkname="/etc/passwd"), member("id/a/b", b"evil")))
    with corrupted() as caught:
        archive.extract(tmp_path)
    assert "a is a link or a device" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_pax_sparse_file_is_refused(tmp_path: Path) -> None:
    info, content = member("id/a", b"1")
    info.pax_headers = {"GNU.sparse.realsize": "1000000000000"}
    with corrupted():
        stored(plain_archive((info, content))).extract(tmp_path)


def test_setuid_setgid_and_sticky_are_never_restored(small: bytes, tmp_path: Path) -> None:
    stored(plain_archive(member("id/plain", b"1", mode=0o7755))).extract(tmp_path)
    entries = [replace(entry, mode=entry.mode | 0o107000) for entry in stored(small).entries()]
    stored(with_entries(small, entries)).extract(tmp_path)
    assert {path.stat().st_mode & 0o7777 for path in tmp_path.rglob("*") if path.is_file()} <= {0o755, 0o644}


def test_a_repeated_name_is_refused(small: bytes, tmp_path: Path) -> None:
    with corrupted():
        stored(plain_archive(member("id/a", b"1"), member("id/a", b"2"))).extract(tmp_path)
    entries = stored(small).entries()
    entries[1] = replace(entries[1], name=entries[0].name)
    with corrupted():
        stored(with_entries(small, entries)).entries()


def test_a_name_of_a_file_and_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeepsakeError):
        stored(plain_archive(member("id/a", b"1"), member("id/a/b", b"2"))).extract(tmp_path)


def with_entries(data: bytes, entries: list[ArchiveEntry], **table: int) -> bytes:
    """Exchange the table of contents of an archive."""
    tar = without_table(data)
    start = table.get("start", entries[0].offset)
    return tar + _toc.encode(start, table.get("chunk", writer.CHUNK), entries)


def test_a_table_that_was_exchanged_for_itself_is_the_same(small: bytes) -> None:
    """The tests below rely on this."""
    assert with_entries(small, stored(small).entries()) == small


@pytest.mark.parametrize(
    "change",
    [
        {"size": 12}, {"size": 10}, {"size": -1}, {"size": 10**15}, {"size": 1.5}, {"size": "11"}, {"size": True},
        {"mode": None}, {"mode": "x"}, {"mtime_ns": 1e300}, {"mtime_ns": []}, {"xxh128": 5}, {"xxh128": None},
        {"members": ()}, {"members": (0,)}, {"members": (-1,)}, {"members": (1, 1)}, {"members": (10**12,)},
        {"members": ("x",)}, {"name": 5}, {"name": None}, {"name": ["a"]},
    ],
)  # fmt: skip
def test_a_table_that_lies_is_detected(small: bytes, change: dict[str, Any], tmp_path: Path) -> None:
    entries = stored(small).entries()
    entries[0] = replace(entries[0], **change)
    try:
        hostile = with_entries(small, entries)
    except (TypeError, AttributeError, struct_error):  # the footer cannot even be written so
        return
    with corrupted():
        stored(hostile).extract(tmp_path)


struct_error = __import__("struct").error


@pytest.mark.parametrize(
    "table", [{"start": 0}, {"start": 10**9}, {"chunk": 0}, {"chunk": -1}, {"chunk": 1}, {"chunk": 1 << 40}]
)
def test_a_table_with_other_figures_is_found_out(small: bytes, table: dict[str, int], tmp_path: Path) -> None:
    with corrupted():
        stored(with_entries(small, stored(small).entries(), **table)).extract(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"[]", b"{}", b"5", b'{"files":5,"start":1,"chunk":1}', b'{"files":[5],"start":1,"chunk":1}',
        b'{"files":[],"start":"x","chunk":1}', b'{"files":{"a":1},"start":1,"chunk":1}', b"[" * 100_000, b"\xff",
        b'{"files":[{"name":"a"}],"start":1,"chunk":1}',
    ],
)  # fmt: skip
def test_a_table_that_is_something_else(small: bytes, text: bytes) -> None:
    with corrupted():
        stored(with_table_text(without_table(small), text)).entries()


def with_table_text(tar: bytes, text: bytes, packed: bytes | None = None, length: int | None = None) -> bytes:
    packed = zlib.compress(text) if packed is None else packed
    table = b"".join(_gzip.extra_member(b"KT", packed[at : at + 65531]) for at in range(0, len(packed), 65531))
    footer = _toc._FOOTER_CONTENT.pack(
        _toc._MAGIC, len(tar), len(table) if length is None else length, zlib.crc32(text)
    )
    return tar + table + _gzip.extra_member(b"KF", footer)


@pytest.mark.parametrize("length", [0, 1, 60_000, 1 << 27, 1 << 40, (1 << 64) - 1])
def test_a_footer_that_lies_about_its_table(small: bytes, length: int) -> None:
    """It is an error, or the tar alone counts, and verify() reports that."""
    archive = stored(with_table_text(without_table(small), b"{}", length=length))
    with corrupted():
        archive.verify()
    try:
        assert [entry.name for entry in archive.entries()] == [entry.name for entry in stored(small).entries()]
        assert not archive.has_table
    except CorruptedArchive:
        assert length > len(small)


def test_a_table_that_is_not_a_deflate_stream(small: bytes) -> None:
    for packed in (b"", b"garbage", zlib.compress(b"{}")[:-1]):
        with corrupted():
            stored(with_table_text(without_table(small), b"{}", packed)).entries()


def test_a_table_of_another_version_is_not_read_but_the_archive_is(small: bytes) -> None:
    """This version can then read a later format as 0.4.2 reads this one."""
    later = small.replace(_toc._MAGIC, b"KSTOC2\n\0")
    assert later != small
    assert not stored(later).has_table
    assert extracted(stored(later)) == SMALL


def test_a_bomb_does_not_fill_the_memory(small: bytes, tmp_path: Path) -> None:
    """It may be in a file of 11 bytes, in a table of contents or in a tar header."""
    size = 1 << 26
    bomb = gzip.compress(bytes(size), compresslevel=1)
    entry = replace(stored(small).entries()[0], members=(len(bomb),), offset=0)
    bombs = [
        bomb + _toc.encode(0, writer.CHUNK, [entry]),
        with_table_text(without_table(small), bytes(size)),
        gzip.compress(extension_header(size) + bytes(size), compresslevel=1),
    ]
    for data in bombs:
        tracemalloc.start()
        with corrupted():
            stored(data).extract(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < size


def extension_header(size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf(tarfile.GNU_FORMAT)  # which has room for any size


@contextmanager
def memory_limit(allowed: int) -> Iterator[None]:
    import tracemalloc

    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < allowed


def test_names_take_no_more_memory_than_an_archive_may_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that hardly differ shrink to almost nothing."""
    files = [member(f"id/{'d/' * 1000}{number}") for number in range(300)]
    assert len(stored(plain_archive(*files)).entries()) == 300
    monkeypatch.setattr("keepsake.archive.tar._NAMES", 1000)
    with pytest.raises(CorruptedArchive, match="more names than"):
        stored(plain_archive(*files)).entries()
    assert len(stored(plain_archive(*[member(f"id/{number}") for number in range(300)])).entries()) == 300


def test_an_endless_tar_header_is_refused() -> None:
    for size in ((1 << 20) + 1, 1 << 33):
        with corrupted():
            stored(gzip.compress(extension_header(size) + bytes(2 << 20))).entries()


@pytest.mark.parametrize("records", [b"x", b"5 a=b", b"99 path=a\n", b"0 a=b\n", b"-1 a=b\n", b"6 path\n", b"x y=z\n"])
def test_a_damaged_pax_header_is_refused(records: bytes) -> None:
    data = extension_header(len(records)) + records + _tar.padding(len(records)) + plain_tar([member("id/a", b"1")])
    with corrupted():
        stored(gzip.compress(data)).entries()


@pytest.mark.parametrize(
    ("key", "value"), [("size", "-1"), ("size", "x"), ("mtime", "nan"), ("mtime", "inf"), ("size", "9" * 5000)]
)
def test_a_pax_header_with_absurd_figures_is_refused(key: str, value: str) -> None:
    info, content = member("id/a", b"1")
    info.pax_headers = {key: value}
    with corrupted():
        stored(plain_archive((info, content))).entries()


def test_an_impossible_time_is_ignored(tmp_path: Path, small: bytes) -> None:
    entries = [replace(entry, mtime_ns=10**30) for entry in stored(small).entries()]
    stored(with_entries(small, entries)).extract(tmp_path)
    assert read_files(tmp_path) == SMALL


# Writing into a directory


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
    def fill() -> None:
        with Extraction(tmp_path).create("a/b", 8, 0o644, 0) as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteError, match="No space left on device"):
        fill()
    assert read_files(tmp_path) == {}


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


# Workers


def test_results_come_in_order_and_few_jobs_are_under_way() -> None:
    under_way: list[int] = []
    started = 0

    def jobs() -> Iterator[Callable[[], int]]:
        nonlocal started
        for number in range(100):
            started += 1
            yield lambda number=number: number  # type: ignore[misc]

    with Workers(3) as workers:
        for done, result in enumerate(in_order(workers, jobs())):
            assert result == done
            under_way.append(started - done)
    assert 3 < max(under_way) <= 3 + 3


def test_a_jobs_error_comes_out_in_its_place() -> None:
    with Workers(2) as workers:
        results = in_order(workers, iter([lambda: 1, lambda: 1 // 0, lambda: 3]))
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_workers_end_when_they_are_closed() -> None:
    before = set(threading.enumerate())
    workers = Workers(3)
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    workers.close()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_the_work_itself() -> None:
    """Its copy of the workers has no threads."""
    with Workers(2) as workers:
        child = os.fork()
        if child == 0:
            os._exit(workers.submit(lambda: 42).result(timeout=10))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def test_archives_can_be_made_while_the_interpreter_exits(pack: Path, run_python: Callable[[str], str]) -> None:
    """That is when the last checkpoint is saved, and when no executor takes work and no thread can be started."""
    program = f"""
import atexit, threading
from pathlib import Path
from keepsake.archive.writer import write_archive
from keepsake.util.workers import Workers
from keepsake.archive.pack import FrozenFiles
workers = Workers()
def finish():
    with FrozenFiles(Path({str(pack)!r})) as frozen, write_archive({ID!r}, frozen, workers) as stream:
        print(len(stream.read()))
atexit.register(finish)
threading._register_atexit(finish)
"""
    lengths = run_python(program).split()
    assert len(lengths) == 2
    assert int(lengths[0]) == int(lengths[1]) > sum(map(len, FILES.values())) / 2


def test_the_table_is_json_that_anybody_can_read(small: bytes) -> None:
    """docs/repository-format.md describes it."""
    footer = _toc.decode_footer(small)
    assert footer is not None
    payload, _ = _gzip.read_extra_member(small, footer.offset, b"KT")
    table = json.loads(zlib.decompress(payload))
    assert sorted(table) == ["chunk", "files", "start"]
    assert sorted(table["files"][0]) == ["members", "mode", "mtime_ns", "name", "size", "xxh128"]
