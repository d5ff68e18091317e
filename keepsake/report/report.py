"""Making a report of experiments."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepsake.exceptions import ValidationError, WriteError
from keepsake.listing.fields import resolve
from keepsake.listing.subjects import WholeExperiment
from keepsake.metadata import Record
from keepsake.report.code import collect_code
from keepsake.report.curves import collect_curves
from keepsake.report.page import assemble
from keepsake.report.payload import Pool
from keepsake.report.preview import chart_svg, rows_html
from keepsake.report.runs import metrics_of, run_of, text
from keepsake.status import statuses
from keepsake.util.console import Progress
from keepsake.util.files import replace_with
from keepsake.util.values import comparable, decode, escape_controls

if TYPE_CHECKING:
    from keepsake.experiment import Experiment

_FRAME_HEIGHT = 860  # pixels


@dataclass(frozen=True)
class Report:
    """A report, as `experiments.report()` returns it. A notebook shows it.

    Attributes:
        html: the page.
        runs: how many experiments are in it.
        left_out: what is not in it, a sentence each.
    """

    html: str
    runs: int
    left_out: tuple[str, ...]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, whole or not at all. Raises WriteError."""
        try:
            replace_with(Path(path), self.html.encode("utf-8"))
        except OSError as error:
            reason = error.strerror or str(error)
            raise WriteError(f"Cannot write the report to {os.fspath(path)}: {reason}. Name another file.") from error

    def _repr_html_(self) -> str:
        """Return the page in a frame, in which only its own scripts run."""
        style = f"width: 100%; height: {_FRAME_HEIGHT}px; border: 0"
        return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{escape(self.html)}"></iframe>'


def make_report(
    experiments: Sequence[Experiment],
    *,
    made: float,
    title: str | None = None,
    points: int | None = None,
    metrics: Collection[str] | None = None,
    code: bool = True,
) -> Report:
    """Return a report of experiments.

    Args:
        made: the time of its making, in Unix seconds.
        title: None: the name of the project directory.
        points: the most points of a curve; None: as many as keep the page small.
        metrics: the metrics whose curves it has; None: all.
        code: whether the code of each run is in it.

    Raises ValidationError, and UnknownName for a metric that no run has.
    """
    if points is not None and points < 2:
        raise ValidationError(f"A curve cannot have {points} points. Give 2 or more.")
    if metrics and experiments:
        _check_metrics(metrics, experiments)
    with Progress("Making the report", len(experiments) * (2 + code), unit="steps") as progress:
        found = statuses(experiments)
        packages = Pool()
        rows: list[tuple[dict[str, Any], Experiment, Record]] = []
        for experiment in experiments:
            record = experiment.record()
            rows.append((run_of(experiment, record, found.get(experiment.id, "unknown"), packages), experiment, record))
            progress.advance()
        primary = next((run["primary"] for run, _, _ in rows if run["primary"]), None)
        rows.sort(key=lambda row: _rank(row[0], primary))
        curves = collect_curves(
            [(run["created"], record.get("checkpoints") or []) for run, _, record in rows],
            metrics,
            points,
            progress.advance,
        )
        blobs = {"curves": curves.data}
        listed = None
        if code:
            collected = collect_code([experiment for _, experiment, _ in rows], progress.advance)
            listed, blobs["code"] = collected.to_json(), collected.data
    runs = [run for run, _, _ in rows]
    if title is None:
        title = _title(experiments)
    left_out = _left_out(curves.points, curves.without, listed["notes"] if listed else [], code)
    meta = {
        "title": text(title),
        "repository": _repository(experiments),
        "made": made,
        "primary": primary,
        "packages": [dict(each) for each in packages.values()],
        "runs": runs,
        "curves": curves.to_json(),
        "code": listed,
        "notes": left_out,
    }
    checkpoints = [record.get("checkpoints") or [] for _, _, record in rows]
    shown = escape_controls(title or "Report")
    preview = f"<h1>{escape(shown)}</h1>{chart_svg(checkpoints, primary)}{rows_html(runs, primary)}"
    return Report(assemble(f"{shown} · Keepsake", preview, meta, blobs), len(runs), tuple(left_out))


def _check_metrics(metrics: Collection[str], experiments: Sequence[Experiment]) -> None:
    """Raise UnknownName if there is a metric that no checkpoint has."""
    rows = (each.get("metrics") or {} for experiment in experiments for each in experiment.checkpoint_records())
    for name in sorted(set(metrics).difference(*rows)):
        resolve(name, map(WholeExperiment, experiments), "metric")


def _rank(run: dict[str, Any], primary: dict[str, Any] | None) -> tuple[bool, Any, Any]:
    """Return the sort key that puts the best run first; without a primary metric, the newest."""
    value: Any = decode(metrics_of(run).get(primary["name"])) if primary else None
    if primary is None or not comparable(value):
        return True, 0, -run["created"]
    return False, -value if primary.get("goal") == "maximize" else value, -run["created"]


def _title(experiments: Sequence[Experiment]) -> str:
    return experiments[0].project.workplace.directory.name if experiments else "No experiments"


def _repository(experiments: Sequence[Experiment]) -> str | None:
    """Return the repository's URL. A path on this machine would tell the reader of the page nothing."""
    url = experiments[0].project.repository_url if experiments else "file:"
    return None if url.startswith("file:") else text(url)


def _left_out(points: int | None, without: int, notes: list[str], code: bool) -> list[str]:
    sentences = []
    if points is not None:
        sentences.append(
            f"Curves are reduced to {points:,} points, the least and the greatest value of each part. Values in the "
            "table are exact."
        )
    if without:
        sentences.append(f"The last {without:,} runs have no curves, to keep the page small.")
    if not code:
        sentences.append("The code of the runs was left out on request.")
    return sentences + notes
