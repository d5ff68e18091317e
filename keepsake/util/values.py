"""The values of params and metrics: from Python to JSON and back, and as readable text.

JSON has no non-finite numbers. The strings `[NaN]`, `[+Infinity]` and `[-Infinity]` stand for them, at any depth.
"""

from __future__ import annotations

import datetime
import enum
import json
import math
import os
import re
from collections.abc import Collection, Hashable, Mapping, Sequence, Set
from typing import Any

from keepsake.exceptions import ValidationError
from keepsake.util import foreign

_FLOATS = {"[NaN]": math.nan, "[+Infinity]": math.inf, "[-Infinity]": -math.inf}
_NONES = {"null", "None"}
_DECODED = {str, list, dict}
MAX_DEPTH = 100
_MAX_VALUES = 1_000_000  # in params, or in a checkpoint's metrics, because each checkpoint rewrites all of them
_TEXT_PER_VALUE = 16  # characters of text that count as one value
_EXACT_DIGITS = 15  # significant digits of a float
_MAX_NUMBER_BITS = 1023  # Keepsake 0.4.2 reads integers beyond 64 bits as floats, and fails beyond this
_MAX_INT_BITS = 10_000  # Python refuses to write integers of more than 4,300 digits
_ACCEPTED = (
    "Use None, bools, numbers, strings, lists and dicts of these, objects with fields, "
    "or numbers and arrays of NumPy, PyTorch, TensorFlow and JAX."
)

