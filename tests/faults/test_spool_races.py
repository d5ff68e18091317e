"""Two processes at one entry of the spool, each step of one between two steps of the other: nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import keepsake
from keepsake.archive import PACK, SUFFIXES
from keepsake.exceptions import KeepsakeError, Removed, RepositoryConfigurationError, WriteError
from keepsake.recording import mover
from keepsake.repository.deletion import delete_experiments
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.spool.entry import Entry
from keepsake.spool.places import spool_root
from keepsake.storage import claims, open_storage
from tests.faults.entries import (
    EXPERIMENT,
    RECORD,
    checkpoint,
    checkpoint_id,
    freeze_weights,
    recover,
    reopen,
    save_weights,
    stored,
)
from tests.spools import nothing_waits
from tests.storage.faults import FaultyStorage


def checkpoints(repository: Repository) -> list[str]:
    """The checkpoints that a reader sees."""
    return [c["id"] for c in View(repository).load(EXPERIMENT)["checkpoints"] or []]


def _meanwhile(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, work: Callable[[], None]) -> None:
    """Do `work` once, right after the function of that name has been called."""
    real = getattr(owner, name)
    left = [work]

    def call(*arguments: object, **options: object) -> object:
        result = real(*arguments, **options)
        while left:
            left.pop()()
        return result

    monkeypatch.setattr(owner, name, call)


def test_a_line_that_comes_while_an_entry_is_closed_is_not_lost(
    entry: Entry, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child's checkpoint() returns between its parent's look at what waits and the removal of the entry."""
    entry.append({"checkpoint": checkpoint(1)})
    mover.publish(entry, repository)
    child = reopen(entry)
    _meanwhile(monkeypatch, Entry, "is_waiting", lambda: child.append({"checkpoint": checkpoint(2)}))
    entry.close()
    recover(entry, repository)
    assert checkpoints(repository) == [checkpoint_id(1), checkpoint_id(2)]


