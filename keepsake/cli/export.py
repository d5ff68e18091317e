"""Runs as CSV, and as tables for papers and pull requests."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

from keepsake.display.table import Column
from keepsake.util.values import escape_controls, full_text

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")  # how a formula begins, for some spreadsheets in wide characters
_UNSAFE = ("latex_raw", "unsafehtml")  # formats that escape nothing
_OTHER_NAMES = {"markdown": "github", "md": "github"}
_MARKDOWN = ("github", "pipe")
_SPECIAL_IN_MARKDOWN = re.compile(r"[\\`*\[\]<>|~]")


def csv_bytes(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Return columns of equal length as CSV by RFC 4180, in UTF-8, with a header and every digit.

    A missing value is empty. A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([_harmless(name) for name in columns])
    writer.writerows([_csv_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return file.getvalue().encode("utf-8", "backslashreplace")


def _csv_cell(value: Any) -> str:
    if isinstance(value, str):
        return _harmless(value)
    if isinstance(value, float):
        return repr(value)  # the shortest text that reads as the same number
    return "" if value is None else full_text(value)


def _harmless(text: str) -> str:
    text = escape_controls(text, keep_newlines=True)
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def formats() -> list[str]:
    """Return the names of the formats that `formatted` knows."""
    from tabulate import tabulate_formats

    return [name for name in tabulate_formats if name not in _UNSAFE]


def formatted(columns: Sequence[Column], form: str) -> str:
    """Return a table in one of tabulate's formats, such as `github`, `latex` or `html`, with nothing shortened."""
    from tabulate import tabulate

    form = _OTHER_NAMES.get(form, form)
    if form not in formats():
        raise click.UsageError(f"There is no format {form!r}. Choose from: {', '.join(formats())}.")
    escape = _escaped_markdown if form in _MARKDOWN else _harmless if form == "tsv" else str
    rows = [list(map(escape, row)) for row in zip(*(column.texts for column in columns), strict=True)]
    titles = [escape(column.title) for column in columns]
    alignment = ["right" if column.is_number else "left" for column in columns]
    return tabulate(rows, titles, tablefmt=form, disable_numparse=True, colalign=alignment)


def _escaped_markdown(text: str) -> str:
    return _SPECIAL_IN_MARKDOWN.sub(r"\\\g<0>", text)
