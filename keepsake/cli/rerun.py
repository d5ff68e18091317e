"""`keepsake rerun`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from keepsake.cli.opening import open_project
from keepsake.cli.options import IdCommand, id_argument
from keepsake.cli.rendering import write
from keepsake.util import console
from keepsake.util.values import escape_controls

EXAMPLES = """
Run an experiment again, with the code that it had:
$ keepsake rerun 5ffb0f6

With another value for --lr (or lr=) of its command:
$ keepsake rerun 5ffb0f6 --set lr=0.1

With an option that its command did not have:
$ keepsake rerun 5ffb0f6 -- --dropout 0.5

Start with the weights of a checkpoint, and only say how:
$ keepsake rerun 9f02c7d --dry-run
"""


@click.command("rerun", cls=IdCommand, epilog=EXAMPLES)
@id_argument()
@click.argument("arguments", metavar="[-- ARGUMENT...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="Another value for an option. Repeatable")
@click.option("-o", "--output-directory", metavar="DIR", help="An empty directory. Default: a new temporary one")
@click.option("--python", metavar="PATH", help="The interpreter. Default: the one that runs this command")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be run")
@click.pass_context
def rerun(
    ctx: click.Context,
    /,
    id: str,
    arguments: Sequence[str],
    settings: Sequence[str],
    output_directory: str | None,
    python: str | None,
    dry_run: bool,
) -> None:
    """Run the command of an experiment again, in a new directory.

    The directory gets the files of its beginning. Those of a checkpoint come on top, if ID is one. The command gets
    your environment variables. The new run has ID as its parent. The exit status is that of the command.
    """
    changes = dict(map(_setting, settings))
    project = open_project(ctx.obj)
    target = project.target(id)
    plan = project.plan_rerun(target, changes, arguments, python)
    for name, (before, after) in plan.changed.items():
        console.say(escape_controls(f"{name}: {before} → {after}"))
    recorded = target[0].python_version
    if recorded and python is None and recorded.split(".")[:2] != _version():
        console.warn(f"The experiment ran with Python {recorded}. --python names another interpreter.")
    if dry_run:
        where = "" if plan.directory == "." else f"cd {escape_controls(plan.directory)} && "
        write(where + escape_controls(plan.command))
        return
    ctx.exit(project.rerun(target, changes, arguments, python, output_directory))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.UsageError(f"{text!r} is not a setting. Write NAME=VALUE, such as --set lr=0.1.")
    return name, value


def _version() -> list[str]:
    import platform

    return platform.python_version().split(".")[:2]
