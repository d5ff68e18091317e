"""Damaged archives: the damage is noticed and named, and wrong data never passes as right."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsake.archive import writer
from keepsake.archive.reader import Archive
from keepsake.exceptions import CorruptedArchive, KeepsakeError
from tests.archive.archives import (
    FILES,
    KEY,
    RANDOM,
    SMALL,
    archive_bytes,
    corrupted,
    extracted,
    freeze_files,
    member,
    plain_tar,
    read,
    stored,
    with_entries,
    without_table,
)
from tests.storage.memory import MemoryStorage


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


def test_damage_is_named_by_whatever_reads_the_content(small: bytes) -> None:
    """A comparison reads each content after the archive has yielded it."""
    tar = gzip.decompress(without_table(small))
    cut_off = tar[: tar.index(SMALL["d"]) + 100]
    with corrupted():
        for _, content in stored(gzip.compress(cut_off)).read():
            list(content)


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
    extra = entries[-1]._replace(name="z", offset=0, members=(start,), size=0)
    wrong = {
        "a tar header": small[: start - 20] + bytes([small[start - 20] ^ 1]) + small[start - 19 :],
        "a hash": with_entries(small, [entries[0], entries[1]._replace(xxh128="0" * 32), entries[2]]),
        "a size": with_entries(small, [entries[0], entries[1]._replace(size=99), entries[2]]),
        "a name": with_entries(small, [entries[0], entries[1]._replace(name="b/d"), entries[2]]),
        "one more": with_entries(small, [extra, entries[0]._replace(offset=start), *entries[1:]], start=0),
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


def test_a_tar_that_ends_early_in_a_whole_gzip_stream_is_damaged() -> None:
    """A writer that ran out of disk and closed what it could leaves such an archive."""
    tar = plain_tar([member("id/a", b"1"), member("id/b", bytes(5000))])
    for length in (512, 1024, 1536, 2000, 7167):
        with corrupted():
            extracted(stored(gzip.compress(tar[:length])))


def test_a_tar_that_goes_on_after_its_end_is_damaged() -> None:
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
