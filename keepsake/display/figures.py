"""Metrics over steps or time, drawn with Matplotlib on the current axes, as `plt.plot` does.

If another metric is drawn on the current axes, a new figure begins.

All functions raise ValidationError for unknown names and for values that cannot be drawn, and MissingExtra without
Matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keepsake.display.axes import BESIDE, GREY, Shades, current_axes, explain, palette, plain, shades_by, widen
from keepsake.display.curves import HIGHLIGHTED, Chart, Curve, Run, make_chart, outline, pick, smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_NAMED = 20  # runs with colours; of more runs, some have colours and the rest are grey
_MAX_DOTS = 200  # points of lines with dots
_POINTS = 100  # of a curve among many
_MAX_INSIDE = 6  # entries of a legend that fits within the axes
_MAX_CHARACTERS = 24  # of a label of a legend within the axes
_ROOM = 1.35  # times the width of a figure whose legend is beside its axes
_DASHES = ("-", "--", "-.", ":")  # the next one each time the colours start again, and for each further metric
_OTHER, _BEST, _RAW, _AGAIN = "_other", "_best", "_raw", "_again"  # labels that Matplotlib leaves out of legends


@dataclass(frozen=True)
class Look:
    """How curves are drawn. `ExperimentList.plot` describes each."""

    logx: bool = False
    logy: bool = False
    x: str = "step"
    smoothing: float = 0.0
    color: str | None = None


def plot(runs: Sequence[Run], metric: str | Sequence[str] | None, look: Look) -> Axes:
    """Plot metrics (default: the primary metric) of runs, a curve each."""
    smooth((), look.smoothing)  # a wrong weight is an error before anything is drawn
    metrics = [metric] if metric is None or isinstance(metric, str) else list(metric)
    charts = [make_chart(runs, each, look.x) for each in metrics]
    found = _shades(runs, look.color)
    axes = current_axes(charts[0].xlabel, ", ".join(c.metric for c in charts), logx=look.logx, logy=look.logy)
    earlier = sum(not str(line.get_label()).startswith("_") for line in axes.lines)
    title = None
    for number, chart in enumerate(charts):
        if found:
            _draw_shaded(axes, chart, found, look, _DASHES[number % len(_DASHES)])
        elif len(charts) > 1:
            _draw_several(axes, chart, look, number, alone=max(len(c.curves) for c in charts) == 1)
        else:
            title = _draw(axes, chart, look, earlier)
    if found and look.color:
        explain(axes, found[1], look.color)
    else:
        _legend(axes, title)
    return axes


def _shades(runs: Sequence[Run], name: str | None) -> tuple[dict[str, Any], Shades] | None:
    """Return ID → colour by a param, field or metric, and what the colours mean."""
    if name is None:
        return None
    owners = [experiment for experiment, _ in runs if experiment]
    found = shades_by(name, owners)
    return dict(zip([owner.id for owner in owners], found.colors, strict=True)), found


def _draw_shaded(axes: Axes, chart: Chart, found: tuple[dict[str, Any], Shades], look: Look, dashes: str) -> None:
    colors = [found[0].get(curve.experiment.id, GREY) if curve.experiment else GREY for curve in chart.curves]
    if len(chart.curves) > _MAX_NAMED:
        _lines(axes, chart.curves, look, colors=colors, linewidths=0.9, linestyles=dashes)
        return
    for curve, color in zip(chart.curves, colors, strict=True):
        _line(axes, curve, look, dashes, color=color, linewidth=1.5, label=_OTHER)


def _draw_several(axes: Axes, chart: Chart, look: Look, number: int, *, alone: bool) -> None:
    """Draw one of several metrics: of one run in colours of their own, else in dashes of their own."""
    colors = palette()
    for index, curve in enumerate(chart.curves):
        color = colors[(number if alone else index) % len(colors)]
        label = plain(chart.metric if alone else curve.label) if alone or not number else _AGAIN
        _line(axes, curve, look, "-" if alone else _DASHES[number % len(_DASHES)], color=color, label=label)
    if not alone:
        axes.plot([], [], _DASHES[number % len(_DASHES)], color=GREY, label=plain(chart.metric))


def _draw(axes: Axes, chart: Chart, look: Look, earlier: int) -> str | None:
    """Draw the curves of one metric. Of very many, return the title of the legend."""
    named, title = chart.curves, None
    if len(named) > _MAX_NAMED:
        title = f"{'Best' if chart.goal else 'Latest'} {HIGHLIGHTED} of {len(named)}"
        named, others = pick(named, chart.goal)
        _lines(axes, others, look, colors=GREY, linewidths=0.8, zorder=1.5)
    dots = sum(len(curve.ys) for curve in named) <= _MAX_DOTS and not look.smoothing
    colors = palette()
    for index, curve in enumerate(named, earlier):
        dashes, color = _DASHES[index // len(colors) % len(_DASHES)], colors[index % len(colors)]
        _line(axes, curve, look, dashes, color=color, label=plain(curve.label), dots=dots)
        if curve.best:
            edge = axes.get_facecolor()
            axes.plot(*curve.best, "*", color=color, markersize=12, markeredgecolor=edge, zorder=3, label=_BEST)
    return title


def _lines(axes: Axes, curves: Sequence[Curve], look: Look, **style: Any) -> None:
    """Draw many curves all at once, because a thousand lines of their own take seconds."""
    from matplotlib.collections import LineCollection

    paths = [outline(curve.xs, _values(curve, look), _POINTS) for curve in curves]
    axes.add_collection(LineCollection(paths, label=_OTHER, **style))
    axes.autoscale_view()


def _values(curve: Curve, look: Look) -> list[float]:
    return smooth(curve.ys, look.smoothing) if look.smoothing else curve.ys


def _line(axes: Axes, curve: Curve, look: Look, dashes: str, *, dots: bool = False, **style: Any) -> None:
    """Draw a curve, with dots where no line would show. If it is smoothed, the original is faint behind it."""
    if look.smoothing:
        raw = {**style, "linewidth": 0.8, "label": _RAW}
        axes.plot(curve.xs, curve.ys, alpha=0.25, zorder=1.6, **raw)
    values = _values(curve, look)
    (line,) = axes.plot(curve.xs, values, dashes, **style)
    neighbours = (values[i - 1 : i] + values[i + 1 : i + 2] for i in range(len(values)))
    alone = [index for index, around in enumerate(neighbours) if not any(map(math.isfinite, around))]
    if dots or alone:
        line.set(marker=".", markevery=None if dots else alone)


def _legend(axes: Axes, title: str | None) -> None:
    """Name the runs, beside the axes if there is much to say, and show how many have no name."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    drawn = [line.get_label() for line in axes.lines]
    behind = sum(len(each.get_paths()) for each in axes.collections if each.get_label() == _OTHER)
    others = behind + drawn.count(_OTHER) + len(labels[_MAX_NAMED:])
    del handles[_MAX_NAMED:], labels[_MAX_NAMED:]
    is_long = any(len(label) > _MAX_CHARACTERS for label in labels)
    if others:
        handles.append(Line2D([], [], color=GREY))
        labels.append(f"… and {others:,} more")
    if _BEST in drawn:
        handles.append(Line2D([], [], color=GREY, linestyle="", marker="*", markersize=10))
        labels.append("best checkpoint")
    if handles:
        place = BESIDE if len(handles) > _MAX_INSIDE or is_long else {"loc": "best"}
        if place is BESIDE:
            widen(axes, _ROOM)
        axes.legend(handles, labels, fontsize="small", title=title, frameon=place is not BESIDE, **place)
