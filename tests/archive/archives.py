"""Packs and archives made for tests."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keepsake.archive import contents, writer
from keepsake.archive.pack import FrozenFiles, freeze
from keepsake.archive.reader import Archive, ArchiveEntry
from keepsake.archive.writer import write_archive
from keepsake.exceptions import CorruptedArchive
from keepsake.util.workers import Workers
from tests.storage.memory import MemoryStorage

ID = "5ffb0f6" + 57 * "0"
KEY = f"checkpoints/{ID}.tar.gz"
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
SMALL = {"a": b"hello world", "b/c": RANDOM.randbytes(100), "d": b"x" * 3000}


def write_files(directory: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


def read_files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def freeze_files(directory: Path, files: Mapping[str, bytes]) -> Path:
    """Return a pack of `files`; `directory` is for its use alone."""
    pack = directory / "files.pack"
    freeze(write_files(directory / "project", files), ".", pack)
    return pack


def archive_bytes(pack: Path, workers: Workers | None = None) -> bytes:
    with FrozenFiles(pack) as frozen, write_archive(ID, frozen, workers) as stream:
        return stream.read()


def stored(data: bytes, key: str = KEY) -> Archive:
    """Return the archive that is `data`, in a storage of its own."""
    storage = MemoryStorage()
    storage.upload(key, io.BytesIO(data))
    return Archive(storage, key)


def member(name: str, content: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, content


def plain_tar(members: Iterable[tuple[tarfile.TarInfo, bytes]], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def plain_archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A .tar.gz without a table of contents, as any other program makes it."""
    return gzip.compress(plain_tar(members), mtime=0)


def extracted(archive: Archive, **arguments: Any) -> dict[str, bytes]:
    """All files that come out of an archive."""
    with tempfile.TemporaryDirectory() as directory:
        archive.extract(Path(directory), **arguments)
        return read_files(Path(directory))


def read(archive: Archive, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read()


def read_each(archive: Archive) -> Iterator[tuple[str, bytes]]:
    for entry, content in archive.read():
        yield entry.name, b"".join(part for parts in content for part in parts)


def without_table(data: bytes) -> bytes:
    """The archive as any other program makes it."""
    footer = contents.decode_footer(data)
    assert footer is not None
    return data[: footer.offset]


def with_entries(data: bytes, entries: list[ArchiveEntry], **table: int) -> bytes:
    """Exchange the table of contents of an archive."""
    tar = without_table(data)
    start = table.get("start", entries[0].offset)
    return tar + contents.encode(start, table.get("chunk", writer.CHUNK), entries)


@contextmanager
def corrupted() -> Iterator[pytest.ExceptionInfo[CorruptedArchive]]:
    """The archive is refused as corrupted."""
    with pytest.raises(CorruptedArchive) as caught:
        yield caught
    assert KEY in str(caught.value), "the message names the archive"
