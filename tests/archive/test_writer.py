"""Archives as they are written: from files that are being copied, and from packs."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import tarfile
import threading
import zlib
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest

from keepsake.archive import contents, writer
from keepsake.archive import gzip as gzip_format
from keepsake.archive.pack import FileEntry, FrozenFiles, OpenFiles
from keepsake.archive.pack import freeze as freeze_into_pack
from keepsake.archive.reader import Archive, is_archive
from keepsake.archive.writer import freeze, open_archive, write_archive
from keepsake.exceptions import CorruptedArchive, DoesNotExist, WriteError
from keepsake.util import ignore
from keepsake.util.workers import Workers
from tests.archive.archives import (
    FILES,
    ID,
    KEY,
    RANDOM,
    archive_bytes,
    extracted,
    freeze_files,
    read,
    read_files,
    stored,
    without_table,
    write_files,
)
from tests.storage.memory import MemoryStorage

LARGE = 1 << 20
NOISE = random.Random(5).randbytes(5 * LARGE + 17)
HEADED = b"a header that shrinks" * 2_000 + NOISE[: 2 * LARGE]
WEIGHTS = {"config.json": b"{}", "empty": b"", "model.pth": NOISE, "old/ünïcode.pth": HEADED}
TEXT = b"epoch,loss\n" * (LARGE // 4)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    directory = tmp_path / "spool"
    directory.mkdir()
    return directory


@pytest.fixture
def frozen(tmp_path: Path, spool: Path) -> Callable[[dict[str, bytes]], Path]:
    """Freezes files, and returns the file that this makes, which is read back."""

    def freeze_and_read(files: dict[str, bytes]) -> Path:
        target, entries = freeze(write_files(tmp_path / "project", files), ".", spool, ID)
        assert {entry.name: entry.size for entry in entries} == {name: len(content) for name, content in files.items()}
        out = tmp_path / f"out-{os.urandom(4).hex()}"
        archive = Archive(MemoryStorage(), KEY, target)
        assert archive.has_table == is_archive(target)
        archive.extract(out)
        assert read_files(out) == files
        assert list(spool.iterdir()) == [target]
        return target

    return freeze_and_read


Frozen = Callable[[dict[str, bytes]], Path]


def test_the_pack_of_weights_is_their_archive(frozen: Frozen, tmp_path: Path) -> None:
    pack = frozen(WEIGHTS)
    assert is_archive(pack)
    with tarfile.open(pack) as tar:
        found = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    assert found == {f"{ID}/{name}": content for name, content in WEIGHTS.items()}
    storage = MemoryStorage()
    with open_archive(pack) as archive:
        storage.upload(KEY, archive)
    Archive(storage, KEY).verify()
    entry = next(entry for entry in Archive(storage, KEY).entries() if entry.name == "model.pth")
    status = (tmp_path / "project/model.pth").stat()
    assert (entry.mode, entry.mtime_ns) == (status.st_mode & 0o777, status.st_mtime_ns)


@pytest.mark.parametrize(
    "files",
    [
        {"code.py": b"print()"},
        {"table.csv": TEXT},
        {"table.csv": TEXT, "model.pth": NOISE[:LARGE]},
        {f"shard-{number}": NOISE[:LARGE] for number in range(101)},
        {"sparse.pth": NOISE[:LARGE] + bytes(LARGE)},
    ],
    ids=["little", "text", "half of it text", "many files", "half of a file"],
)
def test_what_shrinks_is_left_to_the_background(frozen: Frozen, files: dict[str, bytes]) -> None:
    assert not is_archive(frozen(files))


def test_holes_that_a_system_cannot_report_are_copied(frozen: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "SEEK_DATA")
    assert is_archive(frozen(WEIGHTS))


def test_short_writes_are_continued(frozen: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "writev", lambda file, parts: os.write(file, b"".join(parts)[:1000]))
    assert is_archive(frozen(WEIGHTS))


def test_pieces_get_small_where_large_ones_are_slow(frozen: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def writev(file: int, parts: list[bytes]) -> int:
        sizes.append(sum(map(len, parts)))
        return write(file, parts)

    write = os.writev
    monkeypatch.setattr(os, "writev", writev)
    monkeypatch.setattr("keepsake.archive.writer._SLOW_RATE", float("inf"))
    assert is_archive(frozen({"model.pth": NOISE[:LARGE] * 6}))
    large = [size for size in sizes if size >= LARGE]
    assert len(large) == 3
    assert sum(sizes) > 6 * LARGE
    assert max(size for size in sizes if size < LARGE) < LARGE // 3


def test_it_works_when_no_thread_can_start(frozen: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert is_archive(frozen({"model.pth": NOISE[: 2 * LARGE]}))


# Files that change, or cannot be read


def test_a_file_that_shrinks_meanwhile_is_kept_as_far_as_it_went(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"model.pth": NOISE})
    read = OpenFiles.read_into

    def shrinking(self: OpenFiles, entry: FileEntry, start: int, buffer: memoryview) -> memoryview:
        if len(buffer) == LARGE:
            os.truncate(tmp_path / "model.pth", LARGE)
        return read(self, entry, start, buffer)

    monkeypatch.setattr(OpenFiles, "read_into", shrinking)
    target, (entry,) = freeze(tmp_path, "model.pth", spool, ID)
    assert entry.size == LARGE
    with Archive(MemoryStorage(), KEY, target).open("model.pth") as file:
        assert file.read() == NOISE[:LARGE]
    assert list(spool.iterdir()) == [target]


def test_a_file_that_cannot_be_read_is_left_out_with_a_warning(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "p", {"model.pth": NOISE, "other.pth": NOISE})
    said: list[str] = []
    monkeypatch.setattr(ignore, "warn", said.append)
    ignore.leave_out.cache_clear()
    os.mkfifo(tmp_path / "p/fifo")
    files = [(name, str(tmp_path / "p" / name)) for name in ("fifo", "missing", "model.pth")]
    monkeypatch.setattr(writer, "walk_files", lambda *_: iter(files))
    assert [entry.name for entry in freeze(tmp_path / "p", ".", spool, ID).entries] == ["model.pth"]
    assert len(said) == 2


def test_a_path_without_files_is_an_error(tmp_path: Path, spool: Path) -> None:
    with pytest.raises(DoesNotExist, match="no file to save"):
        freeze(tmp_path, "spool", spool, ID)
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(
    tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    write_files(tmp_path, {"model.pth": NOISE})

    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(writer._Output, "_write", fail)
    with pytest.raises((WriteError, KeyboardInterrupt)) as caught:
        freeze(tmp_path, "model.pth", spool, ID)
    assert isinstance(caught.value, KeyboardInterrupt) or "KEEPSAKE_SPOOL" in str(caught.value)
    assert list(spool.iterdir()) == []


# The way to the repository


def test_an_archive_is_read_on_its_way_from_the_spool(frozen: Frozen) -> None:
    """It may move at any moment, even between reading its table of contents and its content."""
    pack = frozen(WEIGHTS)
    storage = MemoryStorage()
    archive = Archive(storage, KEY, pack)
    assert [entry.name for entry in archive.entries()] == sorted(WEIGHTS)
    with open_archive(pack) as stream:
        storage.upload(KEY, stream)
    pack.unlink()
    with archive.open("model.pth") as file:
        assert file.read() == NOISE


def test_a_bit_that_flips_anywhere_is_found(frozen: Frozen) -> None:
    """In the headers and content of members and blocks; some readers find it in checksums and sizes too."""
    data = frozen({"model.pth": NOISE}).read_bytes()
    (entry,) = stored(data).entries()
    first, second = entry.offset, entry.offset + entry.members[0]
    trailer = range(second - 8, second)  # what it says of the content, the table's hash says, too
    starts = list(accumulate(entry.members, initial=entry.offset))
    harmless = {start + byte for start in starts for byte in range(3, 10)}  # flags, time
    blocks = {start + 10 + number * (5 + 65535) for start in starts for number in range(5)}  # three bits, then padding
    positions = {*range(first, first + 20), *range(first + 65545, first + 65555), *range(second - 10, second + 20)}
    for position in {*positions, *random.Random(6).sample(range(first, entry.end - 2000), 100)} - harmless:
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % (3 if position in blocks else 8)
        with pytest.raises(CorruptedArchive):
            stored(bytes(damaged)).verify()
        if position in trailer:
            with stored(bytes(damaged)).open("model.pth") as file:
                assert file.read() == NOISE
        else:
            with pytest.raises(CorruptedArchive), stored(bytes(damaged)).open("model.pth"):
                pass


# Archives made from packs


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
    freeze_into_pack(tmp_path / "p", ".", tmp_path / "pack")
    archive = stored(archive_bytes(tmp_path / "pack"))
    archive.extract(tmp_path / "out")
    status = (tmp_path / "out/run.sh").stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o750, 1_600_000_000_123_456_789)
    assert (tmp_path / "out/old").stat().st_mtime_ns == -1_000_000_000


def test_a_name_that_is_not_utf_8_survives(tmp_path: Path) -> None:
    pack = freeze_files(tmp_path, {os.fsdecode(b"caf\xe9"): b"latin 1"})
    data = archive_bytes(pack)
    assert extracted(stored(data)) == extracted(stored(without_table(data))) == {os.fsdecode(b"caf\xe9"): b"latin 1"}


def test_the_table_is_json_that_anybody_can_read(small: bytes) -> None:
    """docs/repository-format.md describes it."""
    footer = contents.decode_footer(small)
    assert footer is not None
    payload, _ = gzip_format.read_extra_member(small, footer.offset, b"KT")
    table = json.loads(zlib.decompress(payload))
    assert sorted(table) == ["chunk", "files", "start"]
    assert sorted(table["files"][0]) == ["members", "mode", "mtime_ns", "name", "size", "xxh128"]


def test_the_stream_reads_in_any_portions(pack: Path, data: bytes) -> None:
    with FrozenFiles(pack) as frozen, write_archive(ID, frozen) as stream:
        portions = [stream.read(size) for size in (1, 10, 100_000, 3_000_000)]
        assert b"".join(portions) + stream.read() == data


@pytest.mark.parametrize("files", [WEIGHTS, {"zeros": bytes(8 << 20)}], ids=["weights", "zeros"])
def test_whoever_waits_sees_each_part_of_the_content_move(frozen: Frozen, files: dict[str, bytes]) -> None:
    """Zeros become so few bytes that blocks of the archive come too rarely to show that anything moves."""
    moved: list[int] = []
    with open_archive(frozen(files), moved=moved.append) as stream:
        blocks = list(iter(lambda: stream.read(1 << 20), b""))
    assert sum(moved) == sum(map(len, blocks))
    assert len(moved) > sum(map(len, files.values())) >> 20


def test_a_pack_that_loses_its_end_aborts_the_upload(tmp_path: Path) -> None:
    """Half an archive must not be published."""
    pack = freeze_files(tmp_path, {"a": bytes(3 << 20)})
    storage = MemoryStorage()
    with Workers() as workers, FrozenFiles(pack) as frozen, write_archive(ID, frozen, workers) as stream:
        os.truncate(pack, 1 << 20)
        with pytest.raises(CorruptedArchive, match="cut off"):
            storage.upload(KEY, stream)
    assert storage.objects == {}


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
