"""Checkpoints: the state of a run at one moment."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, TypedDict

from keepsake.checks import check_path, check_primary_metric, check_step
from keepsake.exceptions import DoesNotExist, KeepsakeError, ValidationError
from keepsake.metadata import (
    CHECKPOINT_FIELDS,
    Record,
    empty_value,
    from_local_datetime,
    local_datetime,
    pick_best,
    pick_latest,
    pruned_of,
)
from keepsake.util.console import say
from keepsake.util.ids import IdentifiedList, short_id
from keepsake.util.lazy import dataclass
from keepsake.util.values import decode, encode_mapping

if TYPE_CHECKING:
    from keepsake.collection import ExperimentList
    from keepsake.comparison import Comparison
    from keepsake.experiment import Experiment
    from keepsake.workplace import SavedFile


class PrimaryMetric(TypedDict):
    """The metric that decides which checkpoint is best."""

    name: str
    goal: str  # "maximize" or "minimize"


@dataclass(init=False, repr=False, eq=False)  # a dataclass as in 0.4.2, so dataclasses.asdict() works
class Checkpoint:
    """A checkpoint, as `experiment.checkpoint()` returns it and a repository holds it.

    Attributes:
        id: 64 hexadecimal digits.
        created: the time of creation, a naive local datetime.
        path: the saved file or directory, relative to the project directory; None if no files were saved.
        step: the iteration, such as an epoch's number.
        metrics: name → value.
        primary_metric: `{"name": …, "goal": "maximize" or "minimize"}`, or None.
        experiment: its experiment; None if it was built by hand.
    """

    id: str
    created: datetime
    path: str | None
    step: int | None
    metrics: dict[str, Any] | None
    primary_metric: PrimaryMetric | None

    def __init__(
        self,
        id: str,
        created: datetime,
        path: str | None = None,
        step: int | None = None,
        metrics: dict[str, Any] | None = None,
        primary_metric: PrimaryMetric | None = None,
    ) -> None:
        self.id = id
        self.created = created
        self.path = path
        self.step = step
        self.metrics = metrics
        self.primary_metric = primary_metric
        self.experiment: Experiment | None = None
        self._record: Record = {}  # as on disk, with times to the nanosecond and the original form of empty fields
        self._created_as_read: datetime | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checkpoint) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Checkpoint {self.short_id()}, step {self.step}, metrics {self.metrics}>"

    @classmethod
    def from_json(cls, data: Record, experiment: Experiment | None = None) -> Checkpoint:
        """Return the checkpoint of `experiment` that `to_json` describes. Times in it are UTC."""
        checkpoint = cls(
            id=data["id"],
            created=local_datetime(data["created"]),
            path=data.get("path") or None,
            step=data.get("step"),
            metrics=decode(data["metrics"]) if data.get("metrics") else None,
            primary_metric=data.get("primary_metric"),
        )
        checkpoint.experiment = experiment
        checkpoint._record, checkpoint._created_as_read = data, checkpoint.created
        return checkpoint

    def to_json(self) -> Record:
        """Return the checkpoint as on disk, with every field, and times in UTC."""
        return {
            **CHECKPOINT_FIELDS,
            "id": self.id,
            "created": self.created_text(),
            "metrics": encode_mapping(self.metrics, "metrics")
            if self.metrics
            else empty_value(self._record, "metrics"),
            "step": self.step or 0,
            "path": self.path or "",
            "primary_metric": self.primary_metric,
            **{name: value for name, value in self._record.items() if name not in CHECKPOINT_FIELDS},
        }

    @property
    def pruned(self) -> str | None:
        """The files that are gone, and since when, such as "model.pth, on 2026-11-26"; None if none were pruned."""
        found = pruned_of(self._record)
        return f"{found['path']}, on {local_datetime(found['time']).date()}" if found else None

    @property
    def pruned_path(self) -> str | None:
        """The path of the files that were pruned, such as "model.pth"; None if none were, or if it is everything."""
        found = pruned_of(self._record)
        path = posixpath.normpath(found["path"]) if found else "."
        return None if path == "." else path

    def created_text(self) -> str:
        """Return the time of creation as on disk: RFC 3339 in UTC, to the nanosecond."""
        if self.created == self._created_as_read:
            return str(self._record["created"])
        return from_local_datetime(self.created)

    def short_id(self) -> str:
        """Return the first 7 digits of the ID, enough to recognise it."""
        return short_id(self.id)

    def validate(self) -> list[str]:
        """Return the problems with this checkpoint, one text each; empty if there are none."""
        problems = [*check_path(self.path), *check_step(self.step)]
        if isinstance(self.path, str) and not os.path.exists(self.path):
            problems.append(f"There is no file or directory {self.path!r}.")
        try:
            metrics = encode_mapping(self.metrics or {}, "metrics")
        except ValidationError as error:
            return [*problems, str(error)]
        return problems + check_primary_metric(self.primary_metric, metrics)

    def checkout(self, output_directory: str | os.PathLike[str], quiet: bool = False) -> None:
        """Copy the files of this checkpoint and its experiment to a directory, which is created if needed.

        Existing files are overwritten. Their old content is kept for `keepsake checkout --undo`.
        Raises DoesNotExist if neither has files, ReadError if they cannot be read.
        """
        experiment = self.owner()
        experiment.project.checkout((experiment, self), output_directory)
        if not quiet:
            say(f"Copied the files of checkpoint {self.short_id()} to {os.fspath(output_directory)!r}.")

    def diff(self, other: Experiment | Checkpoint) -> Comparison:
        """Compare this checkpoint and its experiment with another one, or with an experiment's best (or else latest).

        `.files` of the result compares the files too.
        """
        from keepsake.comparison import compare

        return compare(self, other)

    def files(self) -> list[SavedFile]:
        """Return the files of this checkpoint's experiment, and those of this checkpoint in their place.

        Raises DoesNotExist if neither has files.
        """
        experiment = self.owner()
        return experiment.project.files((experiment, self))

    def open(self, path: str) -> BinaryIO:
        """Return a binary file object for one file of this checkpoint, or else of its experiment.

        It is seekable and does not hold the file in memory. Close it. Raises DoesNotExist.
        """
        experiment = self.owner()
        return experiment.project.workplace.open_file(experiment, self, path)

    def children(self) -> ExperimentList:
        """Return the experiments whose parent is this checkpoint, oldest first."""
        return self.owner().project.experiments.children({self.id})

    def owner(self) -> Experiment:
        """Return its experiment. Raises KeepsakeError for a checkpoint that was built by hand."""
        if self.experiment is None:
            raise KeepsakeError(
                f"Checkpoint {self.short_id()} has no experiment, because it was built by hand. Use one from a project."
            )
        return self.experiment

    def _repr_html_(self) -> str:
        from keepsake.display.notebook import checkpoint_html

        return checkpoint_html(self)

    def __getstate__(self) -> dict[str, Any]:
        owner = self.experiment and self.experiment.without_checkpoints()
        return {**self.__dict__, "experiment": owner}


class InertCheckpoint(Checkpoint):
    """A checkpoint of a process that does not record, because the first process of its job does. It has no files."""

    def checkout(self, output_directory: str | os.PathLike[str], quiet: bool = False) -> None:
        """Do nothing. The first process puts the files there."""

    def open(self, path: str) -> BinaryIO:
        """Raise DoesNotExist."""
        raise DoesNotExist(f"There is no file {path!r} here. The first process of this job records the checkpoint.")


class CheckpointList(IdentifiedList[Checkpoint]):
    """The checkpoints of an experiment. Slices and sums are CheckpointLists too."""

    kind = "checkpoint"

    @property
    def metrics(self) -> MetricLists:
        """`checkpoints.metrics["loss"]` is the list of that metric's values, with None where a checkpoint lacks it."""
        return MetricLists(self)

    @property
    def step(self) -> list[int | None]:
        """The checkpoints' steps."""
        return [checkpoint.step for checkpoint in self]

    def primary_metric(self) -> str | None:
        """Return the name of the primary metric of the first checkpoint that declares one."""
        primary = self.declared_metric()
        return primary["name"] if primary else None

    def best(self) -> Checkpoint | None:
        """Return the checkpoint with the best value of the primary metric; None if none qualifies."""
        primary = self.declared_metric()
        if primary is None:
            return None
        name = primary["name"]
        values = [(checkpoint.metrics or {}).get(name) for checkpoint in self]
        return CheckpointList(pick_best(self, values, maximize=primary.get("goal") == "maximize")).latest()

    def latest(self) -> Checkpoint | None:
        """Return the checkpoint that was created last; None if there is none."""
        return pick_latest(self, [checkpoint.created_text() for checkpoint in self])

    def plot(
        self,
        metric: str | Sequence[str] | None = None,
        logy: bool = False,
        plot_only: bool = False,
        *,
        logx: bool = False,
        x: str = "step",
        smoothing: float = 0.0,
    ) -> Any:
        """Plot metrics (default: the primary metric) over the steps with Matplotlib; return the axes.

        `ExperimentList.plot` describes the arguments. `plot_only` has no effect: scripts for Keepsake 0.4.2 may pass
        it.
        """
        from keepsake.display.figures import Look, plot

        return plot(
            [(self[0].experiment if self else None, [each.to_json() for each in self])],
            metric,
            Look(logx, logy, x, smoothing),
        )

    def to_columns(self) -> dict[str, list[Any]]:
        """Return a row for each checkpoint, as a dict of columns of equal length.

        The columns are `experiment` (an ID), `id`, `created`, `step`, `path`, and `metrics.NAME` for each metric.
        `ExperimentList.to_columns` says what is in them.
        """
        from keepsake.display.frames import checkpoint_columns

        return checkpoint_columns(self)

    def to_dataframe(self, backend: str = "pandas") -> Any:
        """Return `to_columns()` as a DataFrame of pandas, or of `backend="polars"`.

        Raises MissingExtra if that is not installed.
        """
        from keepsake.display.frames import to_frame

        return to_frame(self.to_columns(), backend)

    def _repr_html_(self) -> str:
        from keepsake.display.notebook import checkpoints_html

        return checkpoints_html(self)

    def declared_metric(self) -> PrimaryMetric | None:
        """Return the primary metric and goal of the first checkpoint that declares one; None if none does."""
        return next((c.primary_metric for c in self if c.primary_metric), None)


class MetricLists(dict[str, "list[Any]"]):
    """Metric name → its value in each checkpoint, or None. Raises KeyError for a name that no checkpoint has.

    Dots lead into dicts: `metrics["accuracy.top1"]`.
    """

    def __init__(self, checkpoints: Iterable[Checkpoint]) -> None:
        metrics = self._rows = [checkpoint.metrics or {} for checkpoint in checkpoints]
        names = {name: None for values in metrics for name in values}
        super().__init__({name: [values.get(name) for values in metrics] for name in names})

    def __missing__(self, name: str) -> list[Any]:
        from keepsake.listing.subjects import MISSING, ValuePath

        path = ValuePath(str(name))
        found = [path.find(values) for values in self._rows]
        if all(value is MISSING for value in found):
            raise KeyError(name)
        return [None if value is MISSING else value for value in found]


CheckpointListMetrics = MetricLists  # the name in Keepsake 0.4.2
