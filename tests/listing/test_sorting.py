"""Sort keys: what they parse as, and the order that they make."""

from __future__ import annotations

import math
from typing import Any

import pytest

from keepsake.exceptions import InvalidFilter
from keepsake.listing.fields import Names
from keepsake.listing.filters import Query, Sort
from tests.listing.runs import Run


def test_several_keys_the_first_of_which_counts_most() -> None:
    runs = [Run({"x": 1, "y": 1}), Run({"x": 2, "y": 1}), Run({"x": 1, "y": 2}), Run({"y": 3})]
    query = Query(sort=["x", "-y"])
    assert query.sort(list(query.select(runs))) == [runs[2], runs[0], runs[1], runs[3]]


@pytest.mark.parametrize("key", ["-x", "x-desc", ' -"x" ', "-params.x"])
def test_a_minus_sorts_the_highest_first(key: str) -> None:
    assert ordered(key, [Run({"x": 1}), Run({"x": 3}), Run({"x": 2})])[0].params == {"x": 3}


@pytest.mark.parametrize("key", ["-x-desc", "-x-asc"])
def test_a_direction_given_twice_is_refused(key: str) -> None:
    with pytest.raises(InvalidFilter, match="Failed to parse sort key"):
        Query(sort=[key])


def ordered(key: str, runs: list[Run]) -> list[Run]:
    query = Query(sort=[key])
    return query.sort(list(query.select(runs)))


def in_order(key: str, *values: Any) -> list[Any]:
    """Return `values`, which belong to experiments created one after another, sorted by the param `x`."""
    runs = [Run({} if value == "missing" else {"x": value}, created=i) for i, value in enumerate(values)]
    return [run.params.get("x", "missing") for run in ordered(key, runs)]


def test_sorted_in_both_directions_with_missing_values_last() -> None:
    values = [3, "missing", 1.5, None, 2]
    assert in_order("x", *values) == [1.5, 2, 3, "missing", None]
    assert in_order("x-asc", *values) == [1.5, 2, 3, "missing", None]
    assert in_order("x-desc", *values) == [3, 2, 1.5, "missing", None]


def test_nan_comes_last_in_both_directions() -> None:
    assert in_order("x", math.nan, math.inf, 1)[:2] == [1, math.inf]
    assert in_order("x-desc", math.nan, math.inf, 1)[:2] == [math.inf, 1]


def test_mixed_types_are_ordered_by_type() -> None:
    assert in_order("x", [1], "a", 2, True, {"a": 1}) == [True, 2, "a", [1], {"a": 1}]
    assert in_order("x-desc", [1], "a", 2, True) == [[1], "a", 2, True]


@pytest.mark.parametrize("key", ["x", "x-desc"])
def test_ties_keep_the_order_of_creation(key: str) -> None:
    runs = [Run({"x": 1}, created=i) for i in range(20)]
    assert ordered(key, runs) == runs


@pytest.mark.parametrize(
    ("key", "name", "descending"),
    [
        ("created", "created", False),
        ("val/loss-desc", "val/loss", True),
        ('"x-desc"', "x-desc", False),
        ('"x-desc"-desc', "x-desc", True),
        (" x-asc ", "x", False),
    ],
)
def test_a_sort_key_is_a_name_and_a_direction(key: str, name: str, descending: bool) -> None:
    order = Sort(key, Names())
    assert (order.field.name, order.is_descending) == (name, descending)


def test_sorting_by_a_field_or_metric() -> None:
    runs = [Run(created=2, host="b", best_metrics={"loss": 0.1}), Run(created=1, host="a", best_metrics={"loss": 0.2})]
    for key in ("created", "host", "loss-desc"):
        assert ordered(key, runs) == runs[::-1]


@pytest.mark.parametrize("key", ["", " "])
def test_an_empty_sort_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidFilter, match="Failed to parse sort key"):
        Query(sort=[key])
