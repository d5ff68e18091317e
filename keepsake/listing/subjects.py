"""An experiment as filters, sort keys and columns see it: its line in the index, or the whole experiment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from keepsake.metadata import Record, local_seconds, time_key
from keepsake.util.values import decode

if TYPE_CHECKING:
    from keepsake.experiment import Experiment

Values = Mapping[str, Any]


class _Missing:
    """The value of a name that an experiment does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()
_LEAVES = {str, int, float, bool, list, type(None)}  # types of values other than dicts


class ValuePath:
    """The name of a param or metric. Dots lead into dicts: `optimizer.lr` is `{"optimizer": {"lr": …}}`.

    A name that itself has dots comes first, at each level.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._has_dots = "." in name
        # Compact JSON with the name holds this; None: only parsing can tell, because the name is escaped there.
        last = name.rpartition(".")[2]
        self._mark = f'{last}":' if re.fullmatch(r"[ !#-\[\]-~]*", last) else None

    def find(self, values: Values) -> Any:
        """Return the value of this name, or MISSING."""
        if self.name in values:
            return values[self.name]
        return _descend(values, self.name) if self._has_dots else MISSING

    def may_be_in(self, text: str) -> bool:
        """Whether compact JSON may hold this name. It is quicker than parsing."""
        return self._mark is None or self._mark in text


def _descend(values: Values, name: str) -> Any:
    if name in values:
        return values[name]
    dot = name.find(".")
    while dot >= 0:
        inner = values.get(name[:dot])
        if isinstance(inner, dict) and (found := _descend(inner, name[dot + 1 :])) is not MISSING:
            return found
        dot = name.find(".", dot + 1)
    return MISSING


def flatten(values: Values) -> dict[str, Any]:
    """Return params or metrics with the values in dicts under their paths: `{"optimizer.lr": 0.1}`.

    Empty dicts and lists stay as they are.
    """
    if _LEAVES.issuperset(map(type, values.values())):
        return dict(values)
    found: dict[str, Any] = {}
    nested: list[tuple[str, Values]] = [("", values)]
    for prefix, inner in nested:
        for name, value in inner.items():
            if isinstance(value, dict) and value:
                nested.append((f"{prefix}{name}.", value))
            else:
                found.setdefault(prefix + name, value)
    return found


def earlier_metrics(checkpoints: Sequence[Record], latest: Record | None) -> Record:
    """Return the last recorded value, as on disk, of each metric that the latest checkpoint lacks."""
    measured = [checkpoint for checkpoint in checkpoints if checkpoint.get("metrics")]
    lacking = set().union(*[checkpoint["metrics"] for checkpoint in measured])
    lacking.difference_update((latest or {}).get("metrics") or ())
    if not lacking:
        return {}
    having = [checkpoint for checkpoint in measured if not lacking.isdisjoint(checkpoint["metrics"])]
    values: Record = {}
    for checkpoint in sorted(having, key=lambda each: time_key(each["created"])):
        values.update(checkpoint["metrics"])
    return {name: value for name, value in values.items() if name in lacking}


class Subject(Protocol):
    """An experiment as filters, sort keys and columns see it. Values are decoded; times are Unix seconds."""

    @property
    def id(self) -> str: ...
    @property
    def created(self) -> float: ...
    @property
    def status(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def command(self) -> str: ...
    @property
    def num_checkpoints(self) -> int: ...
    @property
    def latest_step(self) -> int:
        """The step of the latest checkpoint, 0 if there is none."""

    @property
    def params(self) -> Values: ...
    @property
    def best_metrics(self) -> Values:
        """The metrics of the best checkpoint, empty if there is none."""

    @property
    def last_metrics(self) -> Values:
        """The last recorded value of each metric, which an earlier checkpoint may have."""

    def fact(self, name: str) -> Any:
        """Return a field that 0.4.2 does not have, such as `ended` or `tags`; None if it is not set."""

    def param(self, path: ValuePath) -> Any:
        """Return a param, or MISSING."""

    def best_metric(self, path: ValuePath) -> Any:
        """Return a metric of the best checkpoint, or MISSING."""

    def last_metric(self, path: ValuePath) -> Any:
        """Return the last recorded value of a metric, or MISSING."""


def metrics_of(subject: Subject) -> Values:
    """Return the metrics of the best checkpoint and, of those that it lacks, the last recorded values."""
    return {**subject.last_metrics, **subject.best_metrics}


def metric_of(subject: Subject, path: ValuePath) -> Any:
    """Return a metric of the best checkpoint, or else its last recorded value, or MISSING."""
    value = subject.best_metric(path)
    return subject.last_metric(path) if value is MISSING else value


class WholeExperiment:
    """An Experiment as a Subject. Its properties are those of Subject."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.id = experiment.id
        self.user = experiment.user or ""
        self.host = experiment.host or ""
        self.command = experiment.command or ""
        self.params = experiment.params or {}

    @cached_property
    def created(self) -> float:
        return local_seconds(self.experiment.created)

    @cached_property
    def status(self) -> str:
        return self.experiment.status

    @cached_property
    def ends(self) -> tuple[Record | None, Record | None]:
        """The records of the best and the latest checkpoint."""
        return self.experiment.best_and_latest()

    @property
    def best_metrics(self) -> Values:
        return decode((self.ends[0] or {}).get("metrics") or {})  # type: ignore[no-any-return]

    @cached_property
    def last_metrics(self) -> Values:
        latest = self.ends[1]
        earlier = earlier_metrics(self.experiment.checkpoint_records(), latest)
        return decode({**((latest or {}).get("metrics") or {}), **earlier})  # type: ignore[no-any-return]

    @property
    def latest_step(self) -> int:
        return (self.ends[1] or {}).get("step") or 0

    @property
    def num_checkpoints(self) -> int:
        return len(self.experiment.checkpoint_records())

    def param(self, path: ValuePath) -> Any:
        """Return a param, or MISSING."""
        return path.find(self.params)

    def best_metric(self, path: ValuePath) -> Any:
        """Return a metric of the best checkpoint, or MISSING."""
        return path.find(self.best_metrics)

    def last_metric(self, path: ValuePath) -> Any:
        """Return the last recorded value of a metric, or MISSING."""
        return path.find(self.last_metrics)

    def fact(self, name: str) -> Any:
        """Return a field that 0.4.2 does not have; None if it is not set."""
        value = getattr(self.experiment, name, None)
        if value is None:
            return None
        if name == "duration":
            return value.total_seconds()
        return local_seconds(value) if name == "ended" else value or None
