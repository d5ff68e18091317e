"""Scripts for W&B and TensorBoard, as people write them, record what those tools record when one import changes.

What they record is in scripts/recorded.json: wandb 0.31 (offline) and tensorboardX 2.6 ran the same scripts. There,
subfolders are prefixes of one run's metrics, and values without a step are counted, as docs/guides/one-import.md says.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import keepsake.wandb
from tests.frameworks.reading import all_recorded, recorded

SCRIPTS = Path(__file__).parent / "scripts"
RECORDED: dict[str, list[dict[str, Any]]] = json.loads((SCRIPTS / "recorded.json").read_text("utf-8"))
IMPORTS = {
    "import wandb\n": "import keepsake.wandb as wandb\n",
    "from torch.utils.tensorboard import": "from keepsake.tensorboard import",
}

pytestmark = [pytest.mark.usefixtures("project_directory"), pytest.mark.filterwarnings("default")]


@pytest.fixture(autouse=True)
def _no_run_stays_open() -> Iterator[None]:
    yield
    keepsake.wandb.finish()


def run_script(name: str) -> None:
    """Run a script here, with one import changed."""
    text = (SCRIPTS / f"{name}.py").read_text("utf-8")
    changed = text
    for before, after in IMPORTS.items():
        changed = changed.replace(before, after)
    differing = [pair for pair in zip(text.splitlines(), changed.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(differing) == 1
    exec(compile(changed, f"{name}.py", "exec"), {"__name__": "__main__"})


def series(experiment: Any) -> dict[str, list[list[Any]]]:
    """Metric → [step, value] of each of its values, by step."""
    found: dict[str, list[list[Any]]] = {}
    for checkpoint in experiment.checkpoints:
        for metric, value in (checkpoint.metrics or {}).items():
            found.setdefault(metric, []).append([checkpoint.step, value])
    return found


def as_float32(values: dict[str, list[list[Any]]]) -> dict[str, list[list[Any]]]:
    """With the digits that an event file holds."""
    return {
        name: [[step, struct.unpack("f", struct.pack("f", value))[0]] for step, value in pairs]
        for name, pairs in values.items()
    }


def comparable(values: dict[str, list[list[Any]]]) -> dict[str, list[list[Any]]]:
    """NaN equals NaN, and the order of steps does not count: a step may be written again later."""
    return {
        name: sorted(
            [step, "NaN" if isinstance(value, float) and math.isnan(value) else value] for step, value in pairs
        )
        for name, pairs in values.items()
    }


@pytest.mark.parametrize("name", RECORDED)
def test_every_value_is_equal(name: str) -> None:
    """Metrics with their steps, params, names, notes and tags."""
    run_script(name)
    expected = RECORDED[name]
    experiments = list(all_recorded())
    assert len(experiments) == len(expected)
    for experiment, other in zip(experiments, expected, strict=True):
        values = series(experiment)
        if name.startswith("tensorboard"):
            values = as_float32(values)
        assert comparable(values) == comparable(other["metrics"])
        assert (experiment.params or {}) == other["params"]
        if name.startswith("wandb"):
            assert (experiment.notes or "") == other["notes"]
            assert set(experiment.tags) >= set(other["tags"])
        assert experiment.status == "stopped"


@pytest.mark.parametrize("name", sorted(f"{path.parent.name}/{path.stem}" for path in SCRIPTS.glob("*/*.py")))
def test_every_script_is_in_the_table(name: str) -> None:
    assert name in RECORDED


def test_the_values_of_a_step_are_one_checkpoint() -> None:
    """Those of a row of W&B, and those under several tags of TensorBoard."""
    run_script("wandb/commit_false")
    run_script("tensorboard/basic")
    assert [len(experiment.checkpoints) for experiment in all_recorded()] == [6, 10]  # the summary, five epochs


def test_files_of_a_run() -> None:
    """Each save is with the values that were logged before it; an artifact and the run's directory have their own."""
    run_script("wandb/artifacts")
    paths = [checkpoint.path for checkpoint in recorded().checkpoints]
    run = f"wandb/run-{recorded().short_id()}"
    assert paths[:3] == ["checkpoints/model.json"] * 3
    assert [Path(path).as_posix() for path in paths[3:]] == [f"{run}/artifacts/model", f"{run}/files"]
    last = recorded().checkpoints[3]
    with last.open(f"{run}/artifacts/model/labels.txt") as file:
        assert file.read() == b"cat\ndog\n"
    with recorded().checkpoints[1].open("checkpoints/model.json") as file:
        assert json.load(file) == {"epoch": 1, "loss": 1 / 3}


def test_what_is_not_recorded_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    run_script("wandb/tables")
    errors = capsys.readouterr().err
    for kind in ("Table", "Histogram", "Html"):
        assert errors.count(f"not objects of type {kind}") == 1


def test_names_of_wandb_that_have_no_counterpart() -> None:
    wandb = keepsake.wandb
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: wandb.sweep({}), "parameters"),
        (lambda: wandb.agent("id", list), "wandb.sweep"),
        (lambda: wandb.controller("id"), "wandb.agent"),
        (lambda: wandb.Api(), "experiments.list"),
        (lambda: wandb.use_artifact("unknown:latest"), "experiments.get"),
        (lambda: wandb.init(id="x", resume="must"), "resume='allow'"),
    ]
    for call, instead in calls:
        with pytest.raises(wandb.Error, match=instead):
            call()
    assert list(all_recorded()) == []
