"""Metrics over steps or over a hyperparameter, drawn with Matplotlib on the current axes, as `plt.plot` does.

If another metric is drawn on the current axes, a new figure begins.

All functions raise ValidationError for unknown names and for values that cannot be drawn, and MissingExtra without
Matplotlib.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from keepsake.exceptions import MissingExtra, ValidationError
from keepsake.metadata import pick_best
from keepsake.util.console import warn
from keepsake.util.values import cut, escape_controls, full_text, sort_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from keepsake.checkpoint import CheckpointList
    from keepsake.experiment import Experiment

_MAX_NAMED, _HIGHLIGHTED = 20, 10  # runs with colours; of more runs, so many have colours and the rest are grey
_MAX_DOTS, _MAX_LABELS = 200, 15  # points of lines with dots; points of a scatter plot with IDs
_MAX_INSIDE = 6  # entries of a legend that fits within the axes
_MAX_TICKS, _WIDTH = 30, 50  # categories with names on an axis; characters of a name
_DASHES = ("-", "--", "-.", ":")  # the next one each time the colours start again
_OTHER, _BEST, _GREY = "_other", "_best", "#88888880"  # labels that Matplotlib leaves out of legends; a colour


_drawn: WeakKeyDictionary[Axes, tuple[str, str]] = WeakKeyDictionary()  # axes → names of their x and y values


class _Run(NamedTuple):
    label: str
    steps: list[float]
    values: list[float]  # NaN: a gap
    best: tuple[float, float] | None  # the point of the best checkpoint


def plot_checkpoints(checkpoints: CheckpointList, metric: str | None = None, *, logy: bool = False) -> Axes:
    """Plot a metric (default: the primary metric) of checkpoints over their steps."""
    experiment = checkpoints[0].experiment if checkpoints else None
    return _plot([(experiment.short_id() if experiment else "checkpoints", checkpoints)], metric, logy)


def plot_experiments(experiments: Sequence[Experiment], metric: str | None = None, *, logy: bool = False) -> Axes:
    """Plot a metric (default: the primary metric) of each experiment's checkpoints over their steps."""
    return _plot([(experiment.short_id(), experiment.checkpoints) for experiment in experiments], metric, logy)


def scatter_experiments(
    experiments: Sequence[Experiment], param: str, metric: str | None = None, *, logx: bool = False, logy: bool = False
) -> Axes:
    """Plot a metric (default: the primary metric) of each experiment's best, else latest, checkpoint over a param."""
    metric, goal = _choose([experiment.checkpoints for experiment in experiments], metric)
    ids, xs, ys = _points(experiments, param, metric)
    categories = [x for x in dict.fromkeys(xs) if isinstance(x, str)]
    if logx and categories:
        raise ValidationError(f"Not all values of param {param!r} are numbers. Leave out logx.")
    axes = _axes(param, metric, logx=logx, logy=logy)
    color = axes.scatter(xs, ys, alpha=0.8).get_facecolor()
    ties = pick_best(range(len(ys)), ys, maximize=goal == "maximize") if goal else []
    best = ties[-1] if ties else None
    if best is not None:
        axes.plot(xs[best], ys[best], "*", color=color, markersize=14, markeredgecolor=axes.get_facecolor())
    for index, label in enumerate(ids):
        if len(ids) <= _MAX_LABELS or index == best:
            text, below = f"{label} (best)" if index == best else label, index % 2 == 0  # separates neighbours' IDs
            place = (6, -12 if below else 5)
            axes.annotate(_plain(text), (xs[index], ys[index]), place, textcoords="offset points", fontsize="small")
    if categories:
        axes.set_xticks(categories[:: math.ceil(len(categories) / _MAX_TICKS)])
        axes.tick_params(axis="x", labelrotation=90 if sum(map(len, categories)) > 60 else 0)
    axes.margins(x=0.15, y=0.1)
    return axes


