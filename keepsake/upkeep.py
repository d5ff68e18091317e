"""The upkeep of a project's repository: space, unsent runs, copies, runs of other tools, repairs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from keepsake.metadata import Record
from keepsake.spool.places import Pending, pending
from keepsake.util.console import Progress

if TYPE_CHECKING:
    from keepsake.importing.importing import Imported
    from keepsake.project import Project, Target
    from keepsake.pruning import Pruning
    from keepsake.recording.recovery import Sent
    from keepsake.repository.copying import Copied
    from keepsake.repository.problems import Diagnosis
    from keepsake.repository.usage import DiskUsage
    from keepsake.workplace import Workplace


class Upkeep:
    """The part of a project that looks after its repository as a whole."""

    @property
    def workplace(self) -> Workplace:
        """The open directory and repository, for the package's own modules."""
        raise NotImplementedError

    def resolved(self, *, begin: bool = False) -> Project:
        """Return this project at its present place."""
        raise NotImplementedError

    def delete(self, targets: Iterable[Target]) -> None:
        """Delete experiments completely, and for checkpoints only their files."""
        raise NotImplementedError

    def _other(self, url: str) -> Upkeep:
        raise NotImplementedError

    # Space

    def plan_pruning(self, keep: str, ids: Iterable[str] = ()) -> Pruning:
        """Return what `prune` would delete. Nothing is deleted."""
        from keepsake.pruning import plan_pruning

        return plan_pruning(self.resolved(), keep, ids)

    def prune(self, keep: str, ids: Iterable[str] = ()) -> Pruning:
        """Delete the files of checkpoints that a policy does not keep, as `keepsake prune` does. Metrics stay.

        Args:
            keep: for each experiment, how many of the best checkpoints by the primary metric, and how many of the last
                ones keep their files: "best:3,last:1", "best:3" or "last:2".
            ids: IDs of experiments, or their first digits; none: all.

        Running experiments stay as they are: `init(keep=…)` is the policy of a running one. An experiment without a
        best checkpoint keeps all files if `keep` names no last ones. Returns what was deleted. Raises ValidationError
        if `keep` cannot be understood.
        """
        return self.carry_out(self.plan_pruning(keep, ids))

    def carry_out(self, plan: Pruning) -> Pruning:
        """Delete what `plan_pruning` returned, as far as the policy still lets it go, and return what was deleted."""
        from keepsake.pruning import carry_out

        return carry_out(self.resolved(), plan)

    def disk_usage(self) -> DiskUsage:
        """Return what takes the space of the repository, by experiment, as `keepsake du` does."""
        from keepsake.repository.usage import disk_usage

        return disk_usage(self.workplace.view)

    # Unsent runs

    def pending(self, *, of_others: bool = True) -> list[Pending]:
        """Return the unsent parts in this project's spools.

        Without `of_others`, parts that a running process handles are left out. Parts for a repository that was moved
        here are for this one.
        """
        found = [each for root in self.workplace.spools for each in pending(root, of_others=of_others)]
        if found:
            from keepsake.recording.recovery import follow

            for each in found:
                follow(each.entry, self.workplace.repository)
        return found

    def sync(self, *, force: bool = False) -> list[Sent]:
        """Send unsent runs on this machine to the repository, as `keepsake sync` does.

        Args:
            force: also send runs that began in another repository at the same URL, and create experiments again that
                are gone from the repository.

        Returns each experiment that waited, with its error or None.
        """
        from keepsake.recording.recovery import close_sent, send

        waiting = self.pending()
        with Progress("Sending", sum(each.size for each in waiting)) as progress:
            sent = [send(each, progress.advance, force=force) for each in waiting]
        for root in self.workplace.spools:
            close_sent(root, self.workplace.repository)
        return sent

    # Other repositories

    def push(self, url: str, ids: Iterable[str] = (), *, thorough: bool = False) -> Copied:
        """Copy experiments (none named: all) to another repository, as `keepsake push` does.

        Args:
            url: its URL. A relative one is relative to the project directory.
            ids: IDs of experiments, or other names that `find` knows.
            thorough: also read archives that the target has already, and repair damaged ones.
        """
        return self._copy(self, self._other(url), ids, thorough)

    def pull(self, url: str, ids: Iterable[str] = (), *, thorough: bool = False) -> Copied:
        """Copy experiments (none named: all) from another repository, as `keepsake pull` does. The same as `push`."""
        return self._copy(self._other(url), self, ids, thorough)

    @staticmethod
    def _copy(source: Upkeep, target: Upkeep, ids: Iterable[str], thorough: bool) -> Copied:
        from keepsake.repository.copying import copy_experiments
        from keepsake.repository.finding import find_experiment

        source.workplace.view.require()
        source.workplace.view.note()
        named: list[Record] = [find_experiment(source.workplace.view, id) for id in ids]
        return copy_experiments(source.workplace.view, target.workplace.view, named, thorough=thorough)

    def import_runs(
        self,
        source: str | os.PathLike[str],
        *,
        kind: str | None = None,
        files: bool = True,
        dry_run: bool = False,
        metric: str | None = None,
        goal: str = "minimize",
        again: bool = False,
    ) -> Imported:
        """Bring the runs of another tool into the repository, as `keepsake import` does.

        Args:
            source: a folder `mlruns`, a file `mlflow.db`, a folder with event files of TensorBoard, a file
                `run-….wandb` or a folder of them, or a database of trackio. It is only read.
            kind: "mlflow", "mlflow-db", "wandb", "trackio" or "tensorboard"; None: recognise it.
            files: import the files of runs too, as those of their last checkpoints.
            dry_run: only look.
            metric: the primary metric of the runs; None: they have none.
            goal: its goal, "minimize" or "maximize".
            again: also import runs that were removed from the repository.

        Importing again adds only what is new. Raises ReadError if there is nothing to import, ValidationError,
        WriteError.
        """
        from keepsake.importing.importing import Import
        from keepsake.importing.runs import check_goal

        named = check_goal(metric, goal)
        view = self.resolved(begin=True).workplace.view
        return Import(view, files=files, dry_run=dry_run, goal=named, again=again).run(Path(source), kind)

    def doctor(self, *, thorough: bool = False, fix: bool = False) -> Diagnosis:
        """Find problems in the repository, as `keepsake doctor` does.

        Args:
            thorough: also read every archive completely, and compare each file with its checksum.
            fix: repair the problems that can be repaired without loss.
        """
        from keepsake.repository.doctor import diagnose

        return diagnose(self.workplace.view, thorough=thorough, fix=fix)
