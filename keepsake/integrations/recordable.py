"""What frameworks give as params and metrics, in the form in which it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keepsake.exceptions import ValidationError
from keepsake.util.values import decode, encode

_PLAIN = (int, float, str, bool, type(None))


def recordable(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a framework's params, with the type's name in place of a value that cannot be recorded."""
    return {name: value if _can_be_recorded(value) else type(value).__name__ for name, value in params.items()}


def _can_be_recorded(value: object) -> bool:
    try:
        encode(value, "params")
    except ValidationError:
        return False
    return True


def as_of_now(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics as they are recorded, so that a tensor may change before that. What cannot be stays as it is."""
    return {name: value if isinstance(value, _PLAIN) else _value(value) for name, value in metrics.items()}


def _value(value: object) -> Any:
    try:
        return decode(encode(value, "value"))
    except ValidationError:
        return value


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested params under names with dots, so that they can be columns and filters: `optimizer.lr`."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
