"""Archives made to do harm: they are refused, and nothing is written outside."""

from __future__ import annotations

import gzip
import struct
import tarfile
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest

from keepsake.archive import contents, writer
from keepsake.archive import gzip as gzip_format
from keepsake.archive.tar import padding
from keepsake.exceptions import CorruptedArchive, KeepsakeError
from tests.archive.archives import (
    SMALL,
    corrupted,
    extracted,
    member,
    plain_archive,
    plain_tar,
    read_files,
    stored,
    with_entries,
    without_table,
)

HOSTILE_NAMES = ["../x", "a/../../x", "/x", "//x", "", ".", "a/./b", "a//b", "..\\x", "C:/x", "C:\\x", "a\0b", "a/"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_that_leads_out_is_refused(small: bytes, name: str, tmp_path: Path) -> None:
    entries = stored(small).entries()
    entries[0] = entries[0]._replace(name=name)
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
    entries = [entry._replace(mode=entry.mode | 0o107000) for entry in stored(small).entries()]
    stored(with_entries(small, entries)).extract(tmp_path)
    assert {path.stat().st_mode & 0o7777 for path in tmp_path.rglob("*") if path.is_file()} <= {0o755, 0o644}


def test_a_repeated_name_is_refused(small: bytes, tmp_path: Path) -> None:
    with corrupted():
        stored(plain_archive(member("id/a", b"1"), member("id/a", b"2"))).extract(tmp_path)
    entries = stored(small).entries()
    entries[1] = entries[1]._replace(name=entries[0].name)
    with corrupted():
        stored(with_entries(small, entries)).entries()


def test_a_name_of_a_file_and_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeepsakeError):
        stored(plain_archive(member("id/a", b"1"), member("id/a/b", b"2"))).extract(tmp_path)


def test_an_impossible_time_is_ignored(tmp_path: Path, small: bytes) -> None:
    entries = [entry._replace(mtime_ns=10**30) for entry in stored(small).entries()]
    stored(with_entries(small, entries)).extract(tmp_path)
    assert read_files(tmp_path) == SMALL


# Tables of contents


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
    entries[0] = entries[0]._replace(**change)
    try:
        hostile = with_entries(small, entries)
    except (TypeError, AttributeError, struct.error):  # the footer cannot even be written so
        return
    with corrupted():
        stored(hostile).extract(tmp_path)


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
    table = b"".join(gzip_format.extra_member(b"KT", packed[at : at + 65531]) for at in range(0, len(packed), 65531))
    footer = contents._FOOTER_CONTENT.pack(
        contents._MAGIC, len(tar), len(table) if length is None else length, zlib.crc32(text)
    )
    return tar + table + gzip_format.extra_member(b"KF", footer)


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
    later = small.replace(contents._MAGIC, b"KSTOC2\n\0")
    assert later != small
    assert not stored(later).has_table
    assert extracted(stored(later)) == SMALL


# Headers


def extension_header(size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf(tarfile.GNU_FORMAT)  # which has room for any size


def test_a_bomb_does_not_fill_the_memory(small: bytes, tmp_path: Path) -> None:
    """It may be in a file of 11 bytes, in a table of contents or in a tar header."""
    size = 1 << 26
    bomb = gzip.compress(bytes(size), compresslevel=1)
    entry = stored(small).entries()[0]._replace(members=(len(bomb),), offset=0)
    bombs = [
        bomb + contents.encode(0, writer.CHUNK, [entry]),
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


def test_names_take_no_more_memory_than_an_archive_may_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that hardly differ shrink to almost nothing."""
    files = [member(f"id/{'d/' * 1000}{number}") for number in range(300)]
    assert len(stored(plain_archive(*files)).entries()) == 300
    monkeypatch.setattr("keepsake.archive.tar._NAMES", 1000)  # and four copies of each of 300 names of 2 kB
    with pytest.raises(CorruptedArchive, match="more names than"):
        stored(plain_archive(*files)).entries()
    assert len(stored(plain_archive(*[member(f"id/{number}") for number in range(300)])).entries()) == 300


def test_an_endless_tar_header_is_refused() -> None:
    for size in ((1 << 20) + 1, 1 << 33):
        with corrupted():
            stored(gzip.compress(extension_header(size) + bytes(2 << 20))).entries()


@pytest.mark.parametrize("records", [b"x", b"5 a=b", b"99 path=a\n", b"0 a=b\n", b"-1 a=b\n", b"6 path\n", b"x y=z\n"])
def test_a_damaged_pax_header_is_refused(records: bytes) -> None:
    data = extension_header(len(records)) + records + padding(len(records)) + plain_tar([member("id/a", b"1")])
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
