"""Drafts: the temporary files of a storage on disk. Each is written whole before it gets the name of an object."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from keepsake.storage import writing
from keepsake.storage.reading import etag_of
from keepsake.util.files import TEMPORARY, WINDOWS, sync


class Draft:
    """A temporary file that is being written. What is left of it at the end of its context is removed.

    Attributes:
        path: where it is.
        fd: its descriptor, until it is finished.
    """

    def __init__(self, fd: int, path: str, clock: writing.Clock) -> None:
        self.path = path
        self.fd = fd
        self._is_open = True
        self._clock = clock
        self._status = os.fstat(fd)

    def end_writing(self) -> None:
        """Give it the time that tells it from other versions of its object."""
        self._status = os.fstat(self.fd)
        self._clock.note(self._status)
        if not WINDOWS:
            self._status = writing.stamp(self.path, self._status.st_mtime_ns, self.fd)

    def begin_sync(self) -> None:
        """Let the disk begin to write it. Two drafts are then on the disk hardly later than one."""
        if sys.platform == "linux":
            with suppress(OSError):
                os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def finish(self, *, durable: bool) -> str:
        """Close it, and return the etag that it has as an object. `durable`: wait until its content is on the disk."""
        if durable:
            sync(self.fd)
        self.close()  # some file systems write only now
        if WINDOWS:
            self._status = writing.stamp(self.path, self._status.st_mtime_ns)
        return etag_of(self._status)

    def close(self) -> None:
        """Close it, if it is open."""
        if self._is_open:
            self._is_open = False
            os.close(self.fd)

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        """Remove what is left of it."""
        with suppress(OSError):
            self.close()
        writing.unlink(self.path)


class Drafts:
    """The drafts below a directory.

    Args:
        root: the directory of the repository, which must exist when a draft is made. It is not created here, because
            its disk may only be unmounted.

    Attributes:
        clock: the clock that stamps them.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._apart: set[str] = set()  # directories to which nothing can be renamed from the root
        self.clock = writing.Clock()

    def new(self, target: str) -> Draft:
        """Open a new draft that can be renamed to `target`."""
        directory, root = self._place(os.path.dirname(target))
        path = f"{directory}/.{os.urandom(8).hex()}{TEMPORARY}"
        draft = Draft(os.open(path, writing.CREATE, 0o666), path, self.clock)
        try:
            writing.share(path, root)
        except BaseException:
            draft.discard()
            raise
        return draft

    def _place(self, parent: str) -> tuple[str, os.stat_result]:
        """Make a directory if it is missing; return where drafts for it lie, and the status of the root."""
        root = os.stat(self._root)
        try:
            device = os.stat(parent).st_dev
        except FileNotFoundError:
            writing.make_directories(parent, root)
            device = os.stat(parent).st_dev
        # A folder of the repository may be a link to another disk, or a mount that looks like the same disk.
        return (self._root if root.st_dev == device and parent not in self._apart else parent), root

    def keep_apart(self, draft: Draft, target: str) -> bool:
        """Put the drafts for a directory into it from now on; return False if this one was there already."""
        parent = os.path.dirname(target)
        if os.path.dirname(draft.path) == parent:
            return False
        self._apart.add(parent)
        return True
