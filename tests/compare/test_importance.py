"""The importance of params: by hand on few runs, by construction on many, and compared with a random forest."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy
import pytest

from keepsake.compare.importance import importances
from tests.compare.sweeps import OPTIMIZERS, make_sweep

NAN = math.nan


def of(values: list[Any], metric: list[float]) -> dict[str, float]:
    """The importance of one param, `p`; a value of ... is not set."""
    return importances([{} if value is ... else {"p": value} for value in values], metric)


@pytest.mark.parametrize(
    ("values", "metric", "share"),
    [
        # Ranks -1.5 -0.5 0.5 1.5; total 5, within 2 * 0.5; 1 - (1 / 2) / (5 / 3)
        (["a", "a", "b", "b"], [1, 2, 3, 4], 0.7),
        (["a", "a", "b", "b"], [1, 2, 30, 4000], 0.7),
        (["a", "a", "b", "b"], [-math.inf, 2, 3, math.inf], 0.7),
        ([1, 1.0, 2, 2], [1, 2, 3, 4], 0.7),
        ([True, True, 1, 1], [1, 2, 3, 4], 0.7),
        ([["x"], ["x"], {"x": 1}, {"x": 1}], [1, 2, 3, 4], 0.7),
        (["1", "1", 1, 1], [1, 2, 3, 4], 0.7),
        (["a", "a", ..., ...], [1, 2, 3, 4], 0.7),
        (["a", "a", None, NAN], [1, 2, 3, 4], 0.7),
        (["a", "a", "b", "b", "b"], [1, 2, 3, 4, NAN], 0.7),
        (["a", "a", "b", "c"], [1, 2, 3, 4], 0.7),  # what occurs once is one group
        # Ties share the mean of their ranks: -1.5 0 0 1.5, total 4.5, within 2 * 1.125
        (["a", "a", "b", "b"], [1, 2, 2, 3], 0.25),
        (["a", "b", "b", "a"], [1, 2, 3, 4], 0.0),  # less than chance explains
        (["a", "a", "b", "b"], [5, 5, 5, 5], 0.0),
        (["a", "b"], [1, 2], None),
        (["a", "a"], [1, 2], None),
        ([1], [1], None),
        ([], [], None),
        # 16 numbers make 8 bins of two neighbours: total 340, within 8 * 0.5; 1 - (4 / 8) / (340 / 15)
        ([2**n for n in range(16)], list(range(16)), 1 - (4 / 8) / (340 / 15)),
        ([-(10**n) for n in range(16)], list(range(16)), 1 - (4 / 8) / (340 / 15)),
        ([*range(16), ...], [*range(16), NAN], 1 - (4 / 8) / (340 / 15)),
        ([str(n) for n in range(16)], list(range(16)), None),  # a name for each run says nothing
    ],
)
def test_the_share_is_what_a_calculation_by_hand_gives(
    values: list[Any], metric: list[float], share: float | None
) -> None:
    found = of(values, metric)
    assert found == ({} if share is None else {"p": pytest.approx(share)})


def test_it_is_the_same_for_a_param_and_its_logarithm() -> None:
    rng = random.Random(0)
    rates = [10 ** rng.uniform(-5, 0) for _ in range(100)]
    losses = [(math.log10(rate) + 2) ** 2 + rng.gauss(0, 0.1) for rate in rates]
    assert of(rates, losses) == of([math.log10(rate) for rate in rates], losses)


def test_an_optimum_in_the_middle_matters_and_noise_does_not() -> None:
    rng = random.Random(0)
    params = [{"lr": rng.uniform(-3, 3), "seed": rng.random()} for _ in range(200)]
    found = importances(params, [own["lr"] ** 2 for own in params])
    assert list(found) == ["lr", "seed"]
    assert found["lr"] > 0.8
    assert found["seed"] < 0.1


def test_equal_numbers_are_in_one_bin() -> None:
    values = [0] * 50 + list(range(1, 51))
    by_order = of(values, list(range(100)))
    assert by_order == of(values, [*reversed(range(50)), *range(50, 100)])


def test_the_two_params_that_matter_most_come_first() -> None:
    sweeps = [make_sweep(seed) for seed in range(40)]
    right = [set(list(importances(s.params, s.losses))[:2]) == set(s.order[:2]) for s in sweeps]
    assert sum(right) >= 36


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_a_random_forest_names_the_same_two_params() -> None:
    """In 95 of 100 sweeps, by the forest's importances after fitting the ranked metric."""
    from sklearn.ensemble import RandomForestRegressor

    same = 0
    for seed in range(100):
        sweep = make_sweep(seed)
        names = list(sweep.params[0])
        numbers = [[_number(own[name]) for name in names] for own in sweep.params]
        forest = RandomForestRegressor(100, min_samples_leaf=3, random_state=0)
        forest.fit(numbers, numpy.argsort(numpy.argsort(sweep.losses)))
        shares = dict(zip(names, forest.feature_importances_, strict=True))
        theirs = sorted(names, key=lambda name: -shares[name])
        same += set(theirs[:2]) == set(list(importances(sweep.params, sweep.losses))[:2])
    assert same >= 95


def _number(value: Any) -> float:
    return float(OPTIMIZERS.index(value) if isinstance(value, str) else value)
