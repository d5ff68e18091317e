"""Where the tests import to."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepsake.project import Project


@pytest.fixture
def project(project_directory: Path) -> Project:
    """An empty project."""
    return Project(directory=project_directory)