def _points(experiments: Sequence[Experiment], param: str, metric: str) -> tuple[list[str], list[Any], list[float]]:
    """Return the IDs, params (all numbers, or else all texts) and metrics of the experiments that have both."""
    _check_name("param", param, {name for experiment in experiments for name in experiment.params or ()})
    points, left_out = [], []
    for experiment in experiments:
        x, checkpoint = (experiment.params or {}).get(param), experiment.checkpoints.best() or experiment.latest()
        value = (checkpoint.metrics or {}).get(metric) if checkpoint else None
        y = _number(value, f"metric {metric!r} of {experiment.short_id()}")
        if x is None or (isinstance(x, float) and not math.isfinite(x)) or not math.isfinite(y):
            left_out.append(experiment.short_id())
        else:
            points.append((x, y, experiment.short_id()))
    if left_out:
        warn(f"Left out, without param {param!r} or a number for {metric!r}: {_some(left_out)}.")
    points.sort(key=lambda point: (sort_key(point[0]), *point[1:]))
    numeric = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x, *_ in points)
    xs = [_number(x, param) if numeric else _plain(full_text(x)) for x, *_ in points]
    return [label for *_, label in points], xs, [y for _, y, _ in points]


def _plot(lists: list[tuple[str, CheckpointList]], metric: str | None, logy: bool) -> Axes:
    metric, goal = _choose([checkpoints for _, checkpoints in lists], metric)
    runs = [_run(label, checkpoints, metric) for label, checkpoints in lists]
    named = [run for run in runs if any(map(math.isfinite, run.values))]
    if len(named) < len(runs):
        warn(f"Left out, without a number for {metric!r}: {_some([run.label for run in runs if run not in named])}.")
    axes, title = _axes("step", metric, logy=logy), None
    if len(named) > _MAX_NAMED:
        title = f"{'Best' if goal else 'Latest'} {_HIGHLIGHTED} of {len(named)}"
        sign = -1 if goal == "maximize" else 1
        named.reverse()
        named.sort(key=lambda run: min(sign * y for y in run.values if math.isfinite(y)) if goal else 0)
        for run in named[_HIGHLIGHTED:]:
            axes.plot(run.steps, run.values, color=_GREY, linewidth=0.8, zorder=1.5, label=_OTHER)
        del named[_HIGHLIGHTED:]
    dots = sum(len(run.values) for run in named) <= _MAX_DOTS
    for run in named:
        _draw(axes, run, dots)
    _legend(axes, title)
    return axes


def _run(label: str, checkpoints: CheckpointList, metric: str) -> _Run:
    # A checkpoint without the metric is neither a point nor a gap, because some metrics are rarely measured.
    points = {
        id(c): (_number(c.step or 0, "step"), _number(c.metrics[metric], f"metric {metric!r} of {label}"))
        for c in checkpoints
        if c.metrics and metric in c.metrics
    }
    steps, values = [x for x, _ in points.values()], [y for _, y in points.values()]
    return _Run(label, steps, values, points.get(id(checkpoints.best())))


