"""Figures, what they may be at most, and the table of them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from tabulate import tabulate

from benchmarks.measure import FLOOR, ORIGINAL, OURS

T = TypeVar("T")

HEADER = ("workload", "figure", OURS, ORIGINAL, FLOOR, "ratio", "at most", "met")
_MARKERS = ("<!-- figures -->", "<!-- end of figures -->")


@dataclass(frozen=True)
class Limit:
    """At most `times` the figure of another, and `plus`; `of` nothing: at most `plus`."""

    times: float = 0.0
    of: str = ""
    plus: float = 0.0  # in the unit of the figure

    def value(self, medians: Mapping[str, float]) -> float | None:
        """Return the limit, None if what it depends on was not measured."""
        if self.of and self.of not in medians:
            return None
        return self.times * medians.get(self.of, 0.0) + self.plus

    def text(self, unit: str) -> str:
        plus = show(self.plus, unit) if self.plus else ""
        return " + ".join(filter(None, (f"{self.times:g} × {self.of}" if self.of else "", plus)))


@dataclass
class Figure:
    """One row of the table: a quantity of a workload, measured several times."""

    workload: str
    name: str
    samples: dict[str, list[float]]
    limits: Sequence[Limit] = field(default_factory=list)
    unit: str = "s"  # s, B, or × for a ratio

    @property
    def medians(self) -> dict[str, float]:
        return {who: median(samples) for who, samples in self.samples.items() if samples}

    @property
    def is_met(self) -> bool | None:
        """Whether all limits are kept; None if that cannot be told."""
        known = [value for limit in self.limits if (value := limit.value(self.medians)) is not None]
        return all(self.medians[OURS] <= value for value in known) if known else None

    def row(self) -> list[str]:
        medians = self.medians
        other = next((each for each in (*(limit.of for limit in self.limits), ORIGINAL, FLOOR) if each in medians), "")
        ratio = f"{medians[OURS] / medians[other]:.2g} × {other}" if medians.get(other) else ""
        shown = [show(medians[who], self.unit) if who in medians else "" for who in (OURS, ORIGINAL, FLOOR)]
        limits = ", ".join(limit.text(self.unit) for limit in self.limits)
        met = "" if self.is_met is None else "yes" if self.is_met else "**no**"
        return [self.workload, self.name, *shown, ratio, limits, met]


def figure(
    workload: str, name: str, runs: Mapping[str, list[T]], pick: Callable[[T], float], *limits: Limit, unit: str = "s"
) -> Figure:
    """Return the figure that `pick` takes from each run."""
    return Figure(workload, name, {who: [pick(run) for run in each] for who, each in runs.items()}, limits, unit)


def show(value: float, unit: str) -> str:
    """Return a figure with three digits that matter."""
    if unit == "B":
        return f"{value / 1e6:,.0f} MB"
    if unit == "×":
        return f"{value:.2f} ×"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def table(figures: Sequence[Figure], form: str = "simple") -> str:
    return tabulate([each.row() for each in figures], HEADER, form, disable_numparse=True)


def machine() -> dict[str, Any]:
    """What the figures were measured on, and when."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def write_json(path: Path, figures: Sequence[Figure], about: Mapping[str, Any]) -> None:
    """Write every sample, in seconds and bytes."""
    rows = [
        {
            "workload": each.workload,
            "figure": each.name,
            "unit": each.unit,
            "at_most": [limit.text(each.unit) for limit in each.limits],
            "met": each.is_met,
            "medians": each.medians,
            "samples": each.samples,
        }
        for each in figures
    ]
    path.write_text(json.dumps({"machine": about, "figures": rows}, indent=1) + "\n", encoding="utf-8")


def write_markdown(path: Path, figures: Sequence[Figure], about: Mapping[str, Any]) -> None:
    """Put the table into a page, between its markers."""
    before, _, rest = path.read_text(encoding="utf-8").partition(_MARKERS[0])
    after = rest.partition(_MARKERS[1])[2]
    caption = f"{about['date'][:10]}, {about['system']}, {about['cores']} cores, Python {about['python']}."
    text = "\n\n".join((before + _MARKERS[0], caption, table(figures, "github"), _MARKERS[1] + after))
    path.write_text(text, encoding="utf-8")
