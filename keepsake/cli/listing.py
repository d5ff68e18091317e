"""The options of `keepsake ls` and `keepsake ps`."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import click
from click.shell_completion import CompletionItem

from keepsake.cli.opening import complete_sort_keys
from keepsake.cli.options import Command, filter_option
from keepsake.util import console

F = TypeVar("F", bound=Callable[..., Any])

_SEEDS, _SECONDS = "", 2.0  # the values of --group and --watch if none is given
_EXCLUDED = {  # options, and those that cannot be given beside them
    "--quiet": ("--json", "--csv", "--format", "--layout", "--watch", "--all", "--columns", "--group"),
    "--json": ("--csv", "--format", "--layout", "--watch"),
    "--csv": ("--format", "--layout", "--watch"),
    "--format": ("--layout", "--watch"),
    "--layout tall": ("--columns", "--group", "--watch"),
    "--columns": ("--all",),
}
_COLUMNS = "Columns after the ID, separated by commas: params, metrics, fields, best:METRIC, last:METRIC"
_LAYOUT = "wide: a line per experiment. tall: as in 0.4.2. Default: wide on a terminal, tall elsewhere"
_GROUP = "A line per group of experiments that differ in the params NAME alone (default: seeds): "
_GROUP += "mean, min and max of the primary metric"


class Wanted(NamedTuple):
    """What to list, and how."""

    sort: Sequence[str]
    last: int | None
    limit: int | None
    everything: bool
    columns: Sequence[str]
    group: str | None
    layout: str | None
    as_csv: bool
    as_json: bool
    format: str | None
    quiet: bool
    watch: float | None

    @property
    def is_wide(self) -> bool:
        """Whether to print the table for people."""
        if self.layout is None:
            return bool(self.columns) or self.group is not None or console.is_terminal(sys.stdout)
        return self.layout == "wide"

    @property
    def column_names(self) -> list[str]:
        """The names of the chosen columns."""
        return _split(self.columns)

    @property
    def apart_from(self) -> list[str] | None:
        """The params that may differ within a group; None: seeds."""
        return [name.removeprefix("params.") for name in _split([self.group])] if self.group else None

    def check(self) -> None:
        """Raise UsageError if two options contradict each other, or if --watch has no terminal."""
        given = {
            "--quiet": self.quiet,
            "--json": self.as_json,
            "--csv": self.as_csv,
            "--format": self.format is not None,
            "--layout": self.layout is not None,
            "--layout tall": self.layout == "tall",
            "--watch": self.watch is not None,
            "--all": self.everything,
            "--columns": bool(self.columns),
            "--group": self.group is not None,
        }
        for one, others in _EXCLUDED.items():
            for other in others:
                if given[one] and given[other]:
                    raise click.UsageError(f"Cannot use {one} in combination with {other}. Leave out one of them.")
        if self.watch is not None and not console.is_terminal(sys.stdout):
            raise click.UsageError("--watch needs a terminal. To look once, leave it out.")


def _split(texts: Sequence[str]) -> list[str]:
    return [name for text in texts for part in text.split(",") if (name := part.strip())]


class ListingCommand(Command):
    """A command that lists. It takes no arguments, and says how to filter if there are some."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options. Words without one are an error that says what is probably meant."""
        ctx.allow_extra_args = True
        words = super().parse_args(ctx, args)
        if words and not ctx.resilient_parsing:
            text = " ".join(words)
            raise click.UsageError(f"`keepsake {self.name}` does not take {text!r}. {_meant(ctx, words)}", ctx)
        return words


def _meant(ctx: click.Context, words: Sequence[str]) -> str:
    """Return what somebody probably meant who gave words to a command that takes options only."""
    from keepsake.cli.suggestions import ID_LIKE  # here, because a listing needs none of it

    filters, columns = ctx.params.get("filters"), ctx.params.get("columns")
    if filters:
        return f"Put a filter in quotation marks: --filter {shlex.quote(' '.join([filters[-1], *words]))}."
    if columns:
        return f"Write names of columns without blanks: -c {','.join(_split([*columns, *words]))}."
    if len(words) == 1 and re.fullmatch(ID_LIKE, words[0]):
        return f"For one experiment: `keepsake show {words[0]}`."
    return f"To filter: --filter {shlex.quote(' '.join(words))}. For one experiment: `keepsake show ID`."


def listing_options(function: F) -> F:
    """The options of `ls` and `ps`."""
    for option in reversed([*_which_options(), *_form_options()]):
        function = option(function)
    return function


def _which_options() -> list[Callable[[F], F]]:
    """The options that say which experiments, and in which order."""
    text = 'Only experiments that match "NAME OPERATOR VALUE". If given several times, all must match'
    key = "Sort key. End it with '-desc' for descending order. If given several times, the first counts most. "
    key += "Default: created"
    count = click.IntRange(min=1)
    return [
        filter_option(text),
        click.option("-s", "--sort", metavar="KEY", multiple=True, help=key, shell_complete=complete_sort_keys),
        click.option("--last", metavar="N", type=count, help="Only the N that began last"),
        click.option("--limit", metavar="N", type=count, help="Only the first N, when they are sorted"),
    ]


def _form_options() -> list[Callable[[F], F]]:
    """The options that say how to show them."""
    everything = "All params and metrics. Default: only those that differ"
    watch = "Look again every few seconds (default: 2) until Ctrl-C"
    more: dict[str, Any] = {"is_flag": False, "default": None}
    return [
        click.option("--all", "everything", is_flag=True, help=everything),
        click.option(
            "-c", "--columns", metavar="NAMES", multiple=True, help=_COLUMNS, shell_complete=_complete_columns
        ),
        click.option("--group", metavar="[NAMES]", flag_value=_SEEDS, help=_GROUP, **more),
        click.option("--layout", type=click.Choice(["wide", "tall"]), help=_LAYOUT),
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV: all params and metrics with all digits"),
        click.option("--json", "as_json", is_flag=True, help="Print output in JSON format"),
        click.option(
            "--format", metavar="NAME", help="Print a github, latex, html … table", shell_complete=_complete_formats
        ),
        click.option("-q", "--quiet", is_flag=True, help="Only print experiment IDs"),
        click.option(
            "--watch", metavar="[SECONDS]", type=click.FloatRange(min=0.1), flag_value=_SECONDS, help=watch, **more
        ),
    ]


def _complete_columns(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names that can follow the last comma."""
    before, comma, last = incomplete.rpartition(",")
    found = complete_sort_keys(ctx, param, last)
    return [CompletionItem(before + comma + item.value, help=item.help) for item in found]


def _complete_formats(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from keepsake.cli.export import formats

    return [CompletionItem(name) for name in formats() if name.startswith(incomplete)]
