"""What scripts do unexpectedly."""

from __future__ import annotations

from pathlib import Path

import pytest

import keepsake
from tests.faults.programs import keepsake as command
from tests.faults.programs import run


def test_a_script_that_changes_its_directory_goes_on_recording(
    project_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of the project, and into another one: paths are those of the project in which the run began."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "keepsake.yaml").write_text("repository: file://repo")
    (project_directory / "model.pth").write_text("weights")
    run(
        f"""
        import os, keepsake
        experiment = keepsake.init()
        for directory in ({str(tmp_path)!r}, {str(other)!r}):
            os.chdir(directory)
            assert experiment.checkpoint(path="model.pth", metrics={{"number": 1}}, quiet=True) is not None
        """
    )
    checkpoints = keepsake.experiments.list()[0].checkpoints
    monkeypatch.chdir(other)
    assert len(checkpoints) == 2
    for checkpoint in checkpoints:
        with checkpoint.open("model.pth") as file:
            assert file.read() == b"weights"
    assert [path.name for path in other.iterdir()] == ["keepsake.yaml"]


@pytest.mark.usefixtures("project_directory")
def test_a_thread_that_never_ends_does_not_keep_the_program_from_ending() -> None:
    """What it had recorded when the end began is saved; what comes later waits, as after a kill."""
    output, _ = run(
        """
        import os, threading, keepsake
        experiment = keepsake.init()
        recorded = threading.Event()

        def forever():
            while True:
                checkpoint = experiment.checkpoint(metrics={"number": 1}, quiet=True)
                os.write(1, f"{checkpoint.id}\\n".encode())
                recorded.set()

        threading.Thread(target=forever, daemon=True).start()
        recorded.wait()
        """,
        seconds=30,
    )
    command("sync")
    assert set(output.split()) <= {checkpoint.id for checkpoint in keepsake.experiments.list()[0].checkpoints}