def test_a_line_that_comes_while_a_recovery_finishes_is_not_lost(
    entry: Entry, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with a child whose parent was killed."""
    entry.append({"checkpoint": checkpoint(1)})
    child = reopen(entry)
    real_close = Entry.close

    def close(entry: Entry) -> bool:
        _meanwhile(monkeypatch, Entry, "is_waiting", lambda: child.append({"checkpoint": checkpoint(2)}))
        return real_close(entry)

    monkeypatch.setattr(Entry, "close", close)
    recover(entry, repository)
    monkeypatch.undo()
    recover(entry, repository)
    assert checkpoints(repository) == [checkpoint_id(1), checkpoint_id(2)]


def test_a_recovery_leaves_the_pack_of_a_checkpoint_that_is_being_made(
    entry: Entry, repository: Repository, project_directory: Path
) -> None:
    """The files are frozen, the line is not written yet, and another process recovers."""
    freeze_weights(project_directory, entry)
    recover(entry, repository)
    entry.append({"checkpoint": checkpoint(1, "model.pth")})
    recover(entry, repository)
    assert stored(project_directory).exists()


def test_a_recovery_sets_aside_only_what_it_saw_that_nobody_names(
    entry: Entry, repository: Repository, project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint is made and published while it is about to set files aside."""
    run = reopen(entry)

    def make_checkpoint() -> None:
        save_weights(project_directory, run)
        mover.publish(run, Repository(repository.storage))

    _meanwhile(monkeypatch, mover, "upload", make_checkpoint)
    recover(entry, repository)
    assert run.unnamed() == []
    assert len(run.packs()) == 1


def test_files_that_are_set_aside_while_they_are_about_to_be_stored_are_found_again(
    entry: Entry, repository: Repository, project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recovery that had looked before their line was written sets them aside."""
    save_weights(project_directory, entry)
    (pack,) = entry.packs()
    mover.publish(entry, repository)
    _meanwhile(monkeypatch, Entry, "packs", lambda: entry.set_aside(pack))
    mover.upload(entry, repository)
    assert stored(project_directory).exists()
    assert entry.close()


def test_a_run_that_was_killed_before_it_had_frozen_its_files_leaves_nothing(
    project_directory: Path, repository: Repository
) -> None:
    """init() had not returned. A record would name files that are nowhere."""
    record = {**RECORD, "id": "a" * 64, "path": "model.pth"}
    entry = Entry.create(spool_root(project_directory), record, repository.url, in_repository=False)
    mover.finish(reopen(entry), repository)  # it goes on, and another process looks at it
    assert Entry.load(entry.directory) is not None
    recover(entry, repository)
    assert repository.load("a" * 64) is None
    assert nothing_waits(project_directory)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_another_process_has_stored_and_that_still_seem_to_be_there_are_no_error(
    entry: Entry, repository: Repository, project_directory: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """A file system that caches names shows files for a while that another machine has removed."""
    save_weights(project_directory, entry, weights=b"weights" if suffix == PACK else os.urandom(2_000_000))
    mover.publish(entry, repository)
    packs = entry.packs()
    assert packs[0].name.endswith(suffix)
    mover.upload(entry, repository)
    with monkeypatch.context() as patch:
        patch.setattr(Entry, "packs", lambda entry: packs)
        patch.setattr(Path, "exists", lambda path: True)
        patch.setattr(Path, "lstat", lambda path: os.lstat(os.curdir))
        mover.upload(reopen(entry), Repository(repository.storage), check=True)
    assert entry.close()


def test_files_that_were_set_aside_too_early_are_stored_by_the_next_recovery(
    entry: Entry, repository: Repository, project_directory: Path
) -> None:
    """Their line was published after that, and the run was killed before it stored them."""
    freeze_weights(project_directory, entry)
    recover(entry, repository)
    run = reopen(entry)
    assert len(run.unnamed()) == 1
    run.append({"checkpoint": checkpoint(1, "model.pth")})
    mover.publish(run, Repository(repository.storage))
    recover(entry, repository)
    recover(entry, repository)
    assert stored(project_directory).exists()


@pytest.mark.parametrize("read", ["load", "records", "summaries"])
def test_what_is_published_while_it_is_read_is_seen(entry: Entry, storage: FaultyStorage, read: str) -> None:
    """The record is read, then the journal is published and dropped, then the journal is read."""
    entry.append({"checkpoint": checkpoint(1)})
    reader = View(Repository(storage), [entry.directory.parent])
    writer = Repository(storage.inner)
    left = [1]

    def publish_after_reading(moment: str, verb: str, key: str) -> None:
        if (moment, verb) == ("after", "get") and EXPERIMENT in key and left:
            left.clear()
            mover.publish(entry, writer)

    reader.repository.check()
    storage.fault = publish_after_reading
    if read == "load":
        seen = len(reader.load(EXPERIMENT)["checkpoints"])
    elif read == "records":
        seen = len(next(reader.records())["checkpoints"])
    else:
        seen = reader.summaries()[0].num_checkpoints
    assert not left
    assert seen == 1


@pytest.mark.parametrize("instead", ["nothing", "an empty mount point"])
def test_files_are_kept_until_they_are_in_the_repository_that_knows_them(
    entry: Entry, repository: Repository, storage: FaultyStorage, project_directory: Path, instead: str
) -> None:
    """The disk is unmounted between the record and the archive, and comes back later."""
    save_weights(project_directory, entry)
    mover.publish(entry, repository)

    def unmount(moment: str, verb: str, key: str) -> None:
        if moment == "before" and verb == "upload":
            (project_directory / "repo").rename(project_directory / "away")
            if instead != "nothing":
                (project_directory / "repo").mkdir()

    storage.fault = unmount
    with pytest.raises(KeepsakeError):
        mover.upload(entry, repository)
    storage.fault = lambda moment, verb, key: None
    if instead != "nothing":
        (project_directory / "repo").rename(project_directory / "below the mount")
    (project_directory / "away").rename(project_directory / "repo")
    mover.upload(entry, repository)
    assert stored(project_directory).exists()


def test_an_experiment_that_was_deleted_is_not_brought_back(entry: Entry, repository: Repository) -> None:
    """A recovery of what a killed run left does not restore it, nor its heartbeat and files."""
    entry.append({"checkpoint": checkpoint(1)})
    delete_experiments(View(Repository(repository.storage)), [RECORD])
    recover(entry, repository)
    assert list(repository.storage.list("metadata")) == []
    assert not entry.directory.exists()


def test_an_experiment_is_not_brought_back_by_a_process_that_was_stopped_while_it_saved(
    entry: Entry, repository: Repository, project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on after the deletion, at the moment at which it gives the record its new content."""
    entry.append({"checkpoint": checkpoint(1)})
    rename, left = os.replace, [1]

    def stop(source: str, target: str) -> None:
        if EXPERIMENT in str(target) and str(target).startswith(str(project_directory / "repo")) and left:
            left.clear()
            delete_experiments(View(Repository(open_storage("file://repo", project_directory))), [RECORD])
        rename(source, target)

    monkeypatch.setattr(claims, "PATIENCE", 0.01)
    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(Removed):
        mover.publish(entry, repository)
    assert list(repository.storage.list("metadata")) == []


def test_files_whose_lines_another_recovery_holds_are_kept(
    entry: Entry, repository: Repository, project_directory: Path
) -> None:
    """Two recoveries start at once. One has the lines and has not published them, so the record names no files yet."""
    save_weights(project_directory, entry)
    for path in entry.directory.iterdir():
        os.utime(path, (0, 0))
    first = reopen(entry)
    taken = first.take(others=True)
    for journal in taken.sizes:
        journal.rename(journal.with_suffix(".held"))  # the second one sees no journal at all
    recover(entry, repository)
    Repository(repository.storage).merge(first.record, taken.changes, create=False)
    mover.upload(first, repository)
    assert stored(project_directory).exists()


def test_what_an_interrupted_checkpoint_froze_goes(
    entry: Entry, repository: Repository, project_directory: Path
) -> None:
    frozen = freeze_weights(project_directory, entry)
    entry.abandoned.add(checkpoint_id(1))
    mover.upload(entry, repository)
    assert not frozen.path.exists()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, TimeoutError])
