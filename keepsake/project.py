"""Projects: a directory with code, and the repository for its experiments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from keepsake.config import REPOSITORY_VARIABLE
from keepsake.exceptions import ConfigNotFound, KeepsakeError, ValidationError
from keepsake.metadata import checkpoints_of
from keepsake.packages import note_modules_of_script
from keepsake.upkeep import Upkeep
from keepsake.util.console import Progress, say, warn
from keepsake.util.directories import absolute
from keepsake.util.ids import short_id
from keepsake.workplace import SavedFile, Workplace, about_pruned, open_workplace

if TYPE_CHECKING:
    from keepsake.checkpoint import Checkpoint
    from keepsake.collection import CheckpointCollection, ExperimentCollection
    from keepsake.comparison import ComparisonTable
    from keepsake.experiment import Experiment
    from keepsake.recording.preview import Preview
    from keepsake.recording.resume import Resume
    from keepsake.restoring.checkout import Plan
    from keepsake.restoring.rerun import Rerun
    from keepsake.restoring.undo import Undone

Target = tuple["Experiment", "Checkpoint | None"]  # an experiment, or one of its checkpoints


class ProjectSpec(NamedTuple):
    """The content of `repository.json`; a name of Keepsake 0.4.2."""

    version: int


class Project(Upkeep):
    """A project directory and its repository.

    Args:
        repository: its URL; None: KEEPSAKE_REPOSITORY, or else the URL in the project's keepsake.yaml.
        directory: the project directory; None: that of the nearest keepsake.yaml, or else of the nearest `.keepsake`
            with a repository, at or above the working directory, or else above the running script.
        debug: print a line for each checkpoint, and tracebacks of errors in checkpoint().

    The project is looked up when it is first needed. RepositoryConfigurationError is raised then if one of these is
    wrong, and ConfigNotFound if there is no project. The first experiment makes the working directory a project, whose
    experiments are kept in its `.keepsake`.
    """

    def __init__(
        self,
        repository: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        debug: bool = False,
    ) -> None:
        self.repository = repository
        self.directory = directory
        self.debug = debug
        self._opened: tuple[object, Workplace] | None = None

    @property
    def experiments(self) -> ExperimentCollection:
        """The experiments of this project."""
        from keepsake.collection import ExperimentCollection

        return ExperimentCollection(self)

    @property
    def checkpoints(self) -> CheckpointCollection:
        """The checkpoints of all experiments of this project."""
        from keepsake.collection import CheckpointCollection

        return CheckpointCollection(self)

    @property
    def repository_url(self) -> str:
        """The repository's URL, without secrets."""
        return self.workplace.repository.url

    @property
    def workplace(self) -> Workplace:
        """The open directory and repository, for the package's own modules.

        They are found again in a forked process or after a change of directory.
        """
        return self._open(begin=False)

    def _open(self, *, begin: bool) -> Workplace:
        state = self._state()
        note_modules_of_script()  # early, because opening imports packages that the script does not use
        if self._opened is None or self._opened[0] != state:
            directory = None if self.directory is None else absolute(os.path.expanduser(self.directory))
            self._opened = (state, open_workplace(self.repository, directory, begin=begin))
        return self._opened[1]

    def _state(self) -> tuple[object, ...]:
        """Return the values that decide where the project is, and whether its connections can be used."""
        place = None if self.directory else absolute()
        return os.getpid(), place, self.repository, self.directory, os.environ.get(REPOSITORY_VARIABLE)

    def resolved(self, *, begin: bool = False) -> Project:
        """Return this project at its present place. An experiment stays there even if the script changes directory.

        `begin`: if there is no project, make the working directory one.
        """
        workplace = self._open(begin=begin)
        project = Project(workplace.repository.url, workplace.directory, self.debug)
        project._opened = (project._state(), workplace)
        return project

    # Finding

    def find(self, id: str) -> Experiment | Checkpoint:
        """Return an experiment or checkpoint by its ID, or by another of its names.

        Args:
            id: the ID or its first digits; `latest`: the experiment that was created last; `-1`, `-2` …: the latest,
                the one before …; `best`: the experiment with the best value of the primary metric; `5ffb0f6:best`,
                `-1:latest` …: the best or latest checkpoint of an experiment.

        Raises:
            DoesNotExist: nothing has that name.
            AmbiguousID: several IDs begin so, or the experiments have different primary metrics, so none is the best.
        """
        experiment, checkpoint = self.target(id)
        return checkpoint or experiment

    def target(self, id: str) -> Target:
        """Return what `find` returns as a target: the experiment, and the checkpoint or None."""
        from keepsake.collection import with_checkpoint
        from keepsake.experiment import Experiment
        from keepsake.repository.finding import find

        record, checkpoint = find(self.workplace.view, id)
        return with_checkpoint(Experiment.from_record(self, record), checkpoint)

    def compare(self, ids: Iterable[str]) -> ComparisonTable:
        """Return all that differs between several experiments or checkpoints, as `keepsake diff` does.

        Args:
            ids: two or more of the names that `find` knows. An experiment stands for its best (or else latest)
                checkpoint.
        """
        from keepsake.comparison import compare_all

        return compare_all([self.find(id) for id in ids])

    # Files

    def checkout(
        self,
        target: Target,
        directory: str | os.PathLike[str] | None = None,
        path: str | None = None,
        *,
        confirm: Callable[[Plan], bool] = lambda plan: True,
    ) -> bool:
        """Put the files of an experiment, then of its checkpoint, into a directory.

        Args:
            target: the experiment, and its checkpoint or None.
            directory: None: the project directory.
            path: only this file or directory.
            confirm: called with the planned changes; returns whether to continue.

        Returns whether it was done. Overwritten files are kept for `undo_checkout`. The next run in the directory gets
        the checkpoint as its parent. A directory outside of the project becomes a copy of it: it uses this
        repository, and all of its runs get that parent.
        """
        from keepsake.restoring.checkout import checkout
        from keepsake.restoring.origins import Source

        experiment, checkpoint = target
        archives = self.workplace.archives(experiment, checkpoint)
        if pruned := about_pruned(checkpoint):
            warn(f"{pruned} Only those of its experiment are left.")
        where = self.workplace.directory if directory is None else Path(directory)
        source = Source(self.workplace.repository.storage, experiment.id, checkpoint.id if checkpoint else None)
        return checkout(archives, where, path, source=source, confirm=confirm)

    def files(self, target: Target) -> list[SavedFile]:
        """Return the files of an experiment, and those of its checkpoint in their place, by path.

        Only a table of contents of each is read. Raises DoesNotExist if they have no files.
        """
        return self.workplace.files(*target)

    def open(self, target: Target, path: str) -> BinaryIO:
        """Return one file of a checkpoint, or else of its experiment, as a seekable binary stream. Close it.

        Raises DoesNotExist if there is no such file. The text of the error suggests similar names.
        """
        return self.workplace.open_file(*target, path)

    def preview(self, path: str = ".") -> Preview:
        """Return what `init(path=path)` would save now, and what it would leave out, as `keepsake files` does.

        Args:
            path: a file or directory, relative to the project directory.
        """
        from keepsake.recording.preview import preview

        try:
            directory = self.workplace.directory
        except ConfigNotFound:
            directory = absolute()  # the first run makes it a project
        return preview(directory, path)

    # Running again

    def plan_rerun(
        self,
        target: Target,
        settings: Mapping[str, object] | None = None,
        arguments: Iterable[str] = (),
        python: str | None = None,
    ) -> Rerun:
        """Return how `rerun` would run an experiment again. Nothing is restored or run. It raises the same errors."""
        from keepsake.restoring.rerun import plan_rerun

        archives = self.workplace.archives(*target)
        files = {entry.name for archive in archives for entry in archive.entries()}
        return plan_rerun(target[0].to_json(), files, settings or {}, arguments, python)

    def rerun(
        self,
        target: Target,
        settings: Mapping[str, object] | None = None,
        arguments: Iterable[str] = (),
        python: str | None = None,
        directory: str | os.PathLike[str] | None = None,
    ) -> int:
        """Restore an experiment into a new directory, and run its command there again, as `keepsake rerun` does.

        Args:
            target: the experiment, and the checkpoint whose files it starts with, or None. It is the new run's parent.
            settings: options of the command, with their new values.
            arguments: further arguments, which are put at the end of the command.
            python: the interpreter; None: the present one.
            directory: a directory that is empty or does not exist; None: a new one among the temporary files. It stays.

        The command has the environment of this process, and records to this repository. Returns its exit status.
        Raises ValidationError if the command is not known in full, or has no option for a setting, and DoesNotExist if
        the experiment has no files.
        """
        import tempfile

        from keepsake.restoring.rerun import run

        plan = self.plan_rerun(target, settings, arguments, python)
        if directory is None:
            directory = tempfile.mkdtemp(prefix=f"keepsake-{target[0].short_id()}-")
        elif os.path.isdir(directory) and os.listdir(directory):
            raise ValidationError(f"{os.fspath(directory)} is not empty. Name another directory.")
        where = absolute(directory)
        self.checkout(target, where)
        say(f"Running in {where}: {plan.command}")
        return run(plan, where, self.repository_url)

    # Deleting

    def delete(self, targets: Iterable[Target]) -> None:
        """Delete experiments completely, and for checkpoints only their files."""
        from keepsake.pruning import delete_saved
        from keepsake.repository.deletion import delete_experiments

        targets = list(targets)
        experiments = {experiment.id: experiment for experiment, checkpoint in targets if checkpoint is None}
        records = [experiment.to_json() for experiment in experiments.values()]
        archives = sum(1 + len(checkpoints_of(record)) for record in records)
        with Progress("Deleting", archives, unit="objects") as progress:
            delete_experiments(self.workplace.view, records, progress.advance)
        checkpoints: dict[str, set[str]] = {}
        for experiment, checkpoint in targets:
            if checkpoint is not None and experiment.id not in experiments:
                checkpoints.setdefault(experiment.id, set()).add(checkpoint.id)
        delete_saved(self.workplace.view, checkpoints)

    # Other repositories

    def _other(self, url: str) -> Project:
        directory = self.workplace.directory if self.repository is None else absolute()
        other = Project(repository=url, directory=directory)
        if other.repository_url == self.repository_url:
            raise ValidationError(f"{url} is the project's own repository. Name another one.")
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def undo_checkout(directory: str | os.PathLike[str] = ".") -> Undone:
    """Take back the last checkout into a directory; return the names of the affected files."""
    from keepsake.restoring.undo import undo

    return undo(Path(directory))


