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


def scatter_experiments(
    experiments: Sequence[Experiment], param: str, metric: str | None = None, *, logx: bool = False, logy: bool = False
) -> Axes:
    """Plot a metric (default: the primary metric) of each experiment's best, or else latest, checkpoint over a param.

    Raises ValidationError for a metric or param that there is not, a metric that is no number, and logx with a param
    that is none; MissingExtra without Matplotlib.
    """
    metric, goal = _choose([experiment.checkpoints for experiment in experiments], metric)
    _check("param", param, {name for experiment in experiments for name in experiment.params or ()})
    labels, xs, ys, left_out = [], [], [], []
    for experiment in experiments:
        x, y = (experiment.params or {}).get(param), _value(experiment, metric)
        if x is None or (isinstance(x, float) and not math.isfinite(x)) or not math.isfinite(y):
            left_out.append(experiment.short_id())
            ...
    return None
