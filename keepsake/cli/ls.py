"""`keepsake ls` and `keepsake ps`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from keepsake.cli.forms import Found, columns_for_people, csv_of, json_of
from keepsake.cli.listing import ListingCommand, Wanted, listing_options
from keepsake.cli.opening import Settings, open_project
from keepsake.cli.rendering import write, write_json
from keepsake.listing.filters import Query, is_about
from keepsake.util import console
from keepsake.util.values import escape_controls

_NOTHING = "No experiments found."
_NO_MATCH = "No experiments match the filter."
_NOT_RUNNING = "No running experiments found."
LS_EXAMPLES = """
List all experiments in the current project:
$ keepsake ls

List experiments that have run for 50 steps or less:
$ keepsake ls --filter "step <= 50"

List experiments where the parameter "optimizer" is "adam" and
the best "accuracy" metric is greater than 0.8:
$ keepsake ls --filter "optimizer = adam and accuracy > 0.8"

List experiments that failed, or have certain params, one of them nested:
$ keepsake ls -f "status = failed or (lr > 0.1 and model.depth in (2, 4))"

Sort all stopped experiments by the metric "val_loss":
$ keepsake ls --sort "val_loss" --filter "status = stopped"

Show chosen columns of the five best experiments:
$ keepsake ls --sort val_loss --limit 5 -c optimizer,best:val_loss,duration

Average over the seeds, and print a table for a pull request:
$ keepsake ls --group --format github

Follow the experiments of today:
$ keepsake ls --filter "created >= today" --watch

A filter or sort key names a metric of the best checkpoint (or else of the
latest), a param (lr, optimizer.lr), or created, ended, duration, step, user,
host, command, name, tags, checkpoints, status (running, stopped, failed,
lost) …. Operators: = != < <= > >= in (…), joined by and, or, not and
parentheses.

Also available as: keepsake list
"""
PS_EXAMPLES = """
List the running experiments:
$ keepsake ps

Look at their metrics every 10 seconds:
$ keepsake ps -c step,last:val_loss --watch=10

List those that do well so far, latest first:
$ keepsake ps --filter "val_loss < 0.2" --sort created-desc

Also available as: keepsake processes
"""


@click.command("ls", cls=ListingCommand, epilog=LS_EXAMPLES)
@listing_options
@click.pass_obj
def ls(settings: Settings, /, filters: Sequence[str], **options: Any) -> None:
    """List experiments in this project."""
    given = list(filter(None, filters))
    _list(settings, given, Wanted(**options), _NO_MATCH if given else _NOTHING)


@click.command("ps", cls=ListingCommand, epilog=PS_EXAMPLES)
@listing_options
@click.pass_obj
def ps(settings: Settings, /, filters: Sequence[str], **options: Any) -> None:
    """List running experiments in this project."""
    others = [text for text in filters if text and not is_about(text, "status")]
    _list(settings, [*others, "status = running"], Wanted(**options), _NOT_RUNNING)


def _list(settings: Settings, filters: Sequence[str], wanted: Wanted, nothing: str) -> None:
    """List experiments in the form that is wanted. `nothing` is said if there are none."""
    wanted.check()
    sort = list(filter(None, wanted.sort))
    view = open_project(settings).workplace.view

    def find() -> Found:
        names = wanted.column_names
        query = Query(filters, sort, [*names, *(f"params.{name}" for name in wanted.apart_from or ())])
        runs = query.sort(view.summaries(query)[-wanted.last if wanted.last else 0 :])
        return Found(runs[: wanted.limit], query.columns[: len(names)])

    if wanted.watch is None:
        _print(find(), wanted, nothing)
    else:
        from keepsake.cli.watching import watch

        watch(find, lambda found, height: _lines(found, wanted, height) or [nothing], wanted.watch)


def _print(found: Found, wanted: Wanted, nothing: str) -> None:
    if wanted.quiet:
        ids = "".join([f"{run.id}\n" for run in found.runs])
        write(escape_controls(ids, keep_newlines=True), newline=False)
    elif wanted.as_json:
        write_json(json_of(found, wanted))
    elif wanted.as_csv:
        from keepsake.cli.export import csv_bytes

        click.echo(csv_bytes(csv_of(found, wanted)), nl=False)
    elif not found.runs:
        console.say(nothing)
    elif wanted.format is not None:
        from keepsake.cli.export import formatted

        write(formatted(columns_for_people(found, wanted, plain=True).columns, wanted.format))
    elif wanted.is_wide:
        write("\n".join(_lines(found, wanted, None)))
    else:
        from keepsake.cli.tall import tall_table

        write(tall_table(found.runs, wanted.everything))


def _lines(found: Found, wanted: Wanted, height: int | None) -> list[str]:
    """Return the table for people, with at most `height` lines; none if there are no experiments."""
    if not found.runs:
        return []
    from keepsake.cli.wide import output_width, wide_table

    hint = "--csv" if wanted.columns or wanted.group is not None else "-c NAME, --layout tall"
    sheet = wide_table(*columns_for_people(found, wanted), output_width(), hint)
    return sheet.within(height, from_the_end=not wanted.sort and wanted.group is None)
