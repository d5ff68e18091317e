"""`keepsake doctor` as a person sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepsake.util import console
from tests.cli.conftest import Run, World, on_disk


@on_disk
def test_on_a_terminal_problems_fit_the_width(
    three_runs: World, run: Run, monkeypatch: pytest.MonkeyPatch, project_directory: Path
) -> None:
    [record, *_] = sorted(project_directory.rglob("metadata/experiments/*.json"))
    record.write_text("{")
    monkeypatch.setattr(console, "is_terminal", lambda stream: True)
    lines = run("doctor", status=1).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    place = lines.index(f"record-unreadable: metadata/experiments/{record.name}")
    assert lines[place + 1].startswith("  The record cannot be read")
    assert lines[place + 2].startswith("  ")
