"""Making a report of experiments."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from keepsake.exceptions import ValidationError, WriteError
from keepsake.listing.fields import resolve
from keepsake.listing.subjects import WholeExperiment
from keepsake.metadata import Record, checkpoints_of
from keepsake.report.code import Code, collect_code
from keepsake.report.curves import Curves, collect_curves
from keepsake.report.page import assemble
from keepsake.report.payload import Pool
from keepsake.report.preview import chart_svg, rows_html
from keepsake.report.runs import metrics_of, params_of, run_of, text
from keepsake.status import statuses
from keepsake.util.console import Progress
from keepsake.util.files import write_output
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

    html: str = field(repr=False)
    runs: int
    left_out: tuple[str, ...]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, whole or not at all. Raises WriteError."""
        try:
            write_output(path, self.html.encode("utf-8"))
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
        packages = Pool()
        rows = _rows(experiments, packages, progress.advance)
        primary = next((row.run["primary"] for row in rows if row.run["primary"]), None)
        rows.sort(key=lambda row: _rank(row.run, primary))
        checkpoints = [checkpoints_of(row.record) for row in rows]
        begun = [row.run["created"] for row in rows]
        curves = collect_curves(list(zip(begun, checkpoints, strict=True)), metrics, points, progress.advance)
        collected = collect_code([row.experiment for row in rows], progress.advance) if code else None
    runs = [row.run for row in rows]
    title = _title(experiments) if title is None else title
    left_out = _left_out(curves, collected)
    meta = {
        "title": text(title),
        "repository": _repository(experiments),
        "made": made,
        "primary": primary,
        "packages": [dict(each) for each in packages.values()],
        "params": params_of(runs),
        "runs": runs,
        "curves": curves.to_json(),
        "code": collected.to_json() if collected else None,
        "notes": left_out,
    }
    blobs = {"curves": curves.data, **({"code": collected.data} if collected else {})}
    shown = escape_controls(title or "Report")
    preview = f"<h1>{escape(shown)}</h1>{chart_svg(checkpoints, primary)}{rows_html(runs, primary)}"
    return Report(assemble(f"{shown} · Keepsake", preview, meta, blobs), len(runs), tuple(left_out))


class _Row(NamedTuple):
    """A run of the page, and what it was made of."""

    run: dict[str, Any]
    experiment: Experiment
    record: Record


def _rows(experiments: Sequence[Experiment], packages: Pool, advance: Callable[[], object]) -> list[_Row]:
    found = statuses(experiments)
    rows = []
    for experiment in experiments:
        record = experiment.record()
        run = run_of(experiment, record, found.get(experiment.id, "unknown"), packages)
        rows.append(_Row(run, experiment, record))
        advance()
    return rows


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


def _left_out(curves: Curves, code: Code | None) -> list[str]:
    sentences = []
    if curves.points is not None:
        sentences.append(
            f"Curves are reduced to {curves.points:,} points, the least and the greatest value of each part. Values in "
            "the table are exact."
        )
    if curves.without:
        sentences.append(f"The last {curves.without:,} runs have no curves, to keep the page small.")
    if code is None:
        sentences.append("The code of the runs was left out on request.")
    return sentences + (code.notes if code else [])
