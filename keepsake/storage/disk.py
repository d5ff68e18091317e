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
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from keepsake.exceptions import DoesNotExist, KeepsakeError, PreconditionFailed, ReadError
from keepsake.storage import claims, reading, writing
from keepsake.storage.base import UNREADABLE, ObjectInfo, Storage, check_key, is_key
from keepsake.storage.disk_errors import DATA, Errors, error_of, is_of_one_file, undeleted
from keepsake.storage.drafts import Draft, Drafts
from keepsake.storage.reading import ABSENT, etag_of
from keepsake.storage.versions import Versions
from keepsake.util.files import replace, sync

_BLOCK = 1 << 20  # bytes
_TRIES = 20
Publish = Callable[[str, str, str], None]  # (temporary file, target, etag)


class DiskStorage(Storage):
    """Each object is a file below `root`, always replaced as a whole."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)
        self.directory = Path(self._root)
        path = self.directory.as_posix().replace("%", "%25")
        self.url = f"file://{path if path.startswith('/') else f'/{path}'}"  # file:///C:/keepsake
        self._drafts = Drafts(self._root)
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
        return cast(
            BinaryIO,
            io.BufferedReader(reading.Range(file, left, partial(error_of, "read", f"{self.url}/{key}")), _BLOCK),
        )

    def get(self, key: str) -> tuple[bytes, str]:
        data, etag = self._get(key)
        self._versions.remember(self._path(key), etag, data)
        return data, etag

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
        return (found for found in reading.look_at_each(keys, self._get_if_there) if found)

    def _get(self, key: str) -> tuple[bytes, str]:
        path = self._path(key)
        with self._errors("read", key):
            data, status = reading.read_whole(path)
        return data, etag_of(status)

    def _get_if_there(self, key: str) -> tuple[str, bytes, str] | None:
        try:
            return (key, *self._get(key))
        except DoesNotExist:
            return None
        except ReadError as error:
            if not is_of_one_file(error.__cause__):
                raise
            return key, str(error).encode(), UNREADABLE

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._walk(self._path(prefix), prefix + "/") if prefix else self._walk(self._root, "")

    def refresh(self, prefix: str) -> None:
        path = self._path(prefix)
        with suppress(OSError):  # without write access
            if not writing.is_on_own_disk(self._root):
                # The client of a network disk forgets what it remembers of a directory that it changes itself.
                writing.make_directories(path)
                os.utime(path)

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
            if is_of_one_file(error):
                return ObjectInfo(key, 0, UNREADABLE, 0.0)
            raise error_of("list", f"{self.url}/{key}", error) from error
        if stat.S_ISDIR(status.st_mode) and not key.endswith(DATA):
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
        with ExitStack() as stack:
            drafts = {key: stack.enter_context(self._draft(key, (data,))) for key, data in objects.items()}
            for draft in drafts.values():
                draft.begin_sync()
            for key, draft in drafts.items():
                with suppress(PreconditionFailed):
                    self._finish(key, draft, partial(self._link, key))
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
        with self._drafts.new(target) as draft:
            if is_object:  # it has them, and its age counts
                return draft.path
            if not writing.become_like(path, os.fstat(draft.fd), draft.path):
                return ""
        fd = os.open(path, reading.FLAGS | os.O_RDWR)
        try:
            with suppress(OSError):
                os.utime(path)  # sets the disk's own time
            writing.stamp(str(path), os.fstat(fd).st_mtime_ns, fd)
            sync(fd)
        finally:
            os.close(fd)
        return draft.path

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
            raise undeleted(self.url, failed) from failed[0][1]

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
        with self._draft(key, blocks) as draft:
            return self._finish(key, draft, publish, durable=durable)

    def _draft(self, key: str, blocks: Iterable[bytes]) -> Draft:
        """Write a draft of an object."""
        with self._errors("write", key):
            draft = self._drafts.new(self._path(key))
        try:
            for block in blocks:
                with self._errors("write", key):
                    writing.write_all(draft.fd, block)
            with self._errors("write", key):
                draft.end_writing()
        except BaseException:
            draft.discard()
            raise
        return draft

    def _finish(self, key: str, draft: Draft, publish: Publish, *, durable: bool = True) -> str:
        """Let `publish` give a draft the name of its object, and return its etag. The name is not durable yet."""
        target = self._path(key)
        with self._errors("write", key):
            etag = draft.finish(durable=durable)
            try:
                publish(draft.path, target, etag)
            except OSError as error:
                if error.errno != errno.EXDEV or not self._drafts.keep_apart(draft, target):
                    raise
                written = io.FileIO(draft.path)
            else:
                return etag
        with written:
            return self._write(key, iter(lambda: written.read(_BLOCK), b""), publish, durable=durable)

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
        clock = self._drafts.clock
        now = clock.now()
        if now is None:
            with suppress(OSError):  # without write access the local clock must do
                # A disk of this machine has the local clock, so reading need not create a file.
                if clock.is_known or not writing.is_on_own_disk(self._root):
                    with self._drafts.new(f"{self._root}/repository.json") as draft:
                        clock.note(os.fstat(draft.fd))
            now = clock.now()
        return time.time() if now is None else now

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

    def _errors(self, verb: str, key: str) -> Errors:
        return Errors(verb, f"{self.url}/{key}")


def _publish(temporary: str, target: str, etag: str) -> None:
    replace(temporary, target)
