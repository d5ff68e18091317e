"""`keepsake ls` and `keepsake ps`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from keepsake.cli.listing import Wanted, listing_options
from keepsake.cli.opening import Settings, open_project
from keepsake.cli.options import Command
from keepsake.cli.rendering import write, write_json
from keepsake.cli.tall import tall_table
from keepsake.cli.wide import output_width, wide_table
from keepsake.display.overview import overview
from keepsake.listing.filters import Filter, parse_filter, parse_sort
from keepsake.listing.index import Summary
from keepsake.util import console
from keepsake.util.values import escape_controls

LS_EXAMPLES = """
List all experiments in the current project:
$ keepsake ls

List experiments that have run for 50 steps or less:
$ keepsake ls --filter "step <= 50"

List experiments where the parameter "optimizer" is "adam" and
the best "accuracy" metric is greater than 0.8:
$ keepsake ls --filter "optimizer = adam" --filter "accuracy > 0.8"

Sort all stopped experiments by the metric "val_loss":
$ keepsake ls --sort "val_loss" --filter "status = stopped"

A filter or sort key names a metric of the best checkpoint, a param, or created, step,
user, host, command or status (running, stopped, failed, lost). Operators: = != < <= > >=
Also available as: keepsake list
"""
PS_EXAMPLES = """
List the running experiments:
$ keepsake ps

List those that do well so far, latest first:
$ keepsake ps --filter "val_loss < 0.2" --sort created-desc

Also available as: keepsake processes
"""


@click.command("ls", cls=Command, epilog=LS_EXAMPLES)
@listing_options
@click.pass_obj
def ls(settings: Settings, /, filters: Sequence[str], **options: Any) -> None:
    """List experiments in this project."""
    _list(settings, [parse_filter(text) for text in filters if text], Wanted(**options))


@click.command("ps", cls=Command, epilog=PS_EXAMPLES)
@listing_options
@click.pass_obj
def ps(settings: Settings, /, filters: Sequence[str], **options: Any) -> None:
    """List running experiments in this project."""
    others = [each for each in map(parse_filter, filter(None, filters)) if each.name != "status"]
    _list(settings, [*others, parse_filter("status = running")], Wanted(**options))


def _list(settings: Settings, filters: list[Filter], wanted: Wanted) -> None:
    wanted.check()
    orders = [parse_sort(key) for key in wanted.sort if key]
    view = open_project(settings).workplace.view
    tests = [each.matches for each in filters]

    def find() -> list[Summary]:
        found = view.summaries(tests)[-wanted.last if wanted.last else 0 :]
        for order in reversed(orders):
            found = order.apply(found)
        return found[: wanted.limit]

    _print(find(), wanted)


def _print(summaries: list[Summary], wanted: Wanted) -> None:
    if wanted.quiet:
        ids = "".join([f"{summary.id}\n" for summary in summaries])
        write(escape_controls(ids, keep_newlines=True), newline=False)
    elif wanted.as_json:
        write_json([_json(summary) for summary in summaries])
    elif not summaries:
        console.say("No experiments found")
    elif wanted.is_wide:
        found = overview(summaries, everything=wanted.everything)
        write(wide_table(found.columns, found.same, output_width()))
    else:
        write(tall_table(summaries, wanted.everything))


def _json(summary: Summary) -> dict[str, Any]:
    return {
        "id": summary.id,
        "created": summary.created_text,
        "params": summary.raw_params or {},
        "command": summary.command,
        "num_checkpoints": summary.num_checkpoints,
        "latest_checkpoint": summary.latest,
        "best_checkpoint": summary.best,
        "user": summary.user,
        "host": summary.host,
        "running": summary.running,
        "status": summary.status,
        "ended": summary.ended,
        "end_reason": summary.end_reason,
        "error": summary.error,
        "name": summary.name,
        "tags": summary.tags,
        "notes": summary.notes,
        "parent": summary.parent,
    }
