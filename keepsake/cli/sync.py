"""`keepsake sync`."""

from __future__ import annotations

from contextlib import suppress

import click

from keepsake.cli.opening import Settings
from keepsake.cli.options import Command
from keepsake.cli.rendering import short_id, write
from keepsake.config import redact_url
from keepsake.exceptions import MissingBucket
from keepsake.project import Project
from keepsake.util import console

EXAMPLES = """
Send runs that were recorded offline, or that a crash interrupted:
$ keepsake sync

Only list them:
$ keepsake sync --dry-run

Send them even if another repository is at the URL now:
$ keepsake sync --force
"""


@click.command("sync", cls=Command, epilog=EXAMPLES)
@click.option("-n", "--dry-run", is_flag=True, help="Only list what is waiting")
@click.option(
    "-f",
    "--force",
    is_flag=True,
    help="Also send runs that began in another repository at the same URL, or that are gone from the repository",
)
@click.pass_context
def sync(ctx: click.Context, /, dry_run: bool, force: bool) -> None:
    """Send unsent runs on this machine to the repository.

    The next run in the project does the same in the background. Runs with KEEPSAKE_OFFLINE=1 wait on this machine until
    then.
    """
    settings: Settings = ctx.obj
    project = settings.project()
    waiting = project.pending()
    for each in waiting:
        parts = [console.plural(each.checkpoints, "new checkpoint"), f"{console.format_size(each.size)} of files"]
        write(f"* Experiment {short_id(each.entry.id)} ({', '.join(parts)}) → {redact_url(each.entry.repository)}")
    is_damaged = bool(project.workplace.damaged_entries())  # a warning has named them
    if not waiting and not is_damaged:
        with suppress(MissingBucket):  # the first run makes it
            project.workplace.repository.check()
        if missing := project.workplace.view.missing():
            raise missing
        console.say("Everything is in the repository.")
    sent = [] if dry_run else project.sync(force=force)
    _say_unnamed(project)  # sending sets some aside
    failed = [one for one in sent if one.error is not None]
    for one in failed:
        console.error(f"Experiment {short_id(one.experiment_id)} is not fully sent: {one.error}")
    if sent and not failed:
        console.say(f"Sent {console.plural(len(sent), 'experiment')}.")
    if failed or is_damaged:
        ctx.exit(1)


def _say_unnamed(project: Project) -> None:
    """Report files of checkpoint() calls that a crash interrupted, and damaged ones. Only the user may delete them."""
    unnamed = project.workplace.unnamed_files()
    if unnamed:
        size = console.format_size(sum(path.stat().st_size for path in unnamed if path.exists()))
        count = console.plural(len(unnamed), "file")
        console.say(
            f"Kept aside: {count} ({size}) of checkpoints that were unfinished when their run was "
            f"killed, or that were damaged, such as {unnamed[0]}. If you do not need them, delete them."
        )
