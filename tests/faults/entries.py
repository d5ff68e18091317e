"""An experiment whose checkpoints wait in the spool, as the tests make it, and what a later run does with it."""

from __future__ import annotations

from pathlib import Path

from keepsake.archive.writer import Frozen, freeze
from keepsake.metadata import EXPERIMENT_FIELDS, Record
from keepsake.recording import mover
from keepsake.repository.repository import Repository
from keepsake.spool.entry import Entry

EXPERIMENT = "e" * 64
CREATED = "2021-02-03T04:05:06Z"
RECORD: Record = {**EXPERIMENT_FIELDS, "id": EXPERIMENT, "created": CREATED, "keepsake_version": "1.0.0"}


def checkpoint_id(number: int) -> str:
    return f"{number:064x}"


def checkpoint(number: int, path: str = "") -> Record:
    """The record of a checkpoint."""
    return {
        "id": checkpoint_id(number),
        "created": CREATED,
        "metrics": {"number": number},
        "step": number,
        "path": path,
    }


def freeze_weights(project: Path, entry: Entry, number: int = 1, weights: bytes = b"weights") -> Frozen:
    """Freeze `model.pth` in the entry, as the first half of a checkpoint does."""
    (project / "model.pth").write_bytes(weights)
    return freeze(project, "model.pth", entry.directory, checkpoint_id(number))


def save_weights(project: Path, entry: Entry, number: int = 1, weights: bytes = b"weights") -> None:
    """Do all that a checkpoint of `model.pth` does."""
    freeze_weights(project, entry, number, weights)
    entry.append({"checkpoint": checkpoint(number, "model.pth")})


def stored(project: Path, number: int = 1) -> Path:
    """Where the repository has the archive of a checkpoint."""
    return project / f"repo/checkpoints/{checkpoint_id(number)}.tar.gz"


def reopen(entry: Entry) -> Entry:
    """Return the entry as another process sees it."""
    found = Entry.load(entry.directory)
    assert found is not None
    return found


def recover(entry: Entry, repository: Repository) -> None:
    """Do what a run does that comes long after."""
    found = Entry.load(entry.directory)
    if found is not None:
        found.rest()
        mover.finish(found, repository)
