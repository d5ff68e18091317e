"""The command line: the group of lazily imported commands. An error becomes one message and an exit status.

Exit status: 0 success, 1 failure, 2 wrong usage, 130 Ctrl-C. Primary output goes to stdout, and messages to stderr.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import keyword
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from keepsake.cli.opening import Settings
from keepsake.cli.options import Command
from keepsake.exceptions import KeepsakeError
from keepsake.util import console
from keepsake.util.files import WINDOWS


class Lazy(NamedTuple):
    """A command whose module is imported only when it is run."""

    module: str  # below keepsake.cli; the function in it has the command's name
    help: str
    aliases: tuple[str, ...] = ()
    hidden: bool = False


COMMANDS = {
    "analytics": Lazy("extra", "Does nothing: Keepsake has no analytics", hidden=True),
    "cat": Lazy("cat", "Write a file of an experiment or checkpoint to stdout"),
    "checkout": Lazy("checkout", "Copy files of an experiment or checkpoint into the project"),
    "completion": Lazy("extra", "Print the shell script that completes commands and IDs"),
    "diff": Lazy("diff", "Compare experiments or checkpoints: values, packages and files"),
    "doctor": Lazy("doctor", "Find problems in the repository, and repair them"),
    "du": Lazy("space", "Show what takes the space in the repository, by experiment"),
    "files": Lazy("files", "List the saved files, or those that init() would save now"),
    "import": Lazy("import_", "Import the runs of MLflow, TensorBoard, W&B or trackio"),
    "logs": Lazy("logs", "Print what a run printed to stdout and stderr"),
    "ls": Lazy("ls", "List experiments in this project", ("list",)),
    "note": Lazy("labels", "Write notes on an experiment"),
    "plot": Lazy("plot", "Draw a metric of experiments in the terminal, or as a picture"),
    "prune": Lazy("space", "Delete the files of checkpoints that a policy does not keep"),
    "ps": Lazy("ls", "List running experiments in this project", ("processes",)),
    "pull": Lazy("copying", "Copy experiments from another repository"),
    "push": Lazy("copying", "Copy experiments to another repository"),
    "rename": Lazy("labels", "Give an experiment a name"),
    "report": Lazy("report", "Make a page that shows experiments, to look at or to send"),
    "rerun": Lazy("rerun", "Run the command of an experiment again, in a new directory"),
    "rm": Lazy("rm", "Remove experiments or checkpoints", ("delete", "remove")),
    "show": Lazy("show", "View information about an experiment or checkpoint"),
    "sync": Lazy("sync", "Send unsent runs on this machine to the repository"),
    "tag": Lazy("labels", "Add tags to an experiment, or remove them"),
}
ALIASES = {alias: name for name, lazy in COMMANDS.items() for alias in lazy.aliases}

_READER_IS_GONE = (errno.EPIPE, *([errno.EINVAL] if WINDOWS else []))
_OF_OUTPUT = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG)  # errors of writing stdout to a file

EXAMPLES = """
keepsake ls                      list the experiments of this project
keepsake show 5ffb0f6            show one experiment or checkpoint
keepsake diff 5ffb0f6 a1b2c3d    compare two of them
keepsake checkout 5ffb0f6        restore its code and weights

Each command has examples: keepsake COMMAND --help
To complete commands and IDs with the Tab key: keepsake completion --help
"""


class LazyGroup(Command, click.Group):
    """A group that knows the names and summaries of its commands without importing them, and handles all errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, lazy in COMMANDS.items() if not lazy.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        attribute = f"{name}_" if keyword.iskeyword(name) else name
        command: click.Command = getattr(importlib.import_module(f"keepsake.cli.{COMMANDS[name].module}"), attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options before the command. An option of commands is an error that says where it belongs."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from keepsake.cli.suggestions import belongs_after

            raise belongs_after(error, self, ctx) or error from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and args[0] not in ALIASES and not ctx.resilient_parsing:
            from keepsake.cli.suggestions import suggestion

            hint = suggestion(args[0], {name: name for name in self.list_commands(ctx)} | ALIASES)
            raise click.UsageError(f"There is no command {args[0]!r}. {hint}".rstrip(), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> Any:
        """Run the command, report an error in one message, and exit with the status (see above)."""
        settings = extra.setdefault("obj", Settings())
        extra |= {"standalone_mode": False, "prog_name": "keepsake"}
        try:
            for stream in (sys.stdout, sys.stderr):
                if hasattr(stream, "reconfigure"):  # a closed stream is None
                    stream.reconfigure(errors="backslashreplace")
            status = super().main(translate(sys.argv[1:] if args is None else args), **extra) or 0
            if sys.stdout is not None:
                sys.stdout.flush()
        except Exception as error:  # noqa: BLE001 - every error becomes one message
            status = explain(error, settings.verbose)
            _drop_output()
        sys.exit(status)


def translate(args: Sequence[str]) -> list[str]:
    """Translate forms that only 0.4.2's parser accepts: `--json=true`, `--color=false`, `-R=URL`, `help COMMAND`."""
    result: list[str] = []
    for index, arg in enumerate(args):
        if arg == "--":
            return [*result, *args[index:]]
        flag = re.fullmatch(r"(--(?:all|color|force|json|quiet|verbose))=(true|false)", arg)
        if flag is None:
            result.append(re.sub(r"^(-[DRfos])=", r"\1", arg))
        elif flag[2] == "true":
            result.append(flag[1])
        elif flag[1] == "--color":
            result.append("--no-color")
    return [*result[1:], "--help"] if result[:1] == ["help"] else result


def _drop_output() -> None:
    """Drop output that cannot be written. Otherwise the interpreter's last flush would fail, and exit with 120."""
    try:
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - such as a full disk, or a reader that has gone
        with contextlib.suppress(Exception):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explain(error: Exception, verbose: bool) -> int:
    """Report an error on stderr; return the exit status."""
    if isinstance(error, click.Abort):
        return 130
    if isinstance(error, OSError) and error.filename is None and error.errno in _READER_IS_GONE:
        return 1
    if verbose:
        traceback.print_exception(error)
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f"\n\nSee '{context.command_path} --help'." if context else ""
        console.error(error.format_message() + hint)
        return error.exit_code
    if isinstance(error, KeepsakeError):
        console.error(str(error))
    elif isinstance(error, OSError) and error.filename is None and error.errno in _OF_OUTPUT:
        console.error(f"The output cannot be written: {error.strerror}. Check the file or device that it goes to.")
    else:
        hint = "" if verbose else "\n\nThis is unexpected. Run the command again with -v to see where it happened."
        console.error(f"{type(error).__name__}: {error}{hint}")
    return 1


@click.group(cls=LazyGroup, invoke_without_command=True, subcommand_metavar="COMMAND [ARGS]...", epilog=EXAMPLES)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Keepsake: version control for machine learning.

    Lists, compares and restores what training scripts have recorded with keepsake.init() and
    experiment.checkpoint().
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _fill_closed_streams() -> None:
    """Open the null device for each closed standard stream, because a repository's file could get its number."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def main() -> None:
    """The entry point of the `keepsake` command."""
    _fill_closed_streams()
    gc.disable()  # a listing makes hundreds of thousands of objects and no garbage; collection would double its time
    try:
        cli.main()
    finally:
        gc.freeze()  # the last collection would take 10 ms when the interpreter exits
