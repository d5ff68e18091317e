"""Runs that differ by their seed alone, and how much their metrics scatter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from keepsake.compare.values import Values, is_seed
from keepsake.util.values import comparable, value_key

R = TypeVar("R")


@dataclass(frozen=True)
class Spread:
    """Statistics of a metric's values in a group of runs.

    Attributes:
        mean, min, max: of the values that are numbers and not NaN.
        count: how many these are.
    """

    mean: float
    min: float
    max: float
    count: int


@dataclass(frozen=True)
class Group(Generic[R]):
    """Runs whose params are the same except for those that were left out, such as the seed.

    Attributes:
        params: what they have in common, name → value.
        runs: the runs, in the order in which they were given.
        metrics: name → how its values scatter; for each metric that is a number in one of the runs.
    """

    params: dict[str, Any]
    runs: list[R]
    metrics: dict[str, Spread]


def group_runs(
    runs: Iterable[R],
    params_of: Callable[[R], Values],
    metrics_of: Callable[[R], Values],
    apart_from: Collection[str] | None = None,
) -> list[Group[R]]:
    """Group runs by all their params but some.

    Args:
        runs: what to group. The groups are in the order of their first runs.
        params_of, metrics_of: return the params and the metrics of a run.
        apart_from: the names of the params, or of dicts of them, that may differ within a group; None: seeds.
    """
    groups: dict[frozenset[Any], tuple[Values, list[R]]] = {}
    for run in runs:
        params = {name: value for name, value in params_of(run).items() if not _is_left_out(name, apart_from)}
        key = frozenset((name, value_key(value)) for name, value in params.items())
        groups.setdefault(key, (params, []))[1].append(run)
    return [
        Group(dict(params), members, _spreads([metrics_of(run) for run in members]))
        for params, members in groups.values()
    ]


def _is_left_out(name: str, apart_from: Collection[str] | None) -> bool:
    if apart_from is None:
        return is_seed(name)
    return name in apart_from or any(name.startswith(f"{other}.") for other in apart_from)


def _spreads(many: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    from statistics import fmean

    values: dict[str, list[float]] = {}
    for metrics in many:
        for name, value in metrics.items():
            if comparable(value) and not isinstance(value, bool):
                values.setdefault(name, []).append(value)
    return {name: Spread(fmean(v), min(v), max(v), len(v)) for name, v in values.items()}
