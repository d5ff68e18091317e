"""`keepsake sync`."""

from __future__ import annotations

import click

from keepsake.cli.options import Command
from keepsake.cli.rendering import counted, short_id, write
from keepsake.config import redact_url
from keepsake.project import Project
from keepsake.util import console

EXAMPLES = """
Send what was recorded without a network, or left by a crash:
$ keepsake sync

Only see what that is:
$ keepsake sync --dry-run

Send it to the repository that is at the URL now, though it is another one than before:
$ keepsake sync --force
"""


@click.command("sync", cls=Command, epilog=EXAMPLES)
@click.option("-n", "--dry-run", is_flag=True, help="Only tell what is waiting")
@click.option(
    "-f",
    "--force",
    is_flag=True,
    help="Send also what was begun in another repository at the same URL, or is gone from the repository",
)
@click.pass_context
def sync(ctx: click.Context, /, dry_run: bool, force: bool) -> None:
    """Send to the repository what is only on this machine yet.

    The next run in the project does the same in the background. Recorded on purpose like this is what runs with
    KEEPSAKE_OFFLINE=1.
    """
    project = Project(repository=ctx.obj.repository, directory=ctx.obj.project_directory)
    waiting = project.pending()
    for each in waiting:
        parts = [counted(range(each.checkpoints), "new checkpoint"), f"{console.format_size(each.size)} of files"]
        write(f"* Experiment {short_id(each.entry.id)} ({', '.join(parts)}) → {redact_url(each.entry.repository)}")
    _say_unnamed(project)
    if not waiting:
        if ctx.obj.repository:
            project.workplace.view.require()
        console.say("Everything is in the repository.")
    if dry_run or not waiting:
        return
    sent = project.sync(force=force)
    failed = [one for one in sent if one.error is not None]
    for one in failed:
        console.error(f"Experiment {short_id(one.experiment_id)} is not fully sent: {one.error}")
    if failed:
        ctx.exit(1)
    console.say(f"Sent {counted(sent, 'experiment')}.")


def _say_unnamed(project: Project) -> None:
    """Say what crashes left of checkpoint() calls that never returned: only a person can give that up."""
    unnamed = project.workplace.unnamed_files()
    if unnamed:
        size = console.format_size(sum(path.stat().st_size for path in unnamed if path.exists()))
        console.say(
            f"Kept aside: {counted(unnamed, 'file')} ({size}) of checkpoints that were being made when their run was "
            f"killed, such as {unnamed[0]}. If you do not miss them, delete them."
        )
