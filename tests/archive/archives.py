"""Packs and archives made for tests."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from keepsake.archive.pack import FrozenFiles, freeze
from keepsake.archive.reader import Archive
from keepsake.archive.writer import write_archive
from keepsake.util.workers import Workers
from tests.storage.memory import MemoryStorage

ID = "5ffb0f6" + 57 * "0"
KEY = f"checkpoints/{ID}.tar.gz"


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
