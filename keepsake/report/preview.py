"""What the page shows before a script runs, or without scripts: the first rows as a table, and one chart as SVG.

All recorded text is escaped here. The scripts replace this part, and show text as text only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from keepsake.listing.fields import differing_names
from keepsake.metadata import Record
from keepsake.report.payload import MAX_EXACT
from keepsake.report.runs import metrics_of
from keepsake.util.values import cut, decode, escape_controls, short_text

ROWS, _COLUMNS, _CURVES = 20, 6, 24
_POINTS = 60  # of a curve
_WIDTH, _HEIGHT, _MARGIN = 720, 240, 8


def rows_html(runs: Sequence[Mapping[str, Any]], primary: Mapping[str, Any] | None) -> str:
    """Return the first runs as a table."""
    shown = runs[:ROWS]
    names = [name for name, differs in differing_names(run["params"] for run in runs).items() if differs][:_COLUMNS]
    metric = primary["name"] if primary else None
    heads = ["Run", "Status", *names, *([metric, "Step"] if metric else [])]
    body = []
    for run in shown:
        checkpoint = run["best"] or run["latest"] or {}
        cells = [run["short"], run["status"], *(_value(run["params"].get(name, "")) for name in names)]
        if metric:
            cells += [_value(metrics_of(run).get(metric, "")), str(checkpoint.get("step", ""))]
        body.append("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{_text(name)}</th>" for name in heads)
    more = f"<p>And {len(runs) - ROWS:,} more.</p>" if len(runs) > ROWS else ""
    return f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>{more}'


def _value(value: Any) -> str:
    return short_text(decode(value), 30)


def _text(text: str) -> str:
    return escape(escape_controls(cut(text, 60)))


def chart_svg(records: Sequence[Sequence[Record]], primary: Mapping[str, Any] | None) -> str:
    """Return the primary metric of runs over their steps, each a list of checkpoints, the first one in colour."""
    if primary is None:
        return ""
    curves = [_points(checkpoints, primary["name"]) for checkpoints in records[:_CURVES]]
    everything = [point for curve in curves for point in curve]
    if len({x for x, _ in everything}) < 2:
        return ""
    (left, right), (low, high) = ((min(axis), max(axis)) for axis in zip(*everything, strict=True))

    def line(curve: list[tuple[float, float]], kind: str) -> str:
        places = " ".join(
            f"{_MARGIN + (x - left) / (right - left) * (_WIDTH - 2 * _MARGIN):.1f},"
            f"{_HEIGHT - _MARGIN - (y - low) / ((high - low) or 1) * (_HEIGHT - 2 * _MARGIN):.1f}"
            for x, y in curve
        )
        return f'<polyline points="{places}" class="{kind}"/>'

    lines = [line(curve, "other") for curve in curves[1:] if curve] + [line(curves[0], "best")]
    label = _text(f"{primary['name']} over the steps, from {low:.5g} to {high:.5g}; the best run in colour")
    head = f'<svg class="plain" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
    return f"{head}{''.join(lines)}</svg>"


def _points(checkpoints: Sequence[Record], name: str) -> list[tuple[float, float]]:
    """Return some points of a curve, evenly apart."""
    points = []
    for checkpoint in checkpoints[:: max(1, len(checkpoints) // _POINTS)]:
        value = (checkpoint.get("metrics") or {}).get(name)
        step = checkpoint.get("step") or 0
        if isinstance(value, (int, float)) and abs(value) < 1e300 and math.isfinite(value) and abs(step) < MAX_EXACT:
            points.append((float(step), float(value)))
    return points