default_project = Project()
_told_of_running = False  # the user was told once that an earlier experiment still runs


def init(
    path: str | os.PathLike[str] | None = None,
    params: Mapping[str, Any] | None = None,
    disable_heartbeat: bool = False,
    debug: bool = False,
    *,
    quiet: bool = False,
    name: str | None = None,
    tags: str | Iterable[str] | None = None,
    notes: str | None = None,
    parent: str | Experiment | Checkpoint | None = None,
    resume: Resume = None,
    keep: str | None = None,
    capture_output: bool | None = None,
) -> Experiment:
    """Begin an experiment in the current project, and save the files at `path` as they are now.

    In a job of many processes, the first one records. The others get an experiment with the same interface that records
    nothing.

    Args:
        path: a file or directory of the project, relative to the project directory or absolute; None: no files.
        params: hyperparameters: a dict, a dataclass or an argparse.Namespace.
        disable_heartbeat: never show it as running.
        debug: print a line for each checkpoint, and tracebacks of errors in checkpoint().
        quiet: print nothing unless there is a problem, not even at the end.
        name: what to call it, such as "wider layers".
        tags: words to find it by; a string or several.
        notes: what to remember about it, of any length.
        parent: the experiment or checkpoint that it continues or improves, or its ID. None: the one that the files
            of the project directory were checked out from.
        resume: the ID of an experiment to go on with, or "latest"; "auto": the unfinished experiment of this job, if
            there is one; False: none; None: "auto" if SLURM or torchrun has started the job again, or else none. Its
            files and params stay. Its steps that are recorded again are replaced.
        keep: how many checkpoints keep their files, such as "best:3,last:1". Those of the others are deleted in the
            background as soon as newer ones are safe. None: all, or what a resumed experiment had.
        capture_output: also keep what the process and its children print, for `keepsake logs`. It appears as before.
            None: if KEEPSAKE_CAPTURE_OUTPUT=1.

    What cannot be recorded of name, tags, notes and parent is left out with a warning.

    Raises:
        KeepsakeError: the run cannot be recorded. It leaves nothing behind.
    """
    from keepsake.beginning import begin
    from keepsake.recording import ending
    from keepsake.recording.lineage import Labels
    from keepsake.recording.signals import let_through

    global _told_of_running
    running = ending.unattended()
    if running and not _told_of_running:
        _told_of_running = True
        warn(
            f"Experiment {short_id(running[-1])} of this process was not stopped and continues beside the new one. "
            "Call its stop(), or begin each with `with keepsake.init(…) as experiment:`."
        )
    default_project.debug = debug
    try:
        return begin(
            default_project,
            path,
            params,
            quiet=quiet,
            disable_heartbeat=disable_heartbeat,
            labels=Labels(name, tags, notes, parent, keep),
            resume=resume,
            capture_output=capture_output,
        )
    except KeepsakeError as error:
        let_through(error)
        raise
