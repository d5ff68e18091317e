"""What is on Matplotlib's axes."""

from __future__ import annotations

import numpy
from matplotlib.axes import Axes
from matplotlib.lines import Line2D


def curves(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if not str(line.get_label()).startswith("_")]


def points(line: Line2D) -> list[tuple[float, float]]:
    return [(x, y) for x, y in numpy.asarray(line.get_xydata()).tolist()]


def stars(axes: Axes) -> list[tuple[float, float]]:
    return [point for line in axes.lines if line.get_marker() == "*" for point in points(line)]


def legend(axes: Axes) -> list[str]:
    shown = axes.get_legend()
    return [text.get_text() for text in shown.get_texts()] if shown else []


def scattered(axes: Axes) -> list[tuple[float, float]]:
    return [(x, y) for x, y in numpy.asarray(axes.collections[0].get_offsets()).tolist()]
