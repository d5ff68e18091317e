"""The callback with the real Hydra: programs of a few lines, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import keepsake
from tests.frameworks.reading import all_recorded, recorded

pytest.importorskip("hydra", reason="`make test-frameworks` installs it")

PROGRAM = """
    import hydra
    import keepsake.hydra

    @hydra.main(version_base={version}, config_path=".", config_name="config")
    def main(cfg):
        if cfg.fail:
            raise ArithmeticError("no more")
        if cfg.own:
            keepsake.hydra.experiment().checkpoint(step=3, metrics={{"loss": 0.5}}, quiet=True)
            from keepsake.integrations.recorder import Recorder
            recorder = Recorder()
            recorder.begin({{"ignored": 1}})
            recorder.record({{"loss": 0.25}}, 4)
            recorder.blame(ArithmeticError("the job goes on after it"))
            recorder.stop()
        return {result}

    main()
"""
CONFIG = """
    fail: false
    own: false
    optimizer:
      lr: 0.1
      name: sgd
    twice: ${oc.decode:"[${optimizer.lr}, ${optimizer.lr}]"}
    unknown: ${nothing.here}
    missing: ???
    hydra:
      callbacks:
        keepsake:
          _target_: keepsake.hydra.KeepsakeCallback
          primary_metric: [value, minimize]
"""


def run(
    project: Path, *arguments: str, version: str = "None", result: str = "cfg.optimizer.lr * 2", code: int = 0
) -> str:
    (project / "program.py").write_text(textwrap.dedent(PROGRAM.format(version=version, result=result)))
    (project / "config.yaml").write_text(textwrap.dedent(CONFIG))
    done = subprocess.run(
        [sys.executable, "program.py", *arguments], cwd=project, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def test_a_job(project_directory: Path) -> None:
    """Its resolved config, its checkpoints, those of another callback in it, and what it returns."""
    run(project_directory, "own=true", "optimizer.lr=0.2")
    experiment = recorded()
    assert experiment.params == {
        "fail": False,
        "own": True,
        "optimizer.lr": 0.2,
        "optimizer.name": "sgd",
        "twice": [0.2, 0.2],
        "unknown": "${nothing.here}",
        "missing": "???",
    }
    assert experiment.checkpoints.step == [3, 4, 5]
    assert experiment.latest().metrics == {"value": 0.4}
    assert experiment.primary_metric() == "value"
    assert (experiment.end_reason, experiment.path) == ("stopped", ".")


def test_a_multirun(project_directory: Path) -> None:
    """A run per job; a job that fails is failed, with its exception."""
    run(project_directory, "--multirun", "optimizer.lr=0.1,0.2", "fail=false,true", code=1)
    experiments = all_recorded()
    assert [(e.params["optimizer.lr"], e.params["fail"], e.end_reason) for e in experiments] == [
        (0.1, False, "stopped"), (0.1, True, "exception: ArithmeticError"),
        (0.2, False, "stopped"), (0.2, True, "exception: ArithmeticError"),
    ]  # fmt: skip


def test_a_directory_of_its_own(tmp_path: Path) -> None:
    """A job that changes into it is recorded in the project that the program was started in; a mapping is metrics."""
    run(tmp_path, "hydra.job.chdir=true", version='"1.1"', result='{"loss": 1, "size": 2}')
    experiment: Any = keepsake.Project(directory=tmp_path).experiments.list()[-1]
    assert experiment.latest().metrics == {"loss": 1, "size": 2}
    assert (tmp_path / ".keepsake").is_dir()


def test_a_run_that_cannot_be_recorded(project_directory: Path) -> None:
    """The job runs anyway, and a message says why."""
    (project_directory / "keepsake.yaml").write_text("repository: nonsense://here")
    assert "nonsense" in run(project_directory)
