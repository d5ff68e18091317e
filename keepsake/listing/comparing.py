"""Comparing one value of an experiment with what a filter wants. Comparisons are made once and are quick to apply."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from typing import Any

from keepsake.exceptions import InvalidFilter
from keepsake.listing.fields import Type
from keepsake.listing.grammar import Comparison, Value
from keepsake.listing.times import parse_duration, parse_time
from keepsake.util.console import warn

Test = Callable[[Any], bool]  # of a value, None if it is missing
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUALITY = ("=", "!=")
_NUMBER = r"[+-]?(0|[1-9]\d*|(?=\.\d))(\.\d*)?([eE][+-]?\d+)?"
_NONFINITE = {"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}
_KINDS = {bool: "a bool", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a dict"}
_STATUSES = ("running", "stopped", "failed", "lost")
_STOPPED = {"stopped", "failed", "lost"}  # a run that failed or was lost has stopped, too


def make_test(comparison: Comparison, type: Type, filter_text: str) -> Test:
    """Return the test of a comparison. Raises InvalidFilter if a value makes no sense.

    Args:
        comparison: what the filter says.
        type: what the field holds.
        filter_text: the whole filter, for messages.
    """
    maker = _Maker(comparison.name, type, filter_text)
    if not comparison.symbol.endswith("in"):
        return maker.test(comparison.symbol, comparison.values[0])
    tests = [maker.test("=", value) for value in comparison.values]
    is_wanted = comparison.symbol == "in"
    return lambda value: any(test(value) for test in tests) is is_wanted


class _Maker:
    def __init__(self, name: str, type: Type, filter_text: str) -> None:
        self._name, self._type, self._filter_text = name, type, filter_text
        self._has_warned = False

    def test(self, symbol: str, value: Value) -> Test:
        wanted = parse_value(value)
        if wanted is None:
            return (lambda found: found is None) if symbol == "=" else (lambda found: found is not None)
        makers: dict[str, Callable[[str, str], Test]] = {
            "time": _time_test,
            "seconds": _duration_test,
            "status": _status_test,
            "id": self._id_test,
            "tags": self._tags_test,
        }
        if maker := makers.get(self._type):
            return maker(symbol, value.text)
        if self._type == "number" and type(wanted) not in (int, float):
            raise InvalidFilter(f'"{self._name}" cannot be compared with "{value.text}". Give a number.')
        return self._value_test(symbol, value.text if self._type == "text" else wanted)

    def _value_test(self, symbol: str, wanted: Any) -> Test:
        types = {int, float} if type(wanted) in (int, float) else {type(wanted)}
        compare = _OPERATORS[symbol]
        unequal = symbol == "!="
        if types & {list, dict} and symbol not in _EQUALITY:
            raise InvalidFilter(f'Lists and dicts have no order. Compare {self._name} by "=" or "!=".')
        if wanted != wanted and symbol in _EQUALITY:
            return lambda value: (value != value) is not unequal

        def test(value: Any) -> bool:
            if type(value) in types:
                return compare(value, wanted)
            if value is not None and not self._has_warned:
                self._warn(wanted, value)
            return unequal

        return test

    def _warn(self, wanted: Any, value: Any) -> None:
        self._has_warned = True
        theirs, ours = _KINDS.get(type(value), "something else"), _KINDS[type(wanted)]
        warn(
            f'{self._name} is {theirs} in some experiments, and the filter "{self._filter_text}" compares it with '
            f"{ours}. The two count as different."
        )

    def _id_test(self, symbol: str, beginning: str) -> Test:
        self._check_equality(symbol)
        return lambda value: (value or "").startswith(beginning) is (symbol == "=")

    def _tags_test(self, symbol: str, tag: str) -> Test:
        self._check_equality(symbol)
        return lambda value: (tag in (value or ())) is (symbol == "=")

    def _check_equality(self, symbol: str) -> None:
        if symbol not in _EQUALITY:
            raise InvalidFilter(f'"{self._name}" has no order. Compare it by "=" or "!=".')


def parse_value(value: Value) -> Any:
    """Return what a value in a filter stands for: None, a bool, a number, other JSON, or else text."""
    text = value.text
    if value.is_quoted:
        return text
    if text in ("null", "None"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() in _NONFINITE:
        return float(text)
    try:
        if re.fullmatch(_NUMBER, text):
            return int(text) if text.lstrip("+-").isdigit() else float(text)
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _status_test(symbol: str, wanted: str) -> Test:
    if symbol not in _EQUALITY or wanted not in _STATUSES:
        listed = '"running", "stopped", "failed" or "lost"'
        raise InvalidFilter(f'"status" has no such value. Compare it by "=" or "!=" with {listed}.')
    statuses = _STOPPED if wanted == "stopped" else {wanted}
    return statuses.__contains__ if symbol == "=" else lambda value: value not in statuses


def _time_test(symbol: str, text: str) -> Test:
    """Compare whole seconds with when `text` begins; equal is what lies in the year, month, day, minute or second."""
    try:
        start, end = parse_time(text)
    except (ValueError, OverflowError, OSError):
        raise InvalidFilter(
            f'"{text}" is not a date or time. Write for example 2022-03-14, 2022-03-14 09:41 (local time), '
            "2022-03-14T09:41:07Z, yesterday, 2 hours ago or Unix seconds."
        ) from None
    if symbol not in _EQUALITY:
        compare = _OPERATORS[symbol]
        return lambda value: value is not None and compare(value // 1, start)
    if end is None:
        raise InvalidFilter(f'"{text}" is a moment. Compare it by "<", "<=", ">" or ">=".')
    return lambda value: (value is not None and start <= value < end) is (symbol == "=")


def _duration_test(symbol: str, text: str) -> Test:
    try:
        wanted = parse_duration(text)
    except ValueError:
        raise InvalidFilter(
            f'"{text}" is not a duration. Write for example 90 (seconds), 5 minutes or 1h 30m.'
        ) from None
    compare = _OPERATORS[symbol]
    return lambda value: symbol == "!=" if value is None else compare(value, wanted)
