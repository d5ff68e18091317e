"""Putting the files of archives into a directory: all or nothing, and what is overwritten can be brought back.

    DIRECTORY/.keepsake/checkout-…/     files on their way; gone in the end
                        undo/files/     what the last checkout overwrote
                        undo/added.json what it added: files with their size and time, and directories
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keepsake._archive import Archive, ArchiveEntry
from keepsake._console import Progress, warn
from keepsake.config import CONFIG_NAMES, load_config, redact_url
from keepsake.exceptions import DoesNotExist, KeepsakeError, ValidationError, WriteError

_STALE = 24 * 3600.0  # seconds after which files on their way were left by a crash
_RESERVED = (".keepsake", ".git")  # directories whose files could act by themselves; no snapshot holds them


@dataclass(frozen=True)
class Plan:
    """What a checkout would do to a directory; names are POSIX and relative to it."""

    directory: Path
    is_empty: bool  # whether the directory has nothing in it yet, or is not there
    new: list[str]
    changed: list[str]
    same: list[str]


@dataclass
class _File:
    archive: Archive
    entry: ArchiveEntry
    staged: Path | None = None  # where it is already unpacked


def checkout(
    archives: Iterable[Archive],
    directory: Path,
    path: str | None = None,
    *,
    confirm: Callable[[Plan], bool] = lambda plan: True,
) -> bool:
    """Put the files of `archives` into `directory`, those of later ones over those of earlier ones.

    Args:
        path: only this file or directory.
        confirm: asked before anything is changed. If it says no, the directory stays as it was, and False is returned.

    Files that are the same already are left alone. If it raises, everything is as before.
    Raises DoesNotExist if there is no such `path`, CorruptedArchive, and WriteError, e.g. for a full disk, or for a
    link that stands where a directory belongs: nothing is ever written through one.
    """
    archives = list(archives)
    wanted = _selection(path)
    directory = Path(os.path.abspath(directory))
    is_empty = not directory.is_dir() or not any(entry.name != ".keepsake" for entry in os.scandir(directory))
    with _workspace(directory) as workspace:
        files = _collect(archives, wanted, workspace)
        if not files:
            raise _missing(path, archives)
        plan = _compare(files, directory, is_empty)
        if not confirm(plan):
            return False
        put = {name: files[name] for name in (*plan.new, *plan.changed)}
        _stage(put, workspace)
        _warn_of_other_repository(put, directory)
        _apply(directory, workspace, {name: file.staged for name, file in put.items() if file.staged})
    return True


def undo(directory: Path) -> list[str]:
    """Bring back what the last checkout into `directory` overwrote, and return the names of those files.

    What it added goes, unless it was changed since. What this overwrites is kept in turn, so a second undo takes the
    first back. Raises DoesNotExist if there is nothing to bring back, WriteError as `checkout` does.
    """
    directory = Path(os.path.abspath(directory))
    kept = directory / ".keepsake" / "undo"
    if not kept.is_dir():
        raise DoesNotExist(f"There is nothing to undo: no checkout into {directory} has overwritten anything.")
    added = json.loads((kept / "added.json").read_text(encoding="utf-8"))
    names = sorted(file.relative_to(kept / "files").as_posix() for file in (kept / "files").rglob("*") if not _is_directory(file))
    remove = [name for name, stamp in added["files"].items() if _stamp(directory, name) == stamp]
    with _workspace(directory) as workspace:
        put = {name: workspace / "files" / name for name in names}
        for name in names:
            _link(kept / "files" / name, put[name])
        _apply(directory, workspace, put, remove)
        for name in reversed(added["directories"]):
            with suppress(OSError):  # something else is in it
                (directory / name).rmdir()
    return names
