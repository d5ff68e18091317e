"""What the background of a run sends of earlier runs, and what it leaves to `keepsake sync`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import keepsake
from keepsake.project import Project
from keepsake.recording import ending, recovery
from keepsake.spool.entry import Entry
from keepsake.spool.places import spool_root
from tests.spools import nothing_waits

Owner = Callable[[os.stat_result], str]


@pytest.fixture
def waiting(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record of a run that waits in the spool."""
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    experiment = keepsake.init(quiet=True)
    experiment.stop()
    monkeypatch.delenv("KEEPSAKE_OFFLINE")
    return spool_root(project_directory) / experiment.id / "record.json"


def run_once(project_directory: Path) -> None:
    """Record another run, and wait for its recovery."""
    keepsake.init(quiet=True).stop()
    ending._recoveries[spool_root(project_directory)].wait(30)


def test_a_file_server_that_gives_files_to_another_user_does_not_keep_earlier_runs_from_being_sent(
    project_directory: Path, waiting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as NFS, which gives root's files to nobody."""
    monkeypatch.setattr(recovery, "owner_of", lambda status: "nobody")
    run_once(project_directory)
    assert Project().pending() == []
    assert "nobody" not in capsys.readouterr().err


@pytest.mark.parametrize("is_running", [False, True])
def test_a_run_of_another_user_is_named_and_not_sent(
    project_directory: Path,
    waiting: Path,
    is_running: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While it goes on, there is nothing to say."""
    inode = waiting.stat().st_ino
    monkeypatch.setattr(recovery, "owner_of", lambda status: "mallory" if status.st_ino == inode else "")
    if is_running:
        os.utime(waiting)
    run_once(project_directory)
    assert [each.entry.directory for each in Project().pending()] == [waiting.parent]
    assert (f"{waiting.parent} belongs to mallory" in capsys.readouterr().err) is not is_running


def test_sync_leaves_nothing_of_a_run_that_was_killed_when_all_was_sent(project_directory: Path) -> None:
    """A run that goes on is left alone."""
    root, repository = spool_root(project_directory), Project().workplace.repository
    killed = keepsake.init(quiet=True)
    killed.stop()
    entry = Entry.create(root, killed.to_json(), repository.url, in_repository=True, identity=repository.identity)
    entry.keep_room()
    Project().sync()
    assert entry.directory.exists()
    entry.rest()
    Project().sync()
    assert nothing_waits(project_directory)
