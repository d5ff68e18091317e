"""A run that a source holds, before it is read."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from keepsake.importing.files import walk
from keepsake.importing.runs import ForeignRun

SETTLED = 3.0  # seconds; a file may be written twice within one tick of the clock that stamps it


class Found(NamedTuple):
    """A run that a source holds, before it is read.

    Attributes:
        place: its file or folder, for messages.
        read: reads it. Returns None if its tool recorded nothing in it. Raises KeepsakeError, OSError.
        parts: the files and folders that it is read from, including those that may be missing.
        about: what else identifies it, such as its key in a database.
    """

    place: Path
    read: Callable[[], ForeignRun | None]
    parts: Sequence[str | Path]
    about: str = ""


def fingerprint_of(parts: Sequence[str | Path], about: str = "") -> str | None:
    """Return a text that changes whenever one of these files is written, added or removed.

    It is made from their names, sizes and times. None: one was written a moment ago, so times cannot tell.
    """
    seen = [about]
    newest = 0.0
    for part in parts:
        for name, status in _statuses(os.fspath(part)):
            seen.append(f"{name}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}")
            newest = max(newest, status.st_mtime, status.st_ctime)
    if newest > time.time() - SETTLED:
        return None
    return hashlib.sha256("\0\0".join(seen).encode("utf-8", "surrogateescape")).hexdigest()


def _statuses(part: str) -> list[tuple[str, os.stat_result]]:
    try:
        status = os.lstat(part)
    except FileNotFoundError:
        return []
    if os.path.isdir(part) and not os.path.islink(part):
        return [(entry.path, entry.stat(follow_symlinks=False)) for _, entry in walk(part)]
    return [(part, status)]
