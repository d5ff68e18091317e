"""The temporary directory of an import. A killed import leaves its own, and the next import removes that."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keepsake.util.processes import has_ended, process_name

_PREFIX = "keepsake-import-"
_OWNER = "owner"  # a file with the name of the process


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Make a directory that is removed at the end of the block."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as temporary:
        directory = Path(temporary)
        (directory / _OWNER).write_text(process_name())
        yield directory


def remove_leftovers() -> None:
    """Remove the directories of imports whose processes have surely ended."""
    with suppress(OSError):
        for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with suppress(OSError, ValueError):
                if _is_own(directory) and has_ended((directory / _OWNER).read_text()):
                    shutil.rmtree(directory, ignore_errors=True)


def _is_own(directory: Path) -> bool:
    """Whether it is a directory of this user, and no link. Other users may write where temporary files are."""
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and (not hasattr(os, "geteuid") or status.st_uid == os.geteuid())
