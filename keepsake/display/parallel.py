"""Parallel coordinates: a line for each experiment through its params and its metric, drawn with Matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keepsake.compare.importance import importances
from keepsake.compare.values import is_seed
from keepsake.display.axes import BEST, TITLE, WIDTH, are_numbers, current_axes, is_wide, plain, shades, widen
from keepsake.display.curves import differing, listed
from keepsake.display.results import Result, best_of, make_results
from keepsake.display.ticks import label_texts, linear_ticks, log_ticks
from keepsake.listing.fields import resolve
from keepsake.listing.subjects import MISSING, ValuePath, WholeExperiment, flatten
from keepsake.util.console import warn
from keepsake.util.values import cut, full_text, short_text, sort_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from keepsake.experiment import Experiment

_MAX_COORDINATES = 8  # params that are shown, those that matter most
_MAX_TICKS, _FEW = 20, 5  # categories with names; numbers that are all named
_TICK_WIDTH, _NAME_WIDTH = 12, WIDTH // 2  # characters of a value and of a name
_NOT_SET = -0.1  # the height of what is not set
_USUAL = 4  # axes for which the usual figure is wide enough
_LINE = "#444444"


def parallel_coordinates(
    experiments: Sequence[Experiment], metric: str | None = None, params: Sequence[str] | None = None
) -> Axes:
    """Draw the experiments, coloured by the metric. `ExperimentList.parallel_coordinates` describes the arguments."""
    metric, goal, results = make_results(experiments, metric)
    if params is not None:
        subjects = [WholeExperiment(experiment) for experiment in experiments]
        params = [resolve(name, subjects, "param").name.removeprefix("params.") for name in params]
    drawn = _with_value(results, metric)
    names, title = (list(params), "") if params is not None else _coordinates(drawn)
    rows = [result.experiment.params or {} for result in drawn]
    values = [result.value for result in drawn]
    scales = [_Scale([path.find(row) for row in rows]) for path in map(ValuePath, names)] + [_Scale(values)]
    axes = current_axes("", "")
    from matplotlib.collections import LineCollection

    widen(axes, max(1.0, len(scales) / _USUAL))
    colors = shades(values, reverse=goal == "maximize").colors
    sign = 1 if goal == "maximize" else -1
    order = sorted(range(len(drawn)), key=lambda index: sign * values[index])  # the best above the others
    paths = [[(x, scale.heights[index]) for x, scale in enumerate(scales)] for index in order]
    axes.add_collection(LineCollection(paths, colors=[colors[index] for index in order], alpha=0.7))
    best = best_of(drawn, goal)
    _draw_axes(axes, [*names, metric], scales)
    axes.set_title(plain(title, TITLE), fontsize="medium")
    if best is not None:
        label = f"best: {drawn[best].experiment.short_id()}"
        heights = [scale.heights[best] for scale in scales]
        (line,) = axes.plot(range(len(scales)), heights, color=BEST, linewidth=3, zorder=2.3, label=label)
        axes.legend(handles=[line], loc="upper center", bbox_to_anchor=(0.5, -0.02), frameon=False)
    return axes


def _with_value(results: list[Result], metric: str) -> list[Result]:
    without = [result.experiment.short_id() for result in results if not math.isfinite(result.value)]
    if without:
        warn(f"Left out, without a number for {metric!r}: {listed(without)}.")
    return [result for result in results if math.isfinite(result.value)]


def _coordinates(drawn: list[Result]) -> tuple[list[str], str]:
    """Return the params that differ but for seeds, the one that matters most last, and what to say of others."""
    rows = [flatten(result.experiment.params or {}) for result in drawn]
    names = [name for name in differing(rows) if not is_seed(name)]
    shares = importances(rows, [result.value for result in drawn])
    names.sort(key=lambda name: shares.get(name, 0.0))
    if len(names) <= _MAX_COORDINATES:
        return names, ""
    return names[-_MAX_COORDINATES:], f"The {_MAX_COORDINATES} of {len(names)} params that matter most"


class _Scale:
    """An axis from 0 to 1.

    Attributes:
        heights: where each value lies; what is not set lies below the others.
        ticks: height → text.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        present = [None if value is MISSING or value != value else value for value in values]
        numbers = [v for v in present if v is not None and math.isfinite(v)] if are_numbers(present) else []
        self.ticks: dict[float, str] = {}
        places = self._numeric(numbers) if numbers else self._categories(present)
        self.heights = [places.get(_key(value), _NOT_SET) for value in present]
        if _NOT_SET in self.heights:
            self.ticks[_NOT_SET] = "not set"

    def _numeric(self, numbers: Sequence[float]) -> dict[Any, float]:
        is_log, distinct = is_wide(numbers), sorted(set(numbers))
        positions = [math.log10(each) for each in distinct] if is_log else distinct
        low, size = positions[0], positions[-1] - positions[0]
        places = [(each - low) / size if size else 0.5 for each in positions]
        if len(distinct) <= _FEW:
            self.ticks = {place: short_text(each, _TICK_WIDTH) for place, each in zip(places, distinct, strict=True)}
        else:
            marks = (log_ticks if is_log else linear_ticks)(low, positions[-1], _FEW)
            texts = label_texts([10**mark for mark in marks] if is_log else marks)
            self.ticks = {(mark - low) / size: text for mark, text in zip(marks, texts, strict=True)}
        return {_key(each): place for each, place in zip(distinct, places, strict=True)}

    def _categories(self, values: Sequence[Any]) -> dict[Any, float]:
        ordered = sorted((value for value in values if value is not None), key=sort_key)
        distinct = list(dict.fromkeys(map(_key, ordered)))
        last = len(distinct) - 1
        places = {key: number / last if last else 0.5 for number, key in enumerate(distinct)}
        step = math.ceil(len(distinct) / _MAX_TICKS) or 1
        self.ticks = {places[key]: cut(str(key), _TICK_WIDTH) for key in distinct[::step]}
        return places


def _key(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else full_text(value)


def _draw_axes(axes: Axes, names: Sequence[str], scales: Sequence[_Scale]) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground=axes.get_facecolor())]
    for x, scale in enumerate(scales):
        side = 1 if x == len(scales) - 1 else -1  # the numbers of the last axis stand at its right, where no line is
        axes.plot([x, x], [0, 1], color=_LINE, linewidth=1, zorder=2.5)
        for height, text in scale.ticks.items():
            axes.plot([x, x + side * 0.025], [height, height], color=_LINE, linewidth=1, zorder=2.5)
            style: dict[str, Any] = {
                "ha": "left" if side > 0 else "right",
                "va": "center",
                "fontsize": "small",
                "zorder": 4,
            }
            axes.text(x + side * 0.045, height, plain(text), path_effects=halo, **style)
    axes.set_xticks(range(len(names)), [plain(cut(name, _NAME_WIDTH)) for name in names])
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set(xlim=(-0.5, len(scales) - 0.5), ylim=(_NOT_SET * 1.4 if _has_gap(scales) else -0.03, 1.04))


def _has_gap(scales: Sequence[_Scale]) -> bool:
    return any(_NOT_SET in scale.heights for scale in scales)
