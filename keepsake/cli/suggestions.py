"""What to say about a command that does not exist: what the user probably means."""

from __future__ import annotations

import re
from collections.abc import Mapping

import click

# Words of other tools → the command that does it here. The user gets the command as it must be typed.
_HERE = {
    **dict.fromkeys(("check", "fsck", "repair", "validate", "verify"), "doctor"),
    **dict.fromkeys(("clean", "gc", "purge"), "prune"),
    **dict.fromkeys(("compare", "comparison"), "diff"),
    **dict.fromkeys(("clone", "fetch"), "pull"),
    **dict.fromkeys(("columns", "history", "runs", "experiments"), "ls"),
    **dict.fromkeys(("comment", "notes"), "note"),
    **dict.fromkeys(("dashboard", "gui", "html", "serve", "server", "ui", "view", "web"), "report"),
    **dict.fromkeys(("describe", "get", "info", "inspect"), "show"),
    **dict.fromkeys(("disk", "size", "usage"), "du"),
    **dict.fromkeys(("download", "restore", "revert"), "checkout"),
    **dict.fromkeys(("filter", "find", "search", "select"), "ls --filter"),
    **dict.fromkeys(("label", "tags"), "tag"),
    **dict.fromkeys(("mv", "name"), "rename"),
    **dict.fromkeys(("output", "stderr", "stdout", "tail"), "logs"),
    **dict.fromkeys(("chart", "curves", "graph"), "plot"),
    **dict.fromkeys(("open", "print"), "cat"),
    **dict.fromkeys(("repeat", "replay", "reproduce"), "rerun"),
    **dict.fromkeys(("running", "stat", "status", "top"), "ps"),
    "backup": "push",
    "csv": "ls --csv",
    "group": "ls --group",
    "json": "ls --json",
    "sort": "ls --sort",
    "undo": "checkout --undo",
    "upload": "push",
    "version": "--version",
    "watch": "ls --watch",
}
_TOLD = {
    "config": "Settings are in keepsake.yaml and in environment variables.",
    "export": "`keepsake ls --csv` and `--json` print the runs, `keepsake report` makes a page of them, and "
    "`keepsake push` copies them.",
    "init": "A repository needs no setup: the first script that calls keepsake.init() creates it.",
    "run": "Start your script as always: keepsake.init() in it records the run. `keepsake rerun` runs a recorded one "
    "again.",
}
_TOLD |= dict.fromkeys(("configure", "setup"), _TOLD["config"])
_TOLD |= dict.fromkeys(
    ("add", "commit", "save"), "keepsake.init() and experiment.checkpoint() in your script save runs."
)


ID_LIKE = r"latest|best|[0-9a-f]{4,64}"  # words that probably name an experiment


def suggestion(word: str, commands: Mapping[str, str]) -> str:
    """Return a sentence that helps somebody who typed `word`; "" if nothing is like it.

    Args:
        word: what was typed instead of a command.
        commands: each command and alias → the command.
    """
    if told := _TOLD.get(word.lower()):
        return told
    if re.fullmatch(ID_LIKE, word):
        return f"Did you mean 'show {word}'?"
    return _question(word, commands)


def belongs_after(error: click.NoSuchOption, group: click.Group, ctx: click.Context) -> click.UsageError | None:
    """Return the error for an option that stands before the command it belongs to; None if no command has it."""
    having = [
        name
        for name in group.list_commands(ctx)
        if (command := group.get_command(ctx, name)) and any(error.option_name in each.opts for each in command.params)
    ]
    if not having:
        return None
    example = "ls" if "ls" in having else having[0]
    return click.UsageError(
        f"The option {error.option_name!r} comes after the command, as in 'keepsake {example} {error.option_name}'.",
        ctx,
    )


def _question(word: str, commands: Mapping[str, str]) -> str:
    import difflib

    same = commands.get(word.lower()) or _HERE.get(word.lower())
    similar = [same] if same else [commands[each] for each in difflib.get_close_matches(word, commands)]
    return f"Did you mean {' or '.join(map(repr, dict.fromkeys(similar)))}?" if similar else ""
