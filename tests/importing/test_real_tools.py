"""What the tools themselves write, in their current releases: every value arrives as it was logged.

`make test-importers` installs them. Without it, these tests are skipped.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keepsake.experiment import Experiment
from keepsake.project import Project

STEPS = 200
VALUES = [math.sin(step) / (step + 1) for step in range(STEPS)]


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """Runs a script that logs VALUES with a tool, if that is installed."""

    def log(tool: str, script: str, **environment: str) -> str:
        pytest.importorskip(tool)
        preamble = f"VALUES = {VALUES!r}\nINF = float('inf')\nNAN = float('nan')\n"
        done = subprocess.run(
            [sys.executable, "-c", preamble + script],
            cwd=tmp_path,
            env={"PATH": "", "HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return log


def metric(experiment: Experiment, name: str) -> list[tuple[int | None, Any]]:
    return [(c.step, c.metrics[name]) for c in experiment.checkpoints if c.metrics and name in c.metrics]


MLFLOW = """
import mlflow
mlflow.set_tracking_uri(URI)
mlflow.set_experiment("vision")
with mlflow.start_run(run_name="first", description="a note"):
    mlflow.log_params({"lr": 0.1, "name": "x", "none": None})
    for step, value in enumerate(VALUES):
        mlflow.log_metric("val/loss", value, step=step)
    mlflow.log_metric("special", INF, step=1)
    mlflow.log_metric("special", NAN, step=2)
    mlflow.set_tag("team", "blue")
    mlflow.log_dict({"a": 1}, "sub/config.json")
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", ["mlruns", "mlflow.db"])
def test_mlflow(project: Project, tmp_path: Path, log: Any, store: str) -> None:
    uri = (tmp_path / store).as_uri() if store == "mlruns" else f"sqlite:///{tmp_path / store}"
    if store == "mlflow.db":
        pytest.importorskip("sqlalchemy")
    log("mlflow", f"URI = {uri!r}\n" + MLFLOW, MLFLOW_ALLOW_FILE_STORE="true")
    project.import_runs(tmp_path / store)
    (run,) = project.experiments.list()
    assert run.params == {"lr": 0.1, "name": "x", "none": None}
    assert metric(run, "val/loss") == list(enumerate(VALUES))
    (_, infinite), (_, nan) = metric(run, "special")
    assert infinite == math.inf
    assert math.isnan(nan)
    assert (run.name, run.notes, run.tags, run.end_reason) == (
        "first",
        "a note",
        ["experiment=vision", "team=blue"],
        "finished",
    )
    with run.checkpoints[-1].open("artifacts/sub/config.json") as file:
        assert b'"a"' in file.read()


def test_tensorboard(project: Project, tmp_path: Path, log: Any) -> None:
    log(
        "tensorboardX",
        """
from tensorboardX import SummaryWriter
writer = SummaryWriter("runs/first")
for step, value in enumerate(VALUES):
    writer.add_scalar("loss", value, step)
writer.close()
""",
    )
    project.import_runs(tmp_path / "runs")
    (run,) = project.experiments.list()
    found = metric(run, "loss")
    assert [step for step, _ in found] == list(range(STEPS))
    assert [value for _, value in found] == pytest.approx(VALUES, rel=1e-7)


@pytest.mark.timeout(300)
def test_wandb(project: Project, tmp_path: Path, log: Any) -> None:
    log(
        "wandb",
        """
import wandb
run = wandb.init(project="vision", name="first", config={"lr": 0.1, "a": {"b": 1}}, tags=["good"], notes="a note")
for value in VALUES:
    run.log({"loss": value, "nested": {"x": value}})
run.log({"special": NAN, "table": wandb.Table(columns=["a"], data=[[1]]), "page": wandb.Html("<b>x</b>")})
run.finish()
""",
        WANDB_MODE="offline",
        WANDB_SILENT="true",
    )
    done = project.import_runs(tmp_path / "wandb")
    assert done.left_out["media and tables (table-file)"] == 1
    (run,) = project.experiments.list()
    assert run.params == {"lr": 0.1, "a": {"b": 1}}
    assert (run.checkpoints[-1].metrics or {}).keys() == {"special"}
    assert metric(run, "loss") == list(enumerate(VALUES))
    assert metric(run, "nested.x") == list(enumerate(VALUES))
    assert math.isnan(metric(run, "special")[0][1])
    assert (run.name, run.notes, run.tags, run.end_reason) == (
        "first",
        "a note",
        ["project=vision", "good"],
        "finished",
    )


@pytest.mark.timeout(300)
def test_trackio(project: Project, tmp_path: Path, log: Any) -> None:
    log(
        "trackio",
        """
import trackio
trackio.init(project="vision", name="first", config={"lr": 0.1})
for value in VALUES:
    trackio.log({"loss": value})
trackio.log({"special": INF})
trackio.finish()
""",
        TRACKIO_DIR=str(tmp_path / "trackio"),
    )
    project.import_runs(tmp_path / "trackio")
    (run,) = project.experiments.list()
    assert run.params == {"lr": 0.1}
    assert metric(run, "loss") == list(enumerate(VALUES))
    assert metric(run, "special") == [(STEPS, math.inf)]