def test_what_was_frozen_when_a_checkpoint_was_interrupted_goes(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
) -> None:
    """Right after its files had their name, by Ctrl-C or by an alarm of the script."""
    (project_directory / "w").write_text("weights")
    experiment = keepsake.init()

    def raise_after(entries: object) -> None:
        raise interrupt

    with monkeypatch.context() as context:
        context.setattr("keepsake.recording.freezing.warn_of_secret_files", raise_after)
        with pytest.raises(interrupt):
            experiment.checkpoint(path="w")
    assert experiment.checkpoint(path="w") is not None
    experiment.stop()
    assert len(list(project_directory.glob("repo/checkpoints/*"))) == 1
    assert nothing_waits(project_directory)


def test_what_a_checkpoint_froze_that_was_interrupted_after_its_line_is_saved(
    entry: Entry, repository: Repository, project_directory: Path
) -> None:
    save_weights(project_directory, entry)
    entry.abandoned.add(checkpoint_id(1))
    mover.upload(entry, repository)
    mover.publish(entry, repository)
    mover.upload(entry, repository)
    assert stored(project_directory).exists()


@pytest.mark.parametrize("kind", [WriteError, RepositoryConfigurationError])
def test_one_archive_that_cannot_be_stored_does_not_hold_up_the_others(
    entry: Entry, repository: Repository, storage: FaultyStorage, project_directory: Path, kind: type[KeepsakeError]
) -> None:
    """A bucket may refuse it alone, as one that must be kept and cannot be replaced."""
    for number in (1, 2, 3):
        save_weights(project_directory, entry, number)
    mover.publish(entry, repository)

    def refuse(moment: str, verb: str, key: str) -> None:
        if (moment, verb) == ("before", "upload") and checkpoint_id(1) in key:
            raise kind("The server refuses this one.")

    storage.fault = refuse
    with pytest.raises(kind, match="refuses this one"):
        mover.upload(entry, repository)
    names = {path.name.partition(".")[0] for path in (project_directory / "repo/checkpoints").iterdir()}
    assert names == {checkpoint_id(2), checkpoint_id(3)}
    assert [pack.name.partition(".")[0] for pack in entry.packs()] == [checkpoint_id(1)]


def _replace_repository(project_directory: Path) -> None:
    (project_directory / "repo").rename(project_directory / "old")
    Repository(open_storage("file://repo", project_directory)).ensure()


def _copy_without_identity(project_directory: Path) -> None:
    (project_directory / "repo/identity.json").unlink()


def _unmount(project_directory: Path) -> None:
    (project_directory / "repo").rename(project_directory / "old")
    (project_directory / "repo").mkdir()


def _restore_backup(project_directory: Path) -> None:
    for record in (project_directory / "repo/metadata/experiments").iterdir():
        record.unlink()


@pytest.mark.parametrize("happens", [_replace_repository, _copy_without_identity, _unmount, _restore_backup])
@pytest.mark.parametrize("in_repository", [True, False])
def test_nothing_leaves_the_spool_for_a_repository_that_is_not_the_right_one(
    entry: Entry,
    repository: Repository,
    project_directory: Path,
    happens: Callable[[Path], None],
    in_repository: bool,
) -> None:
    if happens is _restore_backup and not in_repository:
        pytest.skip("then there is nothing to miss")
    entry.in_repository = in_repository
    entry.write_record()
    save_weights(project_directory, entry)
    happens(project_directory)
    with pytest.raises(KeepsakeError):
        recover(entry, Repository(repository.storage))
    assert [c["id"] for c in entry.pending().checkpoints] == [checkpoint_id(1)]
    assert len(entry.packs()) == 1


def test_two_that_take_the_same_journal_bring_it_once(entry: Entry, repository: Repository) -> None:
    """Each of two recoveries holds the lines and sends them, and the result is one checkpoint."""
    entry.append({"checkpoint": checkpoint(1)})
    other = reopen(entry)
    taken = other.take(others=True)
    mover.publish(entry, repository, others=True)
    Repository(repository.storage).merge(other.record, taken.changes, create=False)
    taken.drop()
    assert checkpoints(repository) == [checkpoint_id(1)]
    assert entry.close()


def test_the_next_line_after_a_torn_one_is_not_lost(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write stops half way, and taking it back fails as well."""
    real_write = os.write

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:10]))
    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(KeepsakeError):
        entry.append({"checkpoint": checkpoint(1)})
    monkeypatch.undo()
    entry.append({"checkpoint": checkpoint(2)})
    assert [c["id"] for c in entry.pending().checkpoints] == [checkpoint_id(2)]
