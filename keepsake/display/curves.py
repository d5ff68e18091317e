"""Metrics over steps or over time, as what figures and terminals draw: points, labels, and which runs stand out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from keepsake.compare.values import is_seed
from keepsake.exceptions import ValidationError
from keepsake.listing.fields import resolve
from keepsake.listing.subjects import MISSING, ValuePath, WholeExperiment, flatten
from keepsake.metadata import Record, best_checkpoint, primary_metric
from keepsake.util.console import some, warn
from keepsake.util.values import cut, decode, escape_controls, full_text, same, short_text

if TYPE_CHECKING:
    from keepsake.experiment import Experiment

X = Literal["step", "time"]
# None: checkpoints that were built by hand. Records, because making objects of them takes longer than drawing them.
Run = tuple["Experiment | None", Sequence[Record]]
HIGHLIGHTED = 10  # the number of runs that stand out among many
_MAX_PARAMS, _MAX_VALUE = 3, 12  # params in a label; characters of a value there
_MAX_TEXT = 50  # characters of a value in a message
_UNITS = ((1, "s"), (60, "min"), (3600, "h"), (86400, "d"))


class Curve(NamedTuple):
    """A metric of one run.

    Attributes:
        name: the short ID of the run.
        label: what tells the run from the others.
        xs, ys: the points; NaN: a gap.
        best: the point of the best checkpoint, if it has one.
        experiment: the run; None for checkpoints that were built by hand.
    """

    name: str
    label: str
    xs: list[float]
    ys: list[float]
    best: tuple[float, float] | None
    experiment: Experiment | None

    @property
    def finite(self) -> list[float]:
        """The values that can be drawn."""
        return [y for y in self.ys if math.isfinite(y)]


class Chart(NamedTuple):
    """The curves of a metric.

    Attributes:
        metric: its name.
        goal: "minimize" or "maximize"; None if it is not the primary metric.
        xlabel: what the x axis shows.
        curves: those with a value that can be drawn.
    """

    metric: str
    goal: str | None
    xlabel: str
    curves: list[Curve]


def make_chart(runs: Sequence[Run], metric: str | None, x: str = "step") -> Chart:
    """Return the curves of a metric (default: the primary metric), one for each run.

    Says which runs are left out because they have no number. Raises ValidationError for an unknown metric, and for
    values that are not numbers.
    """
    if x not in ("step", "time"):
        raise ValidationError(f"There is no x axis {x!r}. Choose 'step' or 'time'.")
    metric, goal = choose_metric(runs, metric)
    labels = tell_apart([experiment for experiment, _ in runs if experiment])
    curves = [_curve(run, ValuePath(metric), x, labels) for run in runs]
    drawn = [curve for curve in curves if curve.finite]
    if len(drawn) < len(curves):
        without = [curve.name for curve in curves if not curve.finite]
        warn(f"Left out, without a number for {metric!r}: {listed(without)}.")
    return Chart(metric, goal, "step", drawn) if x == "step" else Chart(metric, goal, *_in_a_unit(drawn))


def _curve(run: Run, path: ValuePath, x: str, labels: dict[str, str]) -> Curve:
    owner, checkpoints = run
    name = owner.short_id() if owner else "checkpoints"
    # A checkpoint without the metric is neither a point nor a gap, because some metrics are rarely measured.
    found = [
        (checkpoint, value)
        for checkpoint in checkpoints
        if (metrics := checkpoint.get("metrics")) and (value := path.find(metrics)) is not MISSING
    ]
    if x == "step" or owner is None:
        xs = _numbers([checkpoint.get("step") or 0 for checkpoint, _ in found], "step")
    else:
        xs = [owner.time_to(checkpoint["created"]).total_seconds() for checkpoint, _ in found]
    ys = _numbers([value for _, value in found], f"metric {path.name!r} of {name}")
    best = best_checkpoint(checkpoints)
    place = next((place for place, (checkpoint, _) in enumerate(found) if checkpoint is best), None)
    point = None if place is None else (xs[place], ys[place])
    return Curve(name, labels.get(owner.id, name) if owner else name, xs, ys, point, owner)


def _numbers(values: list[Any], what: str) -> list[float]:
    """Return values, as on disk, as floats to draw. Raises ValidationError if one is not a number."""
    types = set(map(type, values))
    if types == {int}:  # most steps
        with suppress(OverflowError):
            return list(map(float, values))
    return values if types == {float} else [number(decode(value), what) for value in values]


def _in_a_unit(curves: list[Curve]) -> tuple[str, list[Curve]]:
    """Return the label of a time axis, and the curves in its unit."""
    longest = max((curve.xs[-1] for curve in curves), default=0)
    size, unit = [each for each in _UNITS if longest >= 3 * each[0] or each[0] == 1][-1]
    scaled = [
        curve._replace(
            xs=[x / size for x in curve.xs], best=(curve.best[0] / size, curve.best[1]) if curve.best else None
        )
        for curve in curves
    ]
    return f"time since the start ({unit})", scaled


def choose_metric(runs: Sequence[Run], metric: str | None) -> tuple[str, str | None]:
    """Return the metric to draw, and its goal if it is a primary metric.

    Raises ValidationError if none is declared, and UnknownName if checkpoints have metrics, but none has this one. Runs
    that have just begun have no names.
    """
    primaries = [primary for _, checkpoints in runs if (primary := primary_metric(checkpoints))]
    rows = (values for _, checkpoints in runs for checkpoint in checkpoints if (values := checkpoint.get("metrics")))
    if metric is None and not primaries:
        raise ValidationError(
            _nothing_to_draw(len(runs), sorted({name for values in rows for name in flatten(values)}))
        )
    metric = primaries[0]["name"] if metric is None else metric
    path, found = ValuePath(metric), None
    for found in rows:
        if path.find(found) is not MISSING:
            break
    else:
        if found:
            resolve(metric, [WholeExperiment(owner) for owner, _ in runs if owner], "metric")
    return metric, next((primary.get("goal") for primary in primaries if primary["name"] == metric), None)


def _nothing_to_draw(runs: int, names: Sequence[str]) -> str:
    if not runs:
        return "There are no experiments to draw. Begin some, or choose others by the filter."
    if not names:
        return "The experiments have no metrics yet. Record some with checkpoint(metrics={…})."
    return f"No primary metric is declared. Name one of the metrics: {listed(names)}."


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """Return the exponential moving average, corrected for its beginning, as in TensorBoard. Gaps stay gaps.

    `weight`: of what came before, from 0 (nothing changes) to below 1.
    """
    if not 0 <= weight < 1:
        raise ValidationError(f"smoothing is {weight!r}. Give a number from 0 to below 1, such as 0.9.")
    average, count, smoothed = 0.0, 0, []
    for value in values:
        if not math.isfinite(value):
            smoothed.append(math.nan)
            continue
        average, count = weight * average + (1 - weight) * value, count + 1
        smoothed.append(average / (1 - weight**count))
    return smoothed


def outline(xs: Sequence[float], ys: Sequence[float], most: int) -> list[tuple[float, float]]:
    """Return at most `most` points of a curve that keep its shape: the least and the greatest of each part."""
    points = list(zip(xs, ys, strict=True))
    if len(points) <= most:
        return points
    parts = most // 2
    edges = [part * len(points) // parts for part in range(parts + 1)]
    kept = []
    for start, end in pairwise(edges):
        places = [place for place in range(start, end) if math.isfinite(ys[place])] or [start]
        ends = {min(places, key=ys.__getitem__), max(places, key=ys.__getitem__)}
        kept += [points[place] for place in sorted(ends)]
    return kept


def pick(curves: Sequence[Curve], goal: str | None, count: int = HIGHLIGHTED) -> tuple[list[Curve], list[Curve]]:
    """Return the curves that stand out, the best or else the latest first, and the others."""
    ordered = list(reversed(curves))
    if goal:
        sign = -1 if goal == "maximize" else 1
        ordered.sort(key=lambda curve: min(sign * y for y in curve.finite))
    return ordered[:count], ordered[count:]


def tell_apart(experiments: Sequence[Experiment]) -> dict[str, str]:
    """Return ID → label: the first params that differ, seeds last, and the short ID where these do not tell."""
    params = {experiment.id: flatten(experiment.params or {}) for experiment in experiments}
    tops = {name: None for experiment in experiments for name in experiment.params or {}}
    order = {name: number for number, name in enumerate(tops)}  # a path comes where its dict is
    names = differing(params.values())
    names.sort(key=lambda name: (is_seed(name), order.get(name, order.get(name.partition(".")[0], len(order)))))
    shown = short_names(names)
    labels = {}
    for experiment in experiments:
        own = params[experiment.id]
        parts = [f"{shown[name]}={_brief(own[name])}" for name in names if name in own]
        more = " …" if len(parts) > _MAX_PARAMS else ""
        labels[experiment.id] = escape_controls(" ".join(parts[:_MAX_PARAMS])) + more
    counts = Counter(labels.values())
    for experiment in experiments:
        label, short_id = labels[experiment.id], experiment.short_id()
        if not label:
            labels[experiment.id] = short_id
        elif counts[label] > 1:
            labels[experiment.id] = f"{label} ({short_id})"
    return labels


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return name → the name without the dicts that it is in, if that is enough to know it."""
    last = {name: _last_part(name) for name in names}
    shared = Counter(last.values())
    return {name: part if part and shared[part] == 1 else name for name, part in last.items()}


def _last_part(path: str) -> str:
    """Return what tells most: `lr` of `optimizer.lr`, but `optimizer` of `optimizer.name`."""
    parts = path.split(".")
    return parts[-2] if len(parts) > 1 and parts[-1] in ("name", "type") else parts[-1]


def _brief(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else short_text(value, _MAX_VALUE)


def differing(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return the names whose values differ or that some rows lack, in order of appearance."""
    rows = list(rows)
    names = {name: None for row in rows for name in row}
    return [
        name
        for name in names
        if any(name not in row or not same(row[name], rows[0].get(name, MISSING)) for row in rows)
    ]


def number(value: Any, what: str) -> float:
    """Return a value to draw; NaN for None. Raises ValidationError if it is not a number."""
    if value is not None and not isinstance(value, (int, float)):
        text = cut(full_text(value), _MAX_TEXT)
        raise ValidationError(f"Cannot plot {what}: {text} is not a number. Choose another one.")
    try:
        return math.nan if value is None else float(value)
    except OverflowError:  # an int of more than 308 digits
        return math.nan


def listed(names: Sequence[str]) -> str:
    """Return the first of many names, and how many more there are; `none` without any."""
    return escape_controls(some(names, HIGHLIGHTED)) or "none"
