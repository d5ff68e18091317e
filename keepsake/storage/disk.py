"""Storage in a directory of the local disk or of a network file system.

Half-written files and locks never lie beside the finished objects but at the repository's top, because Keepsake 0.4.2
reads every file it finds among the metadata, whatever its name.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from keepsake.exceptions import DoesNotExist, KeepsakeError, PreconditionFailed, ReadError, WriteError
from keepsake.storage.base import TEMPORARY, ObjectInfo, Storage, check_key, is_key
from keepsake.util.fork import importing

_BLOCK = 1 << 20  # bytes
_LOCK_EXPIRY = 10.0  # seconds: a lock is held for about a millisecond, so one this old was left by a crash
_LOCK_SETTLE = 0.2  # seconds in which all who saw the same lock expire have taken it over
_LOCK_POLL = 0.01  # seconds
_WINDOWS = sys.platform == "win32"
_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_CREATE = _FLAGS | os.O_CREAT | os.O_EXCL | os.O_WRONLY
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_LOCKED = (FileExistsError, PermissionError) if _WINDOWS else FileExistsError
_SAMPLE = 20  # files, from which it is known how long most take
_SLOW = 0.0002  # seconds per file: it waits, for a network or a disk's head, and others may wait meanwhile
_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

S = TypeVar("S")
T = TypeVar("T")


class DiskStorage(Storage):
    """Each object is a file below `root`, always replaced as a whole."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)
        self.directory = Path(self._root)
        self._clock_offset: float | None = None  # seconds that the disk's clock is ahead of ours
        self.url = "file://" + self._root.replace("%", "%25")

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        path = self._path(key)
        with self._errors("read", key):
            file = io.FileIO(path)
            size = os.fstat(file.fileno()).st_size
            first = max(0, size + start) if start < 0 else min(start, size)
            file.seek(first)
        left = size - first if length is None else min(length, size - first)
        return cast(BinaryIO, io.BufferedReader(_Range(self, key, file, left), _BLOCK))

    def get(self, key: str) -> tuple[bytes, str]:
        path = self._path(key)
        try:
            fd = os.open(path, _FLAGS | os.O_RDONLY)
            try:
                # The etag is from before reading: a file that 0.4.2 rewrites in place meanwhile shows as changed later
                status = os.fstat(fd)
                data = os.read(fd, status.st_size + 1)
                while len(data) != status.st_size and (more := os.read(fd, _BLOCK)):
                    data += more
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error("read", key, error) from error
        return data, _etag(status)

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        def publish(temporary: str, target: str) -> None:
            if if_match is not None:
                self._replace_if(key, temporary, lambda: _current_etag(target) == if_match)
            elif if_absent:
                self._link(key, temporary)
            else:
                _replace(temporary, target)

        return self._write(key, (data,), publish)

    def put_for_now(self, key: str, data: bytes) -> None:
        self._write(key, (data,), _replace, durable=False)

    def upload(self, key: str, source: BinaryIO) -> None:
        self._write(key, iter(lambda: source.read(_BLOCK), b""), _replace)

    def take(self, key: str, path: Path) -> bool:
        target = self._path(key)
        try:
            if not _become_like(path, *self._create(target)):
                return False
            fd = os.open(path, _FLAGS | os.O_RDWR)
            try:
                _stamp(fd, str(path))
                os.fsync(fd)
            finally:
                os.close(fd)
            _replace(str(path), target)
            _sync_directory(target)
        except OSError as error:
            if not path.exists():
                raise
            raise self._error("write", key, error) from error
        return True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._walk(self._path(prefix), prefix + "/") if prefix else self._walk(self._root, "")

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
        return (found for found in _look_at_each(keys, self._get_if_there) if found)

    def delete(self, keys: Iterable[str]) -> None:
        failed: list[tuple[str, OSError]] = []
        for key, path in [(key, self._path(key)) for key in keys]:
            try:
                os.unlink(path)
            except _ABSENT:
                pass  # which is what is wanted
            except OSError as error:
                if not os.path.isdir(path):  # which macOS refuses with a PermissionError
                    failed.append((key, error))
        if failed:
            listing = "\n".join(f"{self.url}/{key}: {error.strerror}" for key, error in failed)
            raise WriteError(f"Could not delete {len(failed)} files. Check who owns them:\n{listing}") from failed[0][1]

    def ensure_writable(self) -> None:
        with self._errors("write", ""):
            os.makedirs(self._root, exist_ok=True)
            if not os.access(self._root, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def now(self) -> float:
        """The clock by which the disk's system, or its file server, stamps files: those of all machines compare."""
        if self._clock_offset is None:
            self._clock_offset = 0.0
            with suppress(OSError):  # who may only read goes by the local clock
                fd, temporary = self._create(f"{self._root}/repository.json")
                os.close(fd)
                self._look_at_clock(os.stat(temporary))
                _unlink(temporary)
        return time.time() + self._clock_offset

    def _look_at_clock(self, status: os.stat_result) -> None:
        """Learn the time from a file that was just changed; nobody but the system sets its ctime."""
        offset = status.st_ctime - time.time()
        self._clock_offset = offset if abs(offset) > 1 else 0.0

    def leftovers(self) -> Iterator[ObjectInfo]:
        for directory, _, names in os.walk(self._root):
            for name in names:
                if TEMPORARY in name:
                    path = os.path.join(directory, name)
                    with suppress(FileNotFoundError):  # finished meanwhile
                        status = os.stat(path)
                        relative = os.path.relpath(path, self._root)
                        # Its mtime may be what the clock of the machine that is writing it says
                        modified = max(status.st_mtime, status.st_ctime)
                        yield ObjectInfo(relative, status.st_size, _etag(status), modified)

    def remove_leftover(self, leftover: ObjectInfo) -> None:
        path = os.path.join(self._root, leftover.key)
        with self._errors("write", leftover.key), suppress(FileNotFoundError):
            if _etag(os.stat(path)) == leftover.etag:
                os.unlink(path)

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _write(
        self, key: str, blocks: Iterable[bytes], publish: Callable[[str, str], None], *, durable: bool = True
    ) -> str:
        """Write a temporary file, let `publish(temporary, target)` give it its name, and return its etag."""
        target = self._path(key)
        with self._errors("write", key):
            fd, temporary = self._create(target)
        try:
            try:
                for block in blocks:
                    with self._errors("write", key):
                        _write_all(fd, block)
                with self._errors("write", key):
                    status = _stamp(fd, temporary)
                    if self._clock_offset is None:
                        self._look_at_clock(status)
                    if durable:
                        os.fsync(fd)
            finally:
                os.close(fd)
            with self._errors("write", key):
                publish(temporary, target)
                if durable:
                    _sync_directory(target)
        finally:
            _unlink(temporary)
        return _etag(status)

    def _create(self, target: str) -> tuple[int, str]:
        """Open a new temporary file that can be renamed to `target`.

        The root must be there: a disk that is not mounted is not made up for by a directory in its place.
        """
        parent = os.path.dirname(target)
        root_device = os.stat(self._root).st_dev
        try:
            device = os.stat(parent).st_dev
        except FileNotFoundError:
            os.makedirs(parent, exist_ok=True)
            device = os.stat(parent).st_dev
        # A folder of the repository may be a link to another disk
        directory = self._root if root_device == device else parent
        path = f"{directory}/.{os.urandom(8).hex()}{TEMPORARY}"
        return os.open(path, _CREATE, 0o666), path

    def _link(self, key: str, temporary: str) -> None:
        """Publish under a name that must be new."""
        target = self._path(key)
        try:
            os.link(temporary, target)
        except FileExistsError as error:
            # NFS may have made the link and lost the answer
            if os.stat(temporary).st_nlink != 2:
                raise PreconditionFailed(f"{self.url}/{key} exists already.") from error
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._replace_if(key, temporary, lambda: not os.path.lexists(target))

    def _replace_if(self, key: str, temporary: str, condition: Callable[[], bool]) -> None:
        """Publish if `condition` holds and nobody else publishes in between."""
        lock = f"{self._root}/.{zlib.crc32(key.encode()):08x}.lock{TEMPORARY}"
        token = _acquire(lock)
        try:
            if not condition() or _content(lock) != token:
                raise PreconditionFailed(f"{self.url}/{key} was changed by somebody else.")
            _replace(temporary, self._path(key))
        finally:
            if _content(lock) == token:
                _unlink(lock)

    def _walk(self, directory: str, prefix: str) -> Iterator[ObjectInfo]:
        found: list[ObjectInfo] = []
        with self._errors("list", prefix), suppress(*_ABSENT), _opened(directory) as (names, status_of):
            found += filter(None, _look_at_each(filter(is_key, names), partial(self._info, prefix, status_of)))
        for info in sorted(found):
            if info.key[-1] != "/":
                yield info
            elif not _is_loop(path := f"{directory}/{info.key[len(prefix) : -1]}"):
                yield from self._walk(path, info.key)

    def _info(self, prefix: str, status_of: Callable[[str], os.stat_result], name: str) -> ObjectInfo | None:
        """What to say of an entry, if anything; a directory's key ends in a slash, by which it sorts as its keys do."""
        key = prefix + name
        try:
            status = status_of(name)
        except OSError as error:
            if isinstance(error, _ABSENT) or error.errno == errno.ELOOP:
                return None  # deleted meanwhile, or a link that leads nowhere or round in a circle
            raise self._error("list", key, error) from error
        if stat.S_ISDIR(status.st_mode):
            return ObjectInfo(f"{key}/", 0, "", 0.0)
        if not stat.S_ISREG(status.st_mode):
            return None
        return ObjectInfo(key, status.st_size, _etag(status), status.st_mtime)

    @contextmanager
    def _errors(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(verb, key, error) from error

    def _error(self, verb: str, key: str, error: OSError) -> KeepsakeError:
        name = f"{self.url}/{key}".rstrip("/")
        kind = WriteError if verb == "write" else ReadError
        if kind is ReadError and isinstance(error, _ABSENT):
            return DoesNotExist(f"{name} does not exist.")
        hint = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = " Free some space and try again; what was saved before is untouched."
        elif isinstance(error, FileNotFoundError):
            hint = " The repository's directory is not there: is its disk mounted?"
        elif isinstance(error, PermissionError):
            hint = f" Check who owns it and whether you may {verb} there."
        return kind(f"Could not {verb} {name}: {error.strerror or error}.{hint}")


@contextmanager
def _opened(directory: str) -> Iterator[tuple[Iterable[str], Callable[[str], os.stat_result]]]:
    """Yield the names in a directory, and what returns the status of one, following links."""
    if _WINDOWS:  # where the listing knows it
        with os.scandir(directory) as entries:
            known = {entry.name: entry for entry in entries}
        yield known, lambda name: known[name].stat()
        return
    fd = os.open(directory, _FLAGS | os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield os.listdir(fd), lambda name: os.stat(name, dir_fd=fd)  # a fifth quicker than by its path
    finally:
        os.close(fd)


def _look_at_each(items: Iterable[S], look: Callable[[S], T]) -> Iterator[T]:
    """Yield what `look` says of each item, in no order; of many at once where each takes long.

    Elsewhere threads would only take turns.
    """
    pending = iter(items)
    while some := list(islice(pending, _SAMPLE)):
        seconds = []
        for item in some:
            begun = time.perf_counter()
            seen = look(item)
            seconds.append(time.perf_counter() - begun)
            yield seen
        if sorted(seconds)[len(seconds) // 2] > _SLOW:
            with importing:
                from keepsake.storage import network  # whose threads start with it
            yield from network.in_parallel(partial(look, item) for item in pending)


class _Range(io.RawIOBase):
    """The next `left` bytes of a file; a file that turns out shorter is an error."""

    def __init__(self, storage: DiskStorage, key: str, file: io.FileIO, left: int) -> None:
        self._storage, self._key, self._file, self._left = storage, key, file, left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._left)
        with self._storage._errors("read", self._key):
            got = self._file.readinto(memoryview(buffer)[:wanted]) or 0
        if wanted and not got:
            raise ReadError(f"{self._storage.url}/{self._key} was cut short while it was being read.")
        self._left -= got
        return got

    def close(self) -> None:
        self._file.close()
        super().close()


def _etag(status: os.stat_result) -> str:
    # Windows tells the inode in stat() but not in a listing
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{0 if _WINDOWS else status.st_ino:x}"


def _current_etag(path: str) -> str | None:
    try:
        return _etag(os.stat(path))
    except _ABSENT:
        return None


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _stamp(fd: int, path: str) -> os.stat_result:
    """Give a written file a time that no other version of it has, and return its status."""
    # The kernel's own times tick every few ms, in which an inode can be used again: two versions with one etag
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    return os.fstat(fd)


def _become_like(path: Path, fd: int, temporary: str) -> bool:
    """Give a file the permissions of a new one that is made for that; False if they or the disk differ too much."""
    try:
        new, now = os.fstat(fd), os.stat(path)
        has_more = hasattr(os, "listxattr") and os.listxattr(temporary)  # such as access control lists
    finally:
        os.close(fd)
        _unlink(temporary)
    if has_more or (new.st_dev, new.st_uid, new.st_gid) != (now.st_dev, now.st_uid, now.st_gid):
        return False
    os.chmod(path, stat.S_IMODE(new.st_mode))
    return True


def _sync_directory(path: str) -> None:
    """Make a rename survive a power cut, where the system has such a thing."""
    with suppress(OSError):
        fd = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _replace(source: str, target: str) -> None:
    for _ in range(50 if _WINDOWS else 0):  # where a reader or a virus scanner can hold the target for a moment
        with suppress(PermissionError):
            os.replace(source, target)
            return
        time.sleep(0.02)
    os.replace(source, target)


def _unlink(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _is_loop(directory: str) -> bool:
    """Whether a directory is a link to one that contains it."""
    if not os.path.islink(directory):
        return False
    return f"{os.path.realpath(os.path.dirname(directory))}/".startswith(f"{os.path.realpath(directory)}/")


def _content(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def _acquire(lock: str) -> bytes:
    """Make a lock file and return what tells it from others. One that stays the same for too long is taken over.

    No clock of another machine is looked at, and no lock of the operating system's, which network file systems lack.
    """
    token = os.urandom(16)
    seen, since, taken_over = None, 0.0, False
    while True:
        try:
            fd = os.open(lock, _CREATE, 0o666)
        except _LOCKED:
            current = _content(lock)
            if current != seen:
                seen, since = current, time.monotonic()
            elif current is not None and time.monotonic() - since > _LOCK_EXPIRY:
                _unlink(lock)
                taken_over = True
            time.sleep(_LOCK_POLL)
            continue
        try:
            _write_all(fd, token)
        finally:
            os.close(fd)
        if taken_over:
            time.sleep(_LOCK_SETTLE)
        if not taken_over or _content(lock) == token:
            return token
