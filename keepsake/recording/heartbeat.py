"""The heartbeat: it says every few seconds that an experiment is running, until the goodbye takes it away."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry

BEAT_SECONDS = 5.0


class Pulse:
    """The heartbeat of one experiment of this process.

    One thread calls `turn`, so a late beat is always over before the goodbye.

    Arguments:
        visible: whether the repository shows the heartbeat; if not, only those who share the spool see it.
    """

    def __init__(self, entry: Entry, repository: Repository, *, visible: bool) -> None:
        self._entry = entry
        self._repository = repository
        self._visible = visible
        self.is_leaving = False

    def leave(self) -> None:
        """Beat no more: the next turn says goodbye."""
        self.is_leaving = True

    def turn(self) -> bool:
        """Beat, or say goodbye; return whether there are more turns to come."""
        if not self.is_leaving:
            try:
                self._entry.touch()
            finally:  # a disk error of the spool must not make the run look lost
                if self._visible:
                    self._repository.require()
                    self._repository.heartbeats.beat(self._entry.id)
            return True
        if self._visible:
            self._repository.heartbeats.end(self._entry.id)
        return False
