"""Experiments for tests of filters, sort keys and names, without a repository."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from keepsake.listing.filters import Query
from keepsake.listing.subjects import ValuePath


@dataclasses.dataclass
class Run:
    """A Subject."""

    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    best_metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    last_metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    id: str = "5ffb0f6" + 57 * "0"
    created: float = 0.0
    latest_step: int = 0
    num_checkpoints: int = 0
    user: str = ""
    host: str = ""
    command: str = ""
    status: str = "stopped"

    def fact(self, name: str) -> Any:
        return self.facts.get(name)

    def param(self, path: ValuePath) -> Any:
        return path.find(self.params)

    def best_metric(self, path: ValuePath) -> Any:
        return path.find(self.best_metrics)

    def last_metric(self, path: ValuePath) -> Any:
        return path.find(self.last_metrics)


def found(filters: list[str], *runs: Run) -> list[Run]:
    """Return the runs that match. No experiment lacks one of these names."""
    other = Run(dict.fromkeys(("missing", "lr", "x", "loss")))
    selected = list(Query(filters).select([*runs, other]))
    return [run for run in runs if any(each is run for each in selected)]
