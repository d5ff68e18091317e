"""What scripts for Keepsake 0.4.2 import is where it was."""

from __future__ import annotations

import platform
from datetime import datetime
from pathlib import Path

import numpy
import pytest

import keepsake


def test_import_paths_of_old_code_lead_somewhere() -> None:
    from keepsake.checkpoint import Checkpoint, PrimaryMetric
    from keepsake.experiment import ExperimentCollection
    from keepsake.metadata import parse_rfc3339, rfc3339_datetime
    from keepsake.packages import get_imported_packages, is_imported
    from keepsake.project import Project, ProjectSpec

    assert keepsake.default_project.__class__ is Project
    assert isinstance(keepsake.experiments, ExperimentCollection)
    assert parse_rfc3339(rfc3339_datetime(datetime(2021, 1, 1))) == datetime(2021, 1, 1)
    assert get_imported_packages()["numpy"] == numpy.__version__
    assert is_imported("numpy")
    assert not is_imported("no_such_module")
    assert PrimaryMetric(name="loss", goal="minimize") == {"name": "loss", "goal": "minimize"}
    assert Checkpoint is keepsake.Checkpoint
    assert keepsake.experiments.project is keepsake.default_project
    assert ProjectSpec(version=1).version == 1


def test_modules_of_old_code_do_what_they_did(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from keepsake import console, constants, hash, json, system, validate

    console.info("one")
    console.warn("two")
    console.error("three")
    assert capsys.readouterr().err == "═══╡ one\n═══╡ two\n═══╡ three\n"
    assert constants.DOCS_URL.startswith(constants.WEB_URL)
    assert constants.REPOSITORY_VERSION == 1
    assert len(hash.random_hash()) == 64
    assert len(hash.random_hash(7)) == 7
    assert json.CustomJSONEncoder().encode({"a": numpy.float32(0.5)}) == '{"a": 0.5}'
    assert system.get_python_version() == platform.python_version()
    assert len(validate.check_path("experiment", "/nothing/there")) == 2
    assert validate.check_path("checkpoint", str(Path(__file__).name)) == [
        "The path of the checkpoint is wrong. There is no file or directory 'test_old_imports.py'."
    ]
