"""Metrics over steps or over a hyperparameter, drawn with Matplotlib on the current axes, as `plt.plot` does."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keepsake._console import warn
from keepsake._values import cut, escape_controls, full_text, sort_key
from keepsake.exceptions import MissingExtra, ValidationError
from keepsake.metadata import pick_best

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from keepsake.checkpoint import CheckpointList
    from keepsake.experiment import Experiment

_MAX_NAMED, _HIGHLIGHTED = 20, 10  # of more runs than one can tell apart, these many stand out from the rest in grey
_MAX_DOTS = 50  # points of a run that get a dot each
_MAX_LABELS = 15  # points of a scatter plot that have their ID beside them
_MAX_INSIDE = 6  # entries of a legend that finds room within the axes
_MAX_TICKS, _TICK_WIDTH = 30, 40  # categories that are named on an axis; characters of their names
_DASHES = ("-", "--", "-.", ":")  # one after the other, whenever the colours begin anew
_OTHER, _BEST = "_other", "_best"  # labels that Matplotlib leaves out of legends
_GREY = "#88888860"


@dataclass
class _Run:
    """The curve of one run."""

    label: str
    steps: list[float]
    values: list[float]  # NaN: a gap
    best: int | None  # which of the points is the best checkpoint


def plot_checkpoints(checkpoints: CheckpointList, metric: str | None = None, *, logy: bool = False) -> Axes:
    """Plot a metric (default: the primary metric) of checkpoints over their steps.

    Raises ValidationError for a metric that there is not, or that is no number; MissingExtra without Matplotlib.
    """
    experiment = checkpoints[0]._experiment if checkpoints else None
    return _plot([(experiment.short_id() if experiment else "checkpoints", checkpoints)], metric, logy)


def plot_experiments(experiments: Sequence[Experiment], metric: str | None = None, *, logy: bool = False) -> Axes:
    """Plot a metric (default: the primary metric) of each experiment's checkpoints over their steps.

    Raises ValidationError for a metric that there is not, or that is no number; MissingExtra without Matplotlib.
    """
    return _plot([(experiment.short_id(), experiment.checkpoints) for experiment in experiments], metric, logy)


def _plot(lists: list[tuple[str, CheckpointList]], metric: str | None, logy: bool) -> Axes:
    metric, goal = _choose([checkpoints for _, checkpoints in lists], metric)
    runs = [_run(label, checkpoints, metric) for label, checkpoints in lists]
    named = [run for run in runs if any(map(math.isfinite, run.values))]
    _warn_left_out((run.label for run in runs if run not in named), f"without a number for {metric!r}")
    axes = _axes("step", metric, logy=logy)
    if logy:
        _leave_out_nonpositive(*(run.values for run in named))
    if len(named) > _MAX_NAMED:
        ordered = sorted(named, key=lambda run: _rank(run, goal)) if goal else named[::-1]
        named, others = ordered[:_HIGHLIGHTED], ordered[_HIGHLIGHTED:]
        for run in others:
            axes.plot(run.steps, run.values, color=_GREY, linewidth=0.8, zorder=1.5, label=_OTHER)
    for run in named:
        _draw(axes, run)
    _integer_ticks(axes)
    _legend(axes)
    return axes


def _run(label: str, checkpoints: CheckpointList, metric: str) -> _Run:
    measured = [checkpoint for checkpoint in checkpoints if metric in (checkpoint.metrics or ())]
    best = checkpoints.best()
    return _Run(
        label,
        [_number(checkpoint.step or 0, "step") for checkpoint in measured],
        [_number((checkpoint.metrics or {})[metric], f"metric {metric!r} of {label}") for checkpoint in measured],
        next((index for index, checkpoint in enumerate(measured) if checkpoint is best), None),
    )


def _rank(run: _Run, goal: str) -> float:
    numbers = filter(math.isfinite, run.values)
    return min(numbers, default=math.inf) if goal == "minimize" else -max(numbers, default=-math.inf)


def _draw(axes: Axes, run: _Run) -> None:
    """Draw a run in the next colour, dots where no line would show, and a star at its best checkpoint."""
    from matplotlib import rcParams

    earlier = sum(not str(line.get_label()).startswith("_") for line in axes.lines)
    dashes = _DASHES[earlier // len(rcParams["axes.prop_cycle"]) % len(_DASHES)]
    visible = [False, *map(math.isfinite, run.values), False]
    alone = [i for i in range(len(run.values)) if visible[i + 1] and not visible[i] and not visible[i + 2]]
    dots = alone if len(run.values) > _MAX_DOTS else None
    (line,) = axes.plot(run.steps, run.values, dashes, marker=".", markevery=dots, label=run.label)
    if run.best is not None:
        place = [run.steps[run.best]], [run.values[run.best]]
        axes.plot(*place, "*", color=line.get_color(), markersize=11, markeredgecolor="white", zorder=3, label=_BEST)


def _legend(axes: Axes) -> None:
    """Name the runs, beside the axes if they are many, and say how many are not named."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    hidden = sum(line.get_label() == _OTHER for line in axes.lines) + max(len(handles) - _MAX_NAMED, 0)
    entries = list(zip(handles, labels, strict=True))[:_MAX_NAMED]
    if hidden:
        entries.append((Line2D([], [], color=_GREY), f"… and {hidden:,} more"))
    if any(line.get_label() == _BEST for line in axes.lines):
        star = Line2D([], [], color="#888888", linestyle="", marker="*", markersize=9)
        entries.append((star, "best checkpoint"))
    if not entries: return
    ...
