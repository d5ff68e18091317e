"""Tables for a terminal: which columns fit a width, and how wide each is. A cell is one line, shortened if need be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from keepsake.util.width import cut_end, cut_path, cut_start, pad, shorten, text_width

GAP = "  "  # between columns
_LEAST = 7  # characters that a shortened title or text keeps
_LEAST_SENTENCE = 16
_MOST = 40  # characters of a text in a table in which something is shortened
_NUMBER = re.compile(r"([+-]?\d+)((?:\.\d+)?(?:e[+-]?\d+)?\*?)|()((?:NaN|[+-]Inf|null)\*?)")


@dataclass
class Column:
    """A column of a table.

    Attributes:
        name: what it is called where a person chooses columns, such as `lr` or `created`.
        title: its heading.
        make: returns its cells, a printable line for each row. It is called only if the column may be shown.
        rank: how informative it is. Columns with high ranks are dropped first; those with 0 never.
        whole: never shorten a cell. Numbers are never shortened either.
        sentences: its cells are sentences, which are shortened at their end and may be long.
        only_text: its cells are no numbers, even if all of them look like it, as the IDs 9097742 and 81681e9 do.
    """

    name: str
    title: str
    make: Callable[[], Sequence[str]]
    rank: int = 0
    whole: bool = False
    sentences: bool = False
    only_text: bool = False

    @cached_property
    def cells(self) -> Sequence[str]:
        """Its cells. Numbers are aligned at their decimal points."""
        if not self.is_number:
            return self.texts
        self.whole = True
        return _aligned(self.texts)

    @cached_property
    def texts(self) -> Sequence[str]:
        """Its cells as they are made."""
        return self.make()

    @cached_property
    def is_number(self) -> bool:
        """Whether it holds numbers, and nothing else."""
        if self.only_text:
            return False
        parts = [_NUMBER.fullmatch(text) for text in self.texts if text]
        return bool(parts) and None not in parts

    @cached_property
    def content(self) -> int:
        """The width of its widest cell."""
        return max(map(text_width, self.cells), default=0)

    @property
    def least(self) -> int:
        """The width that it needs at least."""
        least = _LEAST_SENTENCE if self.sentences else _LEAST
        return max(self.content if self.whole else min(self.content, least), self.title_least)

    @property
    def title_least(self) -> int:
        """The width that its title needs at least."""
        return min(text_width(self.title), _LEAST)

    @property
    def natural(self) -> int:
        """The width at which nothing is shortened."""
        return max(self.content, text_width(self.title))

    @property
    def most(self) -> int:
        """The width that is enough."""
        content = self.content if self.whole or self.sentences else min(self.content, _MOST)
        return max(content, min(text_width(self.title), _MOST))


@dataclass
class Table:
    """The columns that fit, each with its width, and those that do not, the most informative first."""

    columns: list[Column]
    widths: list[int]
    dropped: list[Column]
    ellipsis: str

    def titles(self) -> list[str]:
        """Return the headings, each as wide as its column.

        Paths keep their last parts, and others their beginnings if these tell them apart.
        """
        pairs = list(zip(self.columns, self.widths, strict=True))
        titles = [
            (cut_path if "." in column.title else cut_end)(column.title, width, self.ellipsis)
            for column, width in pairs
        ]
        shared = {title for title, count in Counter(titles).items() if count > 1}
        return self._row(
            [
                shorten(column.title, width, self.ellipsis) if title in shared else title
                for title, (column, width) in zip(titles, pairs, strict=True)
            ]
        )

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each row, each as wide as its column."""
        columns = [_shortened(c, width, self.ellipsis) for c, width in zip(self.columns, self.widths, strict=True)]
        return map(self._row, zip(*columns, strict=True))

    def _row(self, cells: Iterable[str]) -> list[str]:
        return [pad(cell, width) for cell, width in zip(cells, self.widths, strict=True)]


def lay_out(columns: Sequence[Column], width: int | None, ellipsis: str = "…") -> Table:
    """Return the table of the columns that fit a width in characters; None: all of them.

    Columns are considered by rank, and each one that still fits is shown, in its place. The rest of the width goes to
    the shortened columns, the narrowest first.
    """
    shown, dropped = list(columns), []
    if width is not None:
        dropped = _dropped(sorted(columns, key=lambda column: column.rank), width)
        shown = [column for column in columns if not any(column is other for other in dropped)]
    widths = [column.natural for column in shown]
    if width is not None and _total(widths) > width:
        widths = _shared(shown, width)
    return Table(shown, widths, dropped, ellipsis)


def _dropped(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that do not fit next to those before them. Columns of rank 0 are never dropped."""
    left, dropped = width + len(GAP), []
    for column in columns:
        # Making the cells may take long, so the title is looked at first.
        if column.rank and (left < len(GAP) + column.title_least or left < len(GAP) + column.least):
            dropped.append(column)
        else:
            left -= len(GAP) + column.least
    return dropped


def _shared(columns: Sequence[Column], width: int) -> list[int]:
    """Return a width for each column: what it needs, and a share of what is left."""
    widths = [column.least for column in columns]
    growing = [index for index, column in enumerate(columns) if widths[index] < column.most]
    left = width - _total(widths)
    while left > 0 and growing:
        index = min(growing, key=lambda each: widths[each])
        widths[index] += 1
        left -= 1
        if widths[index] == columns[index].most:
            growing.remove(index)
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _shortened(column: Column, width: int, ellipsis: str) -> Sequence[str]:
    """Return the cells of a column in a width, in the way of shortening that leaves most of them different."""
    if column.content <= width:
        return column.cells
    if column.sentences:
        return [cut_end(cell, width, ellipsis) for cell in column.cells]
    ways = [[cut(cell, width, ellipsis) for cell in column.cells] for cut in (shorten, cut_start, cut_end)]
    return max(ways, key=lambda cells: len(set(cells)))


def _aligned(cells: Sequence[str]) -> list[str]:
    """Return the texts of numbers with their decimal points below each other, or else at the right."""
    split = [_NUMBER.fullmatch(cell) for cell in cells]
    parts = [((m[1] or m[3] or ""), (m[2] or m[4] or "")) if m else ("", "") for m in split]
    heads, tails = (max(map(len, side), default=0) for side in zip(*parts, strict=True))
    plain = max(map(len, cells))
    if heads + tails > plain + 2:
        return [cell.rjust(plain) for cell in cells]
    return [(head.rjust(heads) + tail).ljust(heads + tails) for head, tail in parts]
