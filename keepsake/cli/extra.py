"""`keepsake completion`, and `keepsake analytics` for old scripts."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from keepsake.cli.options import PlainCommand
from keepsake.util import console

EXAMPLES = """
bash, in ~/.bashrc:
  eval "$(keepsake completion bash)"

zsh, in ~/.zshrc, after compinit:
  eval "$(keepsake completion zsh)"

fish:
  keepsake completion fish > ~/.config/fish/completions/keepsake.fish
"""


@click.command("completion", cls=PlainCommand, epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the shell script that completes commands and IDs.

    With it, the Tab key completes commands, options, IDs of experiments and checkpoints, names of params and metrics,
    and names of saved files.
    """
    from keepsake.cli import cli

    script = get_completion_class(shell)
    assert script is not None  # noqa: S101 - click knows these three
    click.echo(script(cli, {}, "keepsake", "_KEEPSAKE_COMPLETE").source())


@click.command("analytics", cls=PlainCommand, epilog="keepsake analytics off", hidden=True)
@click.argument("state", metavar="[on|off]", required=False)
def analytics(state: str | None) -> None:
    """Does nothing: Keepsake has no analytics."""
    console.say("Keepsake has no analytics, so there is nothing to switch on or off.")
