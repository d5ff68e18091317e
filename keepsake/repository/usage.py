"""What takes the space of a repository, by experiment."""

from __future__ import annotations

from dataclasses import dataclass, field

from keepsake.listing.index import Line
from keepsake.repository.keys import (
    ARCHIVES,
    EXPERIMENTS,
    HEARTBEATS,
    LOGS,
    ORPHANED,
    REMOVED,
    archive_id_of,
    id_of,
    log_owner,
)
from keepsake.repository.view import View


@dataclass
class Usage:
    """The space that one experiment takes, in bytes.

    Attributes:
        id: of the experiment.
        code: the archive of the files that init() saved.
        checkpoints: the archives of its checkpoints.
        archives: how many checkpoints have one.
        logs: what it has printed.
        record: its JSON, with all params and metrics.
        waiting: files that wait on this machine to be sent.
    """

    id: str
    code: int = 0
    checkpoints: int = 0
    archives: int = 0
    logs: int = 0
    record: int = 0
    waiting: int = 0

    @property
    def size(self) -> int:
        """All of it."""
        return self.code + self.checkpoints + self.logs + self.record + self.waiting


@dataclass
class DiskUsage:
    """The space that a repository takes, in bytes.

    Attributes:
        experiments: the experiments, largest first.
        other: archives that no experiment names, heartbeats, and notes of removals.
    """

    experiments: list[Usage] = field(default_factory=list)
    other: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.other + sum(each.size for each in self.experiments)


def disk_usage(view: View) -> DiskUsage:
    """Return the space that each experiment takes. Archives are only listed, not opened."""
    storage = view.repository.storage
    usages: dict[str, Usage] = {}
    owners: dict[str, str] = {}  # the beginning of a checkpoint's ID → the experiment
    for line in view.readable_lines():
        usages[line.id] = Usage(line.id)
        owners |= dict.fromkeys(line.checkpoint_ids.split(), line.id)
    total = DiskUsage()
    for prefix in (*ARCHIVES, EXPERIMENTS, HEARTBEATS, REMOVED, ORPHANED):
        for info in storage.list(prefix):
            archive_id = archive_id_of(info.key)
            (beginning,) = Line.beginnings([archive_id])
            owner = {EXPERIMENTS: id_of(info.key), ARCHIVES[0]: archive_id, ARCHIVES[1]: owners.get(beginning, "")}
            usage = usages.get(owner.get(prefix, log_owner(info.key)))
            if usage is None:
                total.other += info.size
            elif prefix == EXPERIMENTS:
                usage.record = info.size
            elif prefix == ARCHIVES[0]:
                usage.code = info.size
            elif prefix == LOGS:
                usage.logs += info.size
            else:
                usage.checkpoints += info.size
                usage.archives += 1
    for entry in view.entries().values():
        if entry.id in usages:
            usages[entry.id].waiting = entry.size()
    total.experiments = sorted(usages.values(), key=lambda usage: (-usage.size, usage.id))
    return total
