"""Curves as text, for a terminal. plotille draws their dots; the axes and the labels are laid out here.

A letter marks each curve where it ends and wherever it is alone, so that no colour is needed to tell them apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from keepsake.display.curves import Chart, Curve, Run, make_chart, pick, smooth
from keepsake.display.ticks import label_texts, linear_ticks, log_ticks
from keepsake.util.console import plural
from keepsake.util.values import escape_controls
from keepsake.util.width import cut_end, text_width

if TYPE_CHECKING:
    from plotille import Canvas

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
COLORS = (33, 166, 28, 163, 136, 99, 196, 30, 244, 64)  # of 256, with a contrast of 3 or more to black and to white
_MIN_WIDTH, _MIN_HEIGHT = 40, 10
_MAX_LABELS = 0.45  # of the width
_EVERY = 16  # columns between two letters on a curve
_SIGNS = {"│": "|", "┤": "+", "─": "-", "┬": "+", "└": "+", "…": "~"}
_EMPTY = "\u2800"  # a character without dots
_HUGE, _TINY = 1e300, 1e-300  # beyond these, differences and their logarithms are infinite
_NEAR = 0.05  # of the width of the axis: if 0 is so near to its beginning, it begins there


class Size(NamedTuple):
    """Characters of a line, and lines."""

    width: int
    height: int


class _Frame(NamedTuple):
    """The limits of the axes. On a logarithmic axis, y is the logarithm."""

    left: float
    right: float
    bottom: float
    top: float


def draw(
    runs: Sequence[Run],
    metric: str | None,
    *,
    x: str,
    logy: bool,
    smoothing: float,
    size: Size,
    color: bool,
) -> str:
    """Return the curves of a metric as text. `ExperimentList.draw` describes the arguments."""
    chart = make_chart(runs, metric, x)
    curves, others = pick(chart.curves, chart.goal)
    curves = [_shown(curve, logy=logy, smoothing=smoothing) for curve in curves]
    curves = [curve for curve in curves if curve.finite]
    if not curves:
        return f"{escape_controls(chart.metric)}: nothing to draw."
    size = Size(max(size.width, _MIN_WIDTH), max(size.height, _MIN_HEIGHT))
    title = _title(chart, len(curves), len(others), logy=logy, smoothing=smoothing)
    return "\n".join(
        [cut_end(title, size.width), *_Drawing(curves, chart.xlabel, size, logy=logy, color=color).lines()]
    )


def _shown(curve: Curve, *, logy: bool, smoothing: float) -> Curve:
    """Return a curve as it is drawn. What the axis cannot show is a gap."""
    ys = smooth(curve.ys, smoothing) if smoothing else curve.ys
    if logy:
        ys = [math.log10(y) if 0 < y < math.inf else math.nan for y in ys]
    return curve._replace(xs=list(map(_clamped, curve.xs)), ys=list(map(_clamped, ys)))


def _clamped(value: float) -> float:
    """Return a finite number that is small enough to compute with."""
    return max(-_HUGE, min(value, _HUGE)) if math.isfinite(value) else value


def _title(chart: Chart, shown: int, others: int, *, logy: bool, smoothing: float) -> str:
    notes = {"minimize": ["lower is better"], "maximize": ["higher is better"]}.get(chart.goal or "", [])
    notes += ["log axis"] if logy else []
    notes += [f"smoothed by {smoothing:g}"] if smoothing else []
    detail = f" ({', '.join(notes)})" if notes else ""
    which = "best" if chart.goal else "latest"
    runs = f"the {which} {shown} of {shown + others:,} runs" if others else plural(shown, "run")
    return escape_controls(f"{chart.metric}, {runs}{detail}")


class _Drawing:
    """The lines below the title: the curves with their axes, and the labels on the right."""

    def __init__(self, curves: list[Curve], xlabel: str, size: Size, *, logy: bool, color: bool) -> None:
        self._curves, self._xlabel, self._logy, self._color = curves, xlabel, logy, color
        self._frame = _frame(curves)
        self._rows = size.height - 4  # the title, the axis, its ticks and its label
        frame = self._frame
        self._yticks = (log_ticks if logy else linear_ticks)(frame.bottom, frame.top, max(self._rows // 3, 2))
        texts = label_texts([10**tick for tick in self._yticks] if logy else self._yticks)
        self._margin = max(map(len, texts))
        self._ytexts = dict(zip(map(self._row, self._yticks), texts, strict=True))
        labels = [self._label(index) for index in range(len(curves))]
        room = min(max(map(text_width, labels)), int(_MAX_LABELS * size.width))
        self._labels = [cut_end(label, room) for label in labels]
        self._columns = size.width - self._margin - 2 - 1 - room

    def lines(self) -> list[str]:
        """Return the lines."""
        beside = self._places_of_labels()
        lines = []
        for row, body in enumerate(self._body()):
            text = self._ytexts.get(row, "")
            line = f"{text:>{self._margin}} {'┤' if text else '│'}{body}"
            lines.append(f"{line} {self._painted(beside[row], self._labels[beside[row]])}" if row in beside else line)
        return [line.rstrip() for line in [*lines, *self._axis()]]

    def _label(self, index: int) -> str:
        curve = self._curves[index]
        name = curve.name if curve.label == curve.name else f"{curve.name} {curve.label}"
        return f"{_LETTERS[index]} {escape_controls(name)}"

    def _row(self, y: float) -> int:
        share = (y - self._frame.bottom) / (self._frame.top - self._frame.bottom)
        return min(max(int((1 - share) * self._rows), 0), self._rows - 1)

    def _painted(self, index: int, text: str) -> str:
        return f"\x1b[38;5;{COLORS[index % len(COLORS)]}m{text}\x1b[0m" if self._color else text

    def _body(self) -> list[str]:
        """Return the curves, a line for each row. The best come last, above the others."""
        from plotille import Canvas

        frame = self._frame
        right = frame.right + (frame.right - frame.left) / (2 * self._columns - 1)  # the last dots are within
        canvas = Canvas(self._columns, self._rows, frame.left, frame.bottom, right, frame.top, mode="byte")
        order = range(len(self._curves) - 1, -1, -1)
        for index in order:
            self._draw_curve(canvas, index)
        for index in order:
            self._draw_letters(canvas, index)
        drawn: str = canvas.plot(linesep="\n")
        return drawn.replace(_EMPTY, " ").split("\n")

    def _draw_curve(self, canvas: Canvas, index: int) -> None:
        curve = self._curves[index]
        color = COLORS[index % len(COLORS)] if self._color else None
        xs, ys = _thinned(curve, self._frame, 2 * self._columns)
        last: tuple[float, float] | None = None
        for point in zip(xs, ys, strict=True):
            if not math.isfinite(point[1]):
                last = None
                continue
            canvas.line(*(last or point), *point, color=color)
            last = point

    def _draw_letters(self, canvas: Canvas, index: int) -> None:
        """Mark a curve every few columns, and each curve in other ones."""
        curve = self._curves[index]
        color = COLORS[index % len(COLORS)] if self._color else None
        frame, count = self._frame, len(self._curves)
        width = frame.right - frame.left
        points = [(x, y) for x, y in zip(curve.xs, curve.ys, strict=True) if math.isfinite(y)]
        start = (index + 0.5) * _EVERY / count
        wanted = [
            frame.left + (start + number * _EVERY) / self._columns * width for number in range(self._columns // _EVERY)
        ]
        for place in wanted:
            x, y = min(points, key=lambda point: abs(point[0] - place))
            if abs(x - place) <= width * _EVERY / 2 / self._columns:
                canvas.text(x, y, _LETTERS[index], color=color)
        canvas.text(*points[-1], _LETTERS[index], color=color)

    def _places_of_labels(self) -> dict[int, int]:
        """Return row → curve: each label as near as possible to the end of its curve, in the order of the ends."""
        ends = [self._row(curve.finite[-1]) for curve in self._curves]
        order = sorted(range(len(ends)), key=lambda index: (ends[index], -self._curves[index].finite[-1]))
        places: list[int] = []
        for position, index in enumerate(order):
            lowest = self._rows - (len(order) - position)
            places.append(min(max(ends[index], places[-1] + 1 if places else 0), lowest))
        return dict(zip(places, order, strict=True))

    def _axis(self) -> list[str]:
        """Return the x axis, its numbers and its label."""
        frame, columns = self._frame, self._columns
        ticks = linear_ticks(frame.left, frame.right, max(columns // 9, 2))
        if self._xlabel == "step":  # there is none between two whole numbers
            ticks = [tick for tick in ticks if abs(tick - round(tick)) < 1e-9] or ticks
        line, numbers = ["─"] * columns, [" "] * (columns + self._margin + 8)
        end = -1
        for tick, text in zip(ticks, label_texts(ticks), strict=True):
            column = round((tick - frame.left) / (frame.right - frame.left) * (2 * columns - 1)) // 2
            start = max(self._margin + 2 + column - len(text) // 2, 0)
            if start <= end:
                continue
            line[column] = "┬"
            end = start + len(text)
            numbers[start:end] = text
        indent = " " * (self._margin + 1)
        return [f"{indent}└{''.join(line)}", "".join(numbers), f"{indent} {self._xlabel:^{columns}}"]


def _frame(curves: Sequence[Curve]) -> _Frame:
    points = [(x, y) for curve in curves for x, y in zip(curve.xs, curve.ys, strict=True) if math.isfinite(y)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, right = _widened(0 if 0 < min(xs) < _NEAR * max(xs) else min(xs), max(xs), 0)
    return _Frame(left, right, *_widened(min(ys), max(ys), 0.03))


def _widened(low: float, high: float, share: float) -> tuple[float, float]:
    """Return limits with some room, so that no point lies on the border and they are never equal."""
    room = share * (high - low)
    largest = max(abs(low), abs(high))
    if high - low <= max(1e-9 * largest, _TINY):
        room = 0.05 * largest if largest > 100 * _TINY else 1.0
    return low - room, high + room


def _thinned(curve: Curve, frame: _Frame, buckets: int) -> tuple[list[float], list[float]]:
    """Return the points to draw: of very many, the lowest and the highest of each column of dots, in their order."""
    count = len(curve.xs)
    if count <= 2 * buckets:
        return curve.xs, curve.ys
    size = (frame.right - frame.left) / buckets
    kept: dict[int, list[int]] = {}
    for index, (x, y) in enumerate(zip(curve.xs, curve.ys, strict=True)):
        if math.isfinite(y):
            kept.setdefault(int((x - frame.left) / size), []).append(index)
    ys = curve.ys
    chosen = sorted({pick(own, key=ys.__getitem__) for own in kept.values() for pick in (min, max)})
    return [curve.xs[index] for index in chosen], [ys[index] for index in chosen]


def to_ascii(text: str) -> str:
    """Return a drawing for a terminal that cannot show it: a sign for each place with dots."""
    return re.sub(r"[^\x00-\x7f]", lambda match: _sign(match[0]), text)


def _sign(character: str) -> str:
    if "\u2800" <= character <= "\u28ff":
        dots = (ord(character) - 0x2800).bit_count()
        return ".:*#"[min(dots - 1, 7) // 2]
    return _SIGNS.get(character, "#" if "█" <= character <= "▏" else "?")
