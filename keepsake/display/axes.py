"""What figures share: the axes they draw on, their colours, and texts that fit there. Matplotlib is imported on use."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from keepsake.exceptions import MissingExtra
from keepsake.listing.fields import resolve
from keepsake.listing.subjects import WholeExperiment
from keepsake.util.values import escape_controls, full_text, sort_key
from keepsake.util.width import cut_end

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from keepsake.experiment import Experiment

# Okabe and Ito's colours, which people with any colour vision can tell apart; without the yellow, pale on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6E6E6E")
GREY, BEST = "#88888880", "#D55E00"
WIDTH, TITLE = 50, 90  # characters of a name on an axis, and of a title
_LOG_SPAN = 100  # numbers that differ by this factor are shown on a logarithmic scale
_PALEST = 0.88  # of the colour map, whose end is too pale on white
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
_DPI = 150  # of a picture in a file

_picture: ContextVar[Figure | None] = ContextVar("_picture", default=None)  # drawn on instead of pyplot's figure
_drawn: WeakKeyDictionary[Axes, tuple[str, str]] = WeakKeyDictionary()  # axes → names of their x and y values


def picture(draw: Callable[[], Axes], kind: str) -> bytes:
    """Return what `draw` draws as the bytes of a file of this kind: "png", "svg" or "pdf".

    It needs no display, and no pyplot, which takes long to import. Raises MissingExtra without Matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise _missing() from error
    figure = Figure()
    token = _picture.set(figure)
    try:
        draw()
    finally:
        _picture.reset(token)
    if figure.get_layout_engine():  # once is enough, and as long as it is there, the figure is drawn twice
        figure.tight_layout()
        figure.set_layout_engine(None)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=_DPI)
    return buffer.getvalue()


def _missing() -> MissingExtra:
    return MissingExtra("Plots need another package. Install it with:\n    pip install 'keepsake[plot]'")


