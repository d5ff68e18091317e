"""Unified diffs: applied to the left text, they give the right one, whatever the two are."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence

import pytest

from keepsake.compare.texts import Patch, text_lines

LATER = 3600.0  # seconds


def patched(left: Sequence[str], patch: Sequence[str]) -> str:
    """What a unified diff makes of a text."""
    parts: list[str] = []
    position = 0
    for line in patch[2:]:
        if line.startswith("@@"):
            start, _, count = line.split()[1].removeprefix("-").partition(",")
            begin = int(start) - (count != "0")
            parts += left[position:begin]
            position = begin
        elif line.startswith("\\"):
            parts[-1] = parts[-1].removesuffix("\n")
        else:
            if line[0] != "+":
                assert left[position].removesuffix("\n") == line[1:]
                position += 1
            if line[0] != "-":
                parts.append(f"{line[1:]}\n")
    return "".join([*parts, *left[position:]])


def pairs() -> Iterator[tuple[list[str], list[str]]]:
    chance = random.Random(0)
    for _ in range(300):
        left, right = ([chance.choice("abc") + "\n" for _ in range(chance.randrange(15))] for _ in range(2))
        if chance.random() < 0.5:
            right = [line for line in left if chance.random() < 0.8]
        yield left, right


@pytest.mark.parametrize("seconds", [LATER, -1.0], ids=["in time", "late"])
def test_any_text_becomes_the_other(seconds: float) -> None:
    for left, right in pairs():
        patch = Patch(left, right, time.monotonic() + seconds)
        lines = list(patch.lines("a", "b"))
        assert patched(left, lines) == "".join(right)
        assert sum(line.startswith("+") for line in lines[2:]) == patch.added
        assert len(left) - patch.removed + patch.added == len(right)
        assert bool(lines) == (left != right)


def test_a_change_has_three_lines_around_it() -> None:
    left = [f"{number}\n" for number in range(100)]
    right = [*left[:50], "new\n", *left[51:99], "99"]
    assert list(Patch(left, right, time.monotonic() + LATER).lines("a/x", "b/x")) == [
        *["--- a/x", "+++ b/x", "@@ -48,7 +48,7 @@", " 47", " 48", " 49", "-50", "+new", " 51", " 52", " 53"],
        *["@@ -97,4 +97,4 @@", " 96", " 97", " 98", "-99", "+99", "\\ No newline at end of file"],
    ]


def test_many_lines_that_are_the_same_take_no_time() -> None:
    """A text of which every line is there 150 times would take minutes."""
    chance = random.Random(0)
    left, right = ([f"{chance.randrange(300)}\n" for _ in range(45_000)] for _ in range(2))
    patch = Patch(left, right, time.monotonic() + LATER)
    assert patch.added == patch.removed


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb", ["a\n", "b"]),
        (b"a\r\n\x0c\n", ["a\r\n", "\x0c\n"]),
        ("é\u2028\n".encode(), ["é\u2028\n"]),
        ("\ufeffa\n".encode(), ["a\n"]),
        ("a\n".encode("utf-16"), ["a\n"]),
        (b"some text in latin-1: \xe9\n", ["some text in latin-1: \\xe9\n"]),
        (b"a\0b", None),
        (b"\xff\xfea", None),
        (bytes(range(128, 256)), None),
    ],
)
def test_what_is_a_text(data: bytes, lines: list[str] | None) -> None:
    assert text_lines(data) == lines
