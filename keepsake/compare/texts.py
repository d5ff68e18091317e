"""The lines that differ between two texts, as a unified diff."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import Match, SequenceMatcher
from typing import Any

from keepsake.util.clock import monotonic

MAX_TEXT = 1_000_000  # bytes; a larger file is hardly read by a person
_CONTEXT = 3  # lines around a change
_MAX_PAIRS = 2_000_000  # of lines that are the same
_STRANGE = 0.1  # share of bytes that are not UTF-8 from which a file is not a text
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

Lines = Sequence[str]


def text_lines(data: bytes) -> list[str] | None:
    """Return the lines of a text, each with its line feed; None if it is not a text.

    Single bytes that are not UTF-8 appear as `\\xe9`.
    """
    encoding = next((encoding for bom, encoding in _BOMS.items() if data.startswith(bom)), "utf-8")
    if encoding != "utf-16" and b"\0" in data:
        return None
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        if encoding == "utf-16" or len(data) - len(data.decode("utf-8", "ignore").encode()) > _STRANGE * len(data):
            return None
        text = data.decode("utf-8", "backslashreplace")
    return [f"{line}\n" for line in text.split("\n")[:-1]] + [last for last in text.split("\n")[-1:] if last]


class Patch:
    """How one text becomes another.

    Args:
        left, right: their lines, each with its line feed.
        deadline: after this time (of `clock.monotonic`), the search for common lines ends early. The patch is still
            right, but longer than necessary.

    Attributes:
        added, removed: numbers of lines.
    """

    def __init__(self, left: Lines, right: Lines, deadline: float) -> None:
        self._left, self._right = left, right
        self._matcher = _Matcher(left, right, deadline)
        changes = [code for code in self._matcher.get_opcodes() if code[0] != "equal"]
        self.removed = sum(code[2] - code[1] for code in changes)
        self.added = sum(code[4] - code[3] for code in changes)

    def lines(self, left_name: str, right_name: str) -> Iterator[str]:
        """Yield the lines of a unified diff, which `patch` understands, without line feeds at their ends."""
        if not (self.added or self.removed):
            return
        yield f"--- {left_name}"
        yield f"+++ {right_name}"
        for group in self._matcher.get_grouped_opcodes(_CONTEXT):
            (_, left, _, right, _), (_, _, left_end, _, right_end) = group[0], group[-1]
            yield f"@@ -{_range(left, left_end)} +{_range(right, right_end)} @@"
            for kind, start, end, other_start, other_end in group:
                if kind == "equal":
                    yield from _marked(" ", self._left[start:end])
                else:
                    yield from _marked("-", self._left[start:end])
                    yield from _marked("+", self._right[other_start:other_end])


class _Matcher(SequenceMatcher[str]):
    """A matcher that takes the same beginning and end of two texts for granted, and gives up at its deadline."""

    def __init__(self, left: Lines, right: Lines, deadline: float) -> None:
        most = min(len(left), len(right))
        self._sizes = len(left), len(right)
        self._head = next((at for at in range(most) if left[at] != right[at]), most)
        most -= self._head
        self._tail = next((at for at in range(most) if left[-1 - at] != right[-1 - at]), most)
        self._deadline = deadline
        left, right = left[self._head : len(left) - self._tail], right[self._head : len(right) - self._tail]
        super().__init__(None, left, right)
        counts = Counter(right)
        most = len(right) // 100 + 1  # a line that is there more often does not count, unless the text is short
        if sum(counts[line] for line in left if counts[line] <= most) > _MAX_PAIRS:
            self._deadline = 0.0  # the first search alone would take too long

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        if monotonic() > self._deadline:
            return Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)

    def get_opcodes(self) -> list[Any]:  # the literals in its type have no public name
        head, tail, (left, right) = self._head, self._tail, self._sizes
        codes = [(kind, a + head, b + head, c + head, d + head) for kind, a, b, c, d in super().get_opcodes()]
        before = [("equal", 0, head, 0, head)] if head else []
        return [*before, *codes, *([("equal", left - tail, left, right - tail, right)] if tail else [])]


def _range(start: int, end: int) -> str:
    """Return the lines of a text in the form of a unified diff: the first one, from 1 on, and their number."""
    count = end - start
    return f"{start + 1}" if count == 1 else f"{start + 1 if count else start},{count}"


def _marked(mark: str, lines: Lines) -> Iterator[str]:
    for line in lines:
        yield mark + line.removesuffix("\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"
