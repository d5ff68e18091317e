"""The text is that of the standard library, whatever the value."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsake.util.indented import indented

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


class Text(str):
    """Some values are of types of their own."""


@given(VALUES)
def test_it_is_what_json_writes(value: Any) -> None:
    assert indented(value, 0) == json.dumps(value, indent=1, ensure_ascii=False)


@pytest.mark.parametrize(
    "value", [Text("a"), {"a": Text("b")}, (1, (2,)), {"a": math.nan, "b": -math.inf}, {"é": "\ud800\n"}]
)
def test_values_of_other_types(value: Any) -> None:
    assert indented(value, 0) == json.dumps(value, indent=1, ensure_ascii=False)


def test_a_value_inside_others_is_indented_deeper() -> None:
    whole = {"a": {"b": {"c": 1, "d": []}}}
    assert indented(whole["a"]["b"], 2) in indented(whole, 0)
