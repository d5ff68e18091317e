"""A backup is restored under a process that goes on. What it deletes is decided by the record as it is then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from keepsake.exceptions import OtherRepository
from keepsake.recording import contact, mover
from keepsake.repository.copying import Copy
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.spool.entry import Entry
from keepsake.spool.journal import Changes
from keepsake.spool.places import spool_root
from keepsake.storage import open_storage
from tests.faults.entries import (
    EXPERIMENT,
    RECORD,
    checkpoint,
    checkpoint_id,
    freeze_weights,
    recover,
    save_weights,
    stored,
)
from tests.storage.faults import FaultyStorage


def _save(entry: Entry, repository: Repository) -> None:
    mover.publish(entry, repository)
    mover.upload(entry, repository)


def _save_step_again(project: Path, entry: Entry) -> None:
    """Record step 1 again after a restart, as checkpoint 2."""
    freeze_weights(project, entry, 2)
    entry.append({"checkpoint": {**checkpoint(2, "model.pth"), "step": 1, "restart": 1}})


def _back_up(project: Path) -> None:
    shutil.copytree(project / "repo", project / "backup")


def _restore(project: Path) -> None:
    (project / "repo").rename(project / "before")
    shutil.copytree(project / "backup", project / "repo")


def _restore_after(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, project: Path) -> None:
    """Restore the backup once, right after the function of that name has been called."""
    real: Callable[..., object] = getattr(owner, name)

    def call(*arguments: object, **options: object) -> object:
        result = real(*arguments, **options)
        if not (project / "before").exists():
            _restore(project)
        return result

    monkeypatch.setattr(owner, name, call)


def _named(storage: FaultyStorage) -> list[str]:
    """Return the IDs of the checkpoints that have files, as the record says."""
    return [c["id"] for c in View(Repository(storage)).load(EXPERIMENT)["checkpoints"] or [] if c["path"]]


def test_files_of_a_backup_that_the_run_has_replaced_stay(
    project_directory: Path,
    entry: Entry,
    repository: Repository,
    storage: FaultyStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their step was recorded again after a restart, and the backup does not know that."""
    save_weights(project_directory, entry)
    _save(entry, repository)
    _back_up(project_directory)
    _save_step_again(project_directory, entry)
    _restore_after(monkeypatch, mover, "_store", project_directory)
    _save(entry, repository)
    assert _named(storage) == [checkpoint_id(1)]
    assert stored(project_directory).exists()


def test_files_of_a_backup_that_the_policy_of_the_run_does_not_keep_stay(
    project_directory: Path,
    entry: Entry,
    repository: Repository,
    storage: FaultyStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The newer files, for which they would go, are not in the backup."""
    entry.record = {**RECORD, "keep": "last:1"}
    repository.merge(RECORD, Changes({"keep": "last:1"}), create=False)
    save_weights(project_directory, entry)
    _save(entry, repository)
    _back_up(project_directory)
    save_weights(project_directory, entry, 2)
    _restore_after(monkeypatch, mover, "_store", project_directory)
    _save(entry, repository)
    assert _named(storage) == [checkpoint_id(1)]
    assert stored(project_directory).exists()


def test_files_that_wait_and_are_replaced_arrive_if_the_backup_names_them(
    project_directory: Path, entry: Entry, repository: Repository, storage: FaultyStorage
) -> None:
    save_weights(project_directory, entry)
    mover.publish(entry, repository)
    _back_up(project_directory)
    _save_step_again(project_directory, entry)
    mover.publish(entry, repository)
    _restore(project_directory)
    mover.upload(entry, repository)
    assert _named(storage) == [checkpoint_id(1)]
    assert stored(project_directory).exists()


def test_a_line_that_was_already_sent_is_sent_again(
    project_directory: Path, entry: Entry, repository: Repository
) -> None:
    """A process was killed after it had sent it and before it removed it. Then the backup was restored."""
    _back_up(project_directory)
    repository.merge(RECORD, Changes(checkpoints=[checkpoint(1)]), create=False)
    _restore(project_directory)
    entry.append({"checkpoint": checkpoint(1)})
    mover.publish(entry, repository)
    assert [c["id"] for c in View(repository).load(EXPERIMENT)["checkpoints"]] == [checkpoint_id(1)]


def test_a_copy_deletes_no_files_of_a_backup(
    project_directory: Path, tmp_path: Path, entry: Entry, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its target is restored while large files are on their way."""
    target = View(Repository(open_storage(f"file://{tmp_path / 'other/repo'}")))
    save_weights(project_directory, entry)
    _save(entry, repository)
    list(Copy(repository, target, [repository.load(EXPERIMENT) or {}], named=True).run(lambda count: None))
    _back_up(tmp_path / "other")
    _save_step_again(project_directory, entry)
    _save(entry, repository)
    copy = Copy(repository, target, [repository.load(EXPERIMENT) or {}], named=True)
    _restore_after(monkeypatch, copy, "_send", tmp_path / "other")
    list(copy.run(lambda count: None))
    assert (tmp_path / f"other/repo/checkpoints/{checkpoint_id(1)}.tar.gz").exists()


def test_what_a_resumed_run_saves_waits_for_the_disk_on_which_it_was_found(
    project_directory: Path, repository: Repository
) -> None:
    """The run is killed before anything is sent, and a disk with a copy of the repository is mounted at the place."""
    _back_up(project_directory)
    (project_directory / "backup/identity.json").write_text('{"id": "another"}')
    root = spool_root(project_directory)
    entry = Entry.create(root, RECORD, repository.url, in_repository=True)  # as the second machine of a run makes it
    contact.go_on(repository, entry, beat=False)
    save_weights(project_directory, entry)
    _restore(project_directory)
    with pytest.raises(OtherRepository):
        recover(entry, Repository(repository.storage))
    assert not stored(project_directory).exists()
    assert entry.packs()
