"""Labels of runs, and round numbers on axes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from keepsake.display.curves import tell_apart
from keepsake.display.ticks import label_texts, linear_ticks, log_ticks
from tests.display.runs import make


@pytest.mark.parametrize(
    ("params", "labels"),
    [
        ([{"lr": 1}, {"lr": 1}], ["0000000", "0000001"]),
        ([{"lr": 1}, {"lr": 1}, {"lr": 2}], ["lr=1 (0000000)", "lr=1 (0000001)", "lr=2"]),
        ([{"lr": 1}, {}], ["lr=1", "0000001"]),
        ([{"seed": 1, "lr": 1}, {"seed": 2, "lr": 2}], ["lr=1 seed=1", "lr=2 seed=2"]),
        ([{"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 2, "b": 2, "c": 2, "d": 2}], ["a=1 b=1 c=1 …", "a=2 b=2 c=2 …"]),
        ([{"a": {"lr": 1}, "b": {"lr": 1}}, {"a": {"lr": 2}, "b": {"lr": 3}}], ["a.lr=1 b.lr=1", "a.lr=2 b.lr=3"]),
        ([{"opt": {"name": "x"}}, {"opt": {"name": "\x1b[31m"}}], ["opt=x", r"opt=\x1b[31m"]),
    ],
)
def test_labels_tell_runs_apart(params: list[dict[str, Any]], labels: list[str]) -> None:
    assert list(tell_apart([make(n, [], own) for n, own in enumerate(params)]).values()) == labels


@pytest.mark.parametrize(
    ("limits", "most", "texts"),
    [
        ((0, 100), 5, ["0", "20", "40", "60", "80", "100"]),
        ((0.13, 2.4), 5, ["0.5", "1", "1.5", "2"]),
        ((-3, 3), 3, ["-2", "0", "2"]),
        ((1000.001, 1000.004), 3, ["1000.001", "1000.002", "1000.003", "1000.004"]),
        ((0, 30000), 3, ["0", "10000", "20000", "30000"]),
        ((0, 3e7), 3, ["0", "1e7", "2e7", "3e7"]),
        ((0, 3e-7), 3, ["0", "1e-7", "2e-7", "3e-7"]),
    ],
)
def test_ticks_are_round(limits: tuple[float, float], most: int, texts: list[str]) -> None:
    assert label_texts(linear_ticks(*limits, most)) == texts


@pytest.mark.parametrize(
    ("limits", "most", "texts"),
    [
        ((0.001, 10), 6, ["0.001", "0.01", "0.1", "1", "10"]),
        ((1e-9, 1), 3, ["1e-9", "1e-5", "0.1"]),
        ((0.15, 2.2), 6, ["0.2", "0.5", "1", "2"]),
        ((2.1, 4.9), 3, None),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_few_and_readable(
    limits: tuple[float, float], most: int, texts: list[str] | None
) -> None:
    ticks = log_ticks(math.log10(limits[0]), math.log10(limits[1]), most)
    assert len(ticks) >= 2
    assert texts is None or label_texts([10**tick for tick in ticks]) == texts
