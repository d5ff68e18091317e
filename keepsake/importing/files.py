"""Files and folders of a source, which a stranger may have made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from keepsake.exceptions import ReadError
from keepsake.importing.runs import ForeignRun

_SMALL = 16 << 20  # bytes; a param, a tag or a description is never larger


def read_small(path: str | Path) -> bytes:
    """Return the content of a small regular file. Raises ReadError, naming it, if it is anything else."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        raise ReadError(f"{path} is a link, and a link may lead anywhere. Replace it by what it leads to.")
    if not stat.S_ISREG(status.st_mode):
        raise ReadError(f"{path} is not a regular file. Remove it.")
    if status.st_size > _SMALL:
        raise ReadError(f"{path} has {status.st_size / 1e6:,.0f} MB. Such a file never has that much. Remove it.")
    with open(path, "rb") as file:
        return file.read()


def folders(path: str | Path) -> list[str]:
    """Return the paths of the folders in a folder, sorted, without links to others; empty if there is none."""
    try:
        with os.scandir(path) as found:
            return sorted(each.path for each in found if each.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def walk(folder: str | Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the name, with `/`, and the entry of everything below a folder that is not a folder itself."""
    try:
        with os.scandir(folder) as found:
            listed = sorted(found, key=lambda each: each.name)
    except FileNotFoundError:
        return
    for each in listed:
        if each.is_dir(follow_symlinks=False):
            yield from walk(each.path, f"{prefix}{each.name}/")
        else:
            yield f"{prefix}{each.name}", each


def add_files(run: ForeignRun, folder: str | Path) -> None:
    """Add the files below a folder to a run. Links are left out, because they may lead anywhere."""
    for name, entry in walk(folder):
        if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
            run.left_out["links and special files among the artifacts"] += 1
            run.warnings.append(f"{entry.path} is a link or a special file. It is left out.")
        else:
            run.files.append((name, Path(entry.path)))
