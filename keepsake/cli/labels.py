"""`keepsake tag`, `keepsake note` and `keepsake rename`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from keepsake.cli.opening import Settings, open_project
from keepsake.cli.options import IdCommand, id_argument
from keepsake.exceptions import KeepsakeError
from keepsake.experiment import Experiment
from keepsake.repository.finding import is_negative
from keepsake.util import console
from keepsake.util.values import escape_controls

TAG_EXAMPLES = """
Add one tag and remove another:
$ keepsake tag 5ffb0f6 +good -draft

The same:
$ keepsake tag 5ffb0f6 good --remove draft

Find what is tagged:
$ keepsake ls --filter "tags = good"
"""
NOTE_EXAMPLES = """
Write notes in your editor:
$ keepsake note 5ffb0f6

Replace them by a text:
$ keepsake note 5ffb0f6 "Diverges after epoch 3."

Remove them:
$ keepsake note 5ffb0f6 ""
"""
RENAME_EXAMPLES = """
Give an experiment a name:
$ keepsake rename 5ffb0f6 "wider layers"

Remove its name:
$ keepsake rename 5ffb0f6 ""
"""
_OPTIONS_WITH_VALUE = ("-D", "-R")


class TagCommand(IdCommand):
    """A command to which `-word` means that a tag is removed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `-word` as `--remove=word`, unless it is an option with its value, such as `-DIR`."""
        end = args.index("--") if "--" in args else len(args)
        before = [f"--remove={arg[1:]}" if _is_removal(arg) else arg for arg in args[:end]]
        return super().parse_args(ctx, before + args[end:])


def _is_removal(arg: str) -> bool:
    is_word = len(arg) > 2 and arg[0] == "-" != arg[1]
    return is_word and not arg.startswith(_OPTIONS_WITH_VALUE) and not is_negative(arg)


@click.command("tag", cls=TagCommand, epilog=TAG_EXAMPLES)
@id_argument()
@click.argument("tags", metavar="[+TAG | -TAG]...", nargs=-1)
@click.option("--remove", metavar="TAG", multiple=True, help="Remove this tag. The same as -TAG")
@click.pass_obj
def tag(settings: Settings, /, id: str, tags: Sequence[str], remove: Sequence[str]) -> None:
    """Add tags to an experiment, or remove them.

    The plus may be left out. Without tags, the present ones are shown.
    """
    experiment = _experiment(settings, id)
    if tags or remove:
        experiment.tag(*[tag.removeprefix("+") for tag in tags], remove=remove)
    listed = ", ".join(map(escape_controls, experiment.tags))
    console.say(f"Tags of experiment {experiment.short_id()}: {listed or 'none'}")


@click.command("note", cls=IdCommand, epilog=NOTE_EXAMPLES)
@id_argument()
@click.argument("text", required=False)
@click.pass_obj
def note(settings: Settings, /, id: str, text: str | None) -> None:
    """Write notes on an experiment.

    Without a text, the present notes are opened in your editor ($VISUAL or $EDITOR).
    """
    experiment = _experiment(settings, id)
    if text is None:
        text = _edited(experiment.notes or "")
        if text is None:
            console.say("The notes stay as they are.")
            return
    experiment.note(text)
    whose = f"the notes of experiment {experiment.short_id()}."
    console.say(f"Wrote {whose} `keepsake show` shows them." if experiment.notes else f"Removed {whose}")


@click.command("rename", cls=IdCommand, epilog=RENAME_EXAMPLES)
@id_argument()
@click.argument("name")
@click.pass_obj
def rename(settings: Settings, /, id: str, name: str) -> None:
    """Give an experiment a name."""
    experiment = _experiment(settings, id)
    experiment.rename(name)
    named = f"is named {experiment.name!r}" if experiment.name else "has no name now"
    console.say(f"Experiment {experiment.short_id()} {named}.")


def _edited(text: str) -> str | None:
    """Return the text as the user has saved it in an editor; None if it was not saved."""
    try:
        return click.edit(text, extension=".md")
    except click.ClickException as error:
        raise KeepsakeError(
            f"{error.message}. Set $EDITOR to an editor, or give the text: keepsake note ID TEXT"
        ) from error


def _experiment(settings: Settings, id: str) -> Experiment:
    return open_project(settings).target(id)[0]
