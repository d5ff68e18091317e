"""The names whose values differ between two sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keepsake.util.values import same

Values = Mapping[str, Any]


class _NotSet:
    """The value of a name that one side does not have."""

    def __repr__(self) -> str:
        return "NOT_SET"


NOT_SET = _NotSet()
Differences = dict[str, tuple[Any, Any]]  # name → both values; one of them may be NOT_SET


def differences(left: Values | None, right: Values | None) -> Differences:
    """Return the names whose values differ, sorted."""
    left, right = left or {}, right or {}
    both = {name: (left.get(name, NOT_SET), right.get(name, NOT_SET)) for name in sorted({**left, **right})}
    return {name: pair for name, pair in both.items() if NOT_SET in pair or not same(*pair)}
