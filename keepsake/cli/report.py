"""`keepsake report`."""

from __future__ import annotations

import click

from keepsake.cli.opening import Settings, complete_filter, open_project
from keepsake.cli.options import Command, filter_option
from keepsake.util import console

EXAMPLES = """
Make a page of all experiments, to look at or to send:
$ keepsake report

Only the good ones, under another name:
$ keepsake report "val_loss < 0.2" -o good.html

Without code, and with the curves of one metric:
$ keepsake report --no-code --metric val_loss
"""


@click.command("report", cls=Command, epilog=EXAMPLES)
@click.argument("filter", metavar="[FILTER]", required=False, shell_complete=complete_filter)
@filter_option("The same as FILTER. Repeatable", "FILTER")
@click.option("-o", "--output", metavar="FILE", default="report.html", help="The file to write. Default: report.html")
@click.option("-m", "--metric", "metrics", metavar="NAME", multiple=True, help="Only curves of this metric. Repeatable")
@click.option(
    "--points",
    metavar="N",
    type=click.IntRange(2),
    help="The most points of a curve. Default: all, if the page stays small",
)
@click.option("--no-code", is_flag=True, help="Leave out the code of the experiments")
@click.option("--title", metavar="TEXT", help="The title. Default: the name of the project directory")
@click.pass_obj
def report(
    settings: Settings,
    /,
    filter: str | None,
    filters: tuple[str, ...],
    output: str,
    metrics: tuple[str, ...],
    points: int | None,
    no_code: bool,
    title: str | None,
) -> None:
    """Make a page that shows experiments, to look at or to send.

    It is one HTML file with the table, the curves and the code. It loads nothing, and needs no server.
    """
    project = open_project(settings)
    project.workplace.view.require()
    texts = [text for text in (filter, *filters) if text]
    wanted = " and ".join(f"({text})" for text in texts) if texts[1:] else "".join(texts)
    experiments = project.experiments.list(wanted or None)
    made = experiments.report(output, points=points, metrics=metrics or None, code=not no_code, title=title)
    size = console.format_size(len(made.html.encode()))
    console.say(f"Wrote {output}: {console.plural(len(experiments), 'experiment')}, {size}.")
    for sentence in made.left_out:
        console.say(sentence)
