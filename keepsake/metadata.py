"""The metadata JSON: records of experiments and checkpoints, and their times.

A record is the dict in the JSON, whichever version wrote it. Values are converted only when needed, so unknown fields
and the text of every time survive a rewrite.
"""

from __future__ import annotations

import json
import math
import operator
import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, TypeVar

from keepsake.exceptions import ReadError
from keepsake.storage.base import UNREADABLE, is_key
from keepsake.util.errors import is_the_scripts
from keepsake.util.indented import indented
from keepsake.util.values import MAX_DEPTH, comparable, decode

Record = dict[str, Any]

EXPERIMENT_FIELDS: Record = {
    "id": "",
    "created": "",
    "params": None,
    "host": "",
    "user": "",
    "config": None,
    "command": "",
    "path": "",
    "python_version": "",
    "python_packages": None,
    "checkpoints": None,
    "keepsake_version": "",
}
CHECKPOINT_FIELDS: Record = {
    "id": "",
    "created": "",
    "metrics": None,
    "step": 0,
    "path": "",
    "primary_metric": None,
}
END_FIELDS = ("ended", "end_reason", "error", "traceback")  # added by 1.0; 0.4.2 ignores them
_RFC3339 = re.compile(
    r"((?!0000|9999)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))[Tt ]"
    r"((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-]\d\d:\d\d))"
)
_USUAL_DAY = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31"
_USUAL_TIME = rf"[12]\d{{3}}-(?:{_USUAL_DAY})T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{{1,9}}Z"
_USUAL_TIMES = f"(?a:{_USUAL_TIME}\n)*"
_is_own_form = re.compile(r"[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII).fullmatch
_USUAL_ID = re.compile("[0-9a-f]{64}")
_MIN_ID = 7
_EPOCH = datetime(1970, 1, 1)
_BRACKETS, _OTHERS = bytes.maketrans(b"[{", b"(("), bytes(set(range(256)) - set(b"[]{}"))


# Times


def time_text(seconds: float | None = None) -> str:
    """Return Unix `seconds` (default: now) as RFC 3339 in UTC, to the microsecond."""
    # datetime.fromtimestamp() refuses times before 1970 on Windows
    return rfc3339_datetime(_EPOCH + timedelta(seconds=time.time() if seconds is None else seconds))


def later(text: str, than: str) -> str:
    """Return an RFC 3339 time, or a microsecond after `than` if it is not later, because a clock was set back."""
    key = str if _is_own_form(text) and _is_own_form(than) else time_key  # every checkpoint asks
    if key(text) > key(than):
        return text
    return rfc3339_datetime(parse_rfc3339(than) + timedelta(microseconds=1))


@lru_cache(maxsize=1 << 12)  # used twice: to check a record, and to find its latest checkpoint
def time_key(text: str) -> str:
    """Return a text that sorts chronologically, to the nanosecond. Raises ValueError if `text` is not RFC 3339."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    day, clock, fraction, offset = match.groups()
    if day > day[:8] + "28":
        datetime.fromisoformat(day)  # the 30th of February
    if offset is not None:
        if day < "0002":
            raise ValueError(f"out of range: {text!r}")
        shifted = datetime.fromisoformat(f"{day}T{clock}{offset}").astimezone(timezone.utc)
        day, clock = shifted.strftime("%Y-%m-%d"), shifted.strftime("%H:%M:%S")
    return f"{day}T{clock}.{fraction}".rstrip("0") if fraction else f"{day}T{clock}."


def is_own_time(value: object) -> bool:
    """Whether a value is a time as `time_text` writes it."""
    return isinstance(value, str) and _is_own_form(value) is not None


def are_usual_times(times: Sequence[str]) -> bool:
    """Whether all times have the form that Keepsake writes. One check of all is faster than one for each."""
    lines = "\n".join([*times, ""])
    return re.fullmatch(_USUAL_TIMES, lines) is not None and lines.count("\n") == len(times)


def time_seconds(text: str) -> float:
    """Return an RFC 3339 time as Unix seconds."""
    return (parse_rfc3339(text) - _EPOCH).total_seconds()


def local_datetime(text: str) -> datetime:
    """Return an RFC 3339 time as a naive local datetime, as the Python API does."""
    try:
        return datetime.fromtimestamp(time_seconds(text))
    except (ValueError, OverflowError, OSError) as error:  # the year 1, Go's "no time", is out of range in some zones
        if is_the_scripts(error):
            raise
        return parse_rfc3339(text)


def local_seconds(moment: datetime) -> float:
    """Return a naive local (or an aware) datetime as Unix seconds."""
    try:
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):  # the year 1, as in local_datetime
        return moment.replace(tzinfo=timezone.utc).timestamp()


def from_local_datetime(moment: datetime) -> str:
    """Return a naive local (or an aware) datetime as RFC 3339 in UTC."""
    return rfc3339_datetime(moment.astimezone(timezone.utc))


def rfc3339_datetime(moment: datetime) -> str:
    """Return a naive UTC (or an aware) datetime as RFC 3339, as 0.4.2's function of this name does."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def parse_rfc3339(text: str) -> datetime:
    """Return an RFC 3339 time as a naive UTC datetime, to the nearest microsecond."""
    if _is_own_form(text):  # Python reads it several times as fast
        return datetime.fromisoformat(text[:-1])
    seconds, _, fraction = time_key(text).partition(".")
    microseconds = round(int(fraction.ljust(9, "0")) / 1000) if fraction else 0
    return datetime.fromisoformat(seconds) + timedelta(microseconds=microseconds)


# Identifiers


def valid_id(value: object) -> bool:
    """Whether `value` can be an ID.

    An ID has at least 7 characters. None of them may lead out of its folder, look like an option or be expanded by a
    shell, because `keepsake rm $(keepsake ls -q)` passes on IDs that a stranger may have made up.
    """
    if not isinstance(value, str):
        return False
    if _USUAL_ID.fullmatch(value):
        return True
    return len(value) >= _MIN_ID and is_key(value) and not re.search(r"^-|[/\s*?\[]|\.\.", value)


def are_usual_ids(ids: Sequence[str]) -> bool:
    """Whether all IDs have 64 hexadecimal digits, like those that Keepsake makes."""
    try:
        return set(map(len, ids)) == {64} and len(bytes.fromhex("".join(ids))) == 32 * len(ids)  # it skips blanks
    except ValueError:
        return False


# Records


def parse_experiment(data: bytes, experiment_id: str, loads: Callable[[bytes], Any] = json.loads) -> Record:
    """Return the record in `data`, with every checkpoint's ID and time checked. `loads` reads the JSON.

    Raises ReadError with the reason if it is not JSON or not an experiment.
    """
    try:
        record = loads(data)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"it is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ReadError("it is not a JSON object")
    if may_be_deep(data) and is_deep(record):
        raise ReadError(f"it is nested more than {MAX_DEPTH} deep")
    if record.get("id") != experiment_id:
        raise ReadError(f"its id {record.get('id')!r} is not what its name says")
    if not valid_id(experiment_id):
        raise ReadError(f"{experiment_id!r} cannot be an id")
    _check(record, _EXPERIMENT_KINDS)
    checkpoints = record.get("checkpoints")
    if not isinstance(checkpoints, (list, type(None))):
        raise ReadError("its checkpoints are not a list")
    if checkpoints and not _are_usual(checkpoints):
        for checkpoint in checkpoints:
            check_checkpoint(checkpoint)
    if not record.get("keepsake_version") and record.get("replicate_version"):
        record["keepsake_version"] = record["replicate_version"]
    return record


def check_checkpoint(checkpoint: object) -> None:
    """Raise ReadError for a checkpoint that would make the record of its experiment unreadable."""
    if not isinstance(checkpoint, dict) or not valid_id(checkpoint.get("id")):
        raise ReadError("one of its checkpoints has no valid id")
    _check(checkpoint, _CHECKPOINT_KINDS)


def check_changes(fields: object) -> None:
    """Raise ReadError for changed fields of an experiment that would make its record unreadable."""
    if not isinstance(fields, dict) or not _FIXED.isdisjoint(fields):
        raise ReadError("these fields cannot change")
    _check_kinds(fields, _EXPERIMENT_KINDS)


def parse_fetched(data: bytes, experiment_id: str, etag: str, loads: Callable[[bytes], Any] = json.loads) -> Record:
    """Return the record that `Storage.get_many` found. Raises ReadError as `parse_experiment` does."""
    if etag == UNREADABLE:
        raise ReadError(data.decode("utf-8", "replace"))
    return parse_experiment(data, experiment_id, loads)


def may_be_deep(data: bytes) -> bool:
    """Whether the text of some JSON may be nested deeper than a record can be. `is_deep` decides."""
    return b"(" * 50 in data.translate(_BRACKETS, _OTHERS)


def is_deep(value: object, left: int = MAX_DEPTH + 5) -> bool:
    """Whether lists and dicts in `value` lie more than `left` deep in each other."""
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and (not left or any(is_deep(item, left - 1) for item in value))


_Kinds = dict[str, tuple[type, ...]]
_DICT, _TEXT = (dict, type(None)), (str, type(None))
_EXPERIMENT_KINDS: _Kinds = {
    **dict.fromkeys(("params", "config", "python_packages"), _DICT),
    **dict.fromkeys(("host", "user", "command", "path", "python_version", "keepsake_version"), _TEXT),
}
_FIXED = {"id", "created", "checkpoints"}
_CHECKPOINT_KINDS: _Kinds = {"metrics": _DICT, "primary_metric": _DICT, "path": _TEXT, "step": (int, type(None))}
_USUAL_KINDS = [set(kinds) for kinds in _CHECKPOINT_KINDS.values()]


_usual_fields = operator.itemgetter("id", "created", "primary_metric", *_CHECKPOINT_KINDS)


def _are_usual(checkpoints: list[Any]) -> bool:
    """Whether all have the form that Keepsake writes. Checking by columns takes a tenth of the time."""
    try:
        ids, times, primary_metrics, *columns = zip(*map(_usual_fields, checkpoints), strict=True)
        return (
            are_usual_ids(ids)
            and are_usual_times(times)
            and all(kinds.issuperset(map(type, column)) for kinds, column in zip(_USUAL_KINDS, columns, strict=True))
            and all(isinstance(primary["name"], str) for primary in primary_metrics if primary is not None)
        )
    except (KeyError, TypeError):
        return False


def _check(record: Record, kinds: _Kinds) -> None:
    try:
        time_key(record["created"])
    except (KeyError, TypeError, ValueError):
        raise ReadError(f"its time of creation is {record.get('created')!r}") from None
    _check_kinds(record, kinds)
    primary = record.get("primary_metric")
    if primary is not None and not isinstance(primary.get("name"), str):
        raise ReadError("a primary metric has no name")


def _check_kinds(record: Record, kinds: _Kinds) -> None:
    for name, kind in kinds.items():
        if not isinstance(record.get(name), kind):
            raise ReadError(f"its {name} is {type(record[name]).__name__}")


def with_every_field(record: Record, fields: Record) -> Record:
    """Return `record` with the fields of the format first and in order. Missing and null fields get their default."""
    known = {**fields, **record}
    for name, default in fields.items():
        if known[name] is None:
            known[name] = default
    return known


def empty_value(record: Record, name: str) -> Any:
    """Return a record's own form of an empty list or dict: `{}`, `[]` or None."""
    value = record.get(name)
    return None if value else value


def render_experiment(record: Record, checkpoint_texts: list[str]) -> bytes:
    """Return the JSON of `record`, with the texts of its checkpoints from render_checkpoint.

    A run that checkpoints often is rewritten often, so each checkpoint's text is made only once.
    """
    fields = with_every_field(record, EXPERIMENT_FIELDS)
    checkpoints = "[\n  " + ",\n  ".join(checkpoint_texts) + "\n ]" if checkpoint_texts else "null"
    lines = [
        f" {json.dumps(name, ensure_ascii=False)}: {checkpoints if name == 'checkpoints' else indented(value, 1)}"
        for name, value in fields.items()
    ]
    # A lone surrogate, as in a file name that is not UTF-8, becomes a JSON escape.
    return ("{\n" + ",\n".join(lines) + "\n}").encode("utf-8", "backslashreplace")


def render_checkpoint(record: Record) -> str:
    """Return the JSON of a checkpoint, indented as in its experiment's JSON."""
    return indented(with_every_field(record, CHECKPOINT_FIELDS), 2)


def checkpoints_of(record: Record) -> list[Record]:
    """Return an experiment's checkpoints; a record without any has null, or lacks the field."""
    return record.get("checkpoints") or []


def end_key(record: Record) -> str:
    """Return the time at which a run ended, as `time_key` does; "" if it is unknown."""
    try:
        return time_key(record["ended"])
    except (KeyError, TypeError, ValueError):
        return ""


def pruned_of(checkpoint: Record) -> dict[str, str] | None:
    """Return the `path` and the `time` of a checkpoint's files that were pruned; None if none were."""
    pruned = checkpoint.get("pruned")
    found = pruned if isinstance(pruned, dict) and not checkpoint.get("path") else {}
    try:
        return {"path": str(found["path"]), "time": found["time"]} if time_key(found["time"]) else None
    except (KeyError, TypeError, ValueError):
        return None


def was_pruned_elsewhere(checkpoint: Record) -> bool:
    """Whether a checkpoint's files were pruned in another repository, from which its record was copied.

    Nobody has removed them from this one. So they stay if they arrive after all.
    """
    return pruned_of(checkpoint) is not None and bool(checkpoint["pruned"].get("elsewhere"))


# Choosing a checkpoint

C = TypeVar("C")


def latest_checkpoint(checkpoints: list[Record]) -> Record | None:
    """Return the checkpoint that was created last; if several were, the last in the list; None if there is none."""
    return pick_latest(checkpoints, [checkpoint["created"] for checkpoint in checkpoints])


def pick_latest(items: Sequence[C], times: Sequence[str]) -> C | None:
    """Return the item with the latest time, to the nanosecond; if several have it, the last; None without items."""
    if len(items) < 2:
        return items[0] if items else None
    times = times[::-1]
    text = "".join(times)
    are_usual = text.count("T") == text.count(".") == text.count("Z") == len(times)  # in UTC, with a fraction
    if not are_usual:
        keys: Sequence[str] = list(map(time_key, times))
    elif len(set(map(len, times))) == 1:
        keys = times
    else:
        keys = [each[:-1].ljust(29, "0") for each in times]
    return items[-1 - keys.index(max(keys))]


def primary_metric(checkpoints: Iterable[Record]) -> Record | None:
    """Return `{"name": …, "goal": …}` of the first checkpoint that declares one; None if none does."""
    return next((c["primary_metric"] for c in checkpoints if c.get("primary_metric")), None)


def best_checkpoint(checkpoints: Iterable[Record]) -> Record | None:
    """Return the checkpoint with the best value of the primary metric; None if none qualifies."""
    checkpoints = list(checkpoints)
    primary = primary_metric(checkpoints)
    if primary is None:
        return None
    name = primary["name"]
    try:
        values = [checkpoint["metrics"][name] for checkpoint in checkpoints]  # the usual case, twice as fast
    except (KeyError, TypeError):
        values = [metrics.get(name) if (metrics := c.get("metrics")) else None for c in checkpoints]
    if set(map(type, values)) != {float}:
        values = list(map(decode, values))
    return latest_checkpoint(pick_best(checkpoints, values, maximize=primary.get("goal") == "maximize"))


def pick_best(items: Sequence[C], values: list[Any], *, maximize: bool) -> list[C]:
    """Return the items with the greatest or smallest of the comparable `values`, in their order."""
    are_numbers = set(map(type, values)) == {float} and not math.isnan(sum(values))
    among = values if are_numbers else list(filter(comparable, values))
    best = (max if maximize else min)(among, default=None)
    if are_numbers and values.count(best) == 1:
        return [items[values.index(best)]]
    return [item for item, value in zip(items, values, strict=True) if among and value == best]
