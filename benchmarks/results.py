"""Figures, what they may be at most, and the table of them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

from tabulate import tabulate

from benchmarks.measure import FLOOR, ORIGINAL, OURS

T = TypeVar("T")

_HEADER = ("workload", "figure", OURS, ORIGINAL, FLOOR, "ratio", "at most", "met")
_MARKERS = ("<!-- figures -->", "<!-- end of figures -->")


class Limit(NamedTuple):
    """At most `times` the figure `of` another, and `plus`, in the unit of the figure."""

    times: float = 0.0
    of: str = ""
    plus: float = 0.0

    def text(self, unit: str) -> str:
        share = f"{self.times:g} × {self.of}" if self.of else ""
        return " + ".join(filter(None, (share, _show(self.plus, unit) if self.plus else "")))


class Figure(NamedTuple):
    """One row of the table: a quantity of a workload, measured several times."""

    workload: str
    name: str
    unit: str  # s, B, or × for a ratio
    samples: dict[str, list[float]]
    limits: Sequence[Limit]

    @property
    def medians(self) -> dict[str, float]:
        return {who: median(samples) for who, samples in self.samples.items()}

    @property
    def is_met(self) -> bool | None:
        """Whether all limits are kept; None if there is none, or what it depends on was not measured."""
        medians = {"": 0.0, **self.medians}
        known = [limit for limit in self.limits if limit.of in medians]
        kept = all(medians[OURS] <= limit.times * medians[limit.of] + limit.plus for limit in known)
        return kept if known else None

    def row(self) -> list[str]:
        medians, limits = self.medians, ", ".join(limit.text(self.unit) for limit in self.limits)
        shown = [_show(medians[who], self.unit) if who in medians else "" for who in (OURS, ORIGINAL, FLOOR)]
        other = next((who for who in (*(limit.of for limit in self.limits), ORIGINAL, FLOOR) if medians.get(who)), "")
        ratio = f"{medians[OURS] / medians[other]:.2g} × {other}" if other else ""
        return [self.workload, self.name, *shown, ratio, limits, {None: "", True: "yes", False: "**no**"}[self.is_met]]


def figure(
    title: str, runs: Mapping[str, list[T]], pick: Callable[[T], float], *limits: Limit, unit: str = "s"
) -> Figure:
    """Return the figure that `pick` takes from each run; `title` is `workload: name`."""
    workload, _, name = title.partition(": ")
    return Figure(workload, name, unit, {who: [pick(run) for run in each] for who, each in runs.items()}, limits)


def table(figures: Sequence[Figure], form: str = "simple") -> str:
    """Return the table of the medians."""
    return tabulate([each.row() for each in figures], _HEADER, form, disable_numparse=True)


def write_json(path: Path, figures: Sequence[Figure]) -> None:
    """Write every sample, in seconds and bytes."""
    rows = [{**each._asdict(), "medians": each.medians, "met": each.is_met} for each in figures]
    path.write_text(json.dumps({"machine": _machine(), "figures": rows}, indent=1) + "\n", encoding="utf-8")


def write_markdown(path: Path, figures: Sequence[Figure]) -> None:
    """Put the table into a page, between its markers."""
    before, _, rest = path.read_text(encoding="utf-8").partition(_MARKERS[0])
    end = _MARKERS[1] + rest.partition(_MARKERS[1])[2]
    path.write_text("\n\n".join((before + _MARKERS[0], _machine(), table(figures, "github"), end)), encoding="utf-8")


def _show(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value / 1e6:,.0f} MB" if unit == "B" else f"{value:.2f} ×"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def _machine() -> str:
    system, load = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", os.getloadavg()[2]
    return f"{date.today()}, {system}, Python {platform.python_version()}, load of the last 15 minutes {load:.1f}"
