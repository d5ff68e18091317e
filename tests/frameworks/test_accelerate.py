"""The tracker with the real Accelerate, on one process and no device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.reading import all_recorded, recorded

accelerate = pytest.importorskip("accelerate", reason="`make test-frameworks` installs it")

pytestmark = [pytest.mark.usefixtures("project_directory"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def accelerator() -> Any:
    """One that logs with Keepsake by its name."""
    import keepsake.accelerate  # noqa: F401

    return accelerate.Accelerator(cpu=True, log_with="keepsake")


def test_a_training(accelerator: Any) -> None:
    """The parts of a step are one checkpoint; the config is the params; files are saved by the experiment."""
    options = {"primary_metric": ("loss", "minimize"), "params": {"data": "made up"}}
    accelerator.init_trackers("vision", config={"lr": 0.1, "model": {"depth": 3}}, init_kwargs={"keepsake": options})
    for step in range(3):
        accelerator.log({"loss": 1 / (step + 1)}, step=step)
        accelerator.log({"accuracy": step / 3}, step=step)
    Path("model.pth").write_text("weights")
    accelerator.get_tracker("keepsake", unwrap=True).checkpoint("model.pth", step=3, quiet=True)
    accelerator.end_training()
    assert recorded().params == {"project": "vision", "lr": 0.1, "model.depth": 3, "data": "made up"}
    assert recorded().status == "stopped"
    assert sorted(recorded().checkpoints.step) == [0, 1, 2, 3]
    assert recorded().checkpoints[1].metrics.keys() == {"loss", "accuracy"}
    assert recorded().primary_metric() == "loss"


def test_without_a_config(accelerator: Any) -> None:
    """The run begins when something is logged; values without a step have the next one."""
    accelerator.init_trackers("vision")
    assert list(all_recorded()) == []
    for loss in (0.5, 0.4):
        accelerator.log({"loss": loss})
    accelerator.end_training()
    accelerator.log({"final": 1}, step=9)
    assert accelerator.get_tracker("keepsake", unwrap=True).id == recorded().id, (
        "a run that has ended does not begin again"
    )
    assert recorded().checkpoints.step == [0, 1, 9]


def test_the_tracker_itself() -> None:
    """It is used as any tracker is."""
    from keepsake.accelerate import KeepsakeTracker

    accelerator = accelerate.Accelerator(cpu=True, log_with=KeepsakeTracker(path=None))
    accelerator.init_trackers("vision")
    accelerator.log({"loss": 0.5}, step=7)
    accelerator.end_training()
    assert (recorded().path, recorded().checkpoints.step) == (None, [7])


def test_a_tracker_may_be_used_again() -> None:
    """Each training of a cross-validation is a run, with its own config. A later config is added to it."""
    from keepsake.accelerate import KeepsakeTracker

    tracker = KeepsakeTracker(path=None)
    for fold in range(2):
        accelerator = accelerate.Accelerator(cpu=True, log_with=tracker)
        accelerator.init_trackers("vision", config={"fold": fold})
        tracker.store_init_configuration({"late": fold})
        accelerator.log({"loss": fold}, step=fold)
        accelerator.end_training()
    assert [experiment.params for experiment in all_recorded()] == [{"fold": n, "late": n} for n in range(2)]
    assert [experiment.checkpoints.step for experiment in all_recorded()] == [[0], [1]]
