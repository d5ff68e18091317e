"""Filters and sort keys of listings. They are compiled once and are cheap to apply to many experiments."""

from __future__ import annotations

import json
import operator
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol, TypeVar

from keepsake.exceptions import InvalidFilter
from keepsake.util.console import warn
from keepsake.util.values import sort_key

# Patterns are compiled when they are first used, so a listing without filters loses no time.
_NAME = r'(?s)\s*(?:"((?:[^"\\]|\\.)*)"|'
_FILTER = _NAME + r"((?!!=)[^\s=<>](?:(?!!=)[^=<>])*?))\s*(!=|<=|>=|=|<|>)(?!!)\s*(?![=<>]|!=)(\S.*?)\s*"
_SORT = _NAME + r"(\S.*?))(-asc|-desc)?\s*"
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBER = r"[+-]?(0|[1-9]\d*|(?=\.\d))(\.\d*)?([eE][+-]?\d+)?"
_NONFINITE = {"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}
_KINDS = {bool: "a bool", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a dict"}
_GRAMMAR = """Filters must be in the format "<name> <operator> <value>",
where <operator> can be
  "=" (equal),
  "!=" (not equal),
  "<" (less than),
  "<=" (less than or equal),
  ">" (greater than), or
  ">=" (greater than or equal)
Put a name that contains an operator, or a value that is text, in double quotes."""


class Subject(Protocol):
    """The fields of an experiment that filters and sort keys use. Values are decoded."""

    @property
    def created(self) -> float:
        """The time of creation in Unix seconds."""

    @property
    def latest_step(self) -> int:
        """The step of the latest checkpoint, 0 if there is none."""

    @property
    def status(self) -> str:
        """`running`, `stopped`, `failed` or `lost`."""

    @property
    def best_metrics(self) -> Mapping[str, Any]:
        """The metrics of the best checkpoint, empty if there is none."""

    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def user(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def command(self) -> str: ...


_S = TypeVar("_S", bound=Subject)
_Test = Callable[[Any], bool]
_FIELDS: dict[str, Callable[[Any], Any]] = {
    "created": lambda subject: subject.created,
    "step": lambda subject: subject.latest_step,
    "user": lambda subject: subject.user,
    "host": lambda subject: subject.host,
    "command": lambda subject: subject.command,
    "status": lambda subject: subject.status,
}


class Filter:
    """One condition on an experiment; made by `parse_filter`.

    Attributes:
        text: the filter as given.
        name: the field: `created`, `step`, `user`, `host`, `command`, `status`, a metric or a param.
        warnings: the warnings so far: at most one, about values of another type.
    """

    def __init__(self, text: str, name: str, symbol: str, value: str) -> None:
        self.text = text
        self.name = _current_name(name)
        self.warnings: list[str] = []
        self._value_of = _getter(self.name)
        self._test = self._make_test(symbol, value)

    def matches(self, subject: Subject) -> bool:
        """Return whether `subject` meets the condition."""
        return self._test(self._value_of(subject))

    def _make_test(self, symbol: str, text: str) -> _Test:
        wanted = _parse_value(text)
        if wanted is None:
            return (lambda value: value is None) if symbol == "=" else (lambda value: value is not None)
        if self.name == "created":
            return _created_test(symbol, wanted if isinstance(wanted, str) else text)
        if self.name == "status":
            return _status_test(symbol, wanted)
        if self.name in ("user", "host", "command") and not isinstance(wanted, str):
            wanted = text
        if self.name == "step" and type(wanted) not in (int, float):
            raise InvalidFilter(f'"step" cannot be compared with "{text}". Give a number.')
        return self._value_test(symbol, wanted)

    def _value_test(self, symbol: str, wanted: Any) -> _Test:
        types = {int, float} if type(wanted) in (int, float) else {type(wanted)}
        compare = _OPERATORS[symbol]
        unequal = symbol == "!="
        if types & {list, dict} and symbol not in ("=", "!="):
            raise InvalidFilter(f'Lists and dicts have no order. Compare {self.name} by "=" or "!=".')
        if wanted != wanted and symbol in ("=", "!="):
            return lambda value: (value != value) is not unequal

        def test(value: Any) -> bool:
            if type(value) in types:
                return compare(value, wanted)
            if value is not None and not self.warnings:
                self._warn(wanted, value)
            return unequal

        return test

    def _warn(self, wanted: Any, value: Any) -> None:
        theirs, ours = _KINDS.get(type(value), "something else"), _KINDS[type(wanted)]
        message = f'{self.name} is {theirs} in some experiments, and the filter "{self.text}" compares it with {ours}.'
        self.warnings.append(message)
        warn(f"{message} The two count as different.")


class Sort:
    """An order of experiments; made by `parse_sort`."""

    def __init__(self, name: str, descending: bool) -> None:
        self.name = _current_name(name)
        self.descending = descending
        self._value_of = _getter(self.name)

    def apply(self, subjects: list[_S]) -> list[_S]:
        """Return `subjects` sorted. Those without the value, or with NaN, come last. Ties keep their order."""
        present, missing = [], []
        for subject in subjects:
            value = self._value_of(subject)
            if value is None or value != value:
                missing.append(subject)
            else:
                present.append((sort_key(value), subject))
        present.sort(key=operator.itemgetter(0), reverse=self.descending)
        return [subject for _, subject in present] + missing


def parse_filter(text: str) -> Filter:
    """Compile `NAME OPERATOR VALUE`. Raises InvalidFilter, which shows the grammar."""
    match = re.fullmatch(_FILTER, text)
    if not match:
        raise InvalidFilter(f'Failed to parse filter: "{text}".\n\n{_GRAMMAR}')
    quoted, plain, symbol, value = match.groups()
    return Filter(text, plain if quoted is None else _unquote(f'"{quoted}"'), symbol, value)


def parse_sort(text: str) -> Sort:
    """Compile `NAME`, `NAME-asc` or `NAME-desc`. Raises InvalidFilter if there is no name."""
    match = re.fullmatch(_SORT, text)
    if not match:
        raise InvalidFilter(f'Failed to parse sort key: "{text}". Give a name, such as "created" or "loss-desc".')
    quoted, plain, suffix = match.groups()
    return Sort(plain if quoted is None else _unquote(f'"{quoted}"'), suffix == "-desc")


def _current_name(name: str) -> str:
    if name != "started":
        return name
    warn('"started" is deprecated in filters and sort keys. Use "created" instead.')
    return "created"


def _getter(name: str) -> Callable[[Any], Any]:
    def metric_or_param(subject: Subject) -> Any:
        metrics = subject.best_metrics
        return metrics[name] if name in metrics else subject.params.get(name)

    return _FIELDS.get(name, metric_or_param)


def _unquote(text: str) -> str:
    try:
        return str(json.loads(text, strict=False))
    except ValueError:  # it has a literal backslash
        return text[1:-1]


def _parse_value(text: str) -> Any:
    if text in ("null", "None"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() in _NONFINITE:
        return float(text)
    if len(text) > 1 and text[0] == text[-1] == '"':
        return _unquote(text)
    try:
        if re.fullmatch(_NUMBER, text):
            return int(text) if text.lstrip("+-").isdigit() else float(text)
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _status_test(symbol: str, wanted: Any) -> _Test:
    if symbol not in ("=", "!=") or wanted not in ("running", "stopped", "failed", "lost"):
        raise InvalidFilter(
            '"status" has no such value. Compare it by "=" or "!=" with "running", "stopped", "failed" or "lost".'
        )
    # A run that failed or was lost has stopped, too.
    statuses = {"stopped", "failed", "lost"} if wanted == "stopped" else {wanted}
    return statuses.__contains__ if symbol == "=" else lambda value: value not in statuses


# Times

_UNIX = r"(\d{9,11})(?:\d{3})?(\.\d*)?"
_TIME = r"(?:^|[T\s])(\d{1,2}:\d\d)(:\d\d)?(?:[.,]\d+)?\s*([AaPp][Mm])?\s*(Z|[+-]\d\d(?::?\d\d)?|[A-Z]{3,5})?(?=\s|$)"
_NOT_DATE = r"(?i)^\s*(mon|tue|wed|thu|fri|sat|sun)[a-z]*\b|(?<=\d)(st|nd|rd|th)\b|(?<=[a-z])\.|,"
_DATES = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%m/%d/%Y", "%m/%d/%y", "%d.%m.%Y", "%b-%d-%Y", "%B-%d-%Y"]
_DATES += ["%d-%b-%Y", "%d-%B-%Y", "%Y-%b-%d", "%Y-%m", "%Y/%m", "%Y", "%b-%Y", "%B-%Y"]


def _created_test(symbol: str, text: str) -> _Test:
    """Compare whole seconds with when `text` begins; equal is what lies in the year, month, day, minute or second."""
    try:
        start, end = _parse_time(text)
    except (ValueError, OverflowError, OSError):
        raise InvalidFilter(
            f'"{text}" is not a date or time. Write for example 2022-03-14, 2022-03-14 09:41 '
            "(local time), 2022-03-14T09:41:07Z or Unix seconds."
        ) from None
    if symbol in ("=", "!="):
        return lambda value: (start <= value < end) is (symbol == "=")
    compare = _OPERATORS[symbol]
    return lambda value: compare(value // 1, start)


def _parse_time(text: str) -> tuple[float, float]:
    """Return the Unix seconds at which the time that `text` names begins and ends; ValueError if it names none."""
    if unix := re.fullmatch(_UNIX, text):
        return float(unix[1]), float(unix[1]) + 1
    match = re.search(_TIME, text)
    if not match:
        date, days = _parse_date(text)
        end = date + timedelta(days)
        return date.timestamp(), (end if days == 1 else end.replace(day=1)).timestamp()
    clock, seconds, half, zone = match.groups()
    date, _ = _parse_date(text[: match.start()] + " " + text[match.end() :])
    hours = datetime.strptime(clock + (seconds or ":00") + (half or ""), "%I:%M:%S%p" if half else "%H:%M:%S").time()
    start = datetime.combine(date, hours, _parse_zone(zone)).timestamp()
    return start, start + (1 if seconds else 60)


def _parse_date(text: str) -> tuple[datetime, int]:
    """Return the local midnight that `text` names (empty: today's), and the most days that it covers."""
    words = "-".join(re.sub(_NOT_DATE, " ", text).split()).lower()
    if words in ("", "today", "yesterday"):
        today = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)
        return today - timedelta(words == "yesterday"), 1
    for form in _DATES:
        # strptime accepts fewer digits than it should.
        if words.isdigit() and len(words) != {"%Y": 4, "%Y%m%d": 8}.get(form):
            continue
        try:
            return datetime.strptime(words, form), 1 if "%d" in form else 366 if form == "%Y" else 31
        except ValueError:
            continue
    raise ValueError(text)


def _parse_zone(name: str | None) -> timezone | None:
    """Return the zone of an offset or abbreviation; None for the local one."""
    if name is None or name in time.tzname:
        return None
    if name.upper() in ("Z", "UTC", "GMT"):
        return timezone.utc
    sign, hours, minutes = name[0], name[1:3], name[3:].lstrip(":") or "0"
    return timezone((-1 if sign == "-" else 1) * timedelta(hours=int(hours), minutes=int(minutes)))
