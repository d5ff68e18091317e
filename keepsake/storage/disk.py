"""Storage in a directory of the local disk or of a network file system.

Half-written files and claims never lie beside the finished objects but at the repository's top, because Keepsake 0.4.2
reads every file it finds among the metadata, whatever its name.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from keepsake.exceptions import DoesNotExist, KeepsakeError, PreconditionFailed, ReadError, WriteError
from keepsake.storage import claims, reading, writing
from keepsake.storage.base import TEMPORARY, UNREADABLE, ObjectInfo, Storage, check_key, is_key
from keepsake.storage.reading import ABSENT, etag_of
from keepsake.storage.writing import replace as _replace
from keepsake.util.files import sync

_BLOCK = 1 << 20  # bytes
_REMEMBERED = 1000  # objects
# What can be wrong with one file while the others are fine
_OF_ONE_FILE = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.EINVAL, errno.EIO, errno.ENXIO, errno.ENAMETOOLONG}

Publish = Callable[[str, str, str], None]  # (temporary file, target, etag)


class DiskStorage(Storage):
    """Each object is a file below `root`, always replaced as a whole."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)
        self.directory = Path(self._root)
        self.url = "file://" + self._root.replace("%", "%25")
        self._clock = writing.Clock()
        self._apart: set[str] = set()  # directories to which nothing can be renamed from the root
        self._contents: dict[str, tuple[str, int]] = {}  # key → etag, hash of the content that it had

    # Reading

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        path = self._path(key)
        with self._errors("read", key):
            fd, status = reading.open_to_read(path)
            file, size = io.FileIO(fd), status.st_size
            first = max(0, size + start) if start < 0 else min(start, size)
            file.seek(first)
        left = size - first if length is None else min(length, size - first)
        return cast(BinaryIO, io.BufferedReader(reading.Range(file, left, partial(self._error, "read", key)), _BLOCK))

    def get(self, key: str) -> tuple[bytes, str]:
        data, etag = self._get(key)
        self._remember(key, etag, data)
        return data, etag

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
        return (found for found in reading.look_at_each(keys, self._get_if_there) if found)

    def _get(self, key: str) -> tuple[bytes, str]:
        path = self._path(key)
        try:
            data, status = reading.read_whole(path)
        except OSError as error:
            raise self._error("read", key, error) from error
        return data, etag_of(status)

    def _get_if_there(self, key: str) -> tuple[str, bytes, str] | None:
        try:
            return (key, *self._get(key))
        except DoesNotExist:
            return None
        except ReadError as error:
            if not _is_of_one_file(error.__cause__):
                raise
            return key, str(error).encode(), UNREADABLE

    def _remember(self, key: str, etag: str, data: bytes) -> None:
        """Note what a version holds: a file system that caches names may tell a new file by an old one's status."""
        if len(self._contents) >= _REMEMBERED:
            self._contents.clear()
        self._contents[key] = etag, hash(data)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._walk(self._path(prefix), prefix + "/") if prefix else self._walk(self._root, "")

    def _walk(self, directory: str, prefix: str) -> Iterator[ObjectInfo]:
        found: list[ObjectInfo] = []
        with self._errors("list", prefix), suppress(*ABSENT), reading.opened_directory(directory) as (names, status_of):
            found += filter(None, reading.look_at_each(filter(is_key, names), partial(self._info, prefix, status_of)))
        for info in sorted(found):
            if info.key[-1] != "/":
                yield info
            elif not reading.is_loop(path := f"{directory}/{info.key[len(prefix) : -1]}"):
                yield from self._walk(path, info.key)

    def _info(self, prefix: str, status_of: Callable[[str], os.stat_result], name: str) -> ObjectInfo | None:
        """What to say of an entry, if anything; a directory's key ends in a slash, by which it sorts as its keys do."""
        key = prefix + name
        try:
            status = status_of(name)
        except ABSENT:  # a link that leads nowhere, or a file that was deleted meanwhile
            return ObjectInfo(key, 0, UNREADABLE, 0.0) if os.path.islink(self._path(key)) else None
        except OSError as error:
            if _is_of_one_file(error):
                return ObjectInfo(key, 0, UNREADABLE, 0.0)
            raise self._error("list", key, error) from error
        if stat.S_ISDIR(status.st_mode):
            return ObjectInfo(f"{key}/", 0, "", 0.0)
        if not stat.S_ISREG(status.st_mode):
            return ObjectInfo(key, 0, UNREADABLE, 0.0)
        return ObjectInfo(key, status.st_size, etag_of(status), status.st_mtime)

    # Writing

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        publish: Publish = _publish
        if if_match is not None:
            publish = partial(self._replace_if, key, if_match)
        elif if_absent:
            publish = partial(self._link, key)
        etag = self._write(key, (data,), publish)
        self._remember(key, etag, data)
        return etag

    def put_for_now(self, key: str, data: bytes) -> None:
        self._write(key, (data,), _publish, durable=False)

    def upload(self, key: str, source: BinaryIO) -> None:
        self._write(key, iter(lambda: source.read(_BLOCK), b""), _publish)

    def take(self, key: str, path: Path) -> bool:
        target = self._path(key)
        try:
            if not self._adapt(path, target):
                return False
            _replace(str(path), target)
        except OSError:
            if os.path.lexists(path):
                return False  # writing the file anew needs less of the file system, or says what is wrong
            raise
        writing.sync_directory(target)
        return True

    def _adapt(self, path: Path, target: str) -> bool:
        """Make a file what a new one for `target` would be, and durable, if that is possible."""
        fd, temporary = self._create(target)
        try:
            if not writing.become_like(path, os.fstat(fd), temporary):
                return False
        finally:
            os.close(fd)
            writing.unlink(temporary)
        fd = os.open(path, reading.FLAGS | os.O_RDWR)
        try:
            with suppress(OSError):
                os.utime(path)  # to the disk's time
            writing.stamp(fd, str(path), os.fstat(fd).st_mtime_ns)
            sync(fd)
        finally:
            os.close(fd)
        return True

    def delete(self, keys: Iterable[str]) -> None:
        failed: list[tuple[str, OSError]] = []
        for key, path in [(key, self._path(key)) for key in keys]:
            try:
                os.unlink(path)
            except ABSENT:
                pass  # that is what is wanted
            except OSError as error:
                if not os.path.isdir(path):  # macOS refuses a directory with a PermissionError
                    failed.append((key, error))
        if failed:
            listing = "\n".join(f"{self.url}/{key}: {error.strerror}" for key, error in failed)
            raise WriteError(f"Could not delete {len(failed)} files. Check who owns them:\n{listing}") from failed[0][1]

    def ensure_writable(self) -> None:
        with self._errors("write", ""):
            writing.make_directories(self._root)

    def _write(self, key: str, blocks: Iterable[bytes], publish: Publish, *, durable: bool = True) -> str:
        """Write a temporary file, let `publish` give it its name, and return its etag."""
        target = self._path(key)
        parent = os.path.dirname(target)
        with self._errors("write", key):
            fd, temporary = self._create(target)
        try:
            etag = self._fill(fd, temporary, key, blocks, durable=durable)
            with self._errors("write", key):
                try:
                    publish(temporary, target, etag)
                except OSError as error:
                    if error.errno != errno.EXDEV or os.path.dirname(temporary) == parent:
                        raise
                    written = io.FileIO(temporary)
                else:
                    if durable:
                        writing.sync_directory(target)
                    return etag
        finally:
            writing.unlink(temporary)
        self._apart.add(parent)
        with written:
            return self._write(key, iter(lambda: written.read(_BLOCK), b""), publish, durable=durable)

    def _fill(self, fd: int, temporary: str, key: str, blocks: Iterable[bytes], *, durable: bool) -> str:
        """Write a temporary file, close it and return its etag."""
        try:
            for block in blocks:
                with self._errors("write", key):
                    writing.write_all(fd, block)
            with self._errors("write", key):
                status = os.fstat(fd)
                self._clock.note(status)
                status = writing.stamp(fd, temporary, status.st_mtime_ns)
                if durable:
                    sync(fd)
        finally:
            os.close(fd)
        return etag_of(status)

    def _create(self, target: str) -> tuple[int, str]:
        """Open a new temporary file that can be renamed to `target`.

        The root must be there: a disk that is not mounted is not made up for by a directory in its place.
        """
        parent = os.path.dirname(target)
        root = os.stat(self._root)
        try:
            device = os.stat(parent).st_dev
        except FileNotFoundError:
            writing.make_directories(parent, root)
            device = os.stat(parent).st_dev
        # A folder of the repository may be a link to another disk, or a mount that looks like the same disk
        directory = self._root if root.st_dev == device and parent not in self._apart else parent
        path = f"{directory}/.{os.urandom(8).hex()}{TEMPORARY}"
        fd = os.open(path, writing.CREATE, 0o666)
        writing.share(path, root)
        return fd, path

    # Conditions (storage/claims.py says how they are kept)

    def _link(self, key: str, temporary: str, target: str, etag: str) -> None:
        """Publish under a name that must be new."""
        try:
            os.link(temporary, target)
        except FileExistsError as error:
            # NFS may have made the link and lost the answer
            if not self._is(key, etag):
                raise PreconditionFailed(f"{self.url}/{key} exists already.") from error
        except OSError as error:
            if error.errno == errno.EXDEV and os.path.dirname(temporary) != os.path.dirname(target):
                raise  # the file is written beside its target then
            # There are no hard links here; whatever else is wrong shows again
            self._replace_if(key, None, temporary, target, etag)

    def _replace_if(self, key: str, version: str | None, temporary: str, target: str, etag: str) -> None:
        """Publish if the object is a certain version, or does not exist (None), and nobody publishes in between."""
        wanted = claims.Wanted(self._root, key, version)
        claimed, made = claims.claim(wanted, temporary, lambda: self._is(key, version))
        done = claimed and self._is(key, version)
        if done:
            try:
                _replace(temporary, target)
            except FileNotFoundError:  # somebody else has finished this
                done = self._is(key, etag)
        writing.unlink(temporary)
        if done or not self._is(key, version):  # otherwise the claims are void, and count
            for claim in made:
                writing.unlink(claim)
        if not done:
            raise self._changed(key)

    def _is(self, key: str, version: str | None) -> bool:
        """Whether an object is a certain version, or does not exist (None), by what the open file says and holds."""
        path = self._path(key)
        if version is None:
            return not os.path.lexists(path)
        try:
            fd, _ = reading.open_to_read(path)
        except ABSENT:
            return False
        try:
            status = reading.fresh_status(fd)
            if etag_of(status) != version:
                return False
            etag, content = self._contents.get(key, ("", 0))
            return etag != version or hash(reading.read_all(fd, status)) == content
        finally:
            os.close(fd)

    def _changed(self, key: str) -> PreconditionFailed:
        return PreconditionFailed(f"{self.url}/{key} was changed by somebody else.")

    # The clock, and what crashes leave

    def now(self) -> float:
        """The clock by which the disk's system, or its file server, stamps files: those of all machines compare."""
        now = self._clock.now()
        if now is None:
            with suppress(OSError):  # who may only read goes by the local clock
                # Of a disk of this machine that is the same clock, and reading need not make a file
                if self._clock.is_known or not writing.is_on_own_disk(self._root):
                    self._look_at_clock()
            now = self._clock.now()
        return time.time() if now is None else now

    def _look_at_clock(self) -> None:
        fd, temporary = self._create(f"{self._root}/repository.json")
        try:
            self._clock.note(os.fstat(fd))
        finally:
            os.close(fd)
            writing.unlink(temporary)

    def leftovers(self) -> Iterator[ObjectInfo]:
        """Yield them in an order in which they can be removed: files before the claims that speak of them."""
        yield from sorted(self._leftovers(), key=lambda info: info.key.rpartition("/")[2].count("-"))

    def _leftovers(self) -> Iterator[ObjectInfo]:
        for directory, _, names in os.walk(self._root):
            for name in names:
                if TEMPORARY in name:
                    path = os.path.join(directory, name)
                    with suppress(FileNotFoundError):  # finished meanwhile
                        status = os.lstat(path)
                        relative = os.path.relpath(path, self._root)
                        # The mtime may be what the clock of the machine that is writing it says
                        modified = max(status.st_mtime, status.st_ctime)
                        yield ObjectInfo(relative, status.st_size, etag_of(status), modified)

    def remove_leftover(self, leftover: ObjectInfo) -> None:
        path = os.path.join(self._root, leftover.key)
        with self._errors("write", leftover.key), suppress(FileNotFoundError):
            if etag_of(os.lstat(path)) == leftover.etag:  # whoever writes it may still be at work
                os.unlink(path)

    # Names and errors

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    @contextmanager
    def _errors(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(verb, key, error) from error

    def _error(self, verb: str, key: str, error: OSError) -> KeepsakeError:
        name = f"{self.url}/{key}".rstrip("/")
        kind = WriteError if verb == "write" else ReadError
        if kind is ReadError and isinstance(error, ABSENT):
            return DoesNotExist(f"{name} does not exist.")
        hint = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = " Free some space and try again; what was saved before is untouched."
        elif isinstance(error, FileNotFoundError):
            hint = " The repository's directory is not there: is its disk mounted?"
        elif isinstance(error, PermissionError):
            hint = f" Check who owns it and whether you may {verb} there."
        return kind(f"Could not {verb} {name}: {error.strerror or error}.{hint}")


def _publish(temporary: str, target: str, etag: str) -> None:
    _replace(temporary, target)


def _is_of_one_file(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _OF_ONE_FILE
