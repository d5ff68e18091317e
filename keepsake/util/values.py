"""The values of params and metrics: from Python to JSON and back, and as text for a person.

JSON has no non-finite numbers: the strings `[NaN]`, `[+Infinity]` and `[-Infinity]` stand for them, at any depth.
"""

from __future__ import annotations

import datetime
import enum
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from keepsake.exceptions import ValidationError

_FLOATS = {"[NaN]": math.nan, "[+Infinity]": math.inf, "[-Infinity]": -math.inf}
_NONES = {"null", "None"}
_DECODED = {str, list, dict}
_ARRAY_PACKAGES = {"numpy", "torch", "tensorflow", "jax", "jaxlib", "ml_dtypes"}
MAX_DEPTH = 100
_EXACT_DIGITS = 15  # a float has this many digits that mean something
# Python refuses to read JSON integers of more than 4,300 digits.
_MAX_INT_BITS = 10_000
_ACCEPTED = (
    "accepted are None, bools, numbers, strings, lists and dicts of these, "
    "and NumPy, PyTorch, TensorFlow and JAX numbers and arrays"
)

# C0 but for the newline, DEL, C1, line separators, what reverses the direction of text, and lone surrogates.
_CONTROL_RANGES = "\0-\t\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROLS = re.compile(f"[{_CONTROL_RANGES}]")


# To JSON and back


def encode(value: object, name: str) -> Any:
    """Return `value` as what `json.dumps` writes and `decode` reads back.

    Arguments:
        value: None, a bool, number, string, list or dict. Also an array, tensor or scalar of NumPy, PyTorch, TensorFlow
            or JAX (becomes nested lists or a number), a tuple or set (a list), a path, enum or date (its text), a
            namespace or dataclass instance (a dict). Keys that are no strings become text.
        name: what to call it in an error.

    Raises:
        ValidationError: it cannot be stored; the text names the place, e.g. `params['layers'][3]`.
    """
    return _encode(value, name, 0)


def encode_mapping(mapping: object, what: str) -> dict[str, Any]:
    """Return `mapping` (a mapping, an `argparse.Namespace` or a dataclass instance) as a new JSON-ready dict.

    Raises:
        ValidationError: it is none of these, or a value in it cannot be stored; the text starts with `what` (`params`
            or `metrics`) and names the key.
    """
    fields = mapping if type(mapping) is dict else _fields(mapping)
    if fields is None:
        raise ValidationError(f"{what} must be a dict of names and values, not {_type_name(mapping)}")
    return _encode_dict(fields, what, 0)


def decode(value: Any) -> Any:
    """Return the Python value of a JSON value, or of all values of params or metrics: non-finite numbers as floats.

    The strings `null` and `None` are none, as the value itself or as one of the mapping's, but not deeper. What needs
    no change is returned itself, not a copy.
    """
    if type(value) is dict:
        for item in value.values():
            if type(item) in _DECODED:
                return {name: _decode(item) if type(item) in _DECODED else item for name, item in value.items()}
        return value
    return _decode(value)


def _decode(value: Any) -> Any:
    return None if type(value) is str and value in _NONES else _decode_floats(value)


def _decode_floats(value: Any) -> Any:
    if type(value) is str:
        return _FLOATS.get(value, value)
    if type(value) is list:
        return [_decode_floats(item) if type(item) in _DECODED else item for item in value]
    if type(value) is dict:
        return {key: _decode_floats(item) if type(item) in _DECODED else item for key, item in value.items()}
    return value


def _nonfinite(value: float) -> str:
    return "[NaN]" if value != value else "[+Infinity]" if value > 0 else "[-Infinity]"


