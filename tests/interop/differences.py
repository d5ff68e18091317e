"""The differences by intent. docs/compatibility.md is the one place that lists them: these tests read its table.

A test that proves one is marked `@shows("id")`: what 0.4.2 does and what we do, both. A comparison that would stumble
over one names it: `tolerating="id"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
_ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)

Test = TypeVar("Test", bound=Callable[..., object])


def listed() -> dict[str, tuple[str, str, str]]:
    """Return ID → (what 0.4.2 does, what we do, why)."""
    rows = _ROW.findall(PAGE.read_text("utf-8"))
    ids = [row[0] for row in rows]
    assert len(ids) == len(set(ids)), "an ID is there twice"
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def shows(*ids: str) -> Callable[[Test], Test]:
    """Mark a test as the proof that a listed difference is real, on both sides."""

    def mark(test: Test) -> Test:
        test.shows = ids  # type: ignore[attr-defined]
        return test

    return mark
