"""Params that a run gets after its beginning."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import ValidationError
from keepsake.project import Project
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("project_directory")


@pytest.mark.parametrize("before", [None, {"lr": 0.1, "layers": [1, 2], "nan": math.nan}])
@pytest.mark.parametrize("offline", [False, True])
def test_they_are_recorded(monkeypatch: pytest.MonkeyPatch, before: dict[str, Any] | None, offline: bool) -> None:
    """New ones and changed ones, and the others stay. What looks like a secret is masked, as at the beginning."""
    if offline:
        monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    experiment = keepsake.init(params=before, quiet=True)
    experiment.update_params({"lr": 0.2, "api_key": "abc"})
    experiment.update_params(argparse.Namespace(depth=3))  # type: ignore[arg-type]
    added = {"lr": 0.2, "api_key": "***", "depth": 3}
    experiment.checkpoint(loss=1)
    experiment.stop()
    for params in (experiment.params, Project().experiments.get(experiment.id).params):
        assert params is not None
        assert repr(params) == repr({**(before or {}), **added})


def test_only_by_the_process_that_records() -> None:
    experiment = keepsake.init(params={"lr": 1}, quiet=True)
    other = keepsake.experiments.get(experiment.id)
    experiment.stop()
    for each in (experiment, other):
        with pytest.raises(ValidationError, match="its params stay"):
            each.update_params({"lr": 2})
    assert keepsake.experiments.get(experiment.id).params == {"lr": 1}


def test_two_processes_that_change_different_ones_lose_neither() -> None:
    """The one does not know what the other has changed, and its line may arrive late, or twice."""
    experiment = keepsake.init(params={"lr": 1, "depth": 2}, quiet=True)
    other = keepsake.experiments.get(experiment.id)
    other.checkpoint(loss=1)
    experiment.update_params({"lr": 2})
    other.update_params({"depth": 3})
    late = Project().workplace.view.entries()[experiment.id].pending()
    experiment.update_params({"lr": 4})
    other.stop()
    experiment.stop()
    Project().workplace.repository.merge({"id": experiment.id}, late, create=False)
    assert keepsake.experiments.get(experiment.id).params == {"lr": 4, "depth": 3}


def test_a_copy_gets_those_that_changed_since_the_last_push(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/copy"
    experiment = keepsake.init(params={"lr": 1}, quiet=True)
    wait_until(lambda: Project().workplace.view.entries()[experiment.id].in_repository)
    Project().push(url)
    experiment.update_params({"lr": 2, "threshold": 0.5})
    experiment.stop()
    Project().push(url)
    assert Project(repository=url).experiments.get(experiment.id).params == {"lr": 2, "threshold": 0.5}


def test_a_slip_changes_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("KEEPSAKE_STRICT")
    experiment = keepsake.init(params={"lr": 1}, quiet=True)
    experiment.update_params({"lr": object()})
    experiment.update_params(3)  # type: ignore[arg-type]
    assert "params['lr'] cannot be recorded" in capsys.readouterr().err
    assert experiment.params == {"lr": 1}
    experiment.stop()


def test_other_processes_of_a_job_only_know_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSAKE_RANK", "1")
    experiment = keepsake.init(params={"lr": 1})
    experiment.update_params({"depth": 3})
    assert experiment.params == {"lr": 1, "depth": 3}
    assert list(keepsake.experiments.list()) == []
