"""Metrics over steps or over a hyperparameter, drawn with Matplotlib on the current axes, as `plt.plot` does.

A metric or param that there is not, or that cannot be drawn, raises ValidationError; that Matplotlib is not installed,
MissingExtra.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from keepsake._console import warn
from keepsake._values import cut, escape_controls, full_text, sort_key
from keepsake.exceptions import MissingExtra, ValidationError
from keepsake.metadata import pick_best

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from keepsake.checkpoint import CheckpointList
    from keepsake.experiment import Experiment

_MAX_NAMED, _HIGHLIGHTED = 20, 10  # of more runs than one can tell apart, these many stand out from the rest in grey
_MAX_DOTS, _MAX_LABELS = 200, 15  # points with a dot on a line; points of a scatter plot with an ID beside them
_MAX_INSIDE = 6  # entries of a legend that finds room within the axes
_MAX_TICKS, _TICK_WIDTH = 30, 40  # categories that are named on an axis; characters of a name
_DASHES = ("-", "--", "-.", ":")  # one after the other, whenever the colours begin anew
_OTHER, _BEST = "_other", "_best"  # labels that Matplotlib leaves out of legends
_GREY = "#88888880"


class _Run(NamedTuple):
    label: str
    steps: list[float]
    values: list[float]  # NaN: a gap
    best: int | None  # the index of the best checkpoint


def plot_checkpoints(checkpoints: CheckpointList, metric: str | None = None, *, logy: bool = False) -> Axes:
    """Plot a metric (default: the primary metric) of checkpoints over their steps."""
    experiment = checkpoints[0]._experiment if checkpoints else None
    return _plot([(experiment.short_id() if experiment else "checkpoints", checkpoints)], metric, logy)


def plot_experiments(experiments: Sequence[Experiment], metric: str | None = None, *, logy: bool = False) -> Axes:
    """Plot a metric (default: the primary metric) of each experiment's checkpoints over their steps."""
    return _plot([(experiment.short_id(), experiment.checkpoints) for experiment in experiments], metric, logy)


def scatter_experiments(
    experiments: Sequence[Experiment], param: str, metric: str | None = None, *, logx: bool = False, logy: bool = False
) -> Axes:
    """Plot a metric (default: the primary metric) of each experiment's best, or else latest, checkpoint over a param."""
    metric, goal = _choose([experiment.checkpoints for experiment in experiments], metric)
    ids, xs, ys = _points(experiments, param, metric)
    categories = [x for x in dict.fromkeys(xs) if isinstance(x, str)]
    if logx and categories:
        raise ValidationError(f"logx needs numbers, and not all values of param {param!r} are")
    axes = _axes(param, metric, logx=logx, logy=logy)
    _leave_out_nonpositive([*[xs] * logx, *[ys] * logy])
    axes.scatter(xs, ys, alpha=0.8)
    best = pick_best(((y, index, index) for index, y in enumerate(ys)), maximize=goal == "maximize") if goal else None
    if best is not None:
        axes.plot(xs[best], ys[best], "*", markersize=14, markeredgecolor=axes.get_facecolor())
    if categories:
        axes.margins(x=0.15)
        axes.set_xticks(categories[:: math.ceil(len(categories) / _MAX_TICKS)])
        axes.tick_params(axis="x", labelrotation=90 if sum(map(len, categories)) > 60 else 0)
    for index, (label, x, y) in enumerate(zip(ids, xs, ys, strict=True)):
        if len(ids) <= _MAX_LABELS or index == best:
            text = f"{label} (best)" if index == best else label
            axes.annotate(text, (x, y), (6, 5), textcoords="offset points", fontsize="small")
    return axes


