"""Storage in a directory of the local disk or of a network file system.

Unfinished files and claims lie at the repository's top, never beside finished objects, because Keepsake 0.4.2 reads
every file among the metadata, whatever its name.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from keepsake.exceptions import DoesNotExist, KeepsakeError, PreconditionFailed, ReadError, WriteError
from keepsake.storage import claims, reading, writing
from keepsake.storage.base import TEMPORARY, UNREADABLE, ObjectInfo, Storage, check_key, is_key
from keepsake.storage.reading import ABSENT, etag_of
from keepsake.storage.versions import Versions
from keepsake.util.console import plural
from keepsake.util.files import WINDOWS, replace, sync

_BLOCK = 1 << 20  # bytes
_TRIES = 20
# Errors that concern one file while the others are fine.
_OF_ONE_FILE = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.EINVAL, errno.EIO, errno.ENXIO, errno.ENAMETOOLONG}
# The same of damaged file systems and of file servers. Not every system has them.
_OF_ONE_FILE |= {getattr(errno, name, errno.EIO) for name in ("EUCLEAN", "EBADMSG", "ESTALE", "EREMOTEIO", "EOVERFLOW")}

Publish = Callable[[str, str, str], None]  # (temporary file, target, etag)


class DiskStorage(Storage):
    """Each object is a file below `root`, always replaced as a whole."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)
        self.directory = Path(self._root)
        path = self.directory.as_posix().replace("%", "%25")
        self.url = f"file://{path if path.startswith('/') else f'/{path}'}"  # file:///C:/keepsake
        self._clock = writing.Clock()
        self._apart: set[str] = set()  # directories to which nothing can be renamed from the root
        self._versions = Versions()
        self._names = writing.Names()

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
        self._versions.remember(self._path(key), etag, data)
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
        """Return an entry's info; None if it is gone. A directory's key ends in a slash, to sort as its keys do."""
        key = prefix + name
        try:
            status = status_of(name)
        except ABSENT:  # a dangling link, or a file that was deleted meanwhile
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
        self._names.sync(self._path(key))
        self._versions.remember(self._path(key), etag, data)
        return etag

    def put_missing(self, objects: Mapping[str, bytes]) -> set[str]:
        written = set()
        for key, data in objects.items():
            with suppress(PreconditionFailed):
                self._write(key, (data,), partial(self._link, key))
                written.add(key)
        self._names.sync(*map(self._path, written))
        return written

    def put_for_now(self, key: str, data: bytes) -> None:
        self._write(key, (data,), _publish, durable=False)

    def postponing(self) -> AbstractContextManager[None]:
        return self._names.postponing()

    def upload(self, key: str, source: BinaryIO) -> None:
        self._write(key, iter(lambda: source.read(_BLOCK), b""), _publish)
        self._names.sync(self._path(key))

    def link(self, key: str, path: Path, *, is_object: bool = False) -> bool:
        target, temporary = self._path(key), ""
        try:
            temporary = self._adapt(path, target, is_object=is_object)
            if not temporary:
                return False
            os.link(path, temporary)
            replace(temporary, target)
        except OSError:
            if os.path.lexists(path):
                return False  # an ordinary upload needs fewer permissions, or explains the error
            raise
        finally:
            if temporary:  # it stays if the object was another name of the file already
                writing.unlink(temporary)
        self._names.sync(target)
        return True

    def _adapt(self, path: Path, target: str, *, is_object: bool) -> str:
        """Give a file the attributes of a new file for `target`, and make it durable.

        Returns a free name that can be renamed to `target`; "" if the file cannot get the attributes.
        """
        fd, temporary = self._create(target)
        try:
            if is_object:  # it has them, and its age counts
                return temporary
            if not writing.become_like(path, os.fstat(fd), temporary):
                return ""
        finally:
            os.close(fd)
            writing.unlink(temporary)
        fd = os.open(path, reading.FLAGS | os.O_RDWR)
        try:
            with suppress(OSError):
                os.utime(path)  # sets the disk's own time
            writing.stamp(str(path), os.fstat(fd).st_mtime_ns, fd)
            sync(fd)
        finally:
            os.close(fd)
        return temporary

    def delete(self, keys: Iterable[str]) -> None:
        failed: list[tuple[str, OSError]] = []
        for key, path in [(key, self._path(key)) for key in keys]:
            try:
                os.unlink(path)
            except ABSENT:
                pass  # it is gone already
            except OSError as error:
                if not os.path.isdir(path):  # macOS refuses a directory with a PermissionError
                    failed.append((key, error))
        if failed:
            listing = "\n".join(f"{self.url}/{key}: {error.strerror}" for key, error in failed)
            count = plural(len(failed), "file")
            raise WriteError(f"Could not delete {count}. Check the owners:\n{listing}") from failed[0][1]

    def retire(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        for key in keys:
            with suppress(KeepsakeError):  # it is gone already, or `delete` says what is wrong
                self._retire(key)
        self.delete(keys)

    def _retire(self, key: str) -> None:
        """Delete an object as its next version, because a writer that has claimed that may be stopped just now."""
        for _ in range(_TRIES):
            data, version = self._get(key)
            with suppress(PreconditionFailed):
                last = partial(self._replace_if, key, version, publish=lambda temporary, target: os.unlink(target))
                self._write(key, (data,), last, durable=False)
                return

    def ensure_writable(self) -> None:
        with self._errors("write", ""):
            writing.make_directories(self._root)

    def _write(self, key: str, blocks: Iterable[bytes], publish: Publish, *, durable: bool = True) -> str:
        """Write a temporary file, let `publish` give it its name, and return its etag. The name is not durable yet."""
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
                if not WINDOWS:
                    status = writing.stamp(temporary, status.st_mtime_ns, fd)
                if durable:
                    sync(fd)
        except BaseException:
            with suppress(OSError):
                os.close(fd)
            raise
        with self._errors("write", key):
            os.close(fd)  # some file systems write only now
            if WINDOWS:
                status = writing.stamp(temporary, status.st_mtime_ns)
        return etag_of(status)

    def _create(self, target: str) -> tuple[int, str]:
        """Open a new temporary file that can be renamed to `target`.

        The root must exist. It is not created here, because its disk may only be unmounted.
        """
        parent = os.path.dirname(target)
        root = os.stat(self._root)
        try:
            device = os.stat(parent).st_dev
        except FileNotFoundError:
            writing.make_directories(parent, root)
            device = os.stat(parent).st_dev
        # A folder of the repository may be a link to another disk, or a mount that looks like the same disk.
        directory = self._root if root.st_dev == device and parent not in self._apart else parent
        path = f"{directory}/.{os.urandom(8).hex()}{TEMPORARY}"
        fd = os.open(path, writing.CREATE, 0o666)
        writing.share(path, root)
        return fd, path

    # Conditions (see storage/claims.py)

    def _link(self, key: str, temporary: str, target: str, etag: str) -> None:
        """Publish a file under a name that must be new."""
        try:
            os.link(temporary, target)
        except FileExistsError as error:
            # NFS may have made the link and lost the answer.
            if not self._is(key, etag):
                raise PreconditionFailed(f"{self.url}/{key} exists already. Read it again.") from error
        except OSError as error:
            if error.errno == errno.EXDEV and os.path.dirname(temporary) != os.path.dirname(target):
                raise  # the caller then writes the file beside its target
            # This file system has no hard links. Any other trouble appears again below.
            self._replace_if(key, None, temporary, target, etag)

    def _replace_if(
        self,
        key: str,
        version: str | None,
        temporary: str,
        target: str,
        etag: str,
        publish: Callable[[str, str], None] = replace,
    ) -> None:
        """Publish if the object still has that version (None: does not exist), with no other writer in between."""
        if (content := self._versions.content(self._path(key), version)) is None:
            raise self._changed(key)
        wanted = claims.Wanted(self._root, key, content)
        claimed, made = claims.claim(wanted, temporary, lambda: self._is(key, version))
        done = claimed and self._is(key, version)
        if done:
            try:
                publish(temporary, target)
            except FileNotFoundError:  # another writer has finished this one's work
                done = self._is(key, etag)
        writing.unlink(temporary)
        if done or not self._is(key, version):  # otherwise they must stay, as void claims
            for claim in made:
                writing.unlink(claim)
        if not done:
            raise self._changed(key)

    def _is(self, key: str, version: str | None) -> bool:
        """Whether an object has that version (None: does not exist), by the open file's status and content."""
        return self._versions.content(self._path(key), version) is not None

    def _changed(self, key: str) -> PreconditionFailed:
        return PreconditionFailed(f"Another process changed {self.url}/{key}. Read it again.")

    # The clock, and the remains of crashes

    def now(self) -> float:
        """Return the time by the clock that stamps files: the file server's, or this machine's for its own disk."""
        now = self._clock.now()
        if now is None:
            with suppress(OSError):  # without write access the local clock must do
                # A disk of this machine has the local clock, so reading need not create a file.
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
        """Yield leftovers in a safe order of removal: files before the claims that name them."""
        yield from sorted(reading.leftovers(self._root), key=lambda info: info.key.rpartition("/")[2].count("-"))

    def remove_leftover(self, leftover: ObjectInfo) -> None:
        path = os.path.join(self._root, leftover.key)
        with self._errors("write", leftover.key), suppress(FileNotFoundError):
            if etag_of(os.lstat(path)) == leftover.etag:  # if it has changed, its writer is still at work
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
            hint = " Free some space and try again. Everything saved before is untouched."
        elif isinstance(error, FileNotFoundError):
            hint = " The repository's directory is missing. Check whether its disk is mounted."
        elif isinstance(error, PermissionError):
            hint = f" Check its owner and your permission to {verb} there."
        return kind(f"Could not {verb} {name}: {error.strerror or error}.{hint}")


def _publish(temporary: str, target: str, etag: str) -> None:
    replace(temporary, target)


def _is_of_one_file(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _OF_ONE_FILE
