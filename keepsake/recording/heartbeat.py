"""The heartbeat: it shows every few seconds that an experiment is running, and is removed at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry

BEAT_SECONDS = 5.0


class Pulse:
    """The heartbeat of one experiment of this process.

    Only one thread calls `turn`, so no late beat can follow the removal.

    Arguments:
        visible: whether the repository shows the heartbeat. If not, it is only visible in the spool.
    """

    def __init__(self, entry: Entry, repository: Repository, *, visible: bool) -> None:
        self._entry = entry
        self._repository = repository
        self.is_visible = visible
        self.is_leaving = False

    def leave(self) -> None:
        """Stop beating. The next turn removes the heartbeat."""
        self.is_leaving = True

    def turn(self) -> bool:
        """Beat, or remove the heartbeat; return whether more turns follow."""
        if not self.is_leaving:
            try:
                self._entry.touch()
            finally:  # a disk error of the spool must not make the run look lost
                if self.is_visible:
                    self._repository.require()
                    self._repository.expect_still(self._entry.identity)
                    self._repository.heartbeats.beat(self._entry.id)
            return True
        if self.is_visible:
            try:
                self._repository.heartbeats.end(self._entry.id)
            except KeepsakeError:  # these credentials may not delete, and the run must not seem to go on
                self._repository.heartbeats.leave(self._entry.id, 0.0)
                raise
        return False