def _points(experiments: Sequence[Experiment], param: str, metric: str) -> tuple[list[str], list[Any], list[float]]:
    """The IDs, params (all numbers, or else all texts) and metrics of the experiments that have both."""
    _check_name("param", param, {name for experiment in experiments for name in experiment.params or ()})
    points, left_out = [], []
    for experiment in experiments:
        x, checkpoint = (experiment.params or {}).get(param), experiment.checkpoints.best() or experiment.latest()
        value = (checkpoint.metrics or {}).get(metric) if checkpoint else None
        y = _number(value, f"metric {metric!r} of {experiment.short_id()}")
        if x is None or (isinstance(x, float) and not math.isfinite(x)) or not math.isfinite(y):
            left_out.append(experiment.short_id())
        else:
            points.append((experiment.short_id(), x, y))
    _warn_left_out(left_out, f"param {param!r} or a number for {metric!r}")
    points.sort(key=lambda point: sort_key(point[1]))
    numeric = all(isinstance(x, (int, float)) and not isinstance(x, bool) for _, x, _ in points)
    xs = [_number(x, param) if numeric else _plain(cut(full_text(x), _TICK_WIDTH)) for _, x, _ in points]
    return [label for label, _, _ in points], xs, [y for _, _, y in points]


def _plot(lists: list[tuple[str, CheckpointList]], metric: str | None, logy: bool) -> Axes:
    metric, goal = _choose([checkpoints for _, checkpoints in lists], metric)
    runs = [_run(label, checkpoints, metric) for label, checkpoints in lists]
    named = [run for run in runs if any(map(math.isfinite, run.values))]
    _warn_left_out([run.label for run in runs if run not in named], f"a number for {metric!r}")
    axes, title = _axes("step", metric, logy=logy), None
    if logy:
        _leave_out_nonpositive([run.values for run in named])
    if len(named) > _MAX_NAMED:
        title = f"{'Best' if goal else 'Latest'} {_HIGHLIGHTED} of {len(named)}"
        ordered = sorted(named, key=lambda run: _rank(run, goal)) if goal else named[::-1]
        named = ordered[:_HIGHLIGHTED]
        for run in ordered[_HIGHLIGHTED:]:
            axes.plot(run.steps, run.values, color=_GREY, linewidth=0.8, zorder=1.5, label=_OTHER)
    dots = sum(len(run.values) for run in named) <= _MAX_DOTS
    for run in named:
        _draw(axes, run, dots)
    _legend(axes, title)
    return axes


def _run(label: str, checkpoints: CheckpointList, metric: str) -> _Run:
    # A checkpoint without the metric is neither point nor gap: many a metric is only measured now and then
    measured = [(c, c.metrics[metric]) for c in checkpoints if c.metrics and metric in c.metrics]
    steps = [_number(checkpoint.step or 0, "step") for checkpoint, _ in measured]
    values = [_number(value, f"metric {metric!r} of {label}") for _, value in measured]
    best = checkpoints.best()
    return _Run(label, steps, values, next((i for i, (checkpoint, _) in enumerate(measured) if checkpoint is best), None))


def _rank(run: _Run, goal: str) -> float:
    numbers = filter(math.isfinite, run.values)
    return min(numbers, default=math.inf) if goal == "minimize" else -max(numbers, default=-math.inf)


