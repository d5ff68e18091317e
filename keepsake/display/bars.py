"""How much each param matters, as bars of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keepsake.compare.importance import FEW
from keepsake.display.results import importances_of
from keepsake.util.console import plural
from keepsake.util.values import escape_controls
from keepsake.util.width import cut_end, pad, text_width

if TYPE_CHECKING:
    from keepsake.display.results import Results

MAX_BARS = 15
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MAX_NAME = 0.4  # of the width
_MIN_BAR = 10  # characters
_COLOR = "\x1b[38;5;33m"


def heading(results: Results, count: int) -> str:
    """Return the title: what the bars show, from how many runs, and from how many params (`count`)."""
    runs = sum(result.value == result.value for result in results.each)
    weak = ", weak evidence" if runs < FEW else ""
    more = f", the {MAX_BARS} of {count} params that matter most" if count > MAX_BARS else ""
    return f"What matters for {results.metric} ({plural(runs, 'run')}{weak}{more})"


def draw_importance(results: Results, width: int, color: bool) -> str:
    """Return a bar for each param that differs, as text. `ExperimentList.draw_importance` describes the arguments."""
    shares = importances_of(results)
    title = escape_controls(heading(results, len(shares)))
    if not shares:
        return f"{cut_end(title, width)}\nNo param differs."
    names = [escape_controls(name) for name in list(shares)[:MAX_BARS]]
    margin = min(max(map(text_width, names)), int(_MAX_NAME * width))
    room = max(width - margin - 7, _MIN_BAR)
    lines = []
    for name, share in zip(names, shares.values(), strict=False):
        bar = _bar(share, room)
        painted = f"{_COLOR}{bar}\x1b[0m" if color and bar else bar
        lines.append(f"{pad(cut_end(name, margin), margin)} {painted} {share:.2f}")
    return "\n".join([cut_end(title, width), *lines])


def _bar(share: float, room: int) -> str:
    whole, eighths = divmod(round(share * room * 8), 8)
    return ("█" * whole + _EIGHTHS[eighths]).rstrip()
