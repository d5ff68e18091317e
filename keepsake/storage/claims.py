"""Claims: the right to write the next version of an object on a disk.

A writer that replaces a certain version of an object first claims that version. The claim's name is made from the key
and the content, so only one writer can have it. Nothing else of a version is the same for all clients of a file server:
sshfs makes up file numbers, and tells times in seconds. The claim names the temporary file that will become the next
version. Another writer that finds an old claim finishes the work: it moves that file into place. A file can be moved
only once, and its name is never used again. A writer that was stopped, however long, finds its file gone and does no
harm.

A claim is void if its file is gone while the object still has that version: its writer gave up. The claim with the next
number counts then. Claims are removed once the object has another version.

A claim is a symbolic link: it gets its content at the moment it is made, on every network file system. Where symbolic
links are missing, or a mount follows each of them (sshfs with `follow_symlinks`), it is a file, and empty until it is
written. A claim that stays empty is void. The scheme depends neither on the clocks of other machines nor on locks of
the operating system.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from keepsake.storage.writing import CREATE, unlink, write_all
from keepsake.util.clock import monotonic
from keepsake.util.files import TEMPORARY, replace

PATIENCE = 2.0  # seconds that a writer has to finish; it needs some milliseconds
_POLL = 0.01  # seconds
_VOID = ""  # the file of a claim that stayed empty
_LATE = "/"  # the file of a claim that was empty so long that others may have skipped it
NEW = "new"  # the content of an object that does not exist

_has_links: dict[str, bool] = {}  # by root, whether a symbolic link can be made there and be read


def checksum(data: bytes) -> str:
    """Return what stands for these bytes in the name of a claim."""
    return f"{zlib.crc32(data):08x}{zlib.adler32(data):08x}"


class Wanted:
    """The version of an object to replace."""

    def __init__(self, root: str, key: str, content: str) -> None:
        self.root = root  # of the repository
        self.key = key
        self.content = content  # its checksum, or NEW

    def claim(self, number: int) -> str:
        """Return the path of the claim with that number."""
        return f"{self.root}/.{checksum(self.key.encode())}-{self.content}.{number}{TEMPORARY}"

    def finish(self, file: str) -> None:
        """Publish another writer's file, or make sure that it never will be published."""
        directory, _, name = file.rpartition("/")
        if not name.endswith(TEMPORARY) or directory not in ("", self.key.rpartition("/")[0]):
            return  # anybody with write access can forge a claim, so only temporary files are moved
        try:
            replace(f"{self.root}/{file}", f"{self.root}/{self.key}")
        except FileNotFoundError:
            pass  # its writer, or another helper, has finished or given up
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(f"{self.root}/{file}")


def claim(wanted: Wanted, temporary: str, is_current: Callable[[], bool]) -> tuple[bool, list[str]]:
    """Try to claim a version for a file; return whether the file may be published, and the claims up to this one.

    It may not if the object has another version now, or if claiming took so long that others may have skipped the
    claim. A writer with an earlier claim has some time to finish. After that this one finishes its work.
    """
    claims: list[str] = []
    own, since = temporary[len(wanted.root) + 1 :], monotonic()
    while True:
        path = wanted.claim(len(claims))
        is_late = monotonic() - since > PATIENCE
        file = _make(path, own, as_link=_can_link(wanted.root, own), is_late=is_late)
        if file in (own, _LATE):
            return file == own, [*claims, path]
        if not is_current():
            return False, claims
        is_void = file == _VOID
        if file and (is_late or not os.path.lexists(f"{wanted.root}/{file}")):
            wanted.finish(file)
            if not is_current():
                return False, claims
            is_void = True
        if is_void:
            claims.append(path)
            since = monotonic()
        else:
            time.sleep(_POLL)


def _can_link(root: str, file: str) -> bool:
    """Whether a claim on `file` can be a symbolic link.

    A mount that follows links makes one, reports an error and shows the file instead. So this is tried once, under a
    name that is no claim.
    """
    if root not in _has_links:
        trial = f"{root}/.{os.urandom(8).hex()}{TEMPORARY}"
        try:
            os.symlink(file, trial)
            _has_links[root] = os.readlink(trial) == file
        except (OSError, NotImplementedError):
            _has_links[root] = False
        unlink(trial)
    return _has_links[root]


def _make(claim: str, file: str, *, as_link: bool, is_late: bool) -> str | None:
    """Claim a version for `file`, and return the file that it is claimed for now. None: try again, unless it is late.

    A server of SFTP does not say that a name is taken, and the client then sees a PermissionError.
    """
    begun = monotonic()
    if as_link:
        try:
            os.symlink(file, claim)
            return file
        except FileExistsError:
            return _read(claim)
        except OSError:
            pass  # a file serves as well
    try:
        fd = os.open(claim, CREATE, 0o666)
    except (FileExistsError, PermissionError) as error:
        taken = _read(claim)
        if taken is None and is_late and isinstance(error, PermissionError):
            raise
        return taken
    try:
        write_all(fd, file.encode())
    finally:
        os.close(fd)
    return file if monotonic() - begun < PATIENCE / 2 else _LATE


def _read(claim: str) -> str | None:
    """Return the file that a claim names. None: the claim was removed meanwhile."""
    try:
        return os.readlink(claim)
    except FileNotFoundError:
        return None
    except OSError:
        pass  # the claim is a file
    deadline = monotonic() + PATIENCE
    while True:
        try:
            content = Path(claim).read_text("utf-8", "replace")
        except FileNotFoundError:
            return None
        if content.endswith(TEMPORARY):
            return content
        if monotonic() > deadline:
            return _VOID
        time.sleep(_POLL)
