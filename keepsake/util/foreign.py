"""Reading the objects of other packages: their names and values, numbers and lists, or text.

No other package is imported. Objects are recognised by the names of their type's modules, attributes and methods.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Any

_ARRAY_PACKAGES = {"numpy", "torch", "tensorflow", "jax", "jaxlib", "ml_dtypes", "cupy"}
_DICT_METHODS = ("model_dump", "to_dict", "_asdict", "flag_values_dict")  # pydantic; pandas, Hugging Face; absl
_ADDRESS = r" at 0x[0-9a-fA-F]+"
_NARROW_FLOAT = r"(?<![a-z])(bfloat16|float16|float32)\b"
_DIGITS = {"bfloat16": (2, 3, 4), "float16": (3, 4, 5), "float32": (6, 7, 8, 9)}  # enough to tell numbers apart


def type_name(value: object) -> str:
    """Return the name of a value's type, such as `torch.nn.modules.linear.Linear`, for a message."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


# Names and values


def fields_of(value: Any) -> Mapping[Any, Any] | None:
    """Return the names and values of a mapping, a namespace or an object with fields; None for others.

    An object with fields is an instance of a dataclass, of attrs, pydantic or msgspec, or has a method like `to_dict`.
    """
    if isinstance(value, type):
        return None
    kind = type(value)
    if kind.__module__.partition(".")[0] == "omegaconf":
        return _of_omegaconf(value)
    if isinstance(value, Mapping):
        return value
    if kind.__name__ in ("Namespace", "SimpleNamespace") or _is_namespace(value):
        return dict(vars(value))
    names = _field_names(kind)
    if names is not None:
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    method = next((name for name in _DICT_METHODS if callable(getattr(kind, name, None))), None)
    if method is None and "__fields__" in vars(kind):
        method = "dict"  # pydantic 1
    fields = getattr(value, method)() if method else None
    return fields if isinstance(fields, Mapping) else None


def _of_omegaconf(value: Any) -> Mapping[Any, Any] | None:
    """Return the content of an OmegaConf config, with references resolved; None if it is a list."""
    to_container = sys.modules["omegaconf"].OmegaConf.to_container
    try:
        plain = to_container(value, resolve=True)
    except Exception:  # noqa: BLE001 - a dangling reference is recorded as written
        plain = to_container(value, resolve=False)
    return plain if isinstance(plain, Mapping) else None


def _is_namespace(value: object) -> bool:
    """Whether a value is an instance of a subclass of `argparse.Namespace`."""
    argparse = sys.modules.get("argparse")
    return argparse is not None and isinstance(value, argparse.Namespace)


def _field_names(kind: type) -> list[str] | None:
    """Return the names of the fields of a dataclass, or of a class of attrs or msgspec; None for other classes."""
    if hasattr(kind, "__dataclass_fields__"):
        return [field.name for field in sys.modules["dataclasses"].fields(kind)]
    if hasattr(kind, "__attrs_attrs__"):
        return [attribute.name for attribute in kind.__attrs_attrs__]
    names = getattr(kind, "__struct_fields__", None)
    return None if names is None else list(names)


# Arrays


def is_array(value: Any) -> bool:
    """Whether `value` is an array, a tensor or a scalar of another package."""
    if hasattr(value, "tolist"):
        return True
    return _is_of_array_package(value) and (hasattr(value, "numpy") or hasattr(value, "__float__"))


def _is_of_array_package(value: object) -> bool:
    return any(cls.__module__.partition(".")[0] in _ARRAY_PACKAGES for cls in type(value).__mro__)


def size_of(value: Any) -> int:
    """Return the number of values in an array or table; 0 if unknown."""
    shape = getattr(value, "shape", None)
    try:
        return math.prod(map(int, shape)) if shape is not None else 0
    except (TypeError, ValueError):  # a shape that is not known yet
        return 0


def from_array(value: Any) -> object:
    """Return an array or tensor as nested lists, or as a number if it has a single element.

    Numbers of a narrow type get the fewest digits that tell them apart in that type: `float32(0.1)` is 0.1. Times have
    microseconds, as in Python.
    """
    if hasattr(value, "numpy") and not hasattr(value, "tolist"):
        value = value.numpy()  # TensorFlow
    kind = str(getattr(value, "dtype", ""))
    if kind.startswith(("datetime64", "timedelta64")):
        value = value.astype(f"{kind.partition('[')[0]}[us]")
    plain = value.tolist() if hasattr(value, "tolist") else value
    if _is_of_array_package(plain):
        plain = float(plain)  # tolist() does not convert a scalar wider than Python's
    narrow = re.search(_NARROW_FLOAT, kind)
    if narrow:
        plain = _shorten(plain, narrow[0])
    return _only_element(plain)


def _only_element(plain: object) -> object:
    inner = plain
    while isinstance(inner, list) and len(inner) == 1:
        inner = inner[0]
    return inner if isinstance(inner, (int, float)) and not isinstance(inner, bool) else plain


def _shorten(plain: Any, kind: str) -> Any:
    if isinstance(plain, list):
        return [_shorten(item, kind) for item in plain]
    if not isinstance(plain, float) or not math.isfinite(plain):
        return plain
    for digits in _DIGITS[kind]:
        short = float(f"{plain:.{digits}g}")
        if _round(short, kind) == plain:
            return short
    return plain


def _round(number: float, kind: str) -> float | None:
    """Return the nearest number of a narrow type; None if `number` is too large for that type."""
    code = "e" if kind == "float16" else "f"
    try:
        packed = struct.pack(f"<{code}", number)
    except OverflowError:
        return None
    if kind == "bfloat16":  # the upper half of a float32, rounded to even
        (bits,) = struct.unpack("<I", packed)
        packed = struct.pack("<I", (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000)
    rounded: float = struct.unpack(f"<{code}", packed)[0]
    return rounded


# Text


def text_of(value: Any) -> str | None:
    """Return the name of a class, function or module, or an object's own text; None if it has none."""
    if isinstance(value, type(sys)):
        return value.__name__
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str) and callable(value):
        module = getattr(value, "__module__", None)
        return name if module in (None, "builtins", "__main__") else f"{module}.{name}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    says_something = any("__str__" in vars(cls) or "__repr__" in vars(cls) for cls in type(value).__mro__[:-1])
    if not says_something or isinstance(value, Iterator):
        return None
    text = str(value)
    return None if re.search(_ADDRESS, text) and text.endswith(">") else re.sub(_ADDRESS, "", text)
