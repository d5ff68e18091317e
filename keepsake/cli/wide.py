"""The table of `keepsake ls` for people: a line per run, in the columns that fit the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from keepsake.cli.rendering import bold, encodable, faint, is_utf8
from keepsake.display.overview import BEST, value_text
from keepsake.display.table import GAP, Column, lay_out
from keepsake.util import console
from keepsake.util.values import escape_controls
from keepsake.util.width import cut_end, text_width

_COLORS = {"running": "green", "failed": "red", "lost": "magenta"}  # they can be read on light and on dark


def output_width() -> int | None:
    """Return the width for stdout: COLUMNS, or else that of the terminal; None if nothing limits it."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    return console.terminal_width(sys.stdout) if console.is_terminal(sys.stdout) else None


class Sheet(NamedTuple):
    """The lines of a table."""

    head: list[str]
    rows: list[str]
    tail: list[str]

    def within(self, height: int | None, *, from_the_end: bool = False) -> list[str]:
        """Return at most `height` lines, of the first or the last rows; None: all lines."""
        head, rows, tail = self
        room = None if height is None else max(height - len(head) - len(tail), 2)
        if room is None or len(rows) <= room:
            return [*head, *rows, *tail]
        left_out = faint(f"... {len(rows) - room + 1} {'earlier' if from_the_end else 'more'}")
        rows = [left_out, *rows[1 - room :]] if from_the_end else [*rows[: room - 1], left_out]
        return [*head, *rows, *tail]


def wide_table(columns: Sequence[Column], same: Mapping[str, Any], width: int | None, hint: str) -> Sheet:
    """Return the table of these columns in lines of at most `width` characters.

    Args:
        columns: what to show. The rank of each decides what is dropped; a line below the table says so.
        same: params that are the same in all rows. They stand in a line above the table.
        width: None: nothing is dropped.
        hint: the options that show what is dropped.
    """
    ellipsis = "…" if is_utf8(sys.stdout) else "..."
    for column in columns:
        column.title, column.make = encodable(column.title), _encodable(column.make)
    table = lay_out(columns, width, ellipsis)
    sheet = Sheet(
        [bold(GAP.join(table.titles()).rstrip())], [_line(cells, table.columns) for cells in table.rows()], []
    )
    if same:
        texts = [encodable(f"{escape_controls(name)}={value_text(value)}") for name, value in same.items()]
        sheet.head.insert(0, faint(_listed("Same in all:", texts, " ", " (--all)", width, ellipsis)))
    if table.dropped:
        names = [encodable(escape_controls(column.name)) for column in table.dropped]
        note = _listed("Not shown:", names, ", ", "", width and width - len(hint) - 3, ellipsis)
        sheet.tail.append(faint(cut_end(f"{note} ({hint})", width or 0, ellipsis)))
    return sheet


def _encodable(make: Callable[[], Sequence[str]]) -> Callable[[], Sequence[str]]:
    return lambda: list(map(encodable, make()))


def _line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    return GAP.join(_colored(cell, column) for cell, column in zip(cells, columns, strict=True)).rstrip()


def _colored(cell: str, column: Column) -> str:
    text = cell.strip()
    if column.name == "status" and text in _COLORS:
        return cell.replace(text, click.style(text, fg=_COLORS[text]))
    return cell.replace(text, bold(text)) if text.endswith(BEST) else cell


def _listed(title: str, items: Sequence[str], between: str, more: str, width: int | None, ellipsis: str) -> str:
    """Return a line with a title and as many items as fit. `more` follows where some are left out."""
    line = f"{title} {between.join(items)}"
    if width is None or text_width(line) <= width:
        return line
    for count in range(len(items) - 1, 0, -1):
        rest = f" and {len(items) - count} more{more}"
        line = f"{title} {between.join(items[:count])}{rest}"
        if text_width(line) <= width:
            return line
    return cut_end(f"{title} {len(items)}{more}", width, ellipsis)
