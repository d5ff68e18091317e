"""`keepsake completion`, and `keepsake analytics`, which only old scripts call."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from keepsake import _console
from keepsake.cli._options import CONTEXT, examples, global_options

EXAMPLES = examples("""
bash, in ~/.bashrc:
  eval "$(keepsake completion bash)"

zsh, in ~/.zshrc, after compinit:
  eval "$(keepsake completion zsh)"

fish:
  keepsake completion fish > ~/.config/fish/completions/keepsake.fish
""")


@click.command("completion", context_settings=CONTEXT, epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@global_options
def completion(shell: str) -> None:
    """Print the script that completes commands and IDs with the Tab key.

    Completed are commands, options, IDs of experiments and checkpoints, and sort keys.
    """
    from keepsake.cli import cli

    script = get_completion_class(shell)
    assert script is not None  # noqa: S101 - click knows these three
    click.echo(script(cli, {}, "keepsake", "_KEEPSAKE_COMPLETE").source())


@click.command("analytics", context_settings=CONTEXT, hidden=True)
@click.argument("state", metavar="[on|off]", required=False)
@global_options
def analytics(state: str | None) -> None:
    """Does nothing: Keepsake has no analytics."""
    _console.say("Keepsake has no analytics: there is nothing to switch on or off.")
