"""`keepsake doctor`."""

from __future__ import annotations

import click

from keepsake.cli._options import Command
from keepsake.cli._project import open_project
from keepsake.cli._render import counted, write, write_json
from keepsake.exceptions import KeepsakeError
from keepsake.util import console
from keepsake.util.values import escape_controls

EXAMPLES = """
See whether all is well (exit status 1 if not):
$ keepsake doctor

Also read every archive whole, and compare every file with its checksum:
$ keepsake doctor --thorough

Repair what can be repaired without losing anything:
$ keepsake doctor --fix
"""


@click.command("doctor", cls=Command, epilog=EXAMPLES)
@click.option("--thorough", is_flag=True, help="Also read every archive whole, which may take long")
@click.option("--fix", is_flag=True, help="Repair what can be. Nothing that an experiment names is ever deleted")
@click.option("--json", "as_json", is_flag=True, help="Print output in JSON format")
@click.pass_context
def doctor(ctx: click.Context, /, thorough: bool, fix: bool, as_json: bool) -> None:
    """Look for what is wrong in the repository, and repair it.

    Unreadable records, archives that are missing, damaged or nobody's, heartbeats without a run, what crashes left
    behind, rights that lack. What is younger than an hour may just be being written, and is left alone.
    """
    project = open_project(ctx.obj)
    with console.Progress("Looking at archives", None, unit="archives") as progress:
        problems = list(project._examine(thorough=thorough, advance=progress.advance))
    if as_json:
        write_json([problem.to_json() for problem in problems])
    left = 0
    for problem in problems:
        if not as_json:
            write(escape_controls(f"{problem.kind}: {problem.key}\n  {problem.message}", keep_newlines=True))
        if not fix or problem.fix is None:
            left += 1
            continue
        try:
            problem.fix()
        except KeepsakeError as error:
            left += 1
            console.error(f"{problem.key} could not be repaired: {error}")
    _conclude(left, len(problems) - left, fixable=sum(p.fix is not None for p in problems) if not fix else 0)
    if left:
        ctx.exit(1)


def _conclude(left: int, repaired: int, *, fixable: int) -> None:
    if repaired:
        console.say(f"Repaired: {counted(range(repaired), 'problem')}.")
    if left:
        hint = f" `keepsake doctor --fix` repairs {fixable} of them." if fixable else ""
        console.warn(f"Found: {counted(range(left), 'problem')}.{hint}")
    elif not repaired:
        console.say("All is well.")
