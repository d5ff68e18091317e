"""The output of a run: kept in its entry of the spool, and sent from time to time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError, Removed
from keepsake.recording import capture, switches
from keepsake.recording.job import HURRY_SECONDS
from keepsake.recording.mover import send_output
from keepsake.recording.saver import saver
from keepsake.util.errors import suppress
from keepsake.util.transcript import live_path

_END_SECONDS = 10.0  # a loaded machine may not even have started what keeps it

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry


class Output:
    """What a run prints from now on.

    Args:
        entry: its entry in the spool.
        repository: where it is sent.
        part: the name of what this process prints.
    """

    def __init__(self, entry: Entry, repository: Repository, part: str) -> None:
        self._entry = entry
        self._repository = repository
        self._path = entry.log(part)
        self._sent = 0.0  # when what was sent last was printed
        self._is_queued = False
        with suppress(OSError):
            open(live_path(str(self._path)), "ab").close()  # `keepsake logs -f` finds the file at once
        capture.begin(self._path, self._look)

    def end(self, *, hurry: bool) -> None:
        """Stop keeping it. With `hurry`, the program must end soon."""
        capture.end(self._path, HURRY_SECONDS if hurry else _END_SECONDS)

    def _look(self) -> None:
        """Have new output sent in the background."""
        if switches.is_offline() or self._entry.gone or self._is_queued:
            return
        with suppress(OSError):
            printed = os.stat(live_path(str(self._path))).st_mtime
            if printed != self._sent:
                self._sent, self._is_queued = printed, True
                saver().notify(self._entry, self._repository, task=self._send)

    def _send(self) -> None:
        """Send it. An error is ignored, because the end of the run sends it again and shows the error then."""
        self._is_queued = False
        try:
            send_output(self._entry, self._repository, live=True)
        except Removed:
            raise
        except KeepsakeError:
            self._sent = 0.0
