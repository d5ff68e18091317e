"""`keepsake push` and `keepsake pull`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from keepsake.cli.opening import open_project
from keepsake.cli.options import IdCommand, id_argument
from keepsake.cli.rendering import short_id
from keepsake.util import console

if TYPE_CHECKING:
    from keepsake.repository.copying import Copied

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
AGAIN = """

Files that the target has already are not copied again, so an interrupted copy can be continued. Every archive is
checked during the copy. A damaged archive is reported and does not replace anything. Experiments that were removed from
the target stay removed, unless you name them."""
THOROUGH = "Also read archives that the target has already, and repair damaged ones"


@click.command("push", cls=IdCommand, epilog=PUSH_EXAMPLES, help="Copy experiments to another repository." + AGAIN)
@click.argument("url", metavar="URL")
@id_argument("ids", "[ID...]", nargs=-1)
@click.option("--thorough", is_flag=True, help=THOROUGH)
@click.pass_context
def push(ctx: click.Context, /, url: str, ids: Sequence[str], thorough: bool) -> None:
    """Copy experiments to another repository."""
    _say(ctx, open_project(ctx.obj).push(url, ids, thorough=thorough))


@click.command("pull", cls=IdCommand, epilog=PULL_EXAMPLES, help="Copy experiments from another repository." + AGAIN)
@click.argument("url", metavar="URL")
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option("--thorough", is_flag=True, help=THOROUGH)
@click.pass_context
def pull(ctx: click.Context, /, url: str, ids: Sequence[str], thorough: bool) -> None:
    """Copy experiments from another repository."""
    _say(ctx, open_project(ctx.obj).pull(url, ids, thorough=thorough))


def _say(ctx: click.Context, copied: Copied) -> None:
    if copied.is_new:
        console.say(f"Created the repository {copied.target_url}.")
    failed = [outcome for outcome in copied.outcomes if outcome.errors]
    for outcome in failed:
        for error in outcome.errors:
            console.error(f"Experiment {short_id(outcome.record['id'])} is not fully copied. {error}")
    if copied.left_out:
        left_out = console.plural(copied.left_out, "experiment")
        console.say(
            f"Left out: {left_out} that somebody removed from {copied.target_url}. To copy one anyway, name its ID."
        )
    whole = console.plural(len(copied.outcomes) - len(failed), "experiment")
    more = f" Not fully copied: {len(failed)}." if failed else ""
    new = f"{console.format_size(copied.sent)} of files were new" if copied.sent else "no files were new"
    console.say(f"Copied {whole} ({new}).{more}")
    if failed:
        ctx.exit(1)
