"""`keepsake sync`."""

from __future__ import annotations

import click

from keepsake.cli._options import Command
from keepsake.cli._render import counted, short_id, write
from keepsake.config import redact_url
from keepsake.project import Project
from keepsake.util import console

EXAMPLES = """
Send what was recorded without a network, or left by a crash:
$ keepsake sync

Only see what that is:
$ keepsake sync --dry-run
"""


@click.command("sync", cls=Command, epilog=EXAMPLES)
@click.option("-n", "--dry-run", is_flag=True, help="Only tell what is waiting")
@click.pass_context
def sync(ctx: click.Context, /, dry_run: bool) -> None:
    """Send to the repository what is only on this machine yet.

    The next run in the project does the same in the background. Recorded on purpose like this is what runs with
    KEEPSAKE_OFFLINE=1.
    """
    project = Project(repository=ctx.obj.repository, directory=ctx.obj.project_directory)
    waiting = project._pending()
    if not waiting:
        console.say("Everything is in the repository.")
    for each in waiting:
        parts = [counted(range(each.checkpoints), "new checkpoint"), f"{console.format_size(each.size)} of files"]
        write(f"* Experiment {short_id(each.entry.id)} ({', '.join(parts)}) → {redact_url(each.entry.repository)}")
    if dry_run or not waiting:
        return
    with console.Progress("Sending", sum(each.size for each in waiting)) as progress:
        errors = [project._send(each, progress.advance) for each in waiting]
    for each, error in zip(waiting, errors, strict=True):
        if error is not None:
            console.error(f"Experiment {short_id(each.entry.id)} is not wholly sent: {error}")
    if any(errors):
        ctx.exit(1)
    console.say(f"Sent {counted(waiting, 'experiment')}.")
