"""The files of a snapshot in one .tar.gz that can be read in part.

A snapshot waits in the spool as one of two files, which their suffixes tell apart: a pack of raw copies, from which the
archive is made in the background, or the finished archive.
"""

from __future__ import annotations

from pathlib import Path

PACK, ARCHIVE = SUFFIXES = (".pack", ".tar.gz")


def owner_id(file: Path) -> str:
    """Return the ID of the experiment or checkpoint that a frozen file belongs to."""
    return file.name.partition(".")[0]


def find_frozen(directory: Path, archive_id: str) -> Path | None:
    """Return the file in `directory` that holds the frozen files of an experiment or checkpoint, if there is one."""
    paths = (directory / f"{archive_id}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.exists()), None)
