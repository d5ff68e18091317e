"""Values, times and rows as text."""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any, TextIO

import click

from keepsake.util import console, ids
from keepsake.util.values import escape_controls, short_text
from keepsake.util.width import pad, text_width

LS_WIDTH = 20  # characters of a value in `ls`
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
OLD_SECONDS = 73 * _HOUR  # an older time is shown as a date
_EPOCH = datetime(1970, 1, 1)


def write(text: str, newline: bool = True) -> None:
    """Print `text` on stdout, without its colours if they are not enabled."""
    click.echo(text, nl=newline, color=console.color_enabled(sys.stdout))


def page(text: str) -> None:
    """Print `text`. On a terminal that it does not fit, it goes through a pager, as git's output does."""
    import shutil

    pager = os.environ.get("PAGER")
    height = shutil.get_terminal_size().lines
    if not console.is_terminal(sys.stdout) or pager in ("", "cat") or text.count("\n") < height:
        write(text)
        return
    os.environ.setdefault("LESS", "FRX")
    click.echo_via_pager(text + "\n", color=console.color_enabled(sys.stdout))


def write_json(value: object) -> None:
    """Print `value` as indented JSON. Characters are escaped unless stdout is in UTF-8."""
    text = json.dumps(value, indent=2, ensure_ascii=not is_utf8(sys.stdout))
    click.echo(re.sub(r"[\x7f-\x9f]", lambda match: f"\\u{ord(match[0]):04x}", text))  # U+009B controls a terminal


def is_utf8(stream: TextIO | None) -> bool:
    """Return whether `stream` can show every character."""
    try:
        return stream is not None and codecs.lookup(stream.encoding).name == "utf-8"
    except (AttributeError, LookupError, TypeError):
        return False


def encodable(text: str) -> str:
    """Return `text` as stdout will show it: with escapes for the characters that its encoding lacks."""
    if text.isascii() or is_utf8(sys.stdout):
        return text
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def faint(text: str) -> str:
    return click.style(text, dim=True)


def bold(text: str) -> str:
    return click.style(text, bold=True)


def short_id(id: str) -> str:
    return escape_controls(ids.short_id(id))


def when(moment: datetime) -> str:
    """Return a naive local time as RFC 1123 with the zone's abbreviation, or else its offset."""
    try:
        local = moment.astimezone()
    except (OSError, OverflowError, ValueError):  # the calendar's first or last days; on Windows all before 1970
        return moment.isoformat(" ")
    return local.strftime("%a, %d %b %Y %H:%M:%S ") + (local.strftime("%Z") or local.strftime("%z"))


def ago(created: float) -> str:
    """Return how long ago a Unix time was, in the words of 0.4.2; for an old time, the date in UTC."""
    seconds = time.time() - created
    distance = abs(seconds)
    if distance >= OLD_SECONDS:
        return (_EPOCH + timedelta(seconds=created)).date().isoformat()
    if distance < 1.5:
        words = "about a second"
    elif distance < 59.5:
        words = f"{int(distance + 0.5)} seconds"
    elif distance < 1.5 * _MINUTE:
        words = "about a minute"
    elif distance < 59.5 * _MINUTE:
        words = f"{int(distance / _MINUTE + 0.5)} minutes"
    elif distance < 1.5 * _HOUR:
        words = "about an hour"
    elif distance < 23.5 * _HOUR:
        words = f"{int(distance / _HOUR + 0.5)} hours"
    elif distance < 1.5 * _DAY:
        words = "one day"
    else:
        words = f"{int(distance / _DAY + 0.5)} days"
    return f"in {words}" if seconds < 0 else f"{words} ago"


def value_lines(values: Mapping[str, Any], labels: Mapping[str, str]) -> list[str]:
    """Return `label=value`, with short values, for each name in `labels` that is among `values`."""
    return [f"{label}={short_text(values[name], LS_WIDTH)}" for name, label in labels.items() if name in values]


def labels(names: Iterable[str]) -> dict[str, str]:
    """Return the names in order, each with its printable form."""
    return {name: escape_controls(name) for name in sorted(names)}


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows in aligned columns, two spaces apart, without trailing spaces. A cell may have several lines.

    A row of one cell, such as a title, is a line by itself and may be styled.
    """
    lines = [line for row in rows for line in zip_longest(*(cell.split("\n") for cell in row), fillvalue="")]
    columns = list(zip(*(line for line in lines if len(line) > 1), strict=True))
    if all("".join(column).isascii() for column in columns):  # much quicker than measuring each
        form = "  ".join(f"{{:{max(map(len, column))}}}" for column in columns)
        return "\n".join((form.format(*line) if len(line) > 1 else line[0]).rstrip() for line in lines)
    widths = [max(map(text_width, column)) for column in columns]
    return "\n".join(("  ".join(map(pad, line, widths)) if len(line) > 1 else line[0]).rstrip() for line in lines)
