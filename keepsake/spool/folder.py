"""The folder of an entry: the files in it that wait to be sent."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keepsake.archive import SUFFIXES, owner_id
from keepsake.spool import journal
from keepsake.spool.journal import UNNAMED, Changes, Taken
from keepsake.util.errors import suppress
from keepsake.util.files import sync

LIVE, LOG = ".live", ".log"
_TRIES = 10


class File(NamedTuple):
    """A file of an entry at the time of a listing."""

    modified: int  # ns
    path: Path
    size: int  # bytes


class Folder:
    """The directory of an entry, and the files that wait in it. They may vanish at any time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.id = directory.name
        self._synced: set[File] = set()  # files that would survive a power cut

    def journals(self) -> list[Path]:
        """Return the journals of all processes, oldest first."""
        return [file.path for file in self._files(".jsonl")]

    def packs(self) -> list[Path]:
        """Return the frozen files that wait, oldest first, including files that no checkpoint names yet."""
        return [file.path for file in self._files(*SUFFIXES)]

    def frozen(self, archive_id: str) -> Path | None:
        """Return the frozen files of the experiment or checkpoint with that ID, if they wait here."""
        return next((path for path in self.packs() if owner_id(path) == archive_id), None)

    def pending(self) -> Changes:
        """Return the content of all journals, without taking them."""
        return pending_in([self])

    def take(self, *, others: bool) -> Taken:
        """Take this process's journals, and with `others` those of all processes, and read them."""
        return journal.take(self.journals(), others=others)

    def log(self, part: str) -> Path:
        """Return the path of a part of what the run prints, once it is finished."""
        return self.directory / f"{part}{LOG}"

    def logs(self, *, live: bool) -> list[Path]:
        """Return the files with what the run has printed, with `live` also those that are being written."""
        return [file.path for file in self._files(LOG, *([LIVE] if live else []))]

    def finish_logs(self) -> None:
        """Take what the run has printed for finished, because its process has ended."""
        for file in self._files(LIVE):
            with suppress(OSError):  # its own process has done it
                os.rename(file.path, file.path.with_suffix(LOG))

    def set_aside(self, pack: Path) -> None:
        """Mark frozen files that no checkpoint names. They are kept, because their process may still name them."""
        if UNNAMED not in pack.name:
            archive_id, _, suffix = pack.name.partition(".")
            with suppress(OSError):  # another recovery has done it
                os.rename(pack, pack.with_name(archive_id + UNNAMED + suffix))

    def unnamed(self) -> list[Path]:
        """Return the frozen files that were set aside."""
        return [pack for pack in self.packs() if UNNAMED in pack.name]

    def is_waiting(self) -> bool:
        """Whether there are lines, files or output that may not be in the repository yet."""
        return bool(self._files(".jsonl", *SUFFIXES, LOG, LIVE))

    def files_to_send(self, *, live: bool) -> list[File]:
        """Return the files that are to be sent, with `live` also the output that is being written."""
        suffixes = (*SUFFIXES, LOG, LIVE) if live else (*SUFFIXES, LOG)
        return [file for file in self._files(*suffixes) if UNNAMED not in file.path.name]

    def sync(self, *, packs: bool) -> None:
        """Make this process's journals survive a power cut; with `packs`, the frozen files too."""
        waiting = {file for file in self._files(".jsonl") if journal.is_own(file.path)}
        waiting |= {*self._files("record.json"), *(self._files(*SUFFIXES) if packs else [])}
        for file in waiting - self._synced:
            try:
                descriptor = os.open(file.path, os.O_RDWR)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EROFS):  # the disk has become read-only
                    continue
                raise
            try:
                sync(descriptor)
            finally:
                os.close(descriptor)
        self._synced = waiting

    def _files(self, *suffixes: str) -> list[File]:
        """Return the files with one of these suffixes, oldest first.

        A link or a pipe is none of them: it came from a stranger, and could lead anywhere, or never end.
        """
        found: list[File] = []
        for _ in range(_TRIES):
            entries = [entry for entry in self._listed() if entry.name.endswith(suffixes) and entry.name[0] != "."]
            statuses = [_status(entry) for entry in entries]
            found = [
                File(status.st_mtime_ns, Path(entry.path), status.st_size)
                for entry, status in zip(entries, statuses, strict=True)
                if status is not None and stat.S_ISREG(status.st_mode)
            ]
            if None not in statuses:
                break
        return sorted(found)

    def _listed(self) -> list[os.DirEntry[str]]:
        with suppress(FileNotFoundError), os.scandir(self.directory) as entries:
            return list(entries)
        return []


def pending_in(folders: Sequence[Folder]) -> Changes:
    """Return the content of all journals of an experiment, without taking them."""
    while True:
        # A journal that was taken meanwhile has another name, or its lines are in the repository.
        with suppress(FileNotFoundError):
            return journal.read([path for folder in folders for path in folder.journals()])


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return the status of a file; None if it is gone, or has another name, as a journal that was just taken."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
