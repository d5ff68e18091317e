"""`keepsake push` and `keepsake pull`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from keepsake.cli._options import Command, id_argument
from keepsake.cli._project import open_project
from keepsake.cli._render import counted, short_id
from keepsake.util import console

PUSH_EXAMPLES = """
Copy all experiments of a local repository to a bucket:
$ keepsake push s3://our-bucket/vision

Copy two of them:
$ keepsake push s3://our-bucket/vision 5ffb0f6 a1b2c3d
"""
PULL_EXAMPLES = """
Copy all experiments of a bucket to this project's repository:
$ keepsake pull gs://our-bucket/vision

Copy one of them:
$ keepsake pull gs://our-bucket/vision 5ffb0f6
"""
AGAIN = "\n\nWhat is there already is not copied again, so a copy that was interrupted goes on where it was."


@click.command("push", cls=Command, epilog=PUSH_EXAMPLES, help="Copy experiments to another repository." + AGAIN)
@click.argument("url", metavar="URL")
@id_argument("ids", "[ID...]", nargs=-1)
@click.pass_context
def push(ctx: click.Context, /, url: str, ids: Sequence[str]) -> None:
    """Copy experiments to another repository."""
    _copy(ctx, url, ids, is_pull=False)


@click.command("pull", cls=Command, epilog=PULL_EXAMPLES, help="Copy experiments from another repository." + AGAIN)
@click.argument("url", metavar="URL")
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.pass_context
def pull(ctx: click.Context, /, url: str, ids: Sequence[str]) -> None:
    """Copy experiments from another repository."""
    _copy(ctx, url, ids, is_pull=True)


def _copy(ctx: click.Context, url: str, ids: Sequence[str], *, is_pull: bool) -> None:
    copy = open_project(ctx.obj)._copy(url, ids, pull=is_pull)
    with console.Progress("Copying", copy.size) as progress:
        results = list(copy.run(progress.advance))
    failed = [(record, error) for record, error in results if error is not None]
    for record, error in failed:
        console.error(f"Experiment {short_id(record['id'])} is not wholly copied: {error}")
    whole = len(results) - len(failed)
    console.say(f"Copied {counted(range(whole), 'experiment')} ({console.format_size(copy.size)} of files were new).")
    if failed:
        ctx.exit(1)
