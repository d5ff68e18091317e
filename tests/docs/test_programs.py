"""The short programs of the guides run, in a project that has what they speak of."""

from __future__ import annotations

from pathlib import Path

import pytest

import keepsake
from tests.docs.test_docs import BLOCK, ROOT, name
from tests.importing.sources import write_mlflow_run

_RUN = ("analysis", "clusters", "filters", "moving", "notebooks", "report", "repositories", "what-to-save")
GUIDES = [ROOT / f"docs/guides/{guide}.md" for guide in _RUN]
PROGRAMS = [
    pytest.param(content, id=f"{name(guide)} {number}")
    for guide in GUIDES
    for number, (language, file, content) in enumerate(BLOCK.findall(guide.read_text(encoding="utf-8")))
    if language == "python" and not file
]


@pytest.fixture
def stand_ins(project_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What stands for the ID, the user and the URLs of the guides: two runs with weights, and folders."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    Path("model.pth").write_text("weights")
    write_mlflow_run(Path("mlruns"), "a" * 32, metrics={"loss": [(1_700_000_000_000, 0.5, 0)]})
    for lr in (0.1, 0.2):
        experiment = keepsake.init(params={"lr": lr})
        experiment.checkpoint(path="model.pth", step=0, loss=lr, train_loss=lr, primary_metric=("loss", "minimize"))
        experiment.stop()
    return {
        "5ffb0f6": experiment.id,
        "kim": str(experiment.user),
        "s3://our-bucket/vision": f"file://{project_directory}/repo",
        "file:///backup": f"file://{tmp_path}/backup",
    }


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_a_guide_runs(program: str, stand_ins: dict[str, str]) -> None:
    """Whatever it prints."""
    for shown, real in stand_ins.items():
        program = program.replace(shown, real)
    names: dict[str, object] = {}
    exec(compile(program, "a guide", "exec"), names)
    if isinstance(experiment := names.get("experiment"), keepsake.Experiment):
        experiment.stop()
