"""`keepsake import`."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from keepsake.cli.opening import Settings
from keepsake.cli.options import Command
from keepsake.util import console

EXAMPLES = """
Bring the runs of an MLflow folder, and see first what would come:
$ keepsake import mlruns --dry-run
$ keepsake import mlruns

Bring TensorBoard's runs, and say which metric is the one to optimize:
$ keepsake import runs --metric val/loss --goal minimize

Bring W&B's offline runs without their files:
$ keepsake import wandb --no-files
"""
_KINDS = ["mlflow", "mlflow-db", "wandb", "trackio", "tensorboard"]
_SHOWN = 5  # warnings


@click.command("import", cls=Command, epilog=EXAMPLES)
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.option("--as", "kind", type=click.Choice(_KINDS), help="What SOURCE is, if it is not recognised")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be imported")
@click.option("--no-files", is_flag=True, help="Leave out the files of runs")
@click.option("--metric", metavar="NAME", help="The primary metric of the runs")
@click.option("--goal", type=click.Choice(["minimize", "maximize"]), default="minimize", help="Its goal")
@click.option("--again", is_flag=True, help="Also import runs that were removed from the repository")
@click.pass_context
def import_(
    ctx: click.Context,
    /,
    source: Path,
    kind: str | None,
    dry_run: bool,
    no_files: bool,
    metric: str | None,
    goal: str,
    again: bool,
) -> None:
    """Import the runs of MLflow, TensorBoard, W&B or trackio.

    SOURCE is a folder `mlruns`, a file `mlflow.db`, a folder with TensorBoard's event files, a file `run-….wandb` or
    a folder with some, or a database of trackio. None of these tools need be installed. SOURCE is only read.

    Importing again adds only what is new. An import that was interrupted goes on.
    """
    from keepsake.importing.importing import describe

    gc.enable()  # writing records makes garbage, and there may be thousands
    settings: Settings = ctx.obj
    done = settings.project().import_runs(
        source, kind=kind, files=not no_files, dry_run=dry_run, metric=metric, goal=goal, again=again
    )
    for warning in done.warnings[:_SHOWN]:
        console.warn(warning)
    if done.warnings[_SHOWN:]:
        console.warn(f"There are {len(done.warnings) - _SHOWN:,} more like these.")
    for error in done.errors:
        console.error(str(error))
    for line in describe(done):
        console.say(line)
    if done.errors:
        ctx.exit(1)
