"""`keepsake plot`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from keepsake.cli.opening import Settings, complete_metrics, open_project
from keepsake.cli.options import IdCommand, filter_option, id_argument
from keepsake.cli.rendering import is_utf8, write
from keepsake.collection import ExperimentList
from keepsake.display.axes import picture
from keepsake.display.terminal import to_ascii
from keepsake.exceptions import DoesNotExist, UnknownName, WriteError
from keepsake.listing.filters import Query
from keepsake.project import Project
from keepsake.util import console
from keepsake.util.files import write_output

EXAMPLES = """
Draw the validation loss of all experiments, or of the best ten:
$ keepsake plot val_loss

Draw that of two of them, smoothed, over the time since their start:
$ keepsake plot val_loss 5ffb0f6 a1b2c3d --smooth 0.9 --x time

Draw the primary metric of the best run and the last one:
$ keepsake plot best -1

Make a picture for a paper, with colors by the learning rate:
$ keepsake plot val_loss --filter "optimizer = adam" --by lr -o loss.pdf

See which params matter:
$ keepsake plot val_loss --importance
"""
_MAX_WIDTH, _MAX_HEIGHT = 160, 40  # characters and lines; a larger drawing tells no more
FORMATS = ("png", "svg", "pdf")


@dataclass
class Wanted:
    """The options that say what is drawn, and how."""

    metric: str | None
    logy: bool
    x: str
    smooth: float
    by: str | None
    importance: bool

    def check(self, is_file: bool) -> None:
        """Raise UsageError for options that cannot go together."""
        if self.by is not None and not is_file:
            raise click.UsageError("--by sets the colors of a picture. Name its file with -o.")
        if self.importance and (self.logy or self.smooth or self.by is not None or self.x != "step"):
            raise click.UsageError("--importance draws bars. Leave out --logy, --smooth, --by and --x.")


@click.command("plot", cls=IdCommand, epilog=EXAMPLES)
@click.argument("metric", required=False, shell_complete=complete_metrics)
@id_argument("ids", "[ID]...", nargs=-1)
@filter_option("Only experiments that match, as in ls")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(dir_okay=False), help="Make a .png, .svg or .pdf with Matplotlib"
)
@click.option("--x", type=click.Choice(["step", "time"]), default="step", help="The x axis. Default: step")
@click.option("--logy", is_flag=True, help="Make the y axis logarithmic")
@click.option(
    "--smooth",
    metavar="WEIGHT",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    help="Show a moving average, stronger towards 1, such as 0.9",
)
@click.option("--by", metavar="NAME", help="Colors by a param, metric or field, in a picture")
@click.option("--importance", is_flag=True, help="How much each param matters for the metric, instead of curves")
@click.pass_obj
def plot(
    settings: Settings, /, ids: Sequence[str], filters: Sequence[str], output: str | None, **options: object
) -> None:
    """Draw a metric of experiments in the terminal, or as a picture.

    Without a metric, it is the primary one: an ID may come first. Without an ID, it shows all experiments; of more than
    10, the best 10. Each curve is marked by a letter, so that it can be told from the others without colors.
    """
    wanted = Wanted(**options)  # type: ignore[arg-type]
    wanted.check(output is not None)
    if output is not None:
        _format(output)
    project = open_project(settings)
    try:
        _show(_chosen(project, ids, filters), wanted, output)
    except UnknownName:
        if wanted.metric is None or not _is_id(project, wanted.metric):
            raise
        _show(_chosen(project, [wanted.metric, *ids], filters), replace(wanted, metric=None), output)


def _is_id(project: Project, text: str) -> bool:
    try:
        return bool(project.target(text))
    except DoesNotExist:
        return False


def _show(experiments: ExperimentList, wanted: Wanted, output: str | None) -> None:
    if not experiments:
        console.say("No experiments found.")
    elif output is not None:
        _save(experiments, wanted, output)
    else:
        _draw(experiments, wanted)


def _format(output: str) -> str:
    kind = output.rpartition(".")[2].lower()
    if kind not in FORMATS:
        raise click.UsageError(
            f"{output!r} is not the name of a picture. End it with {', '.join('.' + k for k in FORMATS[:-1])} or "
            f".{FORMATS[-1]}."
        )
    return kind


def _chosen(project: Project, ids: Sequence[str], filters: Sequence[str]) -> ExperimentList:
    """Return the named experiments, or else all, that match the filters."""
    try:
        named = dict.fromkeys(project.target(id)[0] for id in ids)
    except DoesNotExist as error:
        raise DoesNotExist(f"{error} `keepsake plot` draws one metric. IDs follow its name.") from error
    found = ExperimentList(named) if ids else project.experiments.list()
    texts = [text for text in filters if text]
    if not texts:
        return found
    matching = {summary.id for summary in project.workplace.view.summaries(Query(texts))}
    return ExperimentList(experiment for experiment in found if experiment.id in matching)


def _draw(experiments: ExperimentList, wanted: Wanted) -> None:
    size = shutil.get_terminal_size()
    width, color = min(size.columns, _MAX_WIDTH), console.color_enabled(sys.stdout)
    if wanted.importance:
        drawn = experiments.draw_importance(wanted.metric, width=width, color=color)
    else:
        drawn = experiments.draw(
            wanted.metric,
            logy=wanted.logy,
            x=wanted.x,
            smoothing=wanted.smooth,
            width=width,
            height=min(size.lines - 1, _MAX_HEIGHT),
            color=color,
        )
    write(drawn if is_utf8(sys.stdout) else to_ascii(drawn))


def _save(experiments: ExperimentList, wanted: Wanted, output: str) -> None:
    """Draw with Matplotlib into a file. It is there as a whole, or not at all."""

    def draw() -> Any:
        if wanted.importance:
            return experiments.importance(wanted.metric)
        return experiments.plot(wanted.metric, wanted.logy, x=wanted.x, smoothing=wanted.smooth, color=wanted.by)

    data = picture(draw, _format(output))
    try:
        write_output(output, data)
    except OSError as error:
        raise WriteError(f"{output!r} cannot be written: {error.strerror}. Name another file.") from error
    console.say(f"Wrote {output}")
