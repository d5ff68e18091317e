"""A repository that 0.4.2 made, and what it said of it, read by ours: this needs no 0.4.2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.interop import witness
from tests.interop.compare import assert_same
from tests.interop.sides import Side


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the witness."""
    return Path(shutil.copytree(witness.DIRECTORY, tmp_path / "witness"))


@pytest.fixture
def expected() -> Any:
    """What 0.4.2 said."""
    return json.loads((witness.DIRECTORY / witness.EXPECTED).read_text("utf-8"))


def test_command_line(ours: Side, project: Path, expected: Any) -> None:
    """Lists, shows, compares and checks out alike. Where files differ, ours goes on after what 0.4.2 says."""
    said = dict(witness.said(ours, project, expected["ids"]))
    for command, (_, lines, _) in said.items():
        if command.startswith("diff") and "Files" in lines:
            said[command][1] = lines[: lines.index("Files")]
    assert said == expected["said"]


def test_library(ours: Side, project: Path, expected: Any) -> None:
    """Every field of every experiment and checkpoint."""
    assert_same(witness.listed(ours, project), expected["library"], "listed")


def test_the_witness_tells_the_truth(original: Side, project: Path, expected: Any) -> None:
    """0.4.2 still says so."""
    assert dict(witness.said(original, project, expected["ids"])) == expected["said"]
    assert witness.listed(original, project) is not None
