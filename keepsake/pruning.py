"""What `keepsake prune` deletes: the files of checkpoints that a policy does not keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keepsake.archive import owner_id
from keepsake.checkpoint import Checkpoint
from keepsake.experiment import Experiment
from keepsake.repository.finding import find_experiment
from keepsake.repository.keys import ARCHIVES, archive_id_of
from keepsake.repository.pruning import Keep, let_go, parse_keep
from keepsake.util.console import Progress

if TYPE_CHECKING:
    from keepsake.metadata import Record
    from keepsake.project import Project
    from keepsake.repository.view import View


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
        policy: what is kept.
        sizes: bytes of the files of each checkpoint, by ID.
        safe: the IDs of checkpoints whose files are in the repository or wait to be sent.
        experiments: the experiments of which something is deleted, oldest first.
        running: the experiments that stay as they are because they are running.
    """

    policy: Keep
    sizes: dict[str, int]
    safe: set[str]
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
    sizes = {archive_id_of(info.key): info.size for info in view.repository.storage.list(ARCHIVES[1])}
    safe = set(sizes)
    safe |= {owner_id(pack) for entry in view.entries().values() for pack in entry.packs()}
    gone = {experiment: {c["id"] for c in let_go(experiment.to_json(), policy, safe)} for experiment in experiments}
    return _pruning(view, Pruning(policy, sizes, safe), {experiment: ids for experiment, ids in gone.items() if ids})


def _pruning(view: View, pruning: Pruning, gone: Mapping[Experiment, set[str]]) -> Pruning:
    """Return what is deleted if these checkpoints lose their files."""
    running = {id for id, is_fresh in view.heartbeats().items() if is_fresh}
    for experiment, ids in gone.items():
        if experiment.id in running:
            pruning.running.append(experiment)
            continue
        checkpoints = [checkpoint for checkpoint in experiment.checkpoints if checkpoint.id in ids]
        size = sum(pruning.sizes.get(id, 0) for id in ids)
        kept = sum(1 for checkpoint in experiment.checkpoints if checkpoint.id in pruning.safe) - len(ids)
        pruning.experiments.append(Pruned(experiment, checkpoints, size, kept))
    return pruning


def carry_out(project: Project, plan: Pruning) -> Pruning:
    """Delete what a plan says, and return what was deleted.

    Others may have done something since it was made. So a run that goes on now is left alone, and the policy is applied
    to each record as it is now.
    """
    view = project.workplace.view
    planned = {each.experiment: {checkpoint.id for checkpoint in each.checkpoints} for each in plan.experiments}
    current = _pruning(view, Pruning(plan.policy, plan.sizes, plan.safe), planned)
    checkpoints = {each.experiment.id: planned[each.experiment] for each in current.experiments}
    may_go = lambda record: {c["id"] for c in let_go(record, plan.policy, plan.safe)}  # noqa: E731
    deleted = delete_saved(view, checkpoints, may_go)
    left = {each.experiment: planned[each.experiment] & deleted for each in current.experiments}
    done = Pruning(plan.policy, plan.sizes, plan.safe, running=[*plan.running, *current.running])
    return _pruning(view, done, {experiment: ids for experiment, ids in left.items() if ids})


def delete_saved(
    view: View, checkpoints: Mapping[str, set[str]], may_go: Callable[[Record], set[str]] | None = None
) -> set[str]:
    """Delete files of checkpoints, also where they wait to be sent, and return the IDs of these checkpoints.

    `delete_files` explains the arguments.
    """
    from keepsake.recording.mover import publish
    from keepsake.repository.deletion import delete_files

    for experiment_id, waiting in view.entries().items():
        for entry in waiting.entries if experiment_id in checkpoints else ():
            publish(entry, view.repository, others=True)
    with Progress("Deleting", sum(map(len, checkpoints.values())), unit="archives") as progress:
        return delete_files(view, checkpoints, progress.advance, may_go=may_go)
