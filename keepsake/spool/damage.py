"""What keeps an entry of the spool from being sent: a record that is damaged or missing, or a directory like that."""

from __future__ import annotations

import os
import time
from pathlib import Path

from keepsake.archive import SUFFIXES
from keepsake.spool.entry import FRESH_SECONDS, RECORDS, Entry, is_entry
from keepsake.spool.folder import LIVE, LOG
from keepsake.spool.journal import UNNAMED
from keepsake.util.directories import is_own
from keepsake.util.errors import suppress
from keepsake.util.files import open_at_once


def damage_of(directory: Path, entry: Entry | None) -> str:
    """Return why what waits in a directory cannot be sent, and what to do; "" if nothing is wrong."""
    place = directory
    try:
        os.scandir(place).close()
        if entry is None and os.path.lexists(place := directory / "record.json"):
            os.close(open_at_once(place))
    except (FileNotFoundError, NotADirectoryError):
        pass  # it is being closed
    except OSError as error:
        # The private directory of another user is as it should be.
        return "" if _is_foreign(directory) else about_unreadable(place, error)
    if entry is not None or not _is_damaged(directory):
        return ""
    return (
        f"What waits in {directory} is not sent, because record.json there is damaged or missing. Restore that file "
        "from a backup, or delete the directory to give the run up."
    )


def about_unreadable(directory: Path, error: OSError) -> str:
    """Return what to tell about a directory, or a file in one, that cannot be read."""
    return (
        f"{directory} cannot be read: {error.strerror}. Runs that wait there are neither shown nor sent. "
        "Check its permissions and its disk."
    )


def _is_foreign(directory: Path) -> bool:
    with suppress(OSError):
        return not is_own(directory.stat())
    return False


def _is_damaged(directory: Path) -> bool:
    """Whether something waits in a directory, and its record is damaged or has been missing for some time."""
    if is_entry(directory):
        return Entry.load(directory) is None and _has_record(directory)  # it may be closed just now
    suffixes = (".jsonl", *SUFFIXES, LOG, LIVE)
    try:
        found = list(os.scandir(directory))
        if any(entry.name in RECORDS for entry in found):
            return False  # it only seems to be missing, to a file system that caches names
        waiting = [entry for entry in found if entry.name.endswith(suffixes) and entry.name[0] != "."]
        times = [entry.stat().st_mtime for entry in waiting if UNNAMED not in entry.name]
    except OSError:
        return False  # it is being closed
    return bool(times) and all(abs(time.time() - modified) > FRESH_SECONDS for modified in times)


def _has_record(directory: Path) -> bool:
    """Whether a directory holds a record. It is opened, because a file system that caches names may show one longer."""
    for name in RECORDS:
        try:
            os.close(open_at_once(directory / name))
        except FileNotFoundError:
            continue
        except OSError:
            pass  # it is there, and cannot be opened
        return True
    return False