def _draw(axes: Axes, run: _Run, dots: bool) -> None:
    """Draw a run in the next colour, a dot at least where no line would show, and a star at the best checkpoint."""
    from matplotlib import rcParams

    earlier = sum(not str(line.get_label()).startswith("_") for line in axes.lines)
    dashes = _DASHES[earlier // len(rcParams["axes.prop_cycle"]) % len(_DASHES)]
    there = [False, *map(math.isfinite, run.values), False]
    alone = [i for i in range(len(run.values)) if there[i : i + 3] == [False, True, False]]
    (line,) = axes.plot(run.steps, run.values, dashes, marker=".", markevery=None if dots else alone, label=run.label)
    if run.best is not None:
        x, y, edge = run.steps[run.best], run.values[run.best], axes.get_facecolor()
        axes.plot(x, y, "*", color=line.get_color(), markersize=12, markeredgecolor=edge, zorder=3, label=_BEST)


def _legend(axes: Axes, title: str | None) -> None:
    """Name the runs, beside the axes if they are many, and say how many are not named."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    others = sum(line.get_label() == _OTHER for line in axes.lines) + max(len(handles) - _MAX_NAMED, 0)
    entries: list[tuple[Any, str]] = list(zip(handles, labels, strict=True))[:_MAX_NAMED]
    if others:
        entries.append((Line2D([], [], color=_GREY), f"… and {others:,} more"))
    if any(line.get_label() == _BEST for line in axes.lines):
        entries.append((Line2D([], [], color=_GREY, linestyle="", marker="*", markersize=10), "best checkpoint"))
    outside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
    if entries:
        place = outside if len(entries) > _MAX_INSIDE else {"loc": "best"}
        axes.legend(*zip(*entries, strict=True), fontsize="small", title=title, **place)


def _axes(xlabel: str, ylabel: str, *, logx: bool = False, logy: bool = False) -> Axes:
    """Return the current axes, labelled, with room for what stands beside them."""
    try:
        from matplotlib import pyplot
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise MissingExtra("Plots need another package. Install it with:\n    pip install 'keepsake[plot]'") from error
    figure, axes = pyplot.gcf(), pyplot.gca()
    if figure.axes == [axes] and axes.get_subplotspec() and figure.get_layout_engine() is None:
        figure.set_layout_engine("tight")
    axes.set(xlabel=_plain(xlabel), ylabel=_plain(ylabel))
    if logx:
        axes.set_xscale("log")
    if logy:
        axes.set_yscale("log")
    locator = axes.xaxis.get_major_locator()
    if xlabel == "step" and isinstance(locator, MaxNLocator):
        locator.set_params(integer=True)
    axes.grid(alpha=0.3)
    return axes


def _choose(lists: list[CheckpointList], metric: str | None) -> tuple[str, str | None]:
    """Return the metric to draw, and its goal if it is a primary metric."""
    primaries = [primary for checkpoints in lists if (primary := checkpoints._primary_metric())]
    names = {name for checkpoints in lists for checkpoint in checkpoints for name in checkpoint.metrics or ()}
    if metric is None:
        if not primaries:
            raise ValidationError(f"no primary metric is declared: name the metric to plot, of {_some(sorted(names))}")
        metric = primaries[0]["name"]
    _check_name("metric", metric, names)
    return metric, next((primary["goal"] for primary in primaries if primary["name"] == metric), None)


def _check_name(what: str, name: str, known: set[str]) -> None:
    if known and name not in known:  # of runs that only just began nothing is known
        close = difflib.get_close_matches(str(name), known)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"there are {_some(sorted(known))}"
        raise ValidationError(f"there is no {what} {name!r}; {hint}")


def _number(value: Any, what: str) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, (int, float)):
        raise ValidationError(f"{what} is no number that could be plotted: {cut(full_text(value), _TICK_WIDTH)}")
    return float(value) if abs(value) < 1e308 or isinstance(value, float) else math.nan


def _leave_out_nonpositive(columns: Iterable[list[float]]) -> None:
    """Make gaps of what has no place on a logarithmic axis."""
    count = 0
    for values in columns:
        count += sum(value <= 0 for value in values)
        values[:] = [math.nan if value <= 0 else value for value in values]
    if count:
        warn(f"{count:,} values of 0 or less are left out: they have no place on a logarithmic axis")


def _warn_left_out(ids: list[str], lack: str) -> None:
    if ids:
        warn(f"Left out, for want of {lack}: {_some(ids)}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _HIGHLIGHTED:,} more" if len(names) > _HIGHLIGHTED else ""
    return (", ".join(names[:_HIGHLIGHTED]) or "none") + more


def _plain(text: str) -> str:
    """Return text in which Matplotlib finds no formula."""
    return escape_controls(text).replace("$", r"\$")
