"""The surface of the library that existing scripts use: the same names, arguments and results on both sides."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.compare import Both

IMPORTS = """
from keepsake import Project, default_project, experiments, init, __version__
from keepsake.project import Project, init
from keepsake.experiment import Experiment, ExperimentCollection, ExperimentList
from keepsake.checkpoint import Checkpoint, CheckpointList, PrimaryMetric
from keepsake.exceptions import DoesNotExist, ReadError, WriteError, RepositoryConfigurationError
from keepsake.exceptions import IncompatibleRepositoryVersion, CorruptedRepositorySpec, ConfigNotFound
from keepsake.metadata import parse_rfc3339, rfc3339_datetime
from keepsake.packages import get_imported_packages
import dataclasses, datetime, inspect
"""


def answers(both: Both, expression: str) -> list[Any]:
    """What an expression is on each side."""
    source = f"{IMPORTS}\nresult = {expression}"
    return [side.call("program", source=source) for side in (both.original, both.ours)]


FUNCTIONS = [
    *["init", "Project", "ExperimentCollection.create", "ExperimentCollection.get", "ExperimentCollection.list"],
    *["Experiment.stop", "Experiment.refresh", "Experiment.delete", "Experiment.latest", "Experiment.best"],
    *["Experiment.is_running", "Experiment.primary_metric", "Experiment.short_id", "Experiment.plot"],
    *["Checkpoint.checkout", "Checkpoint.open", "Checkpoint.short_id", "Checkpoint.validate", "CheckpointList.plot"],
    *["ExperimentList.plot", "ExperimentList.scatter", "ExperimentList.delete", "ExperimentList.primary_metric"],
]


_OF_A_RUN: dict[str, object] = dict.fromkeys(
    ("name", "tags", "notes", "parent", "resume", "keep", "capture_output"),
)
_CURVES: dict[str, object] = {"logx": False, "x": "step", "smoothing": 0.0}
OF_OURS: dict[str, dict[str, object]] = {
    "init": {"quiet": False, **_OF_A_RUN},
    "ExperimentCollection.create": _OF_A_RUN,
    "ExperimentCollection.list": {"sort": None},
    "Experiment.plot": _CURVES,
    "CheckpointList.plot": _CURVES,
    "ExperimentList.plot": {**_CURVES, "color": None},
    "ExperimentList.scatter": {"color": None},
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_arguments(both: Both, function: str) -> None:
    """Their names, order, kinds and defaults; ours have further ones after them, given by name only."""
    shown = f"[[p.name, repr(p.default), p.kind.name] for p in inspect.signature({function}).parameters.values()]"
    theirs, ours = answers(both, shown)
    further = [[name, repr(default), "KEYWORD_ONLY"] for name, default in OF_OURS.get(function, {}).items()]
    assert ours == [*theirs, *further]


def test_arguments_of_checkpoint(both: Both) -> None:
    """Ours takes further metrics: keyword-metrics."""
    theirs, ours = answers(both, "list(inspect.signature(Experiment.checkpoint).parameters)")
    assert ours == [*theirs, "more_metrics"]


@pytest.mark.parametrize("name", ["Experiment", "Checkpoint"])
def test_fields(both: Both, name: str) -> None:
    """The fields of the dataclasses come in the same order."""
    theirs, ours = answers(both, f"[field.name for field in dataclasses.fields({name})]")
    assert ours == theirs


CHECKPOINT = "Checkpoint(id='c' * 64, created=datetime.datetime(2021, 5, 6, 7, 8, 9, 123456), {})"
SAME = [
    "parse_rfc3339('2021-05-06T07:08:09.123456Z').isoformat()",
    "rfc3339_datetime(datetime.datetime(2021, 5, 6, 7, 8, 9, 123456))",
    "rfc3339_datetime(datetime.datetime(2021, 5, 6))",
    "type(get_imported_packages()).__name__",
    CHECKPOINT.format("") + ".to_json()['created']",
    CHECKPOINT.format("step=3, metrics={'loss': 0.5}") + ".short_id()",
    "Checkpoint.from_json(" + CHECKPOINT.format("path='a', step=3, metrics={'l': 0.5}") + ".to_json()).step",
    "CheckpointList([" + CHECKPOINT.format("step=3, metrics={'l': 0.5}") + "]).metrics['l']",
    "type(CheckpointList([" + CHECKPOINT.format("step=3") + "])[:1]).__name__",
    "type(ExperimentList([])[:1]).__name__",
    "[issubclass(each, Exception) for each in (DoesNotExist, ReadError, WriteError, ConfigNotFound)]",
]


@pytest.mark.parametrize("expression", SAME)
def test_results(both: Both, expression: str) -> None:
    """These are results that need no repository."""
    theirs, ours = answers(both, expression)
    assert ours == theirs


VALIDATED = [
    "step=3, metrics={'loss': 0.5}, primary_metric={'name': 'loss', 'goal': 'minimize'}",
    "metrics=[1]",
    "metrics={'x': object()}",
    "path=5",
    "path='nothing'",
    "path='/nothing'",
    "path='../nothing'",
    "step='x'",
    "metrics={'a': 1}, primary_metric={'name': 'b', 'goal': 'minimize'}",
    "metrics={'a': 1}, primary_metric={'name': 'a', 'goal': 'minimise'}",
]


@pytest.mark.parametrize("arguments", VALIDATED)
def test_validation(both: Both, arguments: str) -> None:
    """Both find the same number of problems."""
    theirs, ours = answers(both, f"len({CHECKPOINT.format(arguments)}.validate())")
    assert ours == theirs
