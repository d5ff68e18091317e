"""Groups of runs that differ only in some params."""

from __future__ import annotations

from typing import Any

import pytest

from keepsake.compare.groups import Spread, group_runs
from keepsake.compare.values import is_seed

Run = tuple[dict[str, Any], dict[str, Any]]  # params and metrics


def group(runs: list[Run], apart_from: list[str] | None = None) -> list[tuple[dict[str, Any], int, dict[str, Spread]]]:
    groups = group_runs(runs, lambda run: run[0], lambda run: run[1], apart_from)
    return [(each.params, len(each.runs), each.metrics) for each in groups]


@pytest.mark.parametrize(
    "name",
    [
        "seed",
        "random_seed",
        "rng_seed",
        "trainer.seed",
        "data.rng",
        "seed_everything",
        "random_state",
        "PYTHONHASHSEED",
        "manualSeed",
    ],
)
def test_seeds_are_known_by_their_names(name: str) -> None:
    assert is_seed(name)


@pytest.mark.parametrize("name", ["lr", "n_seeds", "seeds", "seed_length", "linseed_oil", "seed.lr", "speed", "state"])
def test_other_names_are_not_seeds(name: str) -> None:
    assert not is_seed(name)


def test_runs_are_grouped_by_all_but_the_seed() -> None:
    runs: list[Run] = [
        ({"lr": 0.1, "seed": 1}, {"loss": 1.0, "name": "x", "ok": True}),
        ({"lr": 0.2, "seed": 1}, {"loss": 5}),
        ({"lr": 0.1, "seed": 2}, {"loss": 2.0}),
        ({"lr": 0.1, "seed": 3}, {"loss": float("nan"), "accuracy": 0.5}),
    ]
    assert group(runs) == [
        ({"lr": 0.1}, 3, {"loss": Spread(1.5, 1.0, 2.0, 2), "accuracy": Spread(0.5, 0.5, 0.5, 1)}),
        ({"lr": 0.2}, 1, {"loss": Spread(5.0, 5, 5, 1)}),
    ]


def test_other_params_can_be_named() -> None:
    runs: list[Run] = [({"fold": fold, "seed": seed}, {}) for fold in range(3) for seed in range(2)]
    assert [(params, count) for params, count, _ in group(runs, ["fold"])] == [({"seed": 0}, 3), ({"seed": 1}, 3)]
    assert [count for _, count, _ in group(runs, ["fold", "seed"])] == [6]
    assert [count for _, count, _ in group([({"data.fold": 1}, {}), ({"data.fold": 2}, {})], ["data"])] == [2]


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        (1, 1.0, 1),
        (1, True, 2),
        (1, "1", 2),
        (float("nan"), float("nan"), 1),
        ([1, {"a": 2}], [1, {"a": 2.0}], 1),
        (None, ..., 2),  # not set at all
    ],
)
def test_values_that_mean_the_same_are_in_one_group(one: Any, other: Any, count: int) -> None:
    runs: list[Run] = [({} if value is ... else {"p": value}, {}) for value in (one, other)]
    assert len(group(runs)) == count
