"""`keepsake doctor`."""

from __future__ import annotations

import sys

import click

from keepsake.cli.opening import open_project
from keepsake.cli.options import Command
from keepsake.cli.rendering import write, write_json
from keepsake.util import console
from keepsake.util.values import escape_controls

EXAMPLES = """
Check for problems (exit status 1 if there are any):
$ keepsake doctor

Also read every archive completely, and compare every file with its checksum:
$ keepsake doctor --thorough

Repair the problems that can be repaired without loss:
$ keepsake doctor --fix
"""


@click.command("doctor", cls=Command, epilog=EXAMPLES)
@click.option("--thorough", is_flag=True, help="Also read every archive completely. This can take long")
@click.option("--fix", is_flag=True, help="Repair what can be repaired. Archives are moved aside, never deleted")
@click.option("--json", "as_json", is_flag=True, help="Print output in JSON format")
@click.pass_context
def doctor(ctx: click.Context, /, thorough: bool, fix: bool, as_json: bool) -> None:
    """Find problems in the repository, and repair them.

    Problems are unreadable records, archives that are missing, damaged or without a record, heartbeats without a run,
    remains of crashes, and missing permissions. Objects younger than an hour are ignored, because a run may still be
    writing them. Without --fix, nothing is changed.
    """
    project = open_project(ctx.obj)
    diagnosis = project.doctor(thorough=thorough, fix=fix)
    problems = diagnosis.problems
    if diagnosis.is_empty and not problems and (missing := project.workplace.view.missing()):
        raise missing
    if as_json:
        write_json([problem.to_json() for problem in problems])
    else:
        width = console.terminal_width(sys.stdout) if console.is_terminal(sys.stdout) else None
        for problem in problems:
            text = escape_controls(f"{problem.kind}: {problem.key}\n  {problem.message}", keep_newlines=True)
            write("\n".join(console.wrap(text, width)))
    left = len(problems) - diagnosis.repaired
    if diagnosis.aside:
        console.say(diagnosis.aside)
    fixable = None if fix else sum(problem.fix is not None for problem in problems)
    _conclude(left, diagnosis.repaired, fixable)
    if left:
        ctx.exit(1)


def _conclude(left: int, repaired: int, fixable: int | None) -> None:
    """Say what was repaired and what is left. `fixable`: how many could be repaired; None if that was tried."""
    if repaired:
        console.say(f"Repaired: {console.plural(repaired, 'problem')}.")
    if left:
        hint = f" `keepsake doctor --fix` repairs {fixable} of them." if fixable else ""
        if fixable is None:
            hint = " --fix cannot repair what is left. Each problem says what to do."
        console.warn(f"Found: {console.plural(left, 'problem')}.{hint}")
    elif not repaired:
        console.say("All is well.")
