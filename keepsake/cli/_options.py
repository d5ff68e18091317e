"""Options that several commands share, so that they cannot diverge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from keepsake import _console
from keepsake.cli._project import Settings, complete_ids, complete_sort_keys
from keepsake.version import __version__

F = TypeVar("F", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def examples(text: str) -> str:
    """The end of a command's `--help`; lines stay as they are."""
    return "\b\nExamples:\n" + text.strip().replace("\n\n", "\n\n\b\n")


def command(name: str, end: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command with `-R`, the global options and examples."""
    make = click.command(name, context_settings=CONTEXT, epilog=examples(end))
    return lambda function: make(repository_options(function))


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep a value that was given, before or after the subcommand; one that was not leaves the other alone."""
    if value:
        setattr(ctx.ensure_object(Settings), str(param.name), value)


def _color(ctx: click.Context, param: click.Parameter, value: bool | None) -> None:
    if value is not None:
        _console.set_color(value)


def _stack(function: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def global_options(function: F) -> F:
    """The options that stand before or after the subcommand."""
    color = "Display color in output. Default: on a terminal, unless NO_COLOR is set"
    directory = "Project directory. Default: nearest parent directory with keepsake.yaml"
    store: dict[str, Any] = {"callback": _store, "expose_value": False}
    return _stack(
        function,
        click.option(
            "--color/--no-color", default=None, callback=_color, expose_value=False, is_eager=True, help=color
        ),
        click.option("-D", "--project-directory", metavar="DIR", type=click.Path(), help=directory, **store),
        click.option("-v", "--verbose", is_flag=True, is_eager=True, help="Verbose output", **store),
        click.version_option(__version__, message="keepsake version %(version)s"),
    )


def repository_options(function: F) -> F:
    """The options of every command that opens a repository: `-R` and the global ones."""
    text = "Repository URL, e.g. 's3://my-keepsake-bucket'. Default: the one in keepsake.yaml"
    url = click.option("-R", "--repository", metavar="URL", callback=_store, expose_value=False, help=text)
    return _stack(function, url, global_options)


def listing_options(function: F) -> F:
    """The options of `ls` and `ps`."""
    everything = "Show all params and metrics, not only what differs"
    text = 'Show only what matches "NAME OPERATOR VALUE"; can be given several times'
    key = "Sort key. Suffix with '-desc' for descending order, e.g. --sort=created-desc. Default: created"
    return _stack(
        function,
        click.option("--all", "everything", is_flag=True, help=everything),
        click.option("-f", "--filter", "filters", metavar="TEXT", multiple=True, help=text),
        click.option("-s", "--sort", metavar="KEY", default="created", help=key, shell_complete=complete_sort_keys),
        click.option("--json", "as_json", is_flag=True, help="Print output in JSON format"),
        click.option("-q", "--quiet", is_flag=True, help="Only print experiment IDs"),
    )


def id_argument(name: str = "id", **attributes: Any) -> Callable[[F], F]:
    """An experiment's or checkpoint's ID, or a prefix of it."""
    return click.argument(name, metavar="ID", shell_complete=complete_ids, **attributes)
