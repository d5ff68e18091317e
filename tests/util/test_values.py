"""Values of params and metrics: from Python to JSON and back, as text, compared."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import enum
import functools
import json
import math
import pathlib
import re
import subprocess
import sys
import threading
import types
import uuid
from collections import OrderedDict, UserDict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, ClassVar

import attrs
import numpy as np
import pandas
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsake.exceptions import ValidationError
from keepsake.util.values import (
    comparable,
    cut,
    decode,
    encode,
    encode_mapping,
    escape_controls,
    full_text,
    short_text,
    sort_key,
)

# What the format itself takes for something else
_AMBIGUOUS = {"[NaN]", "[+Infinity]", "[-Infinity]", "null", "None"}
_texts = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text not in _AMBIGUOUS)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


class Color(enum.Enum):
    RED = 1


class Mode(str, enum.Enum):
    FAST = "fast"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Config:
    lr: float
    layers: tuple[int, ...] = (1, 2)
    count: ClassVar[int] = 0


@attrs.define
class Attrs:
    lr: float
    inner: Attrs | None = attrs.Factory(lambda: Attrs(0.25, None))


class Pydantic(pydantic.BaseModel):
    lr: float
    where: pathlib.Path = pathlib.Path("a/b")
    key: pydantic.SecretStr = pydantic.SecretStr("hidden")


class Silent:
    """Says nothing of itself."""


class Broken:
    """A config that cannot be read, as where a value is missing."""

    def to_dict(self) -> dict[str, Any]:
        raise LookupError("missing mandatory value")


def _doubled(times: int) -> list[Any]:
    """A list of 2 ** times values that takes no memory."""
    values: list[Any] = [1]
    for _ in range(times):
        values = [values, values]
    return values


class Tensor:
    """Stands for the tensors of PyTorch (`tolist`) and TensorFlow (`numpy` only)."""

    def __init__(self, **methods: Any) -> None:
        for name, result in methods.items():
            setattr(self, name, result if name == "dtype" else lambda result=result: result)


def tensor(package: str, **methods: Any) -> object:
    return type("Tensor", (Tensor,), {"__module__": f"{package}.core"})(**methods)


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False).encode())


def same(a: Any, b: Any) -> bool:
    """Tell whether two values are equal in value and type, NaN equal to NaN, 0.0 not to -0.0."""
    return repr(a) == repr(b)


@given(st.dictionaries(_texts, _values, max_size=5))
def test_what_is_recorded_comes_back_with_its_types(params: dict[str, Any]) -> None:
    assert same(decode(as_json(encode_mapping(params, "params"))), params)


@given(_values)
def test_a_single_value_comes_back_with_its_type(value: Any) -> None:
    assert same(decode(as_json(encode(value, "x"))), value)


def test_nonfinite_numbers_are_stored_as_the_three_strings_at_any_depth() -> None:
    value = {"a": [math.nan, {"b": (math.inf, -math.inf)}]}
    assert encode(value, "x") == {"a": ["[NaN]", {"b": ["[+Infinity]", "[-Infinity]"]}]}


def test_an_integral_float_is_stored_as_a_float() -> None:
    assert json.dumps(encode(1.0, "x")) == "1.0"


def test_none_may_be_written_as_a_string_but_not_inside_a_list() -> None:
    assert decode({"a": "null", "b": "None", "c": None, "d": ["None"]}) == {
        "a": None,
        "b": None,
        "c": None,
        "d": ["None"],
    }
    assert decode("None") is None


def test_decoding_what_needs_no_change_costs_no_copy() -> None:
    mapping = {"loss": 0.5, "step": 1, "ok": True, "none": None}
    assert decode(mapping) is mapping


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "[NaN]"),
        (np.longdouble(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(2.5), 2.5),
        (np.array([[1.0, np.inf]]), [[1.0, "[+Infinity]"]]),
        (np.array([1, "a", None], dtype=object), [1, "a", None]),
        (tensor("torch", tolist=[1.5, math.nan]), [1.5, "[NaN]"]),
        (tensor("jax", tolist=2), 2),
        (tensor("tensorflow.python", numpy=np.array([1, 2])), [1, 2]),
        (tensor("tensorflow.python", numpy=b"bytes".decode()), "bytes"),
        ((1, (2, 3)), [1, [2, 3]]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", 1, None}), [None, 1, "b"]),
        (deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict(a=1), {"a": 1}),
        (PurePosixPath("data/train"), "data/train"),
        (Color.RED, "Color.RED"),
        (Mode.FAST, "fast"),
        (Level.HIGH, 3),
        (datetime.datetime(2022, 3, 14, 9, 41), "2022-03-14 09:41:00"),
        (datetime.date(2022, 3, 14), "2022-03-14"),
        (argparse.Namespace(lr=0.1), {"lr": 0.1}),
        (Config(0.5), {"lr": 0.5, "layers": [1, 2]}),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
        (2**70, 2**70),
        (2**1023, str(2**1023)),  # 0.4.2 reads no record with an integer that a float cannot hold
        (np.float32(0.1), 0.1),
        (np.float16(0.1), 0.1),
        (np.float32(16777216), 16777216.0),
        (np.float32("inf"), "[+Infinity]"),
        (np.array([0.1, 1 / 3], dtype=np.float32), [0.1, 0.33333334]),
        (tensor("torch", dtype="torch.bfloat16", tolist=[0.10009765625, 3.0]), [0.1, 3.0]),
        (np.array([0.5]), 0.5),
        (np.array([[7]]), 7),
        (np.array(["a"]), ["a"]),
        (np.array([True]), [True]),
        (np.datetime64("2022-03-14T09:41", "ns"), "2022-03-14 09:41:00"),
        (np.array(["2022-03-14T09:41", "NaT"], dtype="M8[ns]"), ["2022-03-14 09:41:00", None]),
        (np.timedelta64(90, "s"), "0:01:30"),
        (datetime.timedelta(minutes=90), "1:30:00"),
        (datetime.time(9, 41), "09:41:00"),
        (Decimal("0.1"), 0.1),
        (Decimal("NaN"), "[NaN]"),
        (Fraction(1, 2), 0.5),
        (1j, "1j"),
        (np.complex64(1), "(1+0j)"),
        (np.dtype("f4"), "float32"),
        (np.float32, "numpy.float32"),
        (Config, f"{__name__}.Config"),
        (math.sqrt, "math.sqrt"),
        (print, "print"),
        (functools.partial(print, 1), "functools.partial(<built-in function print>, 1)"),
        (math, "math"),
        (b"ab\xff", "ab\\xff"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (re.compile("a"), "re.compile('a')"),
        ({"a": 1}.values(), [1]),
        (types.SimpleNamespace(lr=Config(0.5)), {"lr": {"lr": 0.5, "layers": [1, 2]}}),
        (Attrs(0.5), {"lr": 0.5, "inner": {"lr": 0.25, "inner": None}}),
        (Pydantic(lr=0.5), {"lr": 0.5, "where": "a/b", "key": "**********"}),
        (pandas.Series({"lr": 0.5}), {"lr": 0.5}),
        (pandas.Timestamp("2022-03-14 09:41"), "2022-03-14 09:41:00"),
        ("a\udc80", "a\\udc80"),
    ],
)
def test_types_that_are_accepted(value: Any, stored: Any) -> None:
    """Each is stored as a plain JSON type, exactly: json.dumps has nothing to convert."""
    encoded = encode(value, "x")
    assert encoded == stored
    assert type(encoded) is type(stored)
    assert as_json(encoded) == stored


@pytest.mark.parametrize("value", [Config(0.5, (1,)), argparse.Namespace(lr=0.5, layers=[1])])
def test_params_may_be_a_namespace_or_a_dataclass(value: object) -> None:
    assert encode_mapping(value, "params") == {"lr": 0.5, "layers": [1]}


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"g": (x for x in [1])}, "params['g']"),
        ({"l": threading.local()}, "params['l']"),
        ({"d": Silent()}, "params['d']"),
        ({"n": Broken()}, "params['n']"),
        ({"a": np.zeros((2000, 2000))}, "params"),
        ({"a": ["x" * 10_000_000, "y" * 10_000_000]}, "params"),
        ({"wide": _doubled(30)}, "params"),
        ({"a": {"b": [1, {"c": object()}]}}, "params['a']['b'][1]['c']"),
        ({"big": 10**5000}, "params['big']"),
        ({1: 1, "1": 2}, "params"),
    ],
)
def test_what_cannot_be_stored_is_named(params: dict[Any, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        encode_mapping(params, "params")
    assert str(caught.value).startswith(place + " ")


def test_a_list_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop += [loop, loop]
    with pytest.raises(ValidationError, match="contains itself"):
        encode(loop, "x")


def test_a_tensor_that_has_no_value_yet_is_refused() -> None:
    class Symbolic:
        __module__ = "tensorflow.python"

        def numpy(self) -> object:
            raise NotImplementedError("symbolic")

    with pytest.raises(ValidationError, match=r"^x .*symbolic"):
        encode(Symbolic(), "x")


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@given(st.floats(width=16, allow_nan=False))
def test_a_narrow_number_is_the_same_in_its_own_type(kind: type, value: float) -> None:
    assert kind(decode(encode(kind(value), "x"))) == kind(value)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@given(st.integers(-999, 999), st.integers(-3, 1))
def test_a_narrow_number_is_recorded_as_it_was_written(kind: type, digits: int, exponent: int) -> None:
    """So `lr = 0.1` finds `np.float32(0.1)`."""
    value = float(f"{digits}e{exponent}")
    assert encode(kind(value), "x") == value


@pytest.mark.parametrize("value", [None, [("a", 1)], "a", 3, Config])
def test_params_that_are_not_a_mapping_are_refused(value: object) -> None:
    with pytest.raises(ValidationError, match=r"^params must be a dict"):
        encode_mapping(value, "params")


def test_no_array_package_is_imported() -> None:
    code = "import sys, keepsake.util.values as v; v.encode_mapping({'a': [1.5]}, 'params'); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "torch", "tensorflow", "jax"} & set(modules)


# Text. Where nothing is said, 0.4.2 prints the same


@pytest.mark.parametrize(
    ("value", "full", "short"),
    [
        (1.0, "1", "1"),
        (-0.0, "-0", "-0"),
        (0.1, "0.1", "0.1"),
        (0.00012345678, "0.00012345678", "0.00012346"),
        (0.123456, "0.123456", "0.12346"),
        (0.00001, "0.00001", "1e-05"),
        (0.000001, "0.000001", "1e-06"),
        (1e-7, "1e-7", "1e-07"),
        (1.5e-7, "1.5e-7", "1.5e-07"),
        (5e-324, "5e-324", "4.9407e-324"),
        (12345.678, "12345.678", "12346"),
        (99999.5, "99999.5", "1e+05"),
        (100000.0, "100000", "1e+05"),
        (100001.0, "100001", "100001"),
        (123456.789, "123456.789", "123456.789"),
        (-123456.789, "-123456.789", "-123456.789"),  # 0.4.2: -1.2346e+05
        (1234567.1, "1234567.1", "1234567.1"),  # 0.4.2: 1234567.1000000000931
        (1000000000.5, "1000000000.5", "1000000000.5"),
        (1e15, "1000000000000000", "1000000000000000"),
        (1e20, "100000000000000000000", "1e+20"),
        (1e21, "1e+21", "1e+21"),
        (-1e21, "-1e+21", "-1e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308", "1.7977e+308"),
        (12345678901234567890.0, "12345678901234567000", "12345678901234567000"),
        (math.nan, "NaN", "NaN"),
        (math.inf, "+Inf", "+Inf"),
        (-math.inf, "-Inf", "-Inf"),
        (12, "12", "12"),
        (2**70, "1180591620717411303424", "1180591620717411303424"),
        (True, "true", "true"),
        (None, "null", "null"),
        ("a b", "a b", "a b"),
        ("x" * 20, "x" * 20, "x" * 20),
        ("é" * 21, "é" * 21, "é" * 17 + "..."),
        ([1.0, 2.5, 1e-7, 1e21, "<é>"], '[1,2.5,1e-7,1e+21,"<é>"]', "[1,2.5,1e-7,1e+21..."),
        ({"b": 1e5, "a": [None, True]}, '{"a":[null,true],"b":100000}', '{"a":[null,true],...'),
        ([math.nan, -math.inf], "[NaN,-Inf]", "[NaN,-Inf]"),
        ("a\nb\x1b[31m", "a\nb\\x1b[31m", "a\nb\\x1b[31m"),
        (["a\nb\x7f"], '["a\\nb\\x7f"]', '["a\\nb\\x7f"]'),
    ],
)
def test_a_value_has_a_full_and_a_short_text(value: Any, full: str, short: str) -> None:
    assert full_text(value) == full
    assert short_text(value, 20) == short


def test_a_narrow_table_rounds_what_does_not_fit() -> None:
    assert short_text(123456.789, 10) == "123456.789"
    assert short_text(1234567.8912, 10) == "1234567.891"
    assert short_text(-123456789.123456789, 10) == "-123456789.1"
    assert short_text(1234567890123.4, 10) == "1.23456789e+12"
    assert short_text(1.25e30, 10) == "1.25e+30"
    assert short_text(1e15, 10) == "1e+15"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_full_text_of_a_float_reads_as_the_same_float(value: float) -> None:
    assert float(full_text(value)) == value


@given(_values)
def test_text_holds_no_control_characters(value: Any) -> None:
    for text in (full_text(value), short_text(value, 20)):
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text.replace("\n", ""))


@given(_texts, st.integers(3, 30))
def test_cutting_keeps_the_width(text: str, width: int) -> None:
    assert len(cut(text, width)) == min(len(text), width)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain é 漢字 🎉", "plain é 漢字 🎉"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\0\t\r\x0b", "\\x00\\x09\\x0d\\x0b"),
        ("\x7f\x85\x9b", "\\x7f\\x85\\x9b"),
        ("\u202eabc\u2066\u200f\u2028", "\\u202eabc\\u2066\\u200f\\u2028"),
        ("\udc80", "\\udc80"),
        ("a\nb", "a\\x0ab"),
    ],
)
def test_control_characters_are_escaped(text: str, escaped: str) -> None:
    assert escape_controls(text) == escaped
    assert escape_controls(escaped) == escaped


def test_newlines_may_stay() -> None:
    assert escape_controls("a\nb\rc", keep_newlines=True) == "a\nb\\x0dc"


# Comparing


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, True),
        (0.5, True),
        (math.inf, True),
        (True, True),
        (math.nan, False),
        (None, False),
        ("1", False),
        ([1], False),
    ],
)
def test_what_can_be_the_best(value: Any, expected: bool) -> None:
    assert comparable(value) is expected


def test_values_of_all_types_sort_by_type_then_value() -> None:
    values = [None, False, True, -math.inf, -1, 0.5, 2**70, math.inf, math.nan, "", "a", "b", [1], {"a": 1}]
    shuffled = values[1::2] + values[::2]
    assert same(sorted(shuffled, key=sort_key), values)


@given(st.lists(_values))
def test_sorting_never_fails(values: list[Any]) -> None:
    assert len(sorted(values, key=sort_key)) == len(values)
