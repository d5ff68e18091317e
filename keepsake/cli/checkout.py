"""`keepsake checkout`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keepsake.cli.opening import Settings, confirm, open_project, pick
from keepsake.cli.options import ID_HINT, IdCommand, id_argument
from keepsake.cli.rendering import short_id
from keepsake.config import find_place, project_directory
from keepsake.exceptions import ConfigNotFound
from keepsake.project import undo_checkout
from keepsake.util import console
from keepsake.util.directories import absolute

if TYPE_CHECKING:
    from keepsake.restoring.checkout import Plan
    from keepsake.restoring.undo import Undone

NAMES_SHOWN = 5  # names in a list of files

EXAMPLES = """
Restore the code and weights of an experiment's best checkpoint:
$ keepsake checkout 5ffb0f6

Copy them into a separate directory:
$ keepsake checkout 9f02c7d -o /tmp/best

Copy only the weights:
$ keepsake checkout 9f02c7d --path model.pth

Take back the last checkout:
$ keepsake checkout --undo
"""


@click.command("checkout", cls=IdCommand, epilog=EXAMPLES)
@id_argument(metavar="[ID]", required=False)
@click.option("-o", "--output-directory", metavar="DIR", help="Output directory. Default: the project's")
@click.option("-f", "--force", is_flag=True, help="Do not ask, even if the directory is not empty")
@click.option("--path", metavar="PATH", help="Only this file or directory. Default: all files")
@click.option(
    "--undo",
    is_flag=True,
    help="Take back the last checkout: put back what it overwrote, remove what it added. A second --undo takes back "
    "the first",
)
@click.pass_context
def checkout(
    ctx: click.Context, /, id: str | None, output_directory: str | None, force: bool, path: str | None, undo: bool
) -> None:
    """Copy files of an experiment or checkpoint into the project.

    The files of the experiment come first, and those of the checkpoint replace them. An experiment's ID stands for its
    best checkpoint, or its latest if there is no primary metric. Overwritten files are kept for --undo.
    """
    settings: Settings = ctx.obj
    if (id is None) != undo:
        raise click.UsageError("--undo takes no ID." if undo else f"Missing argument 'ID'. {ID_HINT}", ctx)
    if id is None:
        directory = _target(settings, output_directory)
        undone = undo_checkout(directory)
        again = f"\n`{_undo(output_directory)}` once more takes this back."
        is_changed = undone.restored or undone.removed or undone.modes
        console.say(f'{_done(undone)} in "{directory}"' + (again if is_changed else ""))
        return
    project = open_project(settings)
    experiment, checkpoint = project.target(id)
    directory = _target(settings, output_directory)
    what = f"experiment {short_id(experiment.id)}"
    if checkpoint is not None:
        what = f"checkpoint {short_id(checkpoint.id)} and its {what}"
    else:
        checkpoint, kind = pick(experiment)
        what += f" and its {kind} checkpoint {short_id(checkpoint.id)}" if checkpoint else ""
    console.say(f"Checking out files from {what}")

    def allowed(plan: Plan) -> bool:
        changes = plan.new or plan.changed or plan.modes
        return force or plan.is_empty or not changes or _ask(plan, directory, output_directory)

    if not project.checkout((experiment, checkpoint), directory, path, confirm=allowed):
        ctx.exit(1)
    console.say(f'Copied {f"the path {path}" if path else "all files"} to "{directory}"')
    if experiment.command:
        console.say(
            f"Its command was:\n\n  {experiment.command}\n\n"
            f"`keepsake rerun {short_id(experiment.id)}` runs it again, in a new directory."
        )


def _target(settings: Settings, output_directory: str | None) -> Path:
    if output_directory is not None:
        return Path(output_directory)
    if settings.project_directory:
        return Path(settings.project_directory)
    place = find_place(absolute())
    if place is None:
        raise ConfigNotFound(
            "There is no keepsake.yaml here or in any directory above, so the target directory is unknown. "
            "Name a directory with -o, for example: -o ."
        )
    return project_directory(place)


def _ask(plan: Plan, directory: Path, output_directory: str | None) -> bool:
    """Summarise the effect of the checkout, and ask whether to continue."""
    console.warn(f'The directory "{directory}" is not empty.')
    parts = [f"overwrite {_files(plan.changed)}"] if plan.changed else []
    parts += [f"add {_files(plan.new)}"] if plan.new else []
    parts += [f"change the permissions of {_files([*plan.modes])}"] if plan.modes else []
    *first, last = parts
    effect = f"{', '.join(first)} and {last}" if first else last
    kept = f"\nOverwritten files are kept. `{_undo(output_directory)}` puts them back." if plan.changed else ""
    console.warn(f"This checkout would {effect}. All other files stay as they are.{kept}")
    click.echo()
    return confirm()


def _undo(output_directory: str | None) -> str:
    return "keepsake checkout --undo" + (f" -o {shlex.quote(output_directory)}" if output_directory else "")


def _done(undone: Undone) -> str:
    """Return a summary of an undo."""
    parts = [
        f"{verb} {_files(names)}"
        for verb, names in (
            ("put back", undone.restored),
            ("removed", undone.removed),
            ("put back the permissions of", undone.modes),
        )
        if names
    ]
    text = ", ".join(parts) or "nothing had to be put back"
    return text[0].upper() + text[1:]


def _files(names: list[str]) -> str:
    if not names:
        return "nothing"
    some = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    return f"{console.plural(len(names), 'file')} ({some})"