def _draw(axes: Axes, run: _Run, dots: bool) -> None:
    """Draw a run in the next colour, with dots where no line would show, and a star at the best checkpoint."""
    from matplotlib import rcParams

    earlier = sum(not str(line.get_label()).startswith("_") for line in axes.lines)
    dashes = _DASHES[earlier // len(rcParams["axes.prop_cycle"]) % len(_DASHES)]
    (line,) = axes.plot(run.steps, run.values, dashes, label=_plain(run.label))
    neighbours = (run.values[i - 1 : i] + run.values[i + 1 : i + 2] for i in range(len(run.values)))
    alone = [index for index, values in enumerate(neighbours) if not any(map(math.isfinite, values))]
    if dots or alone:
        line.set(marker=".", markevery=None if dots else alone)
    if run.best:
        edge = axes.get_facecolor()
        axes.plot(*run.best, "*", color=line.get_color(), markersize=12, markeredgecolor=edge, zorder=3, label=_BEST)


def _legend(axes: Axes, title: str | None) -> None:
    """Name the runs, beside the axes if there are many, and show how many have no name."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    drawn = [line.get_label() for line in axes.lines]
    others = drawn.count(_OTHER) + len(labels[_MAX_NAMED:])
    del handles[_MAX_NAMED:], labels[_MAX_NAMED:]
    if others:
        handles.append(Line2D([], [], color=_GREY))
        labels.append(f"… and {others:,} more")
    if _BEST in drawn:
        handles.append(Line2D([], [], color=_GREY, linestyle="", marker="*", markersize=10))
        labels.append("best checkpoint")
    outside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
    if handles:
        place = outside if len(handles) > _MAX_INSIDE else {"loc": "best"}
        axes.legend(handles, labels, fontsize="small", title=title, **place)


def _axes(xlabel: str, ylabel: str, *, logx: bool = False, logy: bool = False) -> Axes:
    """Return the current axes, labelled, or those of a new figure if something else is drawn on them.

    Axes that are alone in a figure leave room for a legend beside them.
    """
    try:
        from matplotlib import pyplot
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise MissingExtra("Plots need another package. Install it with:\n    pip install 'keepsake[plot]'") from error
    figure, axes = pyplot.gcf(), pyplot.gca()
    if axes.has_data() and _drawn.get(axes, (xlabel, ylabel)) != (xlabel, ylabel):
        figure, axes = pyplot.figure(), pyplot.gca()  # two metrics on one axis would be misleading
    _drawn[axes] = (xlabel, ylabel)
    if figure.axes == [axes] and axes.get_subplotspec() and figure.get_layout_engine() is None:
        figure.set_layout_engine("tight")
    axes.set(xlabel=_plain(xlabel), ylabel=_plain(ylabel))
    axes.grid(alpha=0.3)
    if logx:
        axes.set_xscale("log", nonpositive="mask")
    if logy:
        axes.set_yscale("log", nonpositive="mask")
    locator = axes.xaxis.get_major_locator()
    if xlabel == "step" and isinstance(locator, MaxNLocator):
        locator.set_params(integer=True)
    return axes


def _choose(lists: list[CheckpointList], metric: str | None) -> tuple[str, str | None]:
    """Return the metric to draw, and its goal if it is a primary metric."""
    primaries = [primary for checkpoints in lists if (primary := checkpoints.declared_metric())]
    names = {name for checkpoints in lists for checkpoint in checkpoints for name in checkpoint.metrics or ()}
    if metric is None and not primaries:
        raise ValidationError(f"No primary metric is declared. Name one of the metrics: {_some(sorted(names))}.")
    metric = primaries[0]["name"] if metric is None else metric
    _check_name("metric", metric, names)
    return metric, next((primary.get("goal") for primary in primaries if primary["name"] == metric), None)


def _check_name(what: str, name: str, known: set[str]) -> None:
    if known and str(name) not in known:  # runs that have just begun have no names yet
        close = difflib.get_close_matches(str(name), known)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Choose from: {_some(sorted(known))}."
        raise ValidationError(f"There is no {what} {name!r}. {hint}")


def _number(value: Any, what: str) -> float:
    if value is not None and not isinstance(value, (int, float)):
        text = cut(full_text(value), _WIDTH)
        raise ValidationError(f"Cannot plot {what}: {text} is not a number. Choose another one.")
    try:
        return math.nan if value is None else float(value)
    except OverflowError:  # an int of more than 308 digits
        return math.nan


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _HIGHLIGHTED:,} more" if len(names) > _HIGHLIGHTED else ""
    return (escape_controls(", ".join(names[:_HIGHLIGHTED])) or "none") + more


def _plain(text: str) -> str:
    """Return text that fits on an axis and that Matplotlib does not read as a formula."""
    return escape_controls(cut(text, _WIDTH)).replace("$", r"\$")
