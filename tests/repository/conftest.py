"""Repositories for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

import keepsake
from keepsake.experiment import Experiment
from keepsake.repository.repository import Repository
from tests.repository.records import CountingStorage


@pytest.fixture
def trained(project_directory: Path) -> Experiment:
    """A finished run with one checkpoint."""
    (project_directory / "model.pth").write_text("weights" * 1000)
    experiment = keepsake.init(path="model.pth")
    experiment.checkpoint(path="model.pth", metrics={"loss": 0.5})
    experiment.stop()
    return experiment


@pytest.fixture
def storage() -> CountingStorage:
    """One that holds an empty repository."""
    storage = CountingStorage()
    storage.put("repository.json", b'{"version":1}')
    return storage


@pytest.fixture
def repository(storage: CountingStorage) -> Repository:
    """The repository in it."""
    return Repository(storage)
