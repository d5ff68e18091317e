"""`keepsake du` and `keepsake prune`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from keepsake.cli.opening import Settings, confirm, open_project
from keepsake.cli.options import Command, IdCommand, id_argument
from keepsake.cli.rendering import short_id, table, write, write_json
from keepsake.pruning import Pruning
from keepsake.repository.usage import Usage
from keepsake.util import console
from keepsake.util.console import format_size, plural

DU_EXAMPLES = """
See what takes the space, largest first:
$ keepsake du

The same for a script:
$ keepsake du --json
"""
PRUNE_EXAMPLES = """
See what would be deleted:
$ keepsake prune --keep best:3,last:1 --dry-run

For each experiment, keep the files of its three best
checkpoints and of the last one:
$ keepsake prune --keep best:3,last:1

Of one experiment, keep only the best:
$ keepsake prune 5ffb0f6 --keep best
"""


@click.command("du", cls=Command, epilog=DU_EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print output in JSON format, in bytes")
@click.pass_obj
def du(settings: Settings, /, as_json: bool) -> None:
    """Show what takes the space in the repository, by experiment.

    The largest come first.
    """
    usage = open_project(settings).disk_usage()
    if as_json:
        experiments = [_json(each) for each in usage.experiments]
        write_json({"total": usage.total, "other": usage.other, "experiments": experiments})
        return
    rows = [["EXPERIMENT", "SIZE", "CODE", "CHECKPOINTS", "WAITING"], *map(_row, usage.experiments)]
    if usage.other:
        rows.append(["others", format_size(usage.other), "", "", ""])
    rows.append(["total", format_size(usage.total), "", "", ""])
    if not any(each.waiting for each in usage.experiments):
        rows = [row[:-1] for row in rows]
    write(table(rows))


def _row(usage: Usage) -> list[str]:
    checkpoints = f"{format_size(usage.checkpoints)} ({usage.archives})" if usage.archives else ""
    code, waiting = (format_size(size) if size else "" for size in (usage.code, usage.waiting))
    return [short_id(usage.id), format_size(usage.size), code, checkpoints, waiting]


def _json(usage: Usage) -> dict[str, Any]:
    return {"id": usage.id, "size": usage.size, **{name: size for name, size in vars(usage).items() if name != "id"}}


@click.command("prune", cls=IdCommand, epilog=PRUNE_EXAMPLES)
@id_argument("ids", "[ID...]", nargs=-1)
@click.option("--keep", metavar="POLICY", required=True, help="Such as best:3,last:1, or best:3, or last:2")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be deleted")
@click.option("-f", "--force", is_flag=True, help="Do not ask")
@click.pass_context
def prune(ctx: click.Context, /, ids: Sequence[str], keep: str, dry_run: bool, force: bool) -> None:
    """Delete the files of checkpoints that a policy does not keep.

    Metrics stay. The policy says how many checkpoints of each experiment keep their files: the best by the primary
    metric, and the last. Without IDs, all experiments are pruned. Running ones are left alone.
    """
    project = open_project(ctx.obj)
    pruning = project.plan_pruning(keep, ids)
    for experiment in pruning.running:
        console.say(f"Experiment {experiment.short_id()} is running, so it is left alone.")
    if not pruning.experiments:
        console.say("Nothing to prune.")
        return
    if dry_run or not force:
        write(_plan(pruning))
    if dry_run:
        return
    if not force and not confirm():
        ctx.exit(1)
    done = project.carry_out(pruning)
    for experiment in done.running[len(pruning.running) :]:
        console.say(f"Experiment {experiment.short_id()} is running now, so it is left alone.")
    count = sum(len(each.checkpoints) for each in done.experiments)
    console.say(f"Pruned {plural(count, 'checkpoint')} ({format_size(done.size)}). Metrics stay.")


def _plan(pruning: Pruning) -> str:
    rows = [["EXPERIMENT", "PRUNED", "SIZE", "KEPT"]]
    for each in pruning.experiments:
        size = format_size(each.size)
        rows.append([each.experiment.short_id(), str(len(each.checkpoints)), size, str(each.kept)])
    return f"Checkpoints whose files would be deleted:\n{table(rows)}\ntotal: {format_size(pruning.size)}"
