"""A bucket whose objects lie in a folder, so that they can be looked at, and the whole be taken away, as a disk's."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from keepsake.exceptions import DoesNotExist, PreconditionFailed, ReadError, WriteError
from keepsake.storage.base import ObjectInfo, Storage, check_key, is_key

SCHEME = "s3://"
# The server is not harmed by what happens to its clients: it has the calls as they were before these were replaced
_open, _read, _write, _close, _replace, _unlink = os.open, os.read, os.write, os.close, os.replace, os.unlink
_stat, _listdir, _makedirs, _time = os.stat, os.listdir, os.makedirs, time.time
in_one_step = threading.Lock()  # a process that is stopped while it holds a server's lock would stop all others


class Bucket(Storage):
    """Compares and writes in one step, by its own clock. `reached` is called before and after each operation."""

    def __init__(self, folder: Path, reached: Callable[[str, str], object]) -> None:
        self.folder = folder
        self.url = url_of(folder)
        self._reached = reached

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        data = self.get(key)[0]
        first = max(0, len(data) + start) if start < 0 else start
        return BytesIO(data[first : None if length is None else first + length])

    def get(self, key: str) -> tuple[bytes, str]:
        with self._request("get", key, ReadError):
            return self._object(check_key(key))

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        with self._request("put", key, WriteError), self._in_one_step():
            with suppress(DoesNotExist):
                etag = self._object(key)[1]
                if if_absent or if_match not in (None, etag):
                    raise PreconditionFailed(f"Another process wrote {self.url}/{key} first.")
                if_match = None
            if if_match is not None:
                raise PreconditionFailed(f"{self.url}/{key} is gone.")
            path = self.folder / check_key(key)
            _makedirs(path.parent, exist_ok=True)
            draft = str(self.folder / f".{os.getpid()}.keepsake-tmp")
            file = _open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            written = 0
            while written < len(data):
                written += _write(file, data[written:])
            _close(file)
            _replace(draft, path)
            return _etag(data)

    def upload(self, key: str, source: BinaryIO) -> None:
        self.put(key, b"".join(iter(lambda: source.read(1 << 20), b"")))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._request("list", prefix, ReadError):
            found = list(self._below(check_key(prefix) if prefix else ""))
        return iter(sorted(found))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            with self._request("delete", key, WriteError), self._in_one_step(), suppress(FileNotFoundError):
                _unlink(self.folder / check_key(key))

    def now(self) -> float:
        return _time()

    def _object(self, key: str) -> tuple[bytes, str]:
        try:
            file = _open(self.folder / key, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            raise DoesNotExist(f"{self.url}/{key} does not exist.") from None
        data = b"".join(iter(lambda: _read(file, 1 << 20), b""))
        _close(file)
        return data, _etag(data)

    def _below(self, prefix: str) -> Iterator[ObjectInfo]:
        names: list[str] = []
        with suppress(FileNotFoundError, NotADirectoryError):
            names = _listdir(self.folder / prefix)
        for key in (f"{prefix}/{name}" if prefix else name for name in names):
            with suppress(DoesNotExist, FileNotFoundError):
                status = _stat(self.folder / key)
                if os.path.isdir(self.folder / key):
                    yield from self._below(key)
                elif is_key(key):
                    yield ObjectInfo(key, status.st_size, self._object(key)[1], status.st_mtime)

    @contextmanager
    def _request(self, verb: str, key: str, error: type[ReadError | WriteError]) -> Iterator[None]:
        try:
            self._reached(verb, key)
            if not self.folder.exists():
                raise OSError(f"{self.url} does not answer")
            yield
            self._reached(verb, key)
        except OSError as reason:
            raise error(f"{self.url}/{key}: {reason}.") from reason

    @contextmanager
    def _in_one_step(self) -> Iterator[None]:
        with in_one_step:
            file = _open(self.folder.with_name(f"{self.folder.name}.lock"), os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
            finally:
                _close(file)


def url_of(folder: Path) -> str:
    """The URL of the bucket in a folder."""
    return f"{SCHEME}bucket{folder}"


def folder_of(url: str) -> Path:
    """The folder of the bucket at a URL."""
    return Path(url.removeprefix(f"{SCHEME}bucket"))


def _etag(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()
