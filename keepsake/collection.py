"""The experiments and the checkpoints of a project, and lists of experiments."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from keepsake.analysis import Analysis
from keepsake.checkpoint import Checkpoint, CheckpointList
from keepsake.exceptions import DoesNotExist, ValidationError
from keepsake.experiment import Experiment
from keepsake.metadata import Record, time_key
from keepsake.repository.finding import find_checkpoint, find_experiment
from keepsake.repository.view import SharedHeartbeats
from keepsake.util.console import warn
from keepsake.util.garbage import no_collection
from keepsake.util.ids import IdentifiedList

if TYPE_CHECKING:
    from keepsake.listing.filters import Query
    from keepsake.listing.summary import Summary
    from keepsake.project import Project
    from keepsake.recording.resume import Resume


class ExperimentList(Analysis, IdentifiedList[Experiment]):
    """Experiments, as `keepsake.experiments.list()` returns them. Slices and sums are ExperimentLists too."""

    kind = "experiment"

    def _experiments(self) -> ExperimentList:
        """Return the experiments."""
        return self

    def delete(self) -> None:
        """Delete these experiments, their checkpoints and all their files."""
        for project in {id(experiment.project): experiment.project for experiment in self}.values():
            project.delete([(experiment, None) for experiment in self if experiment.project is project])

    def _repr_html_(self) -> str:
        from keepsake.display.notebook import experiments_html

        return experiments_html(self)


class ExperimentCollection(Analysis):
    """The experiments of a project.

    It is read anew each time. What an ExperimentList can do, but for `delete`, it does with all experiments:
    `keepsake.experiments.plot("loss")`, `for experiment in keepsake.experiments: …`.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    def create(
        self,
        path: str | os.PathLike[str] | None = None,
        params: Mapping[str, Any] | None = None,
        quiet: bool = False,
        disable_heartbeat: bool = False,
        *,
        name: str | None = None,
        tags: str | Iterable[str] | None = None,
        notes: str | None = None,
        parent: str | Experiment | Checkpoint | None = None,
        resume: Resume = None,
        keep: str | None = None,
        capture_output: bool | None = None,
    ) -> Experiment:
        """Begin an experiment in this project, as `keepsake.init()` does, which explains the arguments.

        Raises:
            ValidationError, ConfigNotFound, RepositoryConfigurationError, ReadError, WriteError: the run cannot be
                recorded. It leaves nothing behind.
            DoesNotExist, AmbiguousID: `resume` is not the ID of an experiment.
        """
        from keepsake.beginning import begin
        from keepsake.recording.lineage import Labels

        labels = Labels(name, tags, notes, parent, keep)
        return begin(
            self._project,
            path,
            params,
            quiet=quiet,
            disable_heartbeat=disable_heartbeat,
            labels=labels,
            resume=resume,
            capture_output=capture_output,
        )

    @property
    def project(self) -> Project:
        """The project of these experiments."""
        return self._project

    def get(self, experiment_id_prefix: str) -> Experiment:
        """Return an experiment by its ID, by the beginning of its ID, or as `best`, `latest`, `-1`, `-2` ….

        `Project.find` explains these names. Raises DoesNotExist, AmbiguousID, and ValidationError if it is not a
        string.
        """
        name = _name(experiment_id_prefix)
        project = self._project.resolved()
        record = find_experiment(project.workplace.view, name)
        return Experiment.from_record(project, record)

    def list(
        self,
        filter: str | Callable[[Experiment], object] | None = None,
        *,
        sort: str | Sequence[str] | None = None,
    ) -> ExperimentList:
        """Return the experiments, oldest first.

        Args:
            filter: a text as in `keepsake ls --filter`, such as `"val_loss < 0.2 and optimizer = adam"`. Only the
                records of the experiments that match are read. Or a function that takes an Experiment and returns
                whether to include it. If it raises, the experiment is left out with a warning.
            sort: a name such as `"val_loss"`, or `"-val_loss"` for descending order; or several, the first of which
                counts most. Experiments without a value come last.

        Raises:
            InvalidFilter: the filter or a sort key cannot be parsed.
            UnknownName: no experiment has a name in the filter or in a sort key.
            ValidationError: the function fails on every experiment, or the filter is neither a text nor a function.
        """
        if not (filter is None or isinstance(filter, str) or callable(filter)):
            raise ValidationError(
                f"The filter {filter!r:.50} is of type {type(filter).__name__}. Give a text, such as 'val_loss < 0.2', "
                "or a function that takes an Experiment."
            )
        project = self._project.resolved()
        keys = [sort] if isinstance(sort, str) else sort or ()
        filters = [filter] if isinstance(filter, str) and filter else ()
        if filters or keys:
            from keepsake.listing.filters import Query

            experiments = _matching(project, Query(filters, keys))
        else:
            experiments = _read(project)
        return ExperimentList(_passing(filter, experiments) if callable(filter) else experiments)

    def children(self, ids: Container[str]) -> ExperimentList:
        """Return the experiments whose parent is one of these experiments or checkpoints, oldest first."""
        project = self._project.resolved()
        view = project.workplace.view
        return ExperimentList(Experiment.from_record(project, view.load(id)) for id in view.children(ids))

    def previous(self, experiment: Experiment) -> Experiment | None:
        """Return the experiment that was created before another; None if that is the first one."""
        ids = [summary.id for summary in self._project.workplace.view.summaries()]
        position = ids.index(experiment.id) if experiment.id in ids else 0
        return self.get(ids[position - 1]) if position else None

    def _experiments(self) -> ExperimentList:
        """Return all experiments, oldest first."""
        return self.list()

    def __repr__(self) -> str:
        return "<the experiments of a project, which list() reads>"

    def __iter__(self) -> Iterator[Experiment]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(_summaries(self._project.resolved()))

    @overload
    def __getitem__(self, index: SupportsIndex) -> Experiment: ...
    @overload
    def __getitem__(self, index: slice) -> ExperimentList: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Experiment | ExperimentList:
        return self.list()[index]

    def _repr_html_(self) -> str:
        return self.list()._repr_html_()


