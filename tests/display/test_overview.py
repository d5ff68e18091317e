"""The columns that tell most about many runs, and the times of their beginning."""

from __future__ import annotations

import time
from typing import Any

import pytest

from keepsake.display.overview import brief_ago, ids_column, split_params

NOW = 1_700_000_000.0  # 2023-11-14


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s ago"),
        (-0.2, "0s ago"),
        (99.4, "99s ago"),
        (99.6, "2m ago"),
        (99 * 60, "99m ago"),
        (100 * 60, "2h ago"),
        (47 * 3600, "47h ago"),
        (48 * 3600, "2d ago"),
        (9 * 86400, "9d ago"),
        (10 * 86400, "2023-11-04"),
        (-90, "in 90s"),
        (-99 * 86400, "2024-02-21"),
    ],
)
def test_ages_are_brief(monkeypatch: pytest.MonkeyPatch, seconds: float, text: str) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    assert brief_ago(NOW - seconds) == text


def test_what_tells_many_runs_apart_comes_first() -> None:
    """Then labels, which are another text in each run, then seeds. What some runs lack differs."""
    runs: list[dict[str, Any]] = [
        {
            "lr": 0.1 * (number // 2),
            "mostly": number == 0,
            "label": f"run {number}",
            "seed": number,
            "free": number,
            "same": float("nan"),
            "list": [number],
            **({"some": 1} if number % 2 else {}),
        }
        for number in range(6)
    ]
    different, same = split_params(runs)
    assert different == ["free", "lr", "some", "mostly", "label", "seed"]
    assert list(same) == ["same"]


def test_values_of_several_types_are_told_apart() -> None:
    names = ["equal", "bool", "text", "none"]
    one: dict[str, Any] = dict(zip(names, [1, 1, 1, None], strict=True))
    other: dict[str, Any] = dict(zip(names, [1.0, True, "1", 0], strict=True))
    assert split_params([one, other]) == (["bool", "none", "text"], {"equal": 1})


def test_ids_that_look_like_numbers_are_not_aligned_as_such() -> None:
    ids = ["81681e9" + "0" * 57, "9097742" + "0" * 57]
    assert ids_column(ids).cells == ["81681e9", "9097742"]
