"""Files and folders of a source, which a stranger may have made."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from keepsake.exceptions import KeepsakeError, ReadError
from keepsake.importing.runs import ForeignRun
from keepsake.util.files import open_at_once

_SMALL = 16 << 20  # bytes; a param, a tag or a description is never larger
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has none


def open_file(path: str | Path) -> BinaryIO:
    """Open a regular file. Raises ReadError, naming it, for a link, a fifo, a device and a file that cannot be read."""
    descriptor, _ = _opened(path)
    return open(descriptor, "rb")


def read_small(path: str | Path) -> bytes:
    """Return the content of a small regular file. Raises ReadError, naming it, if it is anything else."""
    descriptor, size = _opened(path)
    with open(descriptor, "rb", buffering=0) as file:
        if size > _SMALL:
            raise ReadError(
                f"{path} is {size / 1e6:,.0f} MB large, too large for a file of this kind. Check where it comes from."
            )
        return file.readall()


def _opened(path: str | Path) -> tuple[int, int]:
    """Open a regular file; return its descriptor and its size."""
    try:
        if not _NO_LINK and os.path.islink(path):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        descriptor = open_at_once(path, _NO_LINK)
    except OSError as error:
        if os.path.islink(path):
            raise _link(path) from error
        raise unreadable(path, error) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ReadError(f"{path} is not a regular file. Remove it.")
    return descriptor, status.st_size


def _link(path: str | Path) -> ReadError:
    return ReadError(f"{path} is a link, and links are not followed. Replace it with a copy of the file or folder.")


def unreadable(path: str | Path, error: OSError) -> ReadError:
    """Return the error for a file or folder that the system does not let us read."""
    return ReadError(f"{error.filename or path} cannot be read: {error.strerror or error}. Check it.")


def folders(path: str | Path) -> list[str]:
    """Return the paths of the folders in a folder, sorted, without links to others; empty if there is none."""
    try:
        with os.scandir(path) as found:
            return sorted(each.path for each in found if each.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def walk(
    folder: str | Path, prefix: str = "", failed: list[KeepsakeError] | None = None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the name, with `/`, and the entry of everything below a folder that is not a folder itself.

    The errors of folders that cannot be read go to `failed`; without it, they are raised.
    """
    waiting = [(os.fspath(folder), prefix)]
    while waiting:
        path, prefix = waiting.pop()
        try:
            with os.scandir(path) as found:
                listed = sorted(found, key=lambda each: each.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if failed is None:
                raise
            failed.append(unreadable(path, error))
            continue
        below = []
        for each in listed:
            if each.is_dir(follow_symlinks=False):
                below.append((each.path, f"{prefix}{each.name}/"))
            else:
                yield f"{prefix}{each.name}", each
        waiting += reversed(below)


def walk_run(folder: str | Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield as `walk` does what is below a folder of a run. Raises ReadError if the folder is a link."""
    if os.path.islink(folder):
        raise _link(folder)
    return walk(folder)


def add_files(run: ForeignRun, folder: str | Path) -> None:
    """Add the files below a folder to a run. Links are left out, because they may lead anywhere."""
    for name, entry in walk_run(folder):
        if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
            run.left_out["links and special files among the artifacts"] += 1
            what = f"{entry.path} is a link or a special file."
            run.warnings.append(f"{what} It is left out. To import it, put a copy in its place.")
        elif not os.access(entry.path, os.R_OK):
            run.left_out["artifacts that cannot be read"] += 1
            run.warnings.append(f"{entry.path} cannot be read. It is left out. Check its permissions.")
        else:
            run.files.append((name, Path(entry.path)))
