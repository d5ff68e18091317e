"""The names whose values differ between runs, and those of seeds, which say little about why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from keepsake.util.values import same

Values = Mapping[str, Any]


class _NotSet:
    """The value of a name that one side does not have."""

    def __repr__(self) -> str:
        return "NOT_SET"


NOT_SET = _NotSet()
_SEED = r"(?i)(.*[._-])?(seed|rng|random_?state)([_-](everything|value|num|id))?|.*[a-z]seed"
Differences = dict[str, tuple[Any, Any]]  # name → both values; one of them may be NOT_SET


def is_seed(name: str) -> bool:
    """Return whether a param is a seed, by the last part of its name: `seed`, `data.rng_seed`, `random_state` …"""
    return bool(re.fullmatch(_SEED, name))


def all_differences(many: Sequence[Values]) -> dict[str, tuple[Any, ...]]:
    """Return the names whose values are not the same in all of `many`, sorted, each with all its values."""
    names = sorted({name for values in many for name in values})
    found: dict[str, tuple[Any, ...]] = {}
    for name in names:
        found |= _nested(name, tuple(values.get(name, NOT_SET) for values in many), set(names))
    return dict(sorted(found.items()))


def _nested(name: str, values: tuple[Any, ...], taken: set[str]) -> dict[str, tuple[Any, ...]]:
    """Return a name with its values if they differ. Names in dicts are compared one by one."""
    if all(value is not NOT_SET and same(values[0], value) for value in values):
        return {}
    keys = sorted({key for value in values if isinstance(value, dict) for key in value})
    inner = {f"{name}.{key}": key for key in keys}
    known = [value for value in values if value is not NOT_SET]
    if len(known) < 2 or not all(isinstance(value, dict) for value in known) or taken & inner.keys() or not inner:
        return {name: values}
    found: dict[str, tuple[Any, ...]] = {}
    for path, key in inner.items():
        found |= _nested(path, tuple(NOT_SET if v is NOT_SET else v.get(key, NOT_SET) for v in values), taken)
    return found
