"""`keepsake logs`."""

from __future__ import annotations

import sys

import click

from keepsake.cli.opening import Settings, open_project
from keepsake.cli.options import IdCommand, id_argument
from keepsake.util.console import color_enabled
from keepsake.util.values import escape_all_but_colors

EXAMPLES = """
See what the latest run has printed:
$ keepsake logs latest

The last 20 lines, and what comes from now on:
$ keepsake logs -1 -n 20 -f

Look for a warning in a run that failed:
$ keepsake logs 5ffb0f6 | grep -i warning
"""


@click.command("logs", cls=IdCommand, epilog=EXAMPLES)
@id_argument()
@click.option("-n", "--tail", metavar="N", type=click.IntRange(min=0), help="Only the last N lines")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends, or Ctrl-C")
@click.pass_obj
def logs(settings: Settings, /, id: str, tail: int | None, follow: bool) -> None:
    """Print what a run printed to stdout and stderr.

    It is there if the script passed capture_output=True to keepsake.init(), or ran with KEEPSAKE_CAPTURE_OUTPUT=1.
    A checkpoint's ID stands for its experiment. Colors are kept on a terminal.
    """
    experiment, _ = open_project(settings).target(id)
    try:
        for text in experiment.follow_logs(tail) if follow else [experiment.logs(tail)]:
            sys.stdout.write(escape_all_but_colors(text, colors=color_enabled(sys.stdout)))
            sys.stdout.flush()
    except KeyboardInterrupt:
        if not follow:
            raise
