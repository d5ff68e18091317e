"""Copying the files of an experiment or checkpoint into the spool. The training waits for this."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError, WriteError
from keepsake.metadata import Record
from keepsake.recording import signals
from keepsake.recording.complaints import Complaints, Problem
from keepsake.recording.environment import warn_of_secret_files
from keepsake.recording.place import Place, is_full
from keepsake.util.turns import in_short_turns

if TYPE_CHECKING:
    from keepsake.archive.writer import Frozen
    from keepsake.spool.entry import Entry

_TRIES = 3


class Freezer:
    """Copies files of a run into the place where it keeps what it records.

    Args:
        place: that place.
        project: the project directory.
        complaints: told of files that may not be the ones that are meant.
    """

    def __init__(self, place: Place, project: Path, complaints: Complaints) -> None:
        self._place, self._project, self._complaints = place, project, complaints

    def freeze_if_possible(self, record: Record, problems: list[Problem]) -> Path | None:
        """Copy the files of a checkpoint into the spool; if that fails, add a problem and return None."""

        def freeze(entry: Entry) -> Path:
            entry.ensure()
            return self.freeze(entry, record).path

        try:
            return self._place.keep(freeze, unless=is_full)
        except KeepsakeError as error:
            signals.let_through(error)
            problems.append(Problem("its files", str(error)))
            if not isinstance(error, WriteError):  # the script made a mistake
                record["path"] = ""
        return None

    @in_short_turns
    def freeze(self, entry: Entry, record: Record) -> Frozen:
        """Copy the files of an experiment or checkpoint into an entry."""
        from keepsake.archive.pack import check_room
        from keepsake.archive.writer import freeze
        from keepsake.util.ignore import elsewhere

        check_room(entry.directory)
        for left in range(_TRIES, 0, -1):
            try:
                frozen = freeze(self._project, record["path"], entry.directory, record["id"])
                break
            except WriteError as error:
                if left == 1 or not isinstance(error.__cause__, FileNotFoundError):
                    raise
                entry.write_record()  # another process has just closed or discarded it
        warn_of_secret_files(file.name for file in frozen.entries)
        if os.path.normpath(record["path"]) != "." and (other := elsewhere(self._project, record["path"])):
            why = f"{record['path']!r} is taken from the project directory, {self._project}. {other}"
            self._complaints.add(Problem("", why, is_error=False))
        return frozen
