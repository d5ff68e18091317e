"""Whether two values are the same, and which names have values that differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keepsake.util.values import full_text

Values = Mapping[str, Any]


class _NotSet:
    """The value of a name that one side does not have."""

    def __repr__(self) -> str:
        return "NOT_SET"


NOT_SET = _NotSet()
Differences = dict[str, tuple[Any, Any]]  # name → both values; one of them may be NOT_SET


def same(one: Any, other: Any) -> bool:
    """Whether two values mean the same: 1 and 1.0 do, and NaN and NaN, but not 1 and true, or 1 and "1"."""
    if one is other:
        return True
    return isinstance(one, str) == isinstance(other, str) and full_text(one) == full_text(other)


def differences(left: Values | None, right: Values | None) -> Differences:
    """Return the names whose values differ, sorted."""
    left, right = left or {}, right or {}
    both = {name: (left.get(name, NOT_SET), right.get(name, NOT_SET)) for name in sorted({**left, **right})}
    return {name: pair for name, pair in both.items() if NOT_SET in pair or not same(*pair)}


def differing_names(many: Iterable[Values]) -> dict[str, bool]:
    """Return each name in `many`, in order of appearance, and whether its values differ.

    Runs without the name do not count.
    """
    first: dict[str, Any] = {}
    differing: set[str] = set()
    for values in many:
        for name, value in values.items():
            if name not in differing and not same(first.setdefault(name, value), value):
                differing.add(name)
    return {name: name in differing for name in first}