def _encode(value: object, name: str, depth: int) -> Any:
    """Encode a value of any type, `depth` containers deep."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        if value.bit_length() > _MAX_INT_BITS:
            raise ValidationError(f"{name} cannot be recorded: an int of {value.bit_length():,} bits is too large")
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _nonfinite(value)
    if depth > MAX_DEPTH:
        raise ValidationError(f"{name:.100} cannot be recorded: nested more than {MAX_DEPTH} deep, or contains itself")
    if isinstance(value, (list, tuple)):
        return _encode_list(value, name, depth)
    return _encode_other(value, name, depth)


def _encode_other(value: object, name: str, depth: int) -> Any:
    if _is_array(value):
        return _encode(_from_array(value, name), name, depth + 1)
    if isinstance(value, (enum.Enum, datetime.date)):
        return _text(str(value))
    if isinstance(value, os.PathLike):
        return _text(os.fsdecode(value))
    if isinstance(value, Set):
        return sorted(_encode_list(value, name, depth), key=sort_key)
    fields = _fields(value)
    if fields is not None:
        return _encode_dict(fields, name, depth)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return _encode_list(value, name, depth)
    raise ValidationError(f"{name} cannot be recorded: it is of type {_type_name(value)}; {_ACCEPTED}")


def _encode_list(items: Iterable[Any], name: str, depth: int) -> list[Any]:
    # Finite floats here and below only for speed: nothing is called, and no name is made for them.
    isfinite = math.isfinite
    return [
        item if type(item) is float and isfinite(item) else _encode(item, f"{name}[{index}]", depth + 1)
        for index, item in enumerate(items)
    ]


def _encode_dict(fields: Mapping[Any, Any], name: str, depth: int) -> dict[str, Any]:
    isfinite = math.isfinite
    result: dict[str, Any] = {}
    for key, item in fields.items():
        if type(key) is not str or not key.isascii():
            key = _text(key if isinstance(key, str) else str(key))
        if type(item) is float and isfinite(item):
            result[key] = item
        else:
            result[key] = _encode(item, f"{name}[{key!r}]", depth + 1)
    if len(result) != len(fields):
        raise ValidationError(f"{name} has keys that are the same as text, such as 1 and '1': rename one of them")
    return result


def _fields(value: object) -> Mapping[Any, Any] | None:
    """Return the names and values of a mapping, an `argparse.Namespace` or a dataclass instance; None for others."""
    # What was never imported cannot be an instance of it.
    argparse, dataclasses = sys.modules.get("argparse"), sys.modules.get("dataclasses")
    if argparse and isinstance(value, argparse.Namespace):
        value = vars(value)
    elif dataclasses and dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value if isinstance(value, Mapping) else None


def _is_array(value: object) -> bool:
    return any(cls.__module__.partition(".")[0] in _ARRAY_PACKAGES for cls in type(value).__mro__)


def _from_array(value: Any, name: str) -> object:
    """Return the nested lists, or the number, of an array, tensor or scalar of another package."""
    try:
        if hasattr(value, "numpy") and not hasattr(value, "tolist"):
            value = value.numpy()  # TensorFlow
        plain = value.tolist() if hasattr(value, "tolist") else value
        # A scalar wider than Python's stays what it is.
        return float(plain) if _is_array(plain) else plain
    except Exception as exc:
        kind = _type_name(value)
        raise ValidationError(f"{name} cannot be recorded: {kind} has no plain value ({exc}); {_ACCEPTED}") from exc


def _text(value: str) -> str:
    """Return exactly a str, with what UTF-8 cannot hold written as an escape."""
    text = str.__str__(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


# To text


def full_text(value: Any) -> str:
    """Return the whole text of a decoded value: strings as they are, the rest as compact JSON (`1.5e-7`, `1`, `NaN`).

    Control characters are escaped, newlines not.
    """
    return escape_controls(value if isinstance(value, str) else _json_text(value), keep_newlines=True)


def short_text(value: Any, width: int) -> str:
    """Return the text of a decoded value in a table.

    Floats are rounded to 5 significant digits, or to `width` from 100,000 on. Strings, lists and dicts are cut to
    `width` characters. Control characters are escaped, newlines not.
    """
    if isinstance(value, float):
        return _short_float(value, width)
    if type(value) is int:
        return str(value)
    text = full_text(value)
    return cut(text, width) if isinstance(value, (str, list, dict)) else text


def cut(text: str, width: int) -> str:
    """Return `text`, or if it has more than `width` characters its beginning and `...`, `width` characters in all."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


def escape_controls(text: str, keep_newlines: bool = False) -> str:
    r"""Return `text` with control characters, and what reverses the direction of text, as `\x1b` or `\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    escaped = _CONTROLS.sub(_escape, text)
    return escaped if keep_newlines else escaped.replace("\n", r"\x0a")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _json_text(value: Any) -> str:
    if isinstance(value, float):
        return _full_float(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json_text(key)}:{_json_text(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _full_float(value: float) -> str:
    """Return the shortest text that reads as `value`: plain decimal from 1e-6 up to 1e21, else like 1.5e-7, 1e+21."""
    if not math.isfinite(value):
        return "NaN" if value != value else f"{value:+}".title()
    text = repr(value)
    mantissa, _, exponent = text.removesuffix(".0").partition("e")
    if not exponent:
        return mantissa
    if 1e-6 <= abs(value) < 1e21:
        from decimal import Decimal

        return f"{Decimal(text):f}"
    return f"{mantissa}e{int(exponent):+}"


def _short_float(value: float, width: int) -> str:
    if abs(value) <= 1e5:  # which itself is short as it is
        return f"{value:.5g}"
    text = _full_float(value)
    if "e" in text:
        return f"{value:.5g}"
    return text if len(text) <= width or not math.isfinite(value) else f"{value:.{min(width, _EXACT_DIGITS)}g}"


# To compare


def comparable(value: Any) -> bool:
    """Tell whether a decoded value can be the best of its kind: a number or a bool, and not NaN."""
    return isinstance(value, (int, float)) and value == value


def sort_key(value: Any) -> tuple[int, Any]:
    """Return the key that sorts decoded values of any types: none, bools, numbers, NaN, strings, lists and dicts."""
    if value is None:
        return 0, 0
    if isinstance(value, bool):
        return 1, value
    if isinstance(value, (int, float)):
        return (2, value) if value == value else (3, 0)
    return (4, value) if isinstance(value, str) else (5, _json_text(value))