# C0 without the newline, DEL, C1, line separators, marks that reverse the direction of text, and lone surrogates.
_CONTROLS = "[\0-\t\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_COLORS_AND_TABS = "(\x1b\\[[0-9;:]{0,40}m|\t)"


# To JSON and back


def encode(value: object, name: str) -> Any:
    """Return `value` as what `json.dumps` writes and `decode` reads back.

    Arguments:
        value: None, a bool, number, string, list or dict. Also an array, tensor or scalar of NumPy, PyTorch, TensorFlow
            or JAX (becomes nested lists or a number), a tuple or set (a list), a namespace, or an instance of a
            dataclass, of attrs or pydantic (a dict), a path, enum, date, class, function, or another object with a text
            of its own (its text). Keys that are not strings become text.
        name: its name in an error.

    Raises:
        ValidationError: it cannot be stored. The text names the place, such as `params['layers'][3]`.
    """
    return _Encoder(name).encode(value, name, 0)


def encode_mapping(mapping: object, what: str) -> dict[str, Any]:
    """Return `mapping` (a mapping, a namespace or an object with fields) as a new JSON-ready dict.

    Raises:
        ValidationError: it is none of these, or a value in it cannot be stored. The text starts with `what` (`params`
            or `metrics`) and names the key.
    """
    return _Encoder(what).encode_dict(mapping_of(mapping, what), what, 0)


def mapping_of(mapping: object, what: str) -> Mapping[Any, Any]:
    """Return the names and values in `mapping`, not encoded yet. Raises ValidationError if it has none."""
    try:
        fields = mapping if type(mapping) is dict else foreign.fields_of(mapping)
    except Exception as error:
        raise _unreadable(mapping, what, error) from error
    if fields is None:
        is_plain = hasattr(mapping, "__dict__") and not callable(mapping)
        hint = f" Write {what}=vars(…) for its attributes." if is_plain else ""
        raise ValidationError(f"{what} must be a dict of names and values, not {foreign.type_name(mapping)}.{hint}")
    return fields


def text_of_key(key: object) -> str:
    """Return the recorded text of a key of params or metrics."""
    return _text(key if isinstance(key, str) else str(key))


def decode(value: Any) -> Any:
    """Return the Python value of a JSON value, or of all values of params or metrics, with non-finite floats.

    The strings `null` and `None` become None, as the value itself or as a direct value of a mapping, but not deeper. A
    value that needs no change is returned itself, not a copy.
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


class _Encoder:
    """Encodes one value, and counts the values in it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = _MAX_VALUES

    def encode(self, value: object, name: str, depth: int) -> Any:
        """Encode a value of any type, `depth` containers deep."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._encode_text(value)
        if isinstance(value, int):
            return _encode_int(value, name)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else _nonfinite(value)
        if depth > MAX_DEPTH:
            raise ValidationError(
                f"{name:.100} cannot be recorded: it is nested more than {MAX_DEPTH} deep, or contains itself."
            )
        if isinstance(value, (list, tuple)):
            return self._encode_list(value, name, depth)
        try:
            return self._encode_other(value, name, depth)
        except (ValidationError, RecursionError):
            raise
        except Exception as error:
            raise _unreadable(value, name, error) from error

    def encode_dict(self, fields: Mapping[Any, Any], name: str, depth: int) -> dict[str, Any]:
        # Finite floats are handled here and below only for speed: without a call, and without making a name.
        isfinite = math.isfinite
        self._count(len(fields))
        result: dict[str, Any] = {}
        for key, item in fields.items():
            if type(key) is not str or not key.isascii():
                key = text_of_key(key)
            if type(item) is float and isfinite(item):
                result[key] = item
            else:
                result[key] = self.encode(item, f"{name}[{key!r}]", depth + 1)
        if len(result) != len(fields):
            raise ValidationError(f"{name} has keys that are the same as text, such as 1 and '1'. Rename one of them.")
        return result

    def _encode_list(self, items: Collection[Any], name: str, depth: int) -> list[Any]:
        isfinite = math.isfinite
        self._count(len(items))
        return [
            item if type(item) is float and isfinite(item) else self.encode(item, f"{name}[{index}]", depth + 1)
            for index, item in enumerate(items)
        ]

    def _encode_other(self, value: Any, name: str, depth: int) -> Any:
        if isinstance(value, (enum.Enum, datetime.date)):
            return self._encode_text(str(value))
        if isinstance(value, os.PathLike):
            return self._encode_text(os.fsdecode(value))
        if not isinstance(value, (bytes, bytearray, memoryview, type)):
            self._check(foreign.size_of(value))
            fields = foreign.fields_of(value)
            if fields is not None:
                return self.encode_dict(fields, name, depth)
            if foreign.is_array(value):
                return self.encode(foreign.from_array(value), name, depth + 1)
            if hasattr(value, "as_integer_ratio") and hasattr(value, "__float__"):  # a Decimal, a Fraction
                return self.encode(float(value), name, depth)
            if isinstance(value, Set):
                return sorted(self._encode_list(value, name, depth), key=sort_key)
            if isinstance(value, (Sequence, Collection)):
                return self._encode_list(value, name, depth)
        text = foreign.text_of(value)
        if text is None:
            raise ValidationError(f"{name} cannot be recorded: it is of type {foreign.type_name(value)}. {_ACCEPTED}")
        return self._encode_text(text)

    def _encode_text(self, value: str) -> str:
        self._count(len(value) // _TEXT_PER_VALUE)
        return _text(value)

    def _count(self, values: int) -> None:
        self._check(values)
        self._left -= values

    def _check(self, values: int) -> None:
        if values > self._left:
            raise ValidationError(
                f"{self._name} cannot be recorded: it is too large (more than {_MAX_VALUES:,} values). "
                "Save it in a file, and give that file's path."
            )


def _encode_int(value: int, name: str) -> int | str:
    bits = value.bit_length()
    if bits > _MAX_INT_BITS:
        raise ValidationError(f"{name} cannot be recorded: an int of {bits:,} bits is too large. Record it as text.")
    return int(value) if bits <= _MAX_NUMBER_BITS else str(int(value))


def _unreadable(value: object, name: str, error: Exception) -> ValidationError:
    kind, reason = foreign.type_name(value), str(error) or type(error).__name__
    return ValidationError(f"{name} cannot be recorded: the value of {kind} cannot be read ({reason}). {_ACCEPTED}")


def _text(value: str) -> str:
    """Return a plain str. Characters that UTF-8 cannot encode become escapes."""
    text = str.__str__(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


# To text


def full_text(value: Any) -> str:
    """Return the full text of a decoded value: strings unchanged, others as compact JSON (`1.5e-7`, `1`, `NaN`).

    Control characters are escaped, but newlines are not.
    """
    return escape_controls(value if isinstance(value, str) else _json_text(value), keep_newlines=True)


def short_text(value: Any, width: int) -> str:
    """Return the text of a decoded value in a table.

    Floats are rounded to 5 significant digits, or to `width` from 100,000 on. Strings, lists and dicts are cut to
    `width` characters. Control characters are escaped, but newlines are not.
    """
    if isinstance(value, float):
        return _short_float(value, width)
    if type(value) is int:
        return str(value)
    text = full_text(value)
    return cut(text, width) if isinstance(value, (str, list, dict)) else text


def cut(text: str, width: int) -> str:
    """Return `text`; if it has more than `width` characters, its beginning and `...`, `width` characters in total."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


def escape_controls(text: str, keep_newlines: bool = False) -> str:
    r"""Return `text` with control characters and direction marks as escapes, such as `\x1b` or `\u202e`."""
    if (text.replace("\n", "") if keep_newlines else text).isprintable():
        return text
    escaped = re.sub(_CONTROLS, _escape, text)
    return escaped if keep_newlines else escaped.replace("\n", r"\x0a")


def escape_all_but_colors(text: str, *, colors: bool) -> str:
    """Return text of many lines with control characters as escapes, but with its colours, or without any."""
    pieces = re.split(_COLORS_AND_TABS, text)
    pieces[::2] = [escape_controls(piece, keep_newlines=True) for piece in pieces[::2]]
    if not colors:
        return "".join(piece for piece in pieces if not piece.startswith("\x1b"))
    return "".join(pieces) + ("\x1b[0m" if "\x1b[" in text else "")


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
    """Return the shortest exact text of `value`: decimal from 1e-6 up to 1e21, else like 1.5e-7 and 1e+21."""
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
    if abs(value) <= 1e5:
        return f"{value:.5g}"
    text = _full_float(value)
    if "e" in text:
        return f"{value:.5g}"
    return text if len(text) <= width or not math.isfinite(value) else f"{value:.{min(width, _EXACT_DIGITS)}g}"


# To compare


def comparable(value: Any) -> bool:
    """Return whether a decoded value can be the best: a number or a bool, and not NaN."""
    return isinstance(value, (int, float)) and value == value


def same(one: Any, other: Any) -> bool:
    """Whether two decoded values mean the same: 1 and 1.0 do, and NaN and NaN, but not 1 and true, or 1 and "1"."""
    return one is other or value_key(one) == value_key(other)


def sort_key(value: Any) -> tuple[int, Any]:
    """Return the sort key of a decoded value of any type: None, bools, numbers, NaN, strings, lists and dicts."""
    if value is None:
        return 0, 0
    if isinstance(value, bool):
        return 1, value
    if isinstance(value, (int, float)):
        return (2, value) if value == value else (3, 0)
    return (4, value) if isinstance(value, str) else (5, _json_text(value))


def value_key(value: Any) -> Hashable:
    """Return a key that decoded values share if they mean the same."""
    if isinstance(value, str) or (isinstance(value, (int, float)) and not isinstance(value, bool) and value == value):
        return value
    return (full_text(value),)
