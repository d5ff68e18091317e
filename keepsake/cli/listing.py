"""The options of `keepsake ls` and `keepsake ps`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from keepsake.cli.opening import complete_sort_keys
from keepsake.util import console

F = TypeVar("F", bound=Callable[..., Any])

_SECONDS = 2.0  # between two looks of --watch
_FILTER = 'Only experiments that match "NAME OPERATOR VALUE". If given several times, all must match'
_SORT = "Sort key. End it with '-desc' for descending order. If given several times, the first counts most. "
_SORT += "Default: created"
_LAYOUT = "wide: a line per experiment. tall: the layout of 0.4.2. Default: wide on a terminal, else tall"


@dataclass(frozen=True)
class Wanted:
    """What to list, and how."""

    sort: Sequence[str]
    last: int | None
    limit: int | None
    everything: bool
    layout: str | None
    as_json: bool
    quiet: bool

    @property
    def is_wide(self) -> bool:
        """Whether to print the table for people."""
        return self.layout == "wide" or (self.layout is None and console.is_terminal(sys.stdout))

    def check(self) -> None:
        """Raise UsageError if two options contradict each other."""
        if self.quiet and (self.as_json or self.everything):
            other = "--json" if self.as_json else "--all"
            raise click.UsageError(f"Cannot use the --quiet flag in combination with {other}. Leave out one of them.")


def listing_options(function: F) -> F:
    """The options of `ls` and `ps`."""
    count = click.IntRange(min=1)
    everything = "All params and metrics. Default: only those that differ"
    for option in reversed(
        [
            click.option("--all", "everything", is_flag=True, help=everything),
            click.option("-f", "--filter", "filters", metavar="TEXT", multiple=True, help=_FILTER),
            click.option("-s", "--sort", metavar="KEY", multiple=True, help=_SORT, shell_complete=complete_sort_keys),
            click.option("--last", metavar="N", type=count, help="Only the N that began last"),
            click.option("--limit", metavar="N", type=count, help="Only the first N, once they are sorted"),
            click.option("--layout", type=click.Choice(["wide", "tall"]), help=_LAYOUT),
            click.option("--json", "as_json", is_flag=True, help="Print output in JSON format"),
            click.option("-q", "--quiet", is_flag=True, help="Only print experiment IDs"),
        ]
    ):
        function = option(function)
    return function
