"""The directories of a spool, made and removed, and the files in them that a crash left half made."""

from __future__ import annotations

import os
from pathlib import Path

from keepsake.util.errors import is_the_scripts, suppress
from keepsake.util.files import remove

UNFINISHED = ".*.tmp"  # the names of files that are being written
_HIDDEN = ".[0-9a-z]*"  # nothing needs files with these names, either, once their directory is no entry
_UNFINISHED_SECONDS = 3600.0  # such files that are older were left by a crash


def make_spool(root: Path) -> None:
    """Make a spool. Raises OSError.

    `.keepsake` is for the group of the project directory, because the repository may lie in it, too.
    """
    if root.parent.name == ".keepsake":
        from keepsake.storage.writing import make_directories

        make_directories(str(root.parent))
    root.mkdir(parents=True, exist_ok=True)


def remove_unfinished(directory: Path, names: str = _HIDDEN) -> None:
    """Remove hidden files of such names that a crash left half made, unless a process may still be writing them.

    Nobody was told that they are saved. A process that was stopped for so long writes its file again.
    """
    with suppress(OSError):
        if not (found := list(directory.glob(names))):
            return
        os.utime(directory)  # to the clock by which its files are stamped: this machine's own may be wrong
        now = directory.stat().st_mtime
        for path in found:
            with suppress(FileNotFoundError):  # it is finished now
                if now - path.stat().st_mtime > _UNFINISHED_SECONDS:
                    remove(path)


def prune(directory: Path) -> None:
    """Remove an entry's directory, the spool, and what holds only spools, each only if it is empty."""
    for path in (directory, directory.parent, directory.parent.parent):
        is_of_state = path.parent.name == "spool" and path.parents[1].name.startswith("keepsake")
        if path != directory and path.name not in ("spool", ".keepsake") and not is_of_state:
            break
        try:
            path.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if is_the_scripts(error):
                raise
            break  # it holds a new file, other entries, or a repository in .keepsake
