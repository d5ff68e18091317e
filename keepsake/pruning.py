"""What `keepsake prune` would delete: the files of checkpoints that a policy does not keep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keepsake.archive import owner_id
from keepsake.checkpoint import Checkpoint
from keepsake.experiment import Experiment
from keepsake.repository.finding import find_experiment
from keepsake.repository.keys import ARCHIVES, archive_id_of
from keepsake.repository.pruning import let_go, parse_keep

if TYPE_CHECKING:
    from keepsake.project import Project


@dataclass
class Pruned:
    """The checkpoints of one experiment whose files go, and what that frees.

    Attributes:
        experiment: the experiment.
        checkpoints: its checkpoints whose files go, oldest first.
        size: bytes of these files.
        kept: the number of its checkpoints whose files stay.
    """

    experiment: Experiment
    checkpoints: list[Checkpoint]
    size: int
    kept: int


@dataclass
class Pruning:
    """What is deleted by `prune`.

    Attributes:
        experiments: the experiments of which something is deleted, oldest first.
        running: the experiments that stay as they are because they are running.
    """

    experiments: list[Pruned] = field(default_factory=list)
    running: list[Experiment] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all files that go."""
        return sum(each.size for each in self.experiments)


def plan_pruning(project: Project, keep: str, ids: Iterable[str] = ()) -> Pruning:
    """Return what goes. `Project.prune` explains the arguments."""
    policy = parse_keep(keep)
    view = project.workplace.view
    named = [Experiment.from_record(project, find_experiment(view, id)) for id in ids]
    experiments = list(dict.fromkeys(named)) or project.experiments.list()
    running = {id for id, is_fresh in view.heartbeats().items() if is_fresh}
    sizes = {archive_id_of(info.key): info.size for info in view.repository.storage.list(ARCHIVES[1])}
    safe = set(sizes)
    safe |= {owner_id(pack) for entry in view.entries().values() for pack in entry.packs()}
    pruning = Pruning()
    for experiment in experiments:
        gone = {checkpoint["id"] for checkpoint in let_go(experiment.to_json(), policy, safe)}
        if not gone:
            continue
        if experiment.id in running:
            pruning.running.append(experiment)
            continue
        checkpoints = [checkpoint for checkpoint in experiment.checkpoints if checkpoint.id in gone]
        size = sum(sizes.get(id, 0) for id in gone)
        kept = sum(1 for checkpoint in experiment.checkpoints if checkpoint.id in safe) - len(gone)
        pruning.experiments.append(Pruned(experiment, checkpoints, size, kept))
    return pruning
