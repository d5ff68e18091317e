"""Experiments and checkpoints as columns, and as DataFrames of pandas and polars."""

from __future__ import annotations

import math
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas
import pytest

import keepsake
from keepsake.checkpoint import Checkpoint, CheckpointList
from keepsake.collection import ExperimentList
from keepsake.exceptions import MissingExtra, ValidationError
from tests.display.runs import START, losses, make

pytestmark = pytest.mark.usefixtures("project_directory")
NAN = math.nan


@pytest.fixture
def three() -> ExperimentList:
    """One that went well, one without a primary metric, one that has just begun."""
    params = {"optimizer": {"lr": 0.1, "name": "adam"}, "width": 64, "nesterov": True}
    first = make(1, [{"loss": 0.5, "top": 3}, {"loss": 0.25, "top": 4}, {"loss": 0.75, "top": 5}], params)
    second = make(2, [{"eval": {"loss": 0.9}}], {"optimizer": {"lr": 1}, "layers": [3, 4]}, primary=None)
    return ExperimentList([first, second, losses(3, width=128)])


def columns(values: list[Any]) -> list[Any]:
    """The column of a param with these values, where ... is not set."""
    runs = ExperimentList(make(n, [], {} if value is ... else {"p": value}) for n, value in enumerate(values))
    return runs.to_columns()["params.p"]


def test_the_last_value_of_a_metric_may_be_in_any_checkpoint() -> None:
    runs = ExperimentList([make(1, [{"loss": 0.5, "top": 3}, {"loss": 0.25}, {"loss": 0.75}], {})])
    found = runs.to_columns()
    assert {name: column for name, column in found.items() if ":" in name} == {
        "best:loss": [0.25],
        "last:loss": [0.75],
        "last:top": [3],
    }
    assert runs.group()[0].metrics["top"].mean == 3


def test_a_row_has_fields_params_and_metrics(three: ExperimentList) -> None:
    found = three.to_columns()
    assert {len(column) for column in found.values()} == {3}
    assert found["id"] == [run.id for run in three]
    assert found["created"] == [START + timedelta(hours=n) for n in (1, 2, 3)]
    assert found["duration"] == [timedelta(minutes=2), timedelta(0), None]
    assert found["best_step"] == [10, None, None]
    assert found["latest_step"] == [20, 0, None]
    assert found["best_checkpoint"] == [three[0].checkpoints[1].id, None, None]
    assert {name: column for name, column in found.items() if "." in name or ":" in name} == {
        "params.optimizer.lr": [0.1, 1.0, None],
        "params.optimizer.name": ["adam", None, None],
        "params.width": [64, None, 128],
        "params.nesterov": [True, None, None],
        "params.layers": [None, "[3,4]", None],
        "best:loss": [0.25, None, None],
        "best:top": [4, None, None],
        "last:loss": [0.75, None, None],
        "last:top": [5, None, None],
        "last:eval.loss": [None, 0.9, None],
    }


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([1, 2, ...], [1, 2, None]),
        ([1, 0.5], [1.0, 0.5]),
        ([1, True], ["1", "true"]),
        ([1, "auto", None], ["1", "auto", None]),
        ([0.1, NAN, math.inf], [0.1, NAN, math.inf]),
        ([2**63 - 1, -(2**63)], [2**63 - 1, -(2**63)]),
        ([2**63, 1], [2.0**63, 1.0]),
        ([10**400, 1], [str(10**400), "1"]),
        ([[1, "x"], [2]], ['[1,"x"]', "[2]"]),
        ([{}, {"a": 1}], ["{}", None]),
        (["\x1b[31m", "=cmd()"], ["\x1b[31m", "=cmd()"]),
        ([..., None], [None, None]),
    ],
)
def test_the_values_of_a_column_have_one_type(values: list[Any], column: list[Any]) -> None:
    found = columns(values)
    assert list(map(repr, found)) == list(map(repr, column))


def test_pandas_keeps_types_where_values_are_missing(three: ExperimentList) -> None:
    frame = three.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["params.width"].dtype == "Int64"
    assert frame["best_step"].dtype == "Int64"
    assert frame["params.nesterov"].dtype == "boolean"
    assert frame["best:loss"].dtype == "float64"
    assert frame["created"].dtype.kind == "M"
    assert frame["duration"].dtype.kind == "m"
    assert frame.groupby("params.width").size().to_dict() == {64: 1, 128: 1}
    assert frame.shape == (3, len(three.to_columns()))


@pytest.mark.filterwarnings("default")
def test_polars_takes_the_columns(three: ExperimentList) -> None:
    polars = pytest.importorskip("polars")
    for frame in (polars.DataFrame(three.to_columns()), three.to_dataframe(backend="polars")):
        assert frame.shape == (3, len(three.to_columns()))
        assert frame["params.width"].to_list() == [64, None, 128]
        assert frame["best:loss"].dtype == polars.Float64
        assert frame["created"].dtype == polars.Datetime
    assert three.checkpoints.to_dataframe("polars").shape == (4, 8)


def test_a_row_for_each_checkpoint(three: ExperimentList) -> None:
    found = three.checkpoints.to_columns()
    assert found["experiment"] == [three[0].id] * 3 + [three[1].id]
    assert found["step"] == [0, 10, 20, 0]
    assert found["created"][1] == START + timedelta(hours=1, minutes=1)
    assert found["metrics.loss"] == [0.5, 0.25, 0.75, None]
    assert found["metrics.eval.loss"] == [None, None, None, 0.9]
    assert three[0].checkpoints.to_dataframe()["metrics.top"].tolist() == [3, 4, 5]


def test_nothing_has_columns_too() -> None:
    assert ExperimentList().to_columns()["id"] == []
    assert ExperimentList().to_dataframe().empty
    assert CheckpointList().to_dataframe().empty
    by_hand = CheckpointList([Checkpoint("a" * 64, START)])
    assert by_hand.to_columns()["experiment"] == [None]


@pytest.mark.parametrize("backend", ["pandas", "polars"])
def test_without_the_package_the_error_says_what_to_install(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, backend, None)
    with pytest.raises(MissingExtra, match=rf"(?s)DataFrames need {backend}\..*pip install {backend}$"):
        ExperimentList().to_dataframe(backend)


def test_another_backend_is_an_error() -> None:
    with pytest.raises(ValidationError, match=r"There is no backend 'arrow'. Choose from: 'pandas', 'polars'\."):
        CheckpointList().to_dataframe("arrow")


def test_what_was_really_recorded(project_directory: Path) -> None:
    """Whether or not the checkpoints were asked for before."""
    with keepsake.init(params={"lr": 0.1}) as done:
        for loss in (2.0, 1.0, 3.0):
            done.checkpoint(loss=loss, primary_metric=("loss", "minimize"))
    running = keepsake.init(params={"lr": 0.2})
    runs = keepsake.experiments.list()
    found = runs.to_columns()
    assert found["status"] == ["stopped", "running"]
    assert found["status"] == [run.status for run in runs]
    assert found["end_reason"] == [run.end_reason for run in runs]
    assert found["best:loss"] == [1.0, None]
    assert found["latest_step"] == [2, None]
    assert isinstance(found["created"][0], datetime)
    assert found["duration"] == [run.duration for run in runs]
    assert len(runs.checkpoints) == 3
    assert runs.to_columns() == found
    running.stop()
