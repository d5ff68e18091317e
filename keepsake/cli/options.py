"""The options that commands share, and the form of their help."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from keepsake.cli.opening import Settings, complete_filter, complete_ids
from keepsake.util import console
from keepsake.version import __version__

F = TypeVar("F", bound=Callable[..., Any])

ID_HINT = "Give an ID that `keepsake ls` lists, or `latest` or `best`."
CONTEXT = {"help_option_names": ["-h", "--help"]}


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep a value that was given before or after the subcommand. A missing option does not reset it."""
    if value:
        setattr(ctx.ensure_object(Settings), str(param.name), value)


def _color(ctx: click.Context, param: click.Parameter, value: bool | None) -> None:
    if value is not None:
        console.set_color(value)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"keepsake version {__version__}")
        ctx.exit()


def _option(names: str, callback: Callable[..., None], help: str, **attributes: Any) -> click.Option:
    return click.Option(names.split(), callback=callback, expose_value=False, help=help, **attributes)


_DIRECTORY: dict[str, Any] = {"metavar": "DIR", "type": click.Path(exists=True, file_okay=False)}
_DIRECTORY_HELP = "Project directory. Default: nearest with a keepsake.yaml"
GLOBAL_OPTIONS = [
    _option("-D --project-directory", _store, _DIRECTORY_HELP, **_DIRECTORY),
    _option("--color/--no-color", _color, "Colors in output. Default: on a terminal", default=None, is_eager=True),
    _option("-v --verbose", _store, "Show where an error comes from: its traceback", is_flag=True, is_eager=True),
    _option("--version", _version, "Show the version and exit.", is_flag=True, is_eager=True),
]
REPOSITORY = _option("-R --repository", _store, "Repository URL. Default: the one in keepsake.yaml", metavar="URL")


class Command(click.Command):
    """A command with the shared options after its own. Its help ends with examples that are not wrapped."""

    shared: Sequence[click.Option] = [REPOSITORY, *GLOBAL_OPTIONS]

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **{"context_settings": CONTEXT, **attributes})
        self.params.extend(self.shared)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("\nExamples:\n" + textwrap.indent((self.epilog or "").strip("\n") + "\n", "  "))


class IdCommand(Command):
    """A command that takes IDs, of which `-1` is one and not an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take words that begin with a minus for IDs if all of them can be; otherwise, report the wrong option."""
        ctx.ignore_unknown_options = True
        values, words, _ = self.make_parser(ctx).parse_args(list(args))
        for name in (param.name for param in self.params if isinstance(param, click.Argument)):
            value = values.get(str(name))
            words += [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []
        if like_options := [word for word in words if word.startswith("-")]:
            from keepsake.repository.finding import is_negative

            ctx.ignore_unknown_options = all(map(is_negative, like_options))
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter as error:
            if error.param is None or error.param.name not in ("id", "ids"):
                raise
            raise click.UsageError(f"{error.format_message()} {ID_HINT}", ctx) from None


class PlainCommand(Command):
    """A command that opens no repository."""

    shared = GLOBAL_OPTIONS


def id_argument(name: str = "id", metavar: str = "ID", **attributes: Any) -> Callable[[F], F]:
    """An experiment's or checkpoint's ID, or another name that `Project.find` knows; for an IdCommand."""
    return click.argument(name, metavar=metavar, shell_complete=complete_ids, **attributes)


def filter_option(help: str, metavar: str = "TEXT") -> Callable[[F], F]:
    """Filters, each of which must match."""
    return click.option(
        "-f", "--filter", "filters", metavar=metavar, multiple=True, help=help, shell_complete=complete_filter
    )
