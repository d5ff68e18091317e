"""What waits of one experiment: one entry, or several if the disk of the first one refused to take more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from keepsake.metadata import Record
from keepsake.spool import places
from keepsake.spool.entry import Entry
from keepsake.spool.folder import pending_in
from keepsake.spool.journal import Changes


class Waiting:
    """What waits of one experiment.

    Attributes:
        entries: its entries, one in each spool, at least one.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.id = entries[0].id

    @property
    def record(self) -> Record:
        """The experiment at its start."""
        return self.entries[0].record

    @property
    def in_repository(self) -> bool:
        """Whether the repository has the experiment's record."""
        return any(entry.in_repository for entry in self.entries)

    def pending(self) -> Changes:
        """Return the content of all journals, without taking them."""
        return pending_in(self.entries)

    def packs(self) -> list[Path]:
        """Return the frozen files that wait, including files that no checkpoint names yet."""
        return [pack for entry in self.entries for pack in entry.packs()]

    def frozen(self, archive_id: str) -> Path | None:
        """Return the frozen files of the experiment or checkpoint with that ID, if they wait here."""
        return next(filter(None, (entry.frozen(archive_id) for entry in self.entries)), None)

    def logs(self) -> list[Path]:
        """Return the files with what the run has printed, or is printing."""
        return [log for entry in self.entries for log in entry.logs(live=True)]

    def size(self) -> int:
        """Return the number of bytes in frozen files that wait, and in what was printed."""
        return sum(entry.size() for entry in self.entries)

    def has_files(self) -> bool:
        """Whether frozen files wait, or what was printed."""
        return any(entry.has_files() for entry in self.entries)

    def has_begun(self) -> bool:
        """Whether init() had frozen the files of the experiment before its process ended, as far as is known here."""
        return any(entry.has_begun() for entry in self.entries)

    def is_fresh(self) -> bool:
        """Whether a process seems to be recording this experiment. The answer only saves work."""
        return any(entry.is_fresh() for entry in self.entries)


def waiting_in(roots: Iterable[Path], url: str) -> dict[str, Waiting]:
    """Return what waits in spools for the repository at a URL, by the experiment's ID."""
    found: dict[str, list[Entry]] = {}
    for entry in (entry for root in roots for entry in places.entries(root)):
        if entry.repository == url:
            found.setdefault(entry.id, []).append(entry)
    return {id: Waiting(entries) for id, entries in found.items()}
