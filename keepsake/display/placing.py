"""Labels beside points that overlap neither each other nor the points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Where a label may stand: horizontal and vertical alignment, and the offset of its corner from the point in points
_PLACES = (
    ("left", "bottom", 5, 4),
    ("left", "top", 5, -4),
    ("right", "bottom", -5, 4),
    ("right", "top", -5, -4),
    ("center", "bottom", 0, 8),
    ("center", "top", 0, -8),
    ("left", "center", 9, 0),
    ("right", "center", -9, 0),
)
_SIZE, _ROOM = 8.5, 3.5  # of the letters, and around a point, in points
Box = tuple[float, float, float, float]  # left, bottom, right, top


def place_labels(axes: Axes, points: Any, labels: Mapping[int, str], first: int | None) -> None:
    """Label points by their indexes, each where there is room for it. A label that finds none is left out.

    `first`: the point whose label is placed before the others.
    """
    axes.autoscale_view()  # otherwise the limits are known only when the figure is drawn
    scale = axes.get_figure().dpi / 72  # type: ignore[union-attr]
    corners = axes.transData.transform(points) / scale if len(points) else []
    frame = axes.get_window_extent()
    start, end = frame.x0 / scale, frame.x1 / scale
    dots: list[Box] = [(x - _ROOM, y - _ROOM, x + _ROOM, y + _ROOM) for x, y in corners]
    taken: list[Box] = []
    for index in sorted(labels, key=lambda index: index != first):
        text = labels[index]
        for horizontal, vertical, right, up in _PLACES:
            x, y = corners[index]
            box = _box((x + right, y + up), text, horizontal, vertical)
            others = dots[:index] + dots[index + 1 :]
            is_within = start <= box[0] and box[2] <= end
            if is_within and not any(_overlap(box, each) for each in [*taken, *others]):
                taken.append(box)
                axes.annotate(
                    text,
                    points[index],
                    (right, up),
                    textcoords="offset points",
                    fontsize=_SIZE,
                    ha=horizontal,
                    va=vertical,
                )
                break


def _box(corner: tuple[float, float], text: str, horizontal: str, vertical: str) -> Box:
    """Return where a label stands, from the usual width of letters."""
    width, height = 0.6 * _SIZE * len(text), 1.2 * _SIZE
    left = corner[0] - {"left": 0.0, "center": width / 2, "right": width}[horizontal]
    bottom = corner[1] - {"bottom": 0.0, "center": height / 2, "top": height}[vertical]
    return left, bottom, left + width, bottom + height


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
