"""`keepsake sync`, and what other commands say when runs wait to be sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.storage.benches import Bench

TRAINING = """
import keepsake
open("model", "w").write("weights")
experiment = keepsake.init(params={"lr": 0.1})
experiment.checkpoint(path="model", metrics={"loss": 1})
experiment.checkpoint(metrics={"loss": 2})
"""


@pytest.fixture
def recorded_offline(
    place: Bench, project_directory: Path, run_python: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> Bench:
    with monkeypatch.context() as context:
        context.setenv("KEEPSAKE_OFFLINE", "1")
        run_python(TRAINING)
    return place


def test_it_sends_what_was_recorded_offline(recorded_offline: Bench, run: Run) -> None:
    assert recorded_offline.kept() == set()
    id = run("ls", "-q").stdout.strip()
    result = run("sync")
    assert result.stdout.startswith(f"* Experiment {id[:7]} (2 new checkpoints, ")
    assert result.stdout.endswith(f" of files) → {recorded_offline.url}\n")
    assert result.stderr == "═══╡ Sent 1 experiment.\n"
    assert {key.split("/")[0] for key in recorded_offline.kept()} == {"checkpoints", "metadata", "repository.json"}
    assert run("sync").output == "═══╡ Everything is in the repository.\n"


@pytest.mark.parametrize("option", ["-n", "--dry-run"])
def test_a_dry_run_only_tells(recorded_offline: Bench, run: Run, option: str) -> None:
    assert "(2 new checkpoints, " in run("sync", option).stdout
    assert recorded_offline.kept() == set()


def test_other_commands_say_that_something_waits(recorded_offline: Bench, run: Run) -> None:
    hint = "═══╡ Not fully in the repository yet: 1 experiment. `keepsake sync` sends it.\n"
    assert run("ls").stderr == hint
    run("sync")
    assert run("ls").stderr == ""


def test_what_cannot_be_sent_is_an_error_and_stays(recorded_offline: Bench, run: Run) -> None:
    recorded_offline.write("repository.json", b"something else's")
    result = run("sync", status=1)
    assert "is not fully sent: " in result.stderr
    assert "Sent" not in result.stderr
    recorded_offline.remove("repository.json")
    assert run("sync").stderr == "═══╡ Sent 1 experiment.\n"


def test_a_run_whose_record_is_damaged_is_named_and_not_called_sent(recorded_offline: Bench, run: Run) -> None:
    id = run("ls", "-q").stdout.strip()
    Path(f".keepsake/spool/{id}/record.json").write_text("{")
    result = run("sync", status=1)
    assert f"spool/{id} is not sent" in result.stderr.replace("\n   │ ", " ")
    assert "Everything" not in result.output


def test_frozen_files_that_no_checkpoint_names_are_named(recorded_offline: Bench, run: Run) -> None:
    """Their run was killed before its line was whole. Sending sets them aside, and the same command says so."""
    id = run("ls", "-q").stdout.strip()
    entry = Path(f".keepsake/spool/{id}")
    [frozen, *_] = sorted([*entry.glob("*.pack"), *entry.glob("*.tar.gz")])
    extra = frozen.with_name("e" * 64 + frozen.name[64:])
    extra.write_bytes(frozen.read_bytes())
    os.utime(extra, (1e9, 1e9))
    assert f"Kept aside: 1 file ({extra.stat().st_size}" in run("sync").stderr
