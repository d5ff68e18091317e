"""JSON with an indentation, written as the standard library writes it, in half of the time.

The standard library has a fast encoder only for JSON without an indentation. A run that checkpoints often, and an
import of many runs, spend most of their time on this.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

_encode = json.JSONEncoder(ensure_ascii=False).encode


def _number(value: float) -> str:
    return float.__repr__(value) if math.isfinite(value) else _encode(value)


_PLAIN: dict[type, Callable[[Any], str]] = {
    str: _encode,
    float: _number,
    int: int.__repr__,
    bool: _encode,
    type(None): lambda value: "null",
}


def indented(value: object, depth: int) -> str:
    """Return the JSON of a value that lies `depth` containers deep, as `json.dumps(indent=1)` does.

    Characters beyond ASCII stay as they are. The keys of dicts must be strings.
    """
    if not value or not isinstance(value, (dict, list, tuple)):
        return _encode(value)
    inner = depth + 1
    between = ",\n" + " " * inner
    if isinstance(value, dict):
        items = [f"{_encode(name)}: {_text(item, inner)}" for name, item in value.items()]
        return f"{{{between[1:]}{between.join(items)}\n{' ' * depth}}}"
    return f"[{between[1:]}{between.join([_text(item, inner) for item in value])}\n{' ' * depth}]"


def _text(value: object, depth: int) -> str:
    write = _PLAIN.get(type(value))
    return write(value) if write else indented(value, depth)
