"""Records, objects and listings name the same best and latest checkpoint, also in the hour that comes twice."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from keepsake.experiment import Experiment
from keepsake.listing.index import Line, Summary
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
