"""Records, objects and listings name the same best and latest checkpoint, also in the hour that comes twice.

They also know the same last value of each metric.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.experiment import Experiment
from keepsake.listing.index import Line
from keepsake.listing.subjects import WholeExperiment, metrics_of
from keepsake.listing.summary import Summary
from keepsake.metadata import Record, best_checkpoint, latest_checkpoint
from keepsake.project import Project

# Clocks in Berlin are set back at 01:00 UTC on that day: 00:50 UTC is 02:50 there, and 01:10 UTC is 02:10
TIMES = {
    "the clocks are set back": ["2026-10-25T00:50:00Z", "2026-10-25T01:10:00Z"],
    "less than a microsecond": ["2026-01-01T00:00:00.000000401Z", "2026-01-01T00:00:00.000000402Z"],
    "different lengths": ["2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500000001Z"],
    "no fraction": ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.1Z"],
    "other zones": ["2026-01-01T03:00:00+02:00", "2026-01-01T02:00:00Z"],
    "the same, in another zone": ["2026-01-01T03:00:00+02:00", "2026-01-01T01:00:00.0Z"],
}


def make_record(times: list[str]) -> Record:
    checkpoints = [
        {
            "id": f"{number:07x}" + "0" * 57,
            "created": text,
            "metrics": {"loss": 0.5},
            "step": number,
            "path": "",
            "primary_metric": {"name": "loss", "goal": "minimize"},
        }
        for number, text in enumerate(times)
    ]
    return {
        "id": "e" * 64,
        "created": "2026-10-25T00:30:00Z",
        "checkpoints": checkpoints,
        "keepsake_version": "1.0.0",
    }


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(time, "tzset"):
        pytest.skip("this system cannot change its time zone")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("turned", [False, True])
def test_the_last_one_is_the_latest_and_of_equals_the_best(times: list[str], turned: bool) -> None:
    record = make_record(times[::-1] if turned and len(set(times)) == 2 else times)
    checkpoints = record["checkpoints"]
    expected = max(checkpoints, key=lambda checkpoint: (times.index(checkpoint["created"]), checkpoint["step"]))
    if times == TIMES["the same, in another zone"]:
        expected = checkpoints[-1]
    experiment, summary = Experiment.from_record(Project(), record), Summary(Line.make(record, "etag"), None)
    assert latest_checkpoint(checkpoints) == best_checkpoint(checkpoints) == expected
    assert summary.latest == summary.best == expected
    for found in (experiment.latest(), experiment.best(), experiment.checkpoints.latest()):
        assert found is not None
        assert found.id == expected["id"]


@pytest.mark.usefixtures("in_berlin")
def test_a_run_lasts_as_long_as_it_takes_when_the_clocks_are_set_back() -> None:
    record = make_record(["2026-10-25T01:10:00Z"])
    assert Experiment.from_record(Project(), record).duration == timedelta(minutes=40)


@pytest.mark.usefixtures("in_berlin")
def test_a_time_that_is_set_by_hand_counts() -> None:
    checkpoints = Experiment.from_record(Project(), make_record(["2026-01-01T00:00:00Z"] * 2)).checkpoints
    checkpoints[0].created += timedelta(seconds=1)
    assert checkpoints.latest() is checkpoints[0]
    assert checkpoints[0].to_json()["created"] == "2026-01-01T00:00:01Z"


def both(metrics: list[Any], times: list[str] | None = None) -> tuple[WholeExperiment, Summary, Line]:
    """An experiment and its line in the index, with these metrics in its checkpoints."""
    record = make_record(times or [f"2026-01-01T00:00:{number:02}Z" for number in range(len(metrics))])
    for checkpoint, values in zip(record["checkpoints"], metrics, strict=True):
        checkpoint["metrics"] = values
    line = Line.make(record, "etag")
    return WholeExperiment(Experiment.from_record(Project(), record)), Summary(line, None), line


TURNED = ["2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:02Z"]
SAME = ["2026-01-01T00:00:00Z"] * 3
A, B, AB = {"a": 1}, {"b": 2}, {"a": 3, "b": 4}


@pytest.mark.parametrize(
    ("metrics", "times", "expected"),
    [
        ([], None, {}),
        ([None], None, {}),
        ([A], None, A),
        ([A, None], None, A),
        ([A, {}], None, A),
        ([A, B], None, {"a": 1, "b": 2}),
        ([AB, A], None, {"a": 1, "b": 4}),
        ([AB, B, A], None, {"a": 1, "b": 2}),
        ([AB, B, A], TURNED, {"a": 1, "b": 4}),
        ([B, AB, A], SAME, {"a": 1, "b": 4}),
        ([A, {"a": None}], None, {"a": None}),
        ([{"a": None}, B], None, {"a": None, "b": 2}),
        ([{"a": "[+Infinity]", "c": "None"}, B], None, {"a": float("inf"), "c": None, "b": 2}),
        ([{"a": {"f1": 1, "f2": 2}}, {"b": 2}], None, {"a": {"f1": 1, "f2": 2}, "b": 2}),
        ([{"\t\n é": 1}, B], None, {"\t\n é": 1, "b": 2}),
    ],
)
def test_the_last_value_of_each_metric(metrics: list[Any], times: list[str] | None, expected: dict[str, Any]) -> None:
    whole, summary, _ = both(metrics, times)
    assert whole.last_metrics == summary.last_metrics == expected
    assert metrics_of(whole) == metrics_of(summary)


def test_the_index_stores_nothing_of_metrics_that_the_latest_checkpoint_has() -> None:
    assert both([A, AB, AB])[2].earlier == both([])[2].earlier == both([None, None])[2].earlier == ""
    assert both([AB, A, A])[2].earlier == '{"b":4}'


def test_the_metrics_of_the_best_checkpoint_come_first() -> None:
    whole, summary, _ = both([{"loss": 0.1, "a": 1}, {"loss": 0.2, "a": 2, "b": 3}, {"loss": 0.3}])
    for subject in (whole, summary):
        assert metrics_of(subject) == {"loss": 0.1, "a": 1, "b": 3}
        assert subject.last_metrics == {"loss": 0.3, "a": 2, "b": 3}


def test_what_a_list_remembers_of_a_run_is_forgotten_when_it_is_read_again(project_directory: Path) -> None:
    run = keepsake.init(quiet=True)
    run.checkpoint(step=1, metrics={"loss": 2.0}, primary_metric=("loss", "minimize"))
    run.stop()
    (read,) = keepsake.experiments.list()
    assert steps_of(read) == steps_of(read) == [1, 1]
    (other,) = keepsake.experiments.list()
    other.checkpoint(step=2, metrics={"loss": 1.0}, primary_metric=("loss", "minimize"))
    other.stop()
    assert steps_of(read) == [1, 1]
    assert steps_of(other) == [2, 2]
    read.refresh()
    assert steps_of(read) == [2, 2]


def steps_of(experiment: Experiment) -> list[int]:
    return [record["step"] for record in experiment.best_and_latest() if record is not None]
