"""The result of each experiment: a metric of its best checkpoint, or else the last recorded value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from keepsake.compare.importance import importances
from keepsake.display.curves import choose_metric, number
from keepsake.listing.subjects import MISSING, ValuePath, WholeExperiment, flatten, metric_of
from keepsake.metadata import pick_best

if TYPE_CHECKING:
    from keepsake.experiment import Experiment


class Result(NamedTuple):
    """An experiment and its value; NaN if it has none."""

    experiment: Experiment
    value: float


class Results(NamedTuple):
    """The results of several experiments, with the metric's name, and its goal if it is the primary metric."""

    metric: str
    goal: str | None
    each: list[Result]


def make_results(experiments: Sequence[Experiment], metric: str | None) -> Results:
    """Return a metric (default: the primary metric) of each experiment.

    Raises ValidationError for an unknown metric, and for values that are not numbers.
    """
    metric, goal = choose_metric([(each, each.checkpoint_records()) for each in experiments], metric)
    path, results = ValuePath(metric), []
    for experiment in experiments:
        value = metric_of(WholeExperiment(experiment), path)
        what = f"metric {metric!r} of {experiment.short_id()}"
        results.append(Result(experiment, number(None if value is MISSING else value, what)))
    return Results(metric, goal, results)


def best_of(results: Sequence[Result], goal: str | None) -> int | None:
    """Return the index of the best; None without a goal or a value."""
    values = [result.value for result in results]
    ties = pick_best(range(len(values)), values, maximize=goal == "maximize") if goal else []
    return ties[-1] if ties else None


def importances_of(results: Results) -> dict[str, float]:
    """Return name → importance for each param that differs, the greatest first."""
    rows = [flatten(result.experiment.params or {}) for result in results.each]
    return importances(rows, [result.value for result in results.each])
