"""Round numbers for axes, and their texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

_STEPS = (1, 2, 2.5, 5, 10)


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Return up to `most` (or one more) round numbers within limits, in ascending order."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in _STEPS if each * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return the logarithms of round numbers within limits, which are logarithms too: powers of 10, or also 2 and 5."""
    powers = [float(power) for power in range(math.ceil(low), math.floor(high) + 1)]
    if len(powers) >= 2:
        return powers[:: math.ceil(len(powers) / most)]
    between = [
        power + math.log10(digit) for power in range(math.floor(low), math.ceil(high) + 1) for digit in (1, 2, 5)
    ]
    found = [each for each in between if low <= each <= high]
    return found if len(found) >= 2 else linear_ticks(low, high, most)


def label_texts(values: Sequence[float]) -> list[str]:
    """Return texts as short as the distances between the values allow."""
    for digits in range(3, 16):
        texts = [f"{value:.{digits}g}" for value in values]
        if len(set(texts)) == len(texts) and _are_exact(texts, values):
            return [_plain(text) for text in texts]
    return [f"{value:g}" for value in values]


def _are_exact(texts: Sequence[str], values: Sequence[float]) -> bool:
    """Whether the texts are even to a hundredth of the distance between two values."""
    distances = [abs(other - value) for value, other in pairwise(values)]
    smallest = min(distances, default=abs(values[0]) if values else 0.0) or 1.0
    return all(abs(float(text) - value) <= smallest / 100 for text, value in zip(texts, values, strict=True))


def _plain(text: str) -> str:
    """Return `2000` for `2e+03`."""
    if "e" in text and 1e-4 <= abs(float(text)) < 1e6:
        return f"{float(text):.0f}" if abs(float(text)) >= 1 else text
    return text.replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
