"""Hostile records, generated one after another from a seed."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ID = "abcdef0" + "1" * 57
CHECKPOINTS = ["c0ffee0" + "2" * 57, "c0ffee1" + "3" * 57]
ESCAPES = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "a\rb",
    "a\x08b",
    "\x7f",
    "\u202edcba",
    "a\tb\x0bc",
    "\n\n",
]
MARKUP = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "&lt;", "{{7*7}}", "${x}", "%s%n"]
_NAMES = [
    "../../x",
    "../x",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a\0b",
    "",
    ".",
    "..",
    "x",
    "a" * 5_000,
    "\ud800abcdefg",
    " " * 9,
]
_TIMES = [
    *("0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00+14:00"),
    *("9999-12-31T23:59:59-14:00", "2021-02-30T00:00:00Z", "2021-06-30T23:59:60Z", "2021-01-01", "now", "1612137600"),
    *("2021-01-01T00:00:00+99:99", "2021-01-01t00:00:00.1z", "٢٠٢١-٠١-٠١T٠٠:٠٠:٠٠Z", "1969-12-31T23:59:59Z"),
]
_NUMBERS = [
    0,
    -0.0,
    1,
    -1,
    2**31,
    2**63,
    -(2**70),
    10**400,
    1.5,
    1e308,
    1e-320,
    float("nan"),
    float("inf"),
    float("-inf"),
]
_ODD: list[Any] = [
    *(
        None,
        True,
        False,
        [],
        {},
        [[]],
        [None],
        [{}],
        {"": None},
        {"name": "loss"},
        {"name": 1, "goal": 2},
        {"a": {"b": []}},
    ),
    *("[NaN]", "[+Infinity]", "null", "None", "maximize", "1.0.0", "0.4.2", "running"),
    *(_NUMBERS + _NAMES + _TIMES + ESCAPES + MARKUP),
]


def valid() -> dict[str, Any]:
    """Return a record that is in order, with what a record can hold."""
    primary = {"name": "loss", "goal": "minimize"}
    checkpoints = [
        {
            "id": checkpoint_id,
            "created": f"2021-02-03T04:05:{number:02}.123456789Z",
            "metrics": {"loss": 0.5 - number / 10, "val/loss": "[NaN]", "list": [1, "x", None], "note": "a"},
            "step": number,
            "path": "model.pth" if number else "",
            "primary_metric": primary,
        }
        for number, checkpoint_id in enumerate(CHECKPOINTS)
    ]
    return {
        "id": ID,
        "created": "2021-02-03T04:05:00Z",
        "params": {"learning_rate": 0.1, "optimizer": "adam", "layers": [1, 2], "nested": {"a": None}, "flag": True},
        "host": "host",
        "user": "user",
        "config": {"repository": "file://repo", "storage": ""},
        "command": "train.py --epochs 3",
        "path": ".",
        "python_version": "3.11.7",
        "python_packages": {"numpy": "2.0"},
        "checkpoints": checkpoints,
        "keepsake_version": "1.0.0",
        "end_reason": "finished",
    }


def generate(seed: int) -> bytes:
    """Return the JSON of a seed."""
    generator = random.Random(seed)
    record = valid()
    if seed % 4:
        for _ in range(generator.choice([1, 1, 1, 2, 5])):
            _spoil(generator, record)
        return _dump(record)
    return _damage(generator, bytearray(_dump(record)))


def _dump(record: object) -> bytes:
    return json.dumps(record, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _spoil(generator: random.Random, record: dict[str, Any]) -> None:
    """Change something somewhere in a record."""
    container, key = generator.choice(
        [place for place in _places(record) if place[1] != "id" or generator.random() < 0.2]
    )
    how = generator.random()
    if how < 0.6:
        container[key] = copy.deepcopy(generator.choice(_ODD))
    elif how < 0.7:
        del container[key]
    elif how < 0.8 and isinstance(container, dict):
        container[generator.choice([*_NAMES, *ESCAPES, *MARKUP])] = container[key]
    elif how < 0.85:
        container[key] = _deep(generator.choice([50, 400]))
    elif isinstance(container, list):
        container.extend(list(container) * generator.choice([1, 20]))
    elif isinstance(container[key], str):
        container[key] += generator.choice(ESCAPES + MARKUP)


def _places(record: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Return every (container, key or index) in a record."""
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [record]
    while waiting:
        container = waiting.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, item in items:
            found.append((container, key))
            if isinstance(item, (dict, list)):
                waiting.append(item)
    return found


def _deep(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _damage(generator: random.Random, data: bytearray) -> bytes:
    """Flip, cut, insert or repeat bytes."""
    start, end = sorted(generator.sample(range(len(data)), 2))
    how = generator.choice(["flip", "flip", "truncate", "cut", "insert", "repeat", "encode", "deep", "other"])
    if how == "flip":
        data[start] ^= 1 << generator.randrange(8)
    elif how == "truncate":
        del data[start:]
    elif how == "cut":
        del data[start:end]
    elif how == "insert":
        data[start:start] = generator.choice(
            [b"\0" * 9, b"\xff\xfe", b"NaN", b"-Infinity", b"//", b'"', b"{", b"1e999,"]
        )
    elif how == "repeat":
        data[end:end] = data[start:end]
    elif how == "encode":
        return data.decode(errors="replace").encode(
            generator.choice(["utf-16", "utf-32", "utf-8-sig", "latin-1"]), "replace"
        )
    elif how == "deep":
        depth = generator.choice([900, 100_000])
        place = data.index(b'"adam"')
        data[place : place + 6] = b"[" * depth + b"]" * depth
    else:
        return generator.choice(
            [b"", b"null", b"{}", b"[]", b"0", b'"x"', b"[" * 200_000, b"\0" * 100, b"9" * 6_000, b"{" * 9]
        )
    return bytes(data)
