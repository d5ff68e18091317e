"""Times and durations as people write them in filters."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

from keepsake.metadata import local_seconds

_UNIX = r"(\d{9,11})(?:\d{3})?(\.\d*)?"
_TIME = r"(?:^|[T\s])(\d{1,2}:\d\d)(:\d\d)?(?:[.,]\d+)?\s*([AaPp][Mm])?\s*(Z|[+-]\d\d(?::?\d\d)?|[A-Z]{3,5})?(?=\s|$)"
_NOT_DATE = r"(?i)^\s*(mon|tue|wed|thu|fri|sat|sun)[a-z]*\b|(?<=\d)(st|nd|rd|th)\b|(?<=[a-z])\.|,"
_DATES = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%m/%d/%Y", "%m/%d/%y", "%d.%m.%Y", "%b-%d-%Y", "%B-%d-%Y"]
_DATES += ["%d-%b-%Y", "%d-%B-%Y", "%Y-%b-%d", "%Y-%m", "%Y/%m", "%Y", "%b-%Y", "%B-%Y"]


_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+|\ban?\b)"
_UNITS = {
    1: "s|secs?|seconds?",
    60: "m|mins?|minutes?",
    3600: "h|hrs?|hours?",
    86400: "d|days?",
    7 * 86400: "w|weeks?",
    30 * 86400: "months?",
    365 * 86400: "y|years?",
}
_ANY_UNIT = "|".join(_UNITS.values())
_PART = rf"(?i)({_NUMBER})\s*({_ANY_UNIT})(?![a-z])\s*"


def parse_duration(text: str) -> float:
    """Return the seconds that a text such as `90`, `1.5 hours`, `1h 30m` or `a day` names; ValueError if it names none.

    A month is 30 days, a year 365.
    """
    if re.fullmatch(r"\d+(\.\d*)?|\.\d+", text):
        return float(text)
    if not re.fullmatch(rf"(?:{_PART.removeprefix('(?i)')})+", text, re.IGNORECASE):
        raise ValueError(text)
    seconds = 0.0
    for number, unit in re.findall(_PART, text):
        length = next(length for length, names in _UNITS.items() if re.fullmatch(names, unit, re.IGNORECASE))
        seconds += length * (1 if number.lower() in ("a", "an") else float(number))
    return seconds


def parse_time(text: str) -> tuple[float, float | None]:
    """Return the Unix seconds at which the time that `text` names begins and ends. ValueError: it names none.

    A moment relative to now, such as `2 hours ago`, has no end.
    """
    if text.lower() == "now":
        return time.time() // 1, None
    if relative := re.fullmatch(r"(?i)(.*\S)\s+ago", text):
        return (time.time() - parse_duration(relative[1])) // 1, None
    if unix := re.fullmatch(_UNIX, text):
        return float(unix[1]), float(unix[1]) + 1
    match = re.search(_TIME, text)
    if not match:
        date, days = _parse_date(text)
        end = date + timedelta(days)
        return local_seconds(date), local_seconds(end if days == 1 else end.replace(day=1))
    clock, seconds, half, zone = match.groups()
    date, _ = _parse_date(text[: match.start()] + " " + text[match.end() :])
    hours = datetime.strptime(clock + (seconds or ":00") + (half or ""), "%I:%M:%S%p" if half else "%H:%M:%S").time()
    start = local_seconds(datetime.combine(date, hours, _parse_zone(zone)))
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
