"""Params that a run gets after its beginning."""

from __future__ import annotations

import argparse
import math
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import ValidationError
from keepsake.project import Project

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
