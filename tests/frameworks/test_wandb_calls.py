"""The module in the shape of W&B's: arguments by place, artifacts that are used again, and sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import keepsake.wandb as wandb
from keepsake.integrations import wandb_values
from tests.frameworks.reading import all_recorded, recorded

pytestmark = [pytest.mark.usefixtures("project_directory"), pytest.mark.filterwarnings("default")]


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(wandb_values, "_said", set())
    yield
    wandb.finish()


def test_arguments_may_be_given_by_place() -> None:
    """As in W&B: the entity, the project, the directory, the ID, the name, notes, tags and the config."""
    run = wandb.init("team", "p", None, "mine", "a", "n", ["x"], {"lr": 0.1}, settings={}, anonymous="allow")
    assert run.path == "team/p/mine"
    run.finish()
    assert (recorded().name, recorded().notes, recorded().params) == ("a", "n", {"lr": 0.1})
    assert recorded().tags == ["x", "project=p", "id=mine"]


def test_an_artifact_of_this_program_can_be_used() -> None:
    with wandb.init() as run:
        artifact = wandb.Artifact("digits", "dataset")
        with artifact.new_file("data.txt") as file:
            file.write("1 2 3")
        run.log_artifact(artifact).wait()
        directory = wandb.use_artifact("team/p/digits:latest", type="dataset").download()
        assert Path(directory, "data.txt").read_text() == "1 2 3"
        assert Path(run.use_artifact(artifact).file("elsewhere")).read_text() == "1 2 3"
    path = recorded().latest()
    assert path is not None and path.path is not None  # noqa: PT018
    assert path.path.endswith("digits")


def test_what_a_run_has_no_counterpart_of(capsys: pytest.CaptureFixture[str]) -> None:
    with wandb.init() as run:
        for _ in range(2):
            run.link_artifact(object(), "registry")
            run.to_html(height=3)
        with pytest.raises(AttributeError, match="nonsense"):
            run.nonsense  # noqa: B018
    assert capsys.readouterr().err.count("link_artifact() of a run") == 1


def test_a_random_sweep() -> None:
    """Each run has values within their bounds; one that fails does not end the sweep, five in a row do."""
    drawn: list[dict[str, Any]] = []
    rules = {
        "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
        "layers": {"min": 1, "max": 3},
        "width": {"distribution": "q_uniform", "min": 16, "max": 64, "q": 16},
        "model": {"parameters": {"act": {"values": ["relu", "tanh"]}, "bias": {"value": True}}},
    }

    def train() -> None:
        run = wandb.init()
        drawn.append(dict(run.config))
        run.log({"loss": 1.0})
        if len(drawn) in (2, *range(5, 20)):
            raise ArithmeticError("no more")

    sweep = wandb.sweep({"method": "bayes", "metric": {"name": "loss", "goal": "minimize"}, "parameters": rules})
    wandb.agent(sweep, train, count=30)
    assert len(drawn) == 9
    assert [run.status for run in all_recorded()].count("failed") == 6
    assert [run.params for run in all_recorded()] == drawn
    assert {run.primary_metric() for run in all_recorded()} == {"loss"}
    for values in drawn:
        assert 1e-4 <= values["lr"] <= 1e-1
        assert values["layers"] in (1, 2, 3)
        assert values["width"] in (16, 32, 48, 64)
        assert (values["model"]["act"] in ("relu", "tanh"), values["model"]["bias"]) == (True, True)
