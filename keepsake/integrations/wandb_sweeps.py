"""Sweeps in the shape of W&B's: `sweep()` describes them, and `agent()` runs them in this process."""

from __future__ import annotations

import itertools
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from keepsake.exceptions import KeepsakeError
from keepsake.util.console import once, warn
from keepsake.util.values import mapping_of

_MAX_FAILURES = 5  # in a row
_sweeps: dict[str, Mapping[str, Any]] = {}

Values = dict[str, Any]


def add(description: object) -> str:
    """Note what a sweep tries, and return an ID for it.

    Raises KeepsakeError if there are no `parameters`.
    """
    found = mapping_of(description, "the sweep")
    if not isinstance(found.get("parameters"), Mapping):
        raise KeepsakeError("The sweep has no parameters. Give a dict with 'parameters': {name: {'values': […]}}.")
    id = os.urandom(4).hex()
    _sweeps[id] = found
    return id


def metric_of(id: str | None) -> tuple[str, str] | None:
    """Return the metric that a sweep improves, and its goal; None without a sweep, or if it names none."""
    metric = None if id is None else _sweeps[id.rpartition("/")[2]].get("metric")
    if not isinstance(metric, Mapping) or "name" not in metric:
        return None
    return str(metric["name"]), str(metric.get("goal", "minimize"))


def run(id: str, function: Callable[[Values], BaseException | None], count: int | None, failures: int | None) -> None:
    """Call a function with the values of each run, until all have been tried, or `count` of them.

    It returns the error that ended a run, if one did. Many in a row end the sweep.

    Raises KeepsakeError if no sweep of this process has the ID.
    """
    description = _sweeps.get(id.rpartition("/")[2])
    if description is None:
        raise KeepsakeError(
            f"There is no sweep {id!r} in this program. Call wandb.sweep() in it, before wandb.agent()."
        )
    in_a_row = 0
    for values in itertools.islice(_choices(description), count):
        in_a_row = 0 if function(values) is None else in_a_row + 1
        if in_a_row >= (failures or _MAX_FAILURES):
            return


def _choices(description: Mapping[str, Any]) -> Iterator[Values]:
    parameters = description["parameters"]
    method = str(description.get("method", "random"))
    if method == "grid":
        yield from _grid(parameters)
        return
    if method != "random":
        once(warn, f"A sweep of Keepsake tries random values: the method {method!r} has no effect.")
    while True:
        yield {str(name): _random(rule) for name, rule in parameters.items()}


def _grid(parameters: Mapping[str, Any]) -> Iterator[Values]:
    names = [str(name) for name in parameters]
    for values in itertools.product(*(_all(rule) for rule in parameters.values())):
        yield dict(zip(names, values, strict=True))


def _all(rule: Mapping[str, Any]) -> list[Any]:
    """Return the values of a parameter in their order."""
    if isinstance(nested := rule.get("parameters"), Mapping):
        return list(_grid(nested))
    if "values" in rule:
        return list(rule["values"])
    if "value" in rule:
        return [rule["value"]]
    low, high = rule["min"], rule["max"]
    step = rule.get("q", 1)
    if rule.get("distribution", "int_uniform") not in ("int_uniform", "q_uniform"):
        raise KeepsakeError(f"A grid needs a list of values, not a range from {low} to {high}. Give 'values': […].")
    return [low + number * step for number in range(int((high - low) / step + 1e-9) + 1)]


def _random(rule: Mapping[str, Any]) -> Any:
    """Return a value of a parameter. The names of distributions are those of W&B."""
    if isinstance(nested := rule.get("parameters"), Mapping):
        return {str(name): _random(inner) for name, inner in nested.items()}
    if "value" in rule:
        return rule["value"]
    draw = random.SystemRandom()  # a script that seeds `random` in each run would get the same values again
    if "values" in rule:
        return draw.choices(list(rule["values"]), rule.get("probabilities"))[0]
    low, high = rule.get("min", 0), rule.get("max", 1)
    kind = str(rule.get("distribution", "int_uniform" if isinstance(low, int) and isinstance(high, int) else "uniform"))
    if kind == "int_uniform":
        return draw.randint(low, high)
    if "normal" in kind:
        value = draw.gauss(rule.get("mu", 0), rule.get("sigma", 1))
        value = math.exp(value) if "log" in kind else value
    elif "log" not in kind:
        value = draw.uniform(low, high)
    elif kind.endswith("_values"):
        value = math.exp(draw.uniform(math.log(low), math.log(high)))
    else:  # the bounds are logarithms
        value = math.exp(draw.uniform(low, high))
    return round(value / rule.get("q", 1)) * rule.get("q", 1) if kind.startswith("q_") else value
