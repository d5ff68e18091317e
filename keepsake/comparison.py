"""Comparisons: what differs between two runs, or between more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from keepsake.checkpoint import Checkpoint
from keepsake.compare.runs import GROUPS, compare_runs
from keepsake.compare.values import NOT_SET, Differences
from keepsake.exceptions import KeepsakeError, ValidationError
from keepsake.experiment import Experiment
from keepsake.metadata import from_local_datetime
from keepsake.util.console import plural
from keepsake.util.ids import short_id
from keepsake.util.values import encode

if TYPE_CHECKING:
    from keepsake.compare.files import FileComparison, Tree

Side = tuple[Experiment, "Checkpoint | None"]


@dataclass(frozen=True, repr=False)
class Comparison:
    """The differences between two runs. Each is a name with the values of the left and the right run.

    Attributes:
        left, right: the experiments, each with its compared checkpoint, or None.
        experiment: differences in command, time, host, Python version and user.
        params, python_packages: differences of the experiments. What is nested has names such as `optimizer.lr`.
        checkpoint: differences in time, path and step of the checkpoints.
        metrics: differences of the checkpoints.
    """

    left: Side
    right: Side
    experiment: Differences
    params: Differences
    python_packages: Differences
    checkpoint: Differences
    metrics: Differences

    @cached_property
    def files(self) -> FileComparison:
        """The files that differ: those of the experiments, with those of the checkpoints in their place.

        They are read when this is first asked for. Raises DoesNotExist if the files of one are not in the repository.
        """
        from keepsake.compare.files import FileComparison

        left, right = _trees([self.left, self.right])
        one, other = (short_id((checkpoint or experiment).id) for experiment, checkpoint in (self.left, self.right))
        return FileComparison(left, right, (one, other) if one != other else ("a", "b"))

    def to_json(self) -> dict[str, Any]:
        """Return the differences as plain values: `{"params": {"lr": [0.1, 0.2]}, …}`; None stands for "not set".

        Files are not part of it. `files.to_json()` returns them.
        """
        return _groups_as_json(self)

    def __repr__(self) -> str:
        one, other = (short_id(experiment.id) for experiment, _ in (self.left, self.right))
        return f"<Comparison of {one} and {other}: {_counts(self)}>"

    def _repr_html_(self) -> str:
        from keepsake.display.notebook import comparison_html

        files = None
        with suppress(KeepsakeError):  # the rest is shown even if the files cannot be read
            files = self.files
        return comparison_html([self.left, self.right], {name: getattr(self, name) for name in GROUPS}, files)


@dataclass(frozen=True, repr=False)
class ComparisonTable:
    """All that differs between several runs. Each is a name with the value of every run, in their order.

    Attributes:
        sides: the experiments, each with its compared checkpoint, or None.
        experiment: differences in command, time, host, Python version and user.
        params, python_packages: differences of the experiments. What is nested has names such as `optimizer.lr`.
        checkpoint: differences in time, path and step of the checkpoints.
        metrics: differences of the checkpoints.
    """

    sides: list[Side]
    experiment: dict[str, tuple[Any, ...]]
    params: dict[str, tuple[Any, ...]]
    python_packages: dict[str, tuple[Any, ...]]
    checkpoint: dict[str, tuple[Any, ...]]
    metrics: dict[str, tuple[Any, ...]]

    @cached_property
    def files(self) -> dict[str, tuple[int | None, ...]]:
        """The paths of files that differ: for each run the number of its version, from 1 on; None if it has none.

        Runs whose content is the same have the same number. Raises DoesNotExist if files are not in the repository.
        """
        from keepsake.compare.files import versions

        return versions(_trees(self.sides))

    def to_json(self) -> dict[str, Any]:
        """Return the differences as plain values: `{"params": {"lr": [0.1, 0.2, 0.2]}, …}`; None means "not set"."""
        return _groups_as_json(self)

    def __repr__(self) -> str:
        return f"<Comparison of {len(self.sides)} runs: {_counts(self)}>"

    def _repr_html_(self) -> str:
        from keepsake.display.notebook import comparison_html

        return comparison_html(self.sides, {name: getattr(self, name) for name in GROUPS})


def compare(left: Experiment | Checkpoint, right: Experiment | Checkpoint) -> Comparison:
    """Compare two experiments or checkpoints. An experiment stands for its best (or else latest) checkpoint."""
    sides = side(left), side(right)
    groups = compare_runs(sides)
    pairs = [{name: (one, other) for name, (one, other) in groups[group].items()} for group in GROUPS]
    return Comparison(*sides, *pairs)


def compare_all(items: Iterable[Experiment | Checkpoint]) -> ComparisonTable:
    """Compare several experiments or checkpoints. An experiment stands for its best (or else latest) checkpoint."""
    sides = list(map(side, items))
    if len(sides) < 2:
        raise ValidationError(f"A comparison needs two or more experiments or checkpoints, not {len(sides)}.")
    return ComparisonTable(sides, **compare_runs(sides))


def side(item: Experiment | Checkpoint) -> Side:
    """Return an experiment with its best (or else latest) checkpoint, or a checkpoint with its experiment."""
    if isinstance(item, Checkpoint):
        return item.owner(), item
    return item, item.best() or item.latest()


def _trees(sides: Iterable[Side]) -> list[Tree]:
    """Return the files of each run. What two of them share is read once."""
    from keepsake.compare.files import TreeReader

    reader = TreeReader()
    return [
        reader.read(experiment.project.workplace.archives(experiment, checkpoint))
        if experiment.path or (checkpoint and checkpoint.path)
        else {}
        for experiment, checkpoint in sides
    ]


def _groups_as_json(comparison: Comparison | ComparisonTable) -> dict[str, Any]:
    groups: dict[str, Mapping[str, tuple[Any, ...]]] = {name: getattr(comparison, name) for name in GROUPS}
    return {
        group: {name: [_plain(value, name) for value in values] for name, values in found.items()}
        for group, found in groups.items()
    }


def _plain(value: Any, name: str) -> Any:
    if value is NOT_SET:
        return None
    return from_local_datetime(value) if isinstance(value, datetime) else encode(value, name)


def _counts(comparison: Comparison | ComparisonTable) -> str:
    """Return how many params, packages and metrics differ."""
    nouns = {"params": "param", "python_packages": "package", "metrics": "metric"}
    counts = {noun: len(getattr(comparison, group)) for group, noun in nouns.items()}
    parts = [plural(count, noun) for noun, count in counts.items() if count]
    return f"{', '.join(parts)} differ" if parts else "the same params, packages and metrics"
