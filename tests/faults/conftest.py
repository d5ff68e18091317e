"""Where the fault tests do their harm, and how much of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from keepsake.repository.repository import Repository
from keepsake.spool.entry import Entry
from keepsake.spool.journal import Changes
from keepsake.spool.places import spool_root
from keepsake.storage import open_storage
from tests.faults.entries import RECORD
from tests.storage.faults import FaultyStorage

ROOT = Path(__file__).parents[2]
_MEMORY = Path("/dev/shm")


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, where there is such a thing: flushing to the disk is not what most campaigns test."""
    if not os.access(_MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="keepsake-", dir=_MEMORY, ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture
def project(project_directory: Path) -> Path:
    """A project with a file of code."""
    (project_directory / "train.py").write_text("code")
    return project_directory


@pytest.fixture
def repository(storage: FaultyStorage) -> Repository:
    """The same as a process of the project sees it."""
    return Repository(storage)


@pytest.fixture
def entry(project_directory: Path, repository: Repository) -> Entry:
    """What the spool holds of the experiment."""
    root, identity = spool_root(project_directory), repository.identity
    return Entry.create(root, RECORD, repository.url, in_repository=True, identity=identity)


@pytest.fixture
def campaign() -> Callable[..., dict[str, Any]]:
    """Runs a campaign of tests/faults/campaign.py and returns its report; fails if it found a problem.

    `prefix` is a command that is to run it.
    """

    def run(name: str, count: int, directory: Path, prefix: Sequence[str] = ()) -> dict[str, Any]:
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "tests.faults.campaign", name, str(count), str(directory)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        print(name, {key: value for key, value in report.items() if key != "problems"})
        assert report["problems"] == [], "\n".join(report["problems"])
        assert report["hits"] > min(count, report["runs"]) / 3  # else it has tested little
        return report

    return run


@pytest.fixture
def storage(project_directory: Path) -> FaultyStorage:
    """The storage of a repository that holds an experiment."""
    storage = FaultyStorage(open_storage("file://repo", project_directory))
    repository = Repository(storage)
    repository.ensure()
    repository.merge(RECORD, Changes(), create=True)
    return storage
