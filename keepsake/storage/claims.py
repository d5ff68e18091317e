"""Who may write the next version of an object on a disk.

A writer that replaces a certain version of an object first claims that version, under a name made of both, which only
one can have. A claim says which file is to become the next version. So whoever finds a claim that stays finishes the
work: it moves that file into place. A file can be moved only once, and its name is never used again. So a writer that
was stopped at any moment, however long, finds its file gone and harms nobody.

A claim whose file is gone while the object is still that version is void: its writer gave up. Then the next number
counts. Claims are removed once the object has another version, because no version comes back.

A claim is a symbolic link that leads nowhere anybody looks: it is made with its content at once, which lasts on every
network file system. Where there are no such links, it is a file, empty for the moment until it is written. One that
stays empty is void. No clock of another machine matters, and no lock of the operating system's.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from keepsake.storage.base import TEMPORARY
from keepsake.storage.reading import WINDOWS
from keepsake.storage.writing import CREATE, replace, write_all

PATIENCE = 2.0  # seconds that a claim is left to its writer, which needs some milliseconds
_POLL = 0.01  # seconds
_VOID = ""  # what a claim is for that was left empty
_LATE = "/"  # what one is for that was empty for so long that others may have passed it over
_VERSION = re.compile(r"[0-9a-f-]+")
_TAKEN = (FileExistsError, PermissionError) if WINDOWS else FileExistsError


class Wanted(NamedTuple):
    """The version of an object that is to be replaced; None stands for an object that does not exist."""

    root: str  # of the repository
    key: str
    version: str | None

    def claim(self, number: int) -> str:
        """Return the path of a claim."""
        name = self.key.encode()
        checksums = f"{zlib.crc32(name):08x}{zlib.adler32(name):08x}"
        return f"{self.root}/.{checksums}-{self.version or 'new'}.{number}{TEMPORARY}"

    def finish(self, file: str) -> None:
        """Publish what somebody else began to, or see to it that it never will be."""
        directory, _, name = file.rpartition("/")
        if not name.endswith(TEMPORARY) or directory not in ("", self.key.rpartition("/")[0]):
            return  # whoever may write there could have made the claim
        try:
            replace(f"{self.root}/{file}", f"{self.root}/{self.key}")
        except FileNotFoundError:
            pass  # it is done, or given up
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(f"{self.root}/{file}")


def claim(wanted: Wanted, temporary: str, is_current: Callable[[], bool]) -> tuple[bool, list[str]]:
    """Try to claim a version for a file; return whether it may be published, and the claims up to ours.

    It may not if the object is another version now, or if claiming took so long that others may have passed the claim
    over. Whoever has claimed the version before has some time to finish, and is helped after that.
    """
    claims: list[str] = []
    if wanted.version is not None and not _VERSION.fullmatch(wanted.version):
        return False, claims
    own, since = temporary[len(wanted.root) + 1 :], time.monotonic()
    while True:
        path = wanted.claim(len(claims))
        file = _make(path, own)
        if file in (own, _LATE):
            return file == own, [*claims, path]
        if not is_current():
            return False, claims
        is_void = file == _VOID
        if file and (time.monotonic() - since > PATIENCE or not os.path.lexists(f"{wanted.root}/{file}")):
            wanted.finish(file)
            if not is_current():
                return False, claims
            is_void = True
        if is_void:
            claims.append(path)
            since = time.monotonic()
        else:
            time.sleep(_POLL)


def _make(claim: str, file: str) -> str | None:
    """Claim a version for `file`, and return the file that it is claimed for now. None: it is to be tried again."""
    begun = time.monotonic()
    try:
        os.symlink(file, claim)
        return file
    except FileExistsError:
        return _read(claim)
    except (OSError, NotImplementedError):
        pass  # no such links here
    try:
        fd = os.open(claim, CREATE, 0o666)
    except _TAKEN:
        return _read(claim)
    try:
        write_all(fd, file.encode())
    finally:
        os.close(fd)
    return file if time.monotonic() - begun < PATIENCE / 2 else _LATE


def _read(claim: str) -> str | None:
    """Return the file that a claim is for. None: the claim was removed meanwhile."""
    try:
        return os.readlink(claim)
    except FileNotFoundError:
        return None
    except OSError:
        pass  # a file
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            content = Path(claim).read_text("utf-8", "replace")
        except FileNotFoundError:
            return None
        if content.endswith(TEMPORARY):
            return content
        if time.monotonic() > deadline:
            return _VOID
        time.sleep(_POLL)
