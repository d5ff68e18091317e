"""A run as another tool recorded it, and the record that it becomes here.

Nothing is lost on the way: each point of each metric becomes part of a checkpoint. Points of several metrics share a
checkpoint if they have the same step. If a metric has several points at one step, as when a script never passes a
step, the n-th points share the n-th checkpoint of that step.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, repeat
from pathlib import Path
from typing import Any, NamedTuple

from keepsake.checks import MAX_STEP
from keepsake.exceptions import ValidationError
from keepsake.labels import apply_edits, make_edit
from keepsake.metadata import EXPERIMENT_FIELDS, Record, time_text
from keepsake.recording.secrets import hide_in_params
from keepsake.util.values import encode, encode_mapping, text_of_key
from keepsake.version import __version__

_FIRST_SECOND, _LAST_SECOND = 0.0, 253402300799.0  # 1970 to 9999, which records can hold
_CREDENTIALS = re.compile("//[^/@]*@")  # in the address of a git remote


class Series(NamedTuple):
    """The points of a metric, in the order in which they were recorded."""

    steps: list[int]
    times: list[float | None]  # Unix seconds
    values: list[Any]


@dataclass
class ForeignRun:
    """A run as another tool recorded it.

    Attributes:
        tool: its tool, such as "mlflow".
        key: its name in that tool, unique among all of the tool's runs.
        place: the file or folder that it was read from, for messages.
        params: hyperparameters, name → value.
        points: metric → its points.
        created, ended: Unix seconds; None if unknown.
        end_reason: how it ended, in the words of `Experiment.end_reason`; None if unknown.
        group: the collection that it belongs to, such as MLflow's experiment. It becomes a tag.
        collection: what the tool calls such a collection.
        labels: name → value, such as MLflow's tags. Those that can be tags become tags, and all are kept.
        parent: the key of the run that it belongs to.
        git: "commit", "branch" and "remote", if they are known.
        folder: what its files are called here, such as "artifacts".
        files: names below `folder`, with `/`, and where each is.
        elsewhere: folders outside of its place where files of it may be.
        left_out: what has no place here, such as "images" → how many.
        warnings: what could not be read, such as a line that is cut off.
    """

    tool: str
    key: str
    place: Path
    params: dict[str, Any] = field(default_factory=dict)
    points: dict[str, Series] = field(default_factory=dict)
    created: float | None = None
    ended: float | None = None
    end_reason: str | None = None
    name: str = ""
    group: str = ""
    collection: str = "project"
    labels: dict[str, str] = field(default_factory=dict)
    notes: str = ""
    parent: str = ""
    user: str = ""
    host: str = ""
    command: str = ""
    python_version: str = ""
    git: dict[str, str] = field(default_factory=dict)
    folder: str = "artifacts"
    files: list[tuple[str, Path]] = field(default_factory=list)
    elsewhere: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    is_left_out: bool = False  # it was deleted in its tool, or nothing of it can be read
    is_lost: bool = False  # its tool says that it runs, or does not say how it ended

    @property
    def id(self) -> str:
        """The ID of its experiment here. It is the same each time, so importing twice adds nothing."""
        return _id(self.tool, self.key)

    @property
    def last_time(self) -> float:
        """The latest known time of it, in Unix seconds."""
        return max(self.times(), default=self.created or 0.0)

    def times(self) -> Iterator[float]:
        """Yield the known times of all points."""
        return (time for series in self.points.values() for time in series.times if time is not None)

    def add(self, metric: str, step: int, time: float | None, value: Any) -> None:
        """Add a point of a metric."""
        self.extend(metric, [step], [time], [value])

    def extend(self, metric: str, steps: list[int], times: Sequence[float | None], values: list[Any]) -> None:
        """Add points of a metric. Steps that no record can hold become the nearest that one can."""
        if max(steps, default=0) > MAX_STEP or min(steps, default=0) < -MAX_STEP:
            steps = [max(-MAX_STEP, min(step, MAX_STEP)) for step in steps]
        series = self.points.get(metric)
        if series is None:
            series = self.points[metric] = Series([], [], [])
        series.steps.extend(steps)
        series.times.extend(times)
        series.values.extend(values)

    def drop_from(self, step: int) -> int:
        """Drop the points from a step on, because they were recorded again; return how many there were."""
        dropped = 0
        for metric, series in self.points.items():
            kept = [step_here < step for step_here in series.steps]
            dropped += kept.count(False)
            steps, times = list(compress(series.steps, kept)), list(compress(series.times, kept))
            self.points[metric] = Series(steps, times, list(compress(series.values, kept)))
        self.points = {metric: series for metric, series in self.points.items() if series.steps}
        return dropped


class Goal(NamedTuple):
    """The primary metric that a person names for imported runs, since other tools have none."""

    metric: str
    goal: str  # "minimize" or "maximize"


def record_of(run: ForeignRun, url: str, goal: Goal | None = None) -> Record:
    """Return the record of a run in the repository at `url`. Raises ValidationError if a param cannot be recorded."""
    checkpoints = _checkpoints(run, goal)
    created = run.created if run.created is not None else min(run.times(), default=0.0)
    params, hidden = hide_in_params(encode_mapping(run.params, "params"))
    if hidden:
        run.warnings.append(f"Params that look like secrets are recorded as ***: {', '.join(hidden)}.")
    git = {name: _CREDENTIALS.sub("//", value) for name, value in run.git.items()}
    record = {
        **EXPERIMENT_FIELDS,
        "id": run.id,
        "created": _time(created),
        "params": params or None,
        "host": run.host,
        "user": run.user,
        "config": {"repository": url, "storage": ""},
        "command": run.command,
        "python_version": run.python_version,
        "checkpoints": checkpoints or None,
        "keepsake_version": __version__,
        "parent": _id(run.tool, run.parent) if run.parent else None,
        "ended": None if run.ended is None else _time(run.ended),
        "end_reason": run.end_reason,
        "environment": {"git": git} if git else None,
        "imported": {"from": run.tool, "id": run.key, "group": run.group or None, "labels": run.labels or None},
    }
    labelled = apply_edits(record, [_edit(run)])
    return {name: value for name, value in labelled.items() if value is not None or name in EXPERIMENT_FIELDS}


def last_checkpoint(record: Record, run: ForeignRun) -> Record:
    """Return the checkpoint that holds the files of a run: the last one, or a new one if there is none."""
    if not record["checkpoints"]:
        record["checkpoints"] = [_checkpoint(run.id, (0, 0), run.ended or run.created or 0.0, {}, None)]
    last: Record = record["checkpoints"][-1]
    return last


def typed(text: str) -> Any:
    """Return the value that a tool wrote as `text`, if that is certain: writing it again gives the same text."""
    if text in ("None", "True", "False"):
        return {"None": None, "True": True, "False": False}[text]
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if str(value) == text:
            return value
    return text


def _checkpoints(run: ForeignRun, goal: Goal | None) -> list[Record]:
    """Return a checkpoint per step and occurrence, in the order of time."""
    found: dict[_Place, dict[str, Any]] = {}
    times: dict[_Place, float] = {}
    for metric, series in run.points.items():
        name, values = text_of_key(metric), _encoded(series.values, metric)
        for place, time, value in zip(_places(series.steps), series.times, values, strict=True):
            if place in found:
                found[place][name] = value
            else:
                found[place] = {name: value}
            if time is not None and time < times.get(place, math.inf):
                times[place] = time
    run_id, default = run.id, run.created or 0.0
    ordered = sorted((times.get(place, default), place) for place in found)
    return [_checkpoint(run_id, place, time, found[place], goal) for time, place in ordered]


def _encoded(values: list[Any], metric: str) -> list[Any]:
    """Return values as a record holds them. Most are finite floats, which are the same there."""
    if set(map(type, values)) == {float} and all(map(math.isfinite, values)):
        return values
    return [encode(value, f"metrics[{metric!r}]") for value in values]


_Place = tuple[int, int]  # a step, and the number of points that the metric had at that step before


def _places(steps: list[int]) -> Iterable[_Place]:
    if len(set(steps)) == len(steps):
        return zip(steps, repeat(0))
    return _repeated(steps)


def _repeated(steps: list[int]) -> Iterator[_Place]:
    counts: dict[int, int] = {}
    for step in steps:
        number = counts.get(step, 0)
        counts[step] = number + 1
        yield step, number


def _checkpoint(run_id: str, place: _Place, time: float, metrics: dict[str, Any], goal: Goal | None) -> Record:
    step, number = place
    return {
        "id": _id(run_id, f"{step}:{number}"),
        "created": _time(time),
        "metrics": metrics or None,
        "step": step,
        "path": "",
        "primary_metric": {"name": goal.metric, "goal": goal.goal} if goal and goal.metric in metrics else None,
    }


def _edit(run: ForeignRun) -> dict[str, Any]:
    """Return the name, the tags and the notes of a run. What cannot be one stays in the field `imported`."""
    labels = {run.collection: run.group, **run.labels} if run.group else run.labels
    tags = [key if value in ("", "true", "True") else f"{key}={value}" for key, value in labels.items()]
    edit, _ = make_edit(name=" ".join(run.name.split())[:200], notes=run.notes[:100_000], add=tags)
    edit.pop("edited", None)  # nobody has edited it here
    return edit


def _id(*parts: str) -> str:
    return hashlib.sha256(":".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        seconds = _FIRST_SECOND
    return time_text(min(max(seconds, _FIRST_SECOND), _LAST_SECOND))


def check_goal(metric: str | None, goal: str) -> Goal | None:
    """Return the primary metric of imported runs; None if none is named. Raises ValidationError for a wrong goal."""
    if metric is None:
        return None
    if goal not in ("minimize", "maximize"):
        raise ValidationError(f"The goal {goal!r} is not known. Use 'minimize' or 'maximize'.")
    return Goal(metric, goal)