class CheckpointCollection:
    """The checkpoints of all experiments of a project.

    `keepsake.checkpoints.get("9f02c7d").open("model.pth")` reads the weights of one of them, wherever they are kept.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    @property
    def project(self) -> Project:
        """The project of these checkpoints."""
        return self._project

    def get(self, id: str) -> Checkpoint:
        """Return a checkpoint.

        Args:
            id: its ID or the first digits; `best`: the best checkpoint of the best experiment; `latest`: the one that
                was created last of all; `5ffb0f6:best`, `-1:latest` …: that of an experiment.

        Raises:
            DoesNotExist: no checkpoint has that name.
            AmbiguousID: several IDs begin so, or the experiments have different primary metrics, so none is the best.
            ValidationError: `id` is not a string.
        """
        name = _name(id)
        project = self._project.resolved()
        record, checkpoint = find_checkpoint(project.workplace.view, name)
        _, found = with_checkpoint(Experiment.from_record(project, record), checkpoint)
        assert found is not None  # noqa: S101 - find_checkpoint returns one
        return found

    def list(self) -> CheckpointList:
        """Return the checkpoints, experiment by experiment, the oldest experiment first."""
        return ExperimentCollection(self._project).checkpoints

    def to_columns(self) -> dict[str, builtins.list[Any]]:
        """Return a row for each checkpoint of the project, as `CheckpointList.to_columns` does."""
        return self.list().to_columns()

    def to_dataframe(self, backend: str = "pandas") -> Any:
        """Return `to_columns()` as a DataFrame of pandas, or of `backend="polars"`."""
        return self.list().to_dataframe(backend)

    def __repr__(self) -> str:
        return "<the checkpoints of a project, which list() reads>"

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self.list())

    def _repr_html_(self) -> str:
        return self.list()._repr_html_()


def with_checkpoint(experiment: Experiment, checkpoint: Record | None) -> tuple[Experiment, Checkpoint | None]:
    """Return an experiment, and the one of its checkpoints that has this record."""
    if checkpoint is None:
        return experiment, None
    return experiment, next(each for each in experiment.checkpoints if each.id == checkpoint["id"])


def _name(id: object) -> str:
    if isinstance(id, str):
        return id
    raise ValidationError(f"The ID {id!r:.50} is of type {type(id).__name__}. Give a string, such as '5ffb0f6'.")


def _summaries(project: Project, query: Query | None = None) -> list[Summary]:
    try:
        return project.workplace.view.summaries(query)
    except DoesNotExist as error:  # there is no repository yet, as in View.records
        warn(str(error))
        return []


def _matching(project: Project, query: Query) -> list[Experiment]:
    """Return the experiments that match, sorted."""
    ids = [summary.id for summary in query.sort(_summaries(project, query))]
    found = {experiment.id: experiment for experiment in _read(project, set(ids))}
    return [found[id] for id in ids if id in found]  # others may have been deleted meanwhile


def _read(project: Project, ids: Collection[str] | None = None) -> list[Experiment]:
    """Return all experiments, or these, oldest first."""
    with no_collection():
        view = project.workplace.view
        records = sorted(view.records(ids), key=lambda record: time_key(record["created"]))
        heartbeats = SharedHeartbeats(view)
        return [Experiment.from_record(project, record, heartbeats=heartbeats) for record in records]


def _passing(wanted: Callable[[Experiment], object], experiments: Sequence[Experiment]) -> list[Experiment]:
    """Return those for which the user's function returns something true, and warn about those on which it fails."""
    passed: list[Experiment] = []
    reasons: dict[Experiment, str] = {}
    for experiment in experiments:
        try:
            if wanted(experiment):
                passed.append(experiment)
        except Exception as error:  # noqa: BLE001 - the user's function
            reasons[experiment] = f"{type(error).__name__}: {str(error).rstrip('.')}"
    if reasons and len(reasons) == len(experiments):
        first, reason = next(iter(reasons.items()))
        raise ValidationError(
            f"The filter fails on every experiment. On {first.short_id()}: {reason}. Correct it, or give a text, "
            "such as 'val_loss < 0.2', which leaves out experiments without a val_loss."
        )
    for experiment, reason in reasons.items():
        warn(f"The filter failed on experiment {experiment.short_id()}, so it is left out: {reason}.")
    return passed
