"""Which params matter for a metric: the share of the ranked metric's variance between the values of each param.

It is computed so, for one param and the n runs whose metric is a number (not NaN; infinities count):

1. The metric becomes ranks: zero-based places in ascending order, and equal values share the mean of their places.
2. Runs are grouped by the param's value. A value is a number if it is an int or a float, but not a bool and not NaN.
   - A run without the param, or with None or NaN for it, belongs to one further group, "missing".
   - If all other values are numbers, and more than 8 of them are distinct, the groups are 8 quantile bins: of m values
     in ascending order, those that are equal to each other have the zero-based places `first` to `last`, and the bin
     `4 * (first + last + 1) // m`.
   - Otherwise each distinct value is a group. Values are told apart by their JSON; 1 and 1.0 are the same.
   - All groups of a single run are merged into one.
3. With k groups, SST the sum of squared distances of the ranks from their mean, and SSW the same from the mean of each
   run's group:

       importance = max(0, 1 - (SSW / (n - k)) / (SST / (n - 1)))

   It is 0 if k < 2, n <= k or SST = 0. This is epsilon squared, the share of variance that the groups explain, less
   what chance alone explains on average.

Ranks and quantiles make it the same for a param and its logarithm, find an optimum in the middle of a range, and bear
metrics that are far off in some runs. It looks at one param at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from keepsake.util.values import full_text

BINS = 8
FEW = 50  # with fewer runs, chance alone may put one param before another
_MISSING, _RARE = object(), object()


def importances(params: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, float]:
    """Return name → importance from 0 to 1 for each param that differs among runs, the greatest first.

    Args:
        params: of each run, name → value.
        values: the metric of each run. NaN: the run does not count.
    """
    runs = [(own, value) for own, value in zip(params, values, strict=True) if value == value]
    ranks = _ranks([value for _, value in runs])
    total = sum([rank * rank for rank in ranks])
    shares: dict[str, float] = {}
    for name in {name: None for own, _ in runs for name in own}:
        groups = _groups([None if (value := own.get(name)) != value else value for own, _ in runs])
        sizes = Counter(groups)
        if len(sizes) > 1:
            shares[name] = _epsilon_squared(ranks, total, groups, sizes)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _places(values: Sequence[Any]) -> dict[Any, int]:
    """Return the sum of the first and the last place, from 0 in ascending order, of each distinct value."""
    ordered, places = sorted(values), range(len(values))
    first, last = dict(zip(reversed(ordered), reversed(places), strict=True)), dict(zip(ordered, places, strict=True))
    return {value: place + first[value] for value, place in last.items()}


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the ranks, less their mean."""
    places, mean = _places(values), (len(values) - 1) / 2
    return [places[value] / 2 - mean for value in values]


def _groups(values: Sequence[Any]) -> list[Hashable]:
    """Return the group of each value."""
    present = [value for value in values if value is not None]
    if {int, float}.issuperset(map(type, present)) and len(set(present)) > BINS:
        half, count = BINS // 2, len(present)
        bins = {value: half * (place + 1) // count for value, place in _places(present).items()}
        return [_MISSING if value is None else bins[value] for value in values]
    groups = [_MISSING if value is None else _key(value) for value in values]
    sizes = Counter(groups)
    return [group if sizes[group] > 1 else _RARE for group in groups]


def _key(value: Any) -> Hashable:
    if type(value) in (int, float):
        return value  # type: ignore[no-any-return]
    return type(value), value if type(value) in (str, bool) else full_text(value)


def _epsilon_squared(
    ranks: Sequence[float], total: float, groups: Sequence[Hashable], sizes: Mapping[Hashable, int]
) -> float:
    n, k = len(ranks), len(sizes)
    if n <= k or not total:
        return 0.0
    sums = dict.fromkeys(sizes, 0.0)
    for rank, group in zip(ranks, groups, strict=True):
        sums[group] += rank
    within = total - sum([group_sum**2 / sizes[group] for group, group_sum in sums.items()])
    return max(0.0, 1 - within / (n - k) / (total / (n - 1)))
