"""What differs between runs, as text: the sheet of two runs in the layout of Keepsake 0.4.2, and their files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from keepsake.cli.rendering import bold, encodable, faint, is_utf8, short_id, table, when
from keepsake.compare.runs import GROUPS
from keepsake.compare.values import NOT_SET, Differences
from keepsake.comparison import Comparison, ComparisonTable
from keepsake.display.overview import value_text
from keepsake.display.table import GAP, Column, lay_out
from keepsake.util import console
from keepsake.util.values import cut, escape_controls, full_text
from keepsake.util.width import text_width, wrap

if TYPE_CHECKING:
    from keepsake.compare.files import FileDifference

VALUE_WIDTH = 50  # characters of a value
_BEFORE = 15  # characters that are shown before the first difference between two long texts
COLUMN_WIDTH = 24  # of the columns of names and of first values; two spaces follow
_TERMINAL_VALUE = 300  # characters of a value on a terminal, where it may take several lines
_MAX_LINE = 1000  # characters of a line of a file on a terminal
MAX_FILES = 50  # in the list above the lines that differ
_HEAD = 2  # lines with the names of the files that are compared
_RUN_VALUE = 24  # characters of a value in a column for a run
_RUN_BEFORE = 4
_LEAST = 10  # characters of a column for a run
_NOT_SET = "(not set)"
_COLORS = {"+": "green", "-": "red", "@": "cyan"}

Row = tuple[str, ...]


def sheet(comparison: Comparison) -> str:
    """Return the values that differ between two runs, in groups. On a terminal they fit its width."""
    (one, one_checkpoint), (other, other_checkpoint) = comparison.left, comparison.right
    ids = {
        "experiment": [short_id(one.id), short_id(other.id)],
        "checkpoint": [short_id(each.id) if each else _NOT_SET for each in (one_checkpoint, other_checkpoint)],
    }
    if not (one_checkpoint or other_checkpoint):
        del ids["checkpoint"]
    width = console.terminal_width(sys.stdout) if console.is_terminal(sys.stdout) else None
    rows: list[Row] = []
    for group, title in GROUPS.items():
        nothing = group != "experiment" or one.id != other.id
        rows += _group(title, getattr(comparison, group), ids.get(group, ()), nothing, width is not None)
    return table(rows if width is None else _fitting(rows, width))


def _group(title: str, differences: Differences, ids: Sequence[str], nothing: bool, short: bool) -> list[Row]:
    """Return a title, any IDs, a row for each name whose values differ, and an empty row.

    `nothing`: add a row that says so if no values differ; `short`: write times briefly, and values at length.
    """
    pairs = {name: _texts(*pair, short) for name, pair in differences.items()}
    rows: list[Row] = [(f"{escape_controls(name)}:", *texts) for name, texts in pairs.items() if texts is not None]
    head: list[Row] = [("ID:", *ids)] if ids else []
    none: list[Row] = [(faint("(no difference)"),)] if nothing else []
    return [(bold(title),), *head, *(rows or none), (" " * COLUMN_WIDTH, " " * COLUMN_WIDTH, "")]


def _texts(left: Any, right: Any, short: bool) -> tuple[str, str] | None:
    """Return the texts of two values; None for times that are the same to the second."""
    texts = [_text(value, short) for value in (left, right)]
    if texts[0] == texts[1]:
        if isinstance(left, datetime):
            return None
        texts = [full_text([value])[1:-1] for value in (left, right)]  # quotes tell a string from a number
    width = _TERMINAL_VALUE if short else VALUE_WIDTH
    one, other = _cut_apart(texts, width, _BEFORE)
    return one, other


def _cut_apart(texts: Sequence[str], width: int, before: int) -> list[str]:
    """Return texts cut at a width, or else from `before` characters before their difference on, if that is beyond."""
    shown = [cut(text, width) for text in texts]
    if len(set(shown)) == len(set(texts)):
        return shown
    same = next((at for at, characters in enumerate(zip(*texts, strict=False)) if len(set(characters)) > 1), width)
    return [cut(f"...{text[max(0, same - before) :]}", width) for text in texts]


def _text(value: Any, short: bool) -> str:
    if value is NOT_SET:
        return _NOT_SET
    if isinstance(value, datetime):
        return brief_time(value) if short else when(value)
    return full_text(value)


def _fitting(rows: Sequence[Row], width: int) -> list[Row]:
    """Return rows whose cells are wrapped, so that the columns fit a width."""
    names = max((text_width(row[0].rstrip()) for row in rows if len(row) > 1), default=0)
    first = min(max(names, COLUMN_WIDTH // 2), width // 3)
    value = (width - first - 2 * len(GAP)) // 2
    widths = (first, value, value)
    return [
        row if len(row) == 1 else tuple(_wrapped(cell.rstrip(), most) for cell, most in zip(row, widths, strict=True))
        for row in rows
    ]


def _wrapped(text: str, width: int) -> str:
    return "\n".join(part for line in text.split("\n") for part in wrap(line, width))


def comparison_table(comparison: ComparisonTable, width: int | None, *, files: bool) -> str:
    """Return all that differs between several runs: a row for each name, a column for each run.

    If the runs do not fit the width, there are several tables below each other. `files`: with the files that differ.
    """
    rows = _table_rows(comparison, files)
    last = len(comparison.sides)
    count = last if width is None else max(1, (width - COLUMN_WIDTH) // (_LEAST + len(GAP)))
    blocks = (range(start, min(start + count, last + 1)) for start in range(1, last + 1, count))
    return "\n\n".join(_block([[row[0], *(row[index] for index in block)] for row in rows], width) for block in blocks)


def _table_rows(comparison: ComparisonTable, files: bool) -> list[list[str]]:
    """Return the IDs, and for each group a title and its rows. In the row of a title, the other cells are empty."""
    sides = comparison.sides
    rows = [["", *(short_id(experiment.id) for experiment, _ in sides)]]
    for group, title in GROUPS.items():
        found = getattr(comparison, group)
        body = [[f"{escape_controls(name)}:", *_cells(values)] for name, values in found.items()]
        if group == "checkpoint" and any(checkpoint for _, checkpoint in sides):
            body.insert(0, ["ID:", *(short_id(checkpoint.id) if checkpoint else _NOT_SET for _, checkpoint in sides)])
        rows += [[title, *[""] * len(sides)], *body] if body else []
    found = comparison.files if files else {}
    body = [[f"{escape_controls(path)}:", *map(_version, numbers)] for path, numbers in found.items()]
    return [*rows, ["Files", *[""] * len(sides)], *body] if body else rows


def _cells(values: Sequence[Any]) -> list[str]:
    times = [value for value in values if isinstance(value, datetime)]
    form = "%m-%d %H:%M:%S" if len({time.year for time in times}) == 1 else "%Y-%m-%d %H:%M"
    texts = {at: _cell(value, form) for at, value in enumerate(values) if value is not NOT_SET}
    shown = dict(zip(texts, _cut_apart(list(texts.values()), _RUN_VALUE, _RUN_BEFORE), strict=True))
    return [shown.get(at, _NOT_SET) for at in range(len(values))]


def _cell(value: Any, time_form: str) -> str:
    if isinstance(value, datetime):
        return value.strftime(time_form)
    return encodable(value_text(value).replace("\n", " "))


def _version(number: int | None) -> str:
    return _NOT_SET if number is None else f"version {number}"


def _block(rows: list[list[str]], width: int | None) -> str:
    head, *body = rows
    columns = [
        Column(title, title, partial(list, cells), whole=False) for title, *cells in zip(head, *body, strict=True)
    ]
    laid_out = lay_out(columns, width, "…" if is_utf8(sys.stdout) else "...")
    lines = [bold(GAP.join(laid_out.titles()).rstrip())]
    for row in laid_out.rows():
        line = GAP.join(row).rstrip()
        lines += [line] if any(cell.strip() for cell in row[1:]) else ["", bold(line)]
    return "\n".join(lines)


def changed_files(files: Sequence[FileDifference], limit: int | None) -> str:
    """Return the list of the files that differ: how, by how many lines, and their paths."""
    if not files:
        return f"{bold('Files')}\n{faint('(no difference)')}\n"
    rows = [(each.kind, _lines(each), escape_controls(each.path) + _about(each)) for each in files[:limit]]
    more = len(files) - len(rows)
    note = [faint(f"... and {more:,} more. Use --stat to view.")] if more else []
    return "\n".join([bold("Files"), table(rows), *note, ""])


def _lines(file: FileDifference) -> str:
    if file.lines is None:
        return ""
    added, removed = file.lines
    return " ".join(text for text in (f"+{added}" if added else "", f"-{removed}" if removed else "") if text)


def _about(file: FileDifference) -> str:
    """Return why the lines of a file are not compared, and its sizes."""
    if file.lines is not None:
        return ""
    sizes = dict.fromkeys(console.format_size(size) for size in file.sizes if size is not None)
    return f" ({file.note}, {' to '.join(sizes)})"


def patch(file: FileDifference) -> str:
    """Return the lines that differ in a file, in colours. Its control characters are escaped, but not its tabs."""
    width = _MAX_LINE if console.is_terminal(sys.stdout) else None
    lines = [_printable(line, width) for line in file.text.removesuffix("\n").split("\n")]
    head = [bold(line) for line in lines[:_HEAD]]
    return "\n".join([*head, *map(_colored, lines[_HEAD:]), ""])


def _colored(line: str) -> str:
    color = _COLORS.get(line[:1])
    return click.style(line, fg=color) if color else line


def _printable(line: str, width: int | None) -> str:
    text = "\t".join(map(escape_controls, line.split("\t")))
    return text if width is None else cut(text, width)


def brief_time(moment: datetime) -> str:
    """Return a naive local time with the zone's abbreviation, or else its offset: `2022-03-14 09:41:07 UTC`."""
    text = when(moment)
    try:
        local = moment.astimezone()
    except (OSError, OverflowError, ValueError):
        return text
    return f"{local:%Y-%m-%d %H:%M:%S} {text.rpartition(' ')[2]}"
