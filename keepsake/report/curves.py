"""The curves in a page: each metric of each run over its steps and times, reduced where there is much of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from keepsake.metadata import Record, time_seconds
from keepsake.report.payload import (
    MAX_EXACT,
    Pool,
    encode_floats,
    encode_integers,
    pack,
    reduce_positions,
    reduce_values,
    time_knots,
)
from keepsake.util.values import decode

_MOST_CHARACTERS = 1_250_000  # of all curves in a page, which stays under 2 MB with code and 1,000 runs
_WORST = 4  # characters of a value that does not shrink
_SAMPLE = 16  # runs that tell how well values shrink
_LEVELS = (1000, 500, 300, 200, 100)  # points of a curve that are tried
_MOST_TIMES = 30  # of a run that are read
_TIME_ERROR = 0.001  # of a run's duration


@dataclass
class Curves:
    """The curves of some runs.

    Attributes:
        index: metric → for each curve the run's number, and the numbers of its steps and times in the pools.
        steps, times: the pools, as encode_integers and time_knots return them.
        data: all values.
        points: the most points that a curve has; None if no curve is reduced.
        without: how many runs have no curves because there are too many runs.
    """

    index: dict[str, list[tuple[int, int, int]]]
    steps: list[Any]
    times: list[Any]
    data: bytes
    points: int | None
    without: int

    def to_json(self) -> dict[str, Any]:
        """Return all but the data."""
        return {
            "index": self.index,
            "steps": self.steps,
            "times": self.times,
            "points": self.points,
            "without": self.without,
        }


@dataclass
class _Run:
    """The checkpoints of a run, and of each metric the positions and values of those that have a number for it."""

    number: int
    created: float
    records: Sequence[Record]
    metrics: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)

    def size(self, points: int | None) -> int:
        """Return the number of values if curves are reduced to `points`; None: not reduced."""
        return sum(min(len(values), points or len(values)) for _, values in self.metrics.values())

    def reduced(self, name: str, points: int | None) -> tuple[list[int], list[float]]:
        """Return the positions and values of a metric, at most `points` of them; None: all."""
        positions, values = self.metrics[name]
        if points is None or len(values) <= points:
            return positions, values
        return [positions[place] for place in reduce_positions(len(values), points)], reduce_values(values, points)


def collect_curves(
    runs: Sequence[tuple[float, Sequence[Record]]],
    names: Collection[str] | None,
    points: int | None,
    advance: Callable[[int], object],
) -> Curves:
    """Return the curves of runs.

    Args:
        runs: of each, the time of its beginning and its checkpoints. If there are too many, the first ones are kept.
        names: the metrics; None: all.
        points: the most points of a curve; None: as many as keep the page small.
        advance: called with 1 for each run.
    """
    collected = []
    for number, (created, records) in enumerate(runs):
        collected.append(_Run(number, created, records, _metrics(records, names)))
        advance(1)
    if points is None:
        points = _choose(collected)
    cost = _cost(collected, points)
    kept: list[_Run] = []
    total = 0.0
    for run in collected:
        total += run.size(points) * cost
        if total <= _MOST_CHARACTERS or not kept:
            kept.append(run)
    return _encode(kept, points, len(collected) - len(kept))


def _metrics(records: Sequence[Record], names: Collection[str] | None) -> dict[str, tuple[list[int], list[float]]]:
    found: dict[str, tuple[list[int], list[float]]] = {}
    columns = list(_columns([record.get("metrics") or {} for record in records]))
    for name, values in columns:
        types = set(map(type, values))
        if dict in types:  # the values in a dict have their paths as names, such as `acc.top1`
            inner = _columns([value if type(value) is dict else {} for value in values])
            columns += [(f"{name}.{path}", values) for path, values in inner]
        if names is not None and name not in names:
            continue
        numbers = values if types == {float} else _numbers(values, types)
        positions = list(range(len(numbers)))
        if types != {float}:  # an integer may be too large for a float
            positions = [position for position in positions if numbers[position] is not None]
            numbers = [numbers[position] for position in positions]
        if positions:
            found.setdefault(name, (positions, numbers))
    return found


def _columns(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield each name in some dicts, with its value in each of them."""
    names: dict[str, Any] = {}
    for row in rows:
        names.update(row)
    for name in names:
        try:
            values = [row[name] for row in rows]  # the usual case, twice as fast
        except KeyError:
            values = [row.get(name) for row in rows]
        yield name, values


def _numbers(values: list[Any], types: set[type]) -> list[Any]:
    if types <= {int, float}:
        with suppress(OverflowError):
            return list(map(float, values))
    return list(map(_number, values))


def _number(value: Any) -> float | None:
    value = decode(value)
    try:
        return float(value) if type(value) in (int, float) else None
    except OverflowError:  # an integer of more than 308 digits
        return None


def _choose(runs: Sequence[_Run]) -> int | None:
    """Return the most points that keep the page small; None if all can be kept."""
    for points in (None, *_LEVELS):
        if sum(run.size(points) for run in runs) * _cost(runs, points) <= _MOST_CHARACTERS:
            return points
    return _LEVELS[-1]


def _cost(runs: Sequence[_Run], points: int | None) -> float:
    """Return how many characters a value takes in the page, as a few runs tell: noise shrinks less than a trend."""
    if sum(run.size(points) for run in runs) * _WORST <= _MOST_CHARACTERS:
        return _WORST  # so few fit in any case
    sample = runs[:: -(-len(runs) // _SAMPLE)]
    values = [value for run in sample for name in run.metrics for value in run.reduced(name, points)[1]]
    return len(pack(encode_floats(values))) / max(len(values), 1)


def _encode(runs: Sequence[_Run], points: int | None, without: int) -> Curves:
    steps, times = Pool(), Pool()  # steps as they are, so that those which most runs share are encoded once
    index: dict[str, list[tuple[int, int, int]]] = {}
    data: list[float] = []
    is_reduced = False
    names = {name: None for run in runs for name in run.metrics}
    shared: dict[tuple[int, tuple[int, ...]], tuple[int, int]] = {}  # a run and positions → numbers in the pools
    for name in names:
        for run in runs:
            if name not in run.metrics:
                continue
            positions, values = run.reduced(name, points)
            is_reduced |= len(values) < len(run.metrics[name][1])
            key = (run.number, tuple(positions))
            if key not in shared:
                shared[key] = steps.number(_steps(run, positions)), times.number(_times(run, positions))
            index.setdefault(name, []).append((run.number, *shared[key]))
            data += values
    pools = list(map(encode_integers, steps.values())), times.values()
    return Curves(index, *pools, encode_floats(data), points if is_reduced else None, without)


def _steps(run: _Run, positions: Sequence[int]) -> tuple[int, ...]:
    steps = [run.records[position].get("step") or 0 for position in positions]
    if max(steps) > MAX_EXACT or min(steps) < -MAX_EXACT:
        steps = [max(-MAX_EXACT, min(step, MAX_EXACT)) for step in steps]
    return tuple(steps)


def _times(run: _Run, positions: Sequence[int]) -> tuple[float, ...]:
    """Return the times of checkpoints in seconds since the run began."""
    last = len(positions) - 1
    stride = -(-len(positions) // _MOST_TIMES)
    sampled = [*range(0, last, stride), last]
    seconds = [time_seconds(run.records[positions[place]]["created"]) - run.created for place in sampled]
    knots = time_knots(seconds, _TIME_ERROR * max(abs(second) for second in seconds))
    return tuple(sampled[int(n)] if at % 2 == 0 else n for at, n in enumerate(knots))
