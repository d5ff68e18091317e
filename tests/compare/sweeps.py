"""Random searches whose params are known to matter, with numeric, log-uniform, categorical and interacting params."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, NamedTuple

OPTIMIZERS = ("adam", "rmsprop", "sgd")
WEIGHTS = (1.0, 0.55, 0.2, 0.1, 0.05, 0.0, 0.0)  # of the params' effects, in an order that each sweep draws
INTERACTION, NOISE = 0.4, 0.1

# Each param as a number from 0 to 1
UNIT: dict[str, Callable[[Any], float]] = {
    "lr": lambda value: (math.log10(value) + 5) / 4,
    "weight_decay": lambda value: (math.log10(value) + 6) / 4,
    "dropout": lambda value: value / 0.6,
    "width": lambda value: math.log2(value / 64) / 3,
    "layers": lambda value: (value - 1) / 11,
    "optimizer": lambda value: OPTIMIZERS.index(value) / 2,
    "augment": float,
}


class Sweep(NamedTuple):
    params: list[dict[str, Any]]
    losses: list[float]
    order: list[str]  # the params, the one of the greatest effect first


def make_sweep(seed: int) -> Sweep:
    """100 to 300 runs of a random search."""
    rng = random.Random(seed)
    params = [_draw(rng) for _ in range(rng.choice((100, 150, 200, 300)))]
    order = rng.sample(sorted(UNIT), len(UNIT))
    effects = {name: _effect(name, rng) for name in order}
    first, second = order[:2]

    def loss(own: dict[str, Any]) -> float:
        parts = {name: effect(UNIT[name](own[name])) for name, effect in effects.items()}
        total = sum(weight * parts[name] for name, weight in zip(order, WEIGHTS, strict=True))
        return math.exp(total + INTERACTION * parts[first] * parts[second] + rng.gauss(0, NOISE))

    return Sweep(params, [loss(own) for own in params], order)


def _draw(rng: random.Random) -> dict[str, Any]:
    return {
        "lr": 10 ** rng.uniform(-5, -1),
        "weight_decay": 10 ** rng.uniform(-6, -2),
        "dropout": rng.uniform(0, 0.6),
        "width": rng.choice((64, 128, 256, 512)),
        "layers": rng.randint(1, 12),
        "optimizer": rng.choice(OPTIMIZERS),
        "augment": rng.choice((True, False)),
        "seed": rng.randrange(10**6),
    }


def _effect(name: str, rng: random.Random) -> Callable[[float], float]:
    """A line, a valley with its lowest point within the range, or a cliff; categories have a line."""
    middle = rng.uniform(0.25, 0.75)
    kind = rng.choice(("line", "valley", "cliff"))
    if kind == "line" or name in ("optimizer", "augment"):
        return lambda x: x
    if kind == "cliff":
        return lambda x: float(x > middle)
    return lambda x: 1.3 * (x - middle) ** 2 / max(middle, 1 - middle) ** 2