def _place(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return the current figure and axes, or new ones if something else is drawn on them."""
    own = _picture.get()
    if own is not None:
        return own, own.subplots()
    from matplotlib import pyplot

    figure, axes = pyplot.gcf(), pyplot.gca()
    if axes.has_data() and _drawn.get(axes, (xlabel, ylabel)) != (xlabel, ylabel):
        figure, axes = pyplot.figure(), pyplot.gca()  # two metrics on one axis would be misleading
    return figure, axes


def current_axes(xlabel: str, ylabel: str, *, logx: bool = False, logy: bool = False) -> Axes:
    """Return the current axes, labelled, or those of a new figure if something else is drawn on them.

    Axes that are alone in a figure leave room for a legend beside them.
    """
    try:
        from matplotlib.ticker import MaxNLocator

        figure, axes = _place(xlabel, ylabel)
    except ImportError as error:
        raise _missing() from error
    _drawn[axes] = (xlabel, ylabel)
    if figure.axes == [axes] and axes.get_subplotspec() and figure.get_layout_engine() is None:
        figure.set_layout_engine("tight")
    axes.set(xlabel=plain(xlabel), ylabel=plain(ylabel))
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if logx:
        axes.set_xscale("log", nonpositive="mask")
        _number_plainly(axes.xaxis)
    if logy:
        axes.set_yscale("log", nonpositive="mask")
        _number_plainly(axes.yaxis)
    locator = axes.xaxis.get_major_locator()
    if xlabel == "step" and isinstance(locator, MaxNLocator):
        locator.set_params(integer=True)
    return axes


def _number_plainly(axis: Axis) -> None:
    """Write the numbers of a logarithmic axis as 0.2 instead of 2 × 10⁻¹."""
    from matplotlib.ticker import LogFormatterSciNotation

    class Plain(LogFormatterSciNotation):
        def __call__(self, x: float, pos: int | None = None) -> str:
            text = str(super().__call__(x, pos))  # "" for a number that there is no room for
            return f"{x:g}" if text and 1e-3 <= x < 1e5 else text

    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain(labelOnlyBase=False))


def widen(axes: Axes, factor: float) -> None:
    """Make a figure wider, to leave room beside its only axes. A figure whose size was chosen keeps it."""
    from matplotlib import rcParams

    figure = axes.get_figure(root=True)
    size = rcParams["figure.figsize"]
    if figure is not None and figure.axes == [axes] and tuple(figure.get_size_inches()) == tuple(size):
        figure.set_size_inches(size[0] * factor, size[1])


def plain(text: str, width: int = WIDTH) -> str:
    """Return text that fits on an axis and that Matplotlib does not read as a formula."""
    return escape_controls(cut_end(text[: width + 1], width)).replace("$", r"\$")


def palette() -> Sequence[str]:
    """Return the colours of curves: those of the user's style, if there is one."""
    from matplotlib import rcParams, rcParamsDefault

    cycle: Any = rcParams["axes.prop_cycle"]
    own: Sequence[str] = cycle.by_key().get("color", PALETTE)
    return PALETTE if cycle == rcParamsDefault["axes.prop_cycle"] else own


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether there are numbers among the values, and nothing else but None and NaN."""
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in present)


def is_wide(values: Sequence[float]) -> bool:
    """Whether numbers are better shown on a logarithmic scale."""
    return bool(values) and min(values) > 0 and max(values) >= _LOG_SPAN * min(values)


class Shades(NamedTuple):
    """Colours that show the values of a third quantity.

    Attributes:
        colors: one for each value; grey where it is missing.
        scale: from numbers to colours; None for categories.
        categories: their names and colours.
    """

    colors: list[Any]
    scale: ScalarMappable | None
    categories: Mapping[str, Any]


def shades(values: Sequence[Any], *, reverse: bool = False) -> Shades:
    """Return the colours of numbers or of categories. `reverse`: the smallest number is the palest."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

    if are_numbers(values):
        numbers = [float(v) for v in values if v is not None and math.isfinite(v)]
        ends = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
        norm = LogNorm(*ends) if is_wide(numbers) else Normalize(*ends)
        colormap = LinearSegmentedColormap.from_list("keepsake", _ramp(reverse))
        found: Any = colormap(norm(numbers))  # all at once, because a thousand calls take a second
        each = map(tuple, found.tolist())
        colors = [GREY if v is None or not math.isfinite(v) else next(each) for v in values]
        return Shades(colors, ScalarMappable(norm, colormap), {})
    texts = [None if value is None else plain(full_text(value)) for value in values]
    ordered = [plain(full_text(value)) for value in sorted((v for v in values if v is not None), key=sort_key)]
    colours = palette()
    categories = {text: colours[number % len(colours)] for number, text in enumerate(dict.fromkeys(ordered))}
    return Shades([GREY if text is None else categories[text] for text in texts], None, categories)


def shades_by(name: str, experiments: Sequence[Experiment]) -> Shades:
    """Return the colours of experiments by a param, field or metric. Raises UnknownName if none has it."""
    subjects = [WholeExperiment(experiment) for experiment in experiments]
    field = resolve(name, subjects)
    return shades([field.value(subject) for subject in subjects])


def _ramp(reverse: bool) -> list[Any]:
    from matplotlib import colormaps

    steps = [_PALEST * step / 15 for step in range(16)]
    return [colormaps["viridis"](step) for step in (reversed(steps) if reverse else steps)]


def explain(axes: Axes, found: Shades, name: str, marker: str = "") -> None:
    """Say what the colours mean, by a colour bar or a legend beside the axes."""
    from matplotlib.lines import Line2D

    if found.scale is not None:
        axes.get_figure().colorbar(found.scale, ax=axes, label=plain(name), pad=0.02)  # type: ignore[union-attr]
        return
    style: dict[str, Any] = {"linestyle": "", "marker": marker} if marker else {}
    handles = [Line2D([], [], color=color, label=text, **style) for text, color in found.categories.items()]
    if GREY in found.colors:
        handles.append(Line2D([], [], color=GREY, label="not set", **style))
    axes.legend(handles=handles, title=plain(name), fontsize="small", frameon=False, **BESIDE)
