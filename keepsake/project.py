"""Projects: a directory with code, and the repository its experiments are kept in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from keepsake.checkpoint import Checkpoint
from keepsake.config import Config, find_project
from keepsake.exceptions import (
    AmbiguousID,
    ConfigNotFound,
    DoesNotExist,
    FileDoesNotExist,
    KeepsakeError,
    ValidationError,
)
from keepsake.experiment import Experiment, ExperimentCollection
from keepsake.metadata import Record
from keepsake.recording.mover import try_to_finish
from keepsake.recording.recovery import Pending, pending
from keepsake.recording.spool import spool_roots
from keepsake.repository.repository import Repository, archive_key
from keepsake.storage import open_storage
from keepsake.util.console import Progress
from keepsake.util.directories import absolute
from keepsake.util.fork import importing

if TYPE_CHECKING:
    from keepsake.archive.reader import Archive
    from keepsake.listing.filters import Filter
    from keepsake.listing.index import Summary
    from keepsake.repository.copying import Copy
    from keepsake.repository.doctor import Examination
    from keepsake.restoring.checkout import Plan

T = TypeVar("T")


class Project:
    """A project directory and its repository.

    Args:
        repository: its URL; None: as the project's keepsake.yaml says.
        directory: the project directory; None: that of the nearest keepsake.yaml at or above the working directory,
            or else the working directory itself.
        debug: print tracebacks of what goes wrong in checkpoint().

    Nothing is looked up before it is needed. Then, ConfigNotFound is raised where there is neither a repository nor a
    keepsake.yaml, and RepositoryConfigurationError where one of them is wrong.
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
        self._opened: tuple[object, Path, Repository] | None = None

    @property
    def experiments(self) -> ExperimentCollection:
        """The experiments of this project."""
        return ExperimentCollection(self)

    @property
    def repository_url(self) -> str:
        """The repository's URL, without secrets."""
        return self._repository.url

    @property
    def _directory(self) -> Path:
        return self._open()[0]

    @property
    def _repository(self) -> Repository:
        return self._open()[1]

    def _open(self) -> tuple[Path, Repository]:
        """Find the project and its repository; again in a forked process, or where the working directory changed."""
        state = self._state()
        if self._opened is None or self._opened[0] != state:
            config = self._configure()
            # A relative URL is relative to the file it stands in, or else to where the person is
            base = config.directory if self.repository is None or self.directory else absolute()
            repository = self._open_repository(config.repository, base, spool_roots(config.directory))
            self._opened = (state, config.directory, repository)
        return self._opened[1:]

    def _state(self) -> tuple[object, ...]:
        """Return what decides where the project is, and whether its connections can be used."""
        return os.getpid(), None if self.directory else absolute(), self.repository, self.directory

    def _here(self) -> Project:
        """Return this project as it is found now, for an experiment that is to stay in it wherever a script goes."""
        directory, repository = self._open()
        project = Project(repository.url, directory, self.debug)
        project._opened = (project._state(), directory, repository)
        return project

    def _configure(self) -> Config:
        directory = None if self.directory is None else absolute(os.path.expanduser(self.directory))
        if self.repository is None:
            return find_project(directory)
        if directory is None:
            try:
                directory = find_project().directory
            except ConfigNotFound:
                directory = absolute()
        return Config(self.repository, directory)

    @staticmethod
    def _open_repository(url: str, base: Path | None = None, spools: Sequence[Path] = ()) -> Repository:
        with importing:  # of an SDK; recovery does it in the background
            return Repository(open_storage(url, base), spools)

    # Finding

    def _find(self, prefix: str) -> list[tuple[Record, Record | None]]:
        if not prefix:
            raise DoesNotExist("an empty ID fits everything: give at least its first digits")
        return self._repository.find(prefix)

    def _resolve(self, prefix: str) -> tuple[Experiment, Checkpoint | None]:
        """Return the experiment, or the checkpoint with its experiment, whose ID alone begins so."""
        record, checkpoint = self._only(self._find(prefix), prefix, "experiment or checkpoint")
        experiment = Experiment._from_record(self, record)
        if checkpoint is None:
            return experiment, None
        return experiment, next(c for c in experiment.checkpoints if c.id == checkpoint["id"])

    def _only(self, found: list[T], prefix: str, what: str) -> T:
        if not found:
            raise DoesNotExist(
                f"There is no {what} whose ID begins with {prefix!r} in {self.repository_url}; "
                "`keepsake ls` lists what is there"
            )
        if len(found) > 1:
            raise AmbiguousID(f"{prefix!r} is ambiguous: {len(found)} IDs begin so; give more digits")
        return found[0]

    def _summaries(self, filters: Iterable[Filter] = ()) -> list[Summary]:
        return self._repository.summaries([each.matches for each in filters])

    def _previous(self, experiment: Experiment) -> Experiment | None:
        """Return the experiment that was created before another."""
        ids = [summary.id for summary in self._summaries()]
        position = ids.index(experiment.id) if experiment.id in ids else 0
        return self.experiments.get(ids[position - 1]) if position else None

    # Files

    def _archives(self, experiment: Experiment, checkpoint: Checkpoint | None) -> list[Archive]:
        """Return the archives that hold the files of an experiment, then of its checkpoint."""
        from keepsake.archive.reader import Archive

        owners = [owner for owner in (experiment, checkpoint) if owner is not None and owner.path]
        if not owners:
            names = f"experiment {experiment.short_id()}"
            if checkpoint is not None:
                names = f"neither checkpoint {checkpoint.short_id()} nor its {names}"
            raise DoesNotExist(f"{names} {'has' if checkpoint else 'has no'} files: it was recorded without a path")
        repository, archives = self._repository, []
        for owner in owners:
            key = archive_key(experiment.id, owner.id)
            archive = Archive(repository.storage, key, repository.frozen(experiment.id, owner.id))
            try:
                _ = archive.has_table
            except DoesNotExist as error:
                raise DoesNotExist(_missing_files(experiment, owner)) from error
            archives.append(archive)
        return archives

    def _open_file(self, experiment: Experiment, checkpoint: Checkpoint, path: str) -> BinaryIO:
        for archive in reversed(self._archives(experiment, checkpoint)):
            try:
                return archive.open(path)
            except DoesNotExist:
                continue
        raise FileDoesNotExist(f"There is no file {path!r} in checkpoint {checkpoint.short_id()} or its experiment")

    def _checkout(
        self,
        experiment: Experiment,
        checkpoint: Checkpoint | None,
        directory: Path,
        path: str | None = None,
        *,
        confirm: Callable[[Plan], bool] = lambda plan: True,
    ) -> bool:
        """Put the files of an experiment, then of its checkpoint, into a directory; False if `confirm` says no."""
        from keepsake.restoring.checkout import checkout

        return checkout(self._archives(experiment, checkpoint), directory, path, confirm=confirm)

    # Deleting

    def _delete(self, targets: Iterable[tuple[Experiment, Checkpoint | None]]) -> None:
        """Delete experiments whole, and of checkpoints their files."""
        targets = list(targets)
        experiments = {experiment.id: experiment for experiment, checkpoint in targets if checkpoint is None}
        records = [experiment.to_json() for experiment in experiments.values()]
        archives = sum(1 + len(record["checkpoints"] or []) for record in records)
        with Progress("Deleting", archives, unit="objects") as progress:
            self._repository.delete(records, progress.advance)
        checkpoints: dict[str, set[str]] = {}
        for experiment, checkpoint in targets:
            if checkpoint is not None and experiment.id not in experiments:
                checkpoints.setdefault(experiment.id, set()).add(checkpoint.id)
        for experiment_id, checkpoint_ids in checkpoints.items():
            self._repository.delete_checkpoint_files(experiment_id, checkpoint_ids)

    # What is not in the repository yet

    def _pending(self, *, of_others: bool = True) -> list[Pending]:
        """Return what waits in this project's spool; without `of_others`, only what no running process has in hand."""
        roots = spool_roots(self._directory)
        return [each for root in roots for each in pending(root, of_others=of_others)]

    def _send(self, waiting: Pending, moved: Callable[[int], None]) -> KeepsakeError | None:
        """Bring what waits into its repository; return what went wrong."""
        return try_to_finish(waiting.entry, self._open_repository, moved)

    # Other repositories

    def _copy(self, url: str, prefixes: Iterable[str], *, pull: bool, thorough: bool = False) -> Copy:
        """Prepare to copy experiments (none named: all) to another repository; or, to pull, from it."""
        from keepsake.repository.copying import Copy, require_experiments

        directory = self._directory if self.repository is None else absolute()
        other = Project(repository=url, directory=directory)
        source, target = (other, self) if pull else (self, other)
        if source.repository_url == target.repository_url:
            raise ValidationError(f"{url} is the project's own repository: name another one")
        require_experiments(source._repository)
        records = [source.experiments.get(prefix)._record for prefix in prefixes]
        named = bool(records)
        records = records or list(source._repository.records())
        return Copy(source._repository, target._repository, records, named=named, thorough=thorough)

    def _examine(
        self, *, thorough: bool, fix: bool = False, advance: Callable[[int], None] = lambda count: None
    ) -> Examination:
        """Prepare to look for what is wrong in the repository; `thorough`: read every archive whole."""
        from keepsake.repository.doctor import Examination

        return Examination(self._repository, thorough=thorough, fix=fix, advance=advance)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def _missing_files(experiment: Experiment, owner: Experiment | Checkpoint) -> str:
    what = "experiment" if owner is experiment else "checkpoint"
    text = f"The files of {what} {owner.short_id()} ({owner.path}) are not in the repository"
    if experiment.status == "running":
        return f"{text} yet: the run on {experiment.host or 'another machine'} is still saving them. Try again later"
    return f"{text}: they never came, or were removed. If they wait where it ran, `keepsake sync` there sends them"


def undo_checkout(directory: Path) -> list[str]:
    """Bring back what the last checkout into a directory overwrote; return the names of those files."""
    from keepsake.restoring.checkout import undo

    return undo(directory)


default_project = Project()


def init(
    path: str | None = None,
    params: Mapping[str, Any] | None = None,
    disable_heartbeat: bool = False,
    debug: bool = False,
) -> Experiment:
    """Begin an experiment in the current project, and save the files at `path` as they are now.

    Args:
        path: a file or directory, relative to the project directory; None: no files.
        params: hyperparameters: a dict, a dataclass or an argparse.Namespace.
        disable_heartbeat: never show it as running.
        debug: print tracebacks of what goes wrong in checkpoint().

    Raises:
        KeepsakeError: a run that cannot be recorded says so at its start, and leaves nothing behind.
    """
    default_project.debug = debug
    return default_project.experiments.create(path=path, params=params, disable_heartbeat=disable_heartbeat)
