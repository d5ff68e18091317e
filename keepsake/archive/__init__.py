"""The files of a snapshot in one .tar.gz that can be read in part.

A snapshot waits in the spool as a pack of raw copies or as the finished archive. The suffix tells them apart. The
archive is made from the pack in the background.
"""

from __future__ import annotations

from pathlib import Path

PACK, ARCHIVE = SUFFIXES = (".pack", ".tar.gz")


def owner_id(file: Path) -> str:
    """Return the ID of the experiment or checkpoint that a frozen file belongs to."""
    return file.name.partition(".")[0]
