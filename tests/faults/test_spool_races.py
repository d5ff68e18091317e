"""Two processes at one entry of the spool, each step of one between two steps of the other: nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keepsake.archive.writer import freeze
from keepsake.exceptions import KeepsakeError
from keepsake.metadata import EXPERIMENT_FIELDS, Record
from keepsake.recording import mover
from keepsake.recording import spool as _spool
from keepsake.recording.spool import Entry
from keepsake.repository.repository import Repository
from keepsake.storage import open_storage
from tests.storage.faults import FaultyStorage

EXPERIMENT = "e" * 64
CREATED = "2021-02-03T04:05:06Z"


@pytest.fixture
def storage(project_directory: Path) -> FaultyStorage:
    """A repository that holds an experiment."""
    storage = FaultyStorage(open_storage("file://repo", project_directory))
    repository = Repository(storage)
    repository.ensure()
    repository.merge(_experiment(), _spool.Changes(), create=True)
    return storage


@pytest.fixture
def repository(project_directory: Path, storage: FaultyStorage) -> Repository:
    """The same as a process of the project sees it."""
    return Repository(storage, _spool.spool_root(project_directory))


@pytest.fixture
def entry(project_directory: Path, repository: Repository) -> Entry:
    """What the spool holds of the experiment."""
    return Entry.create(_spool.spool_root(project_directory), _experiment(), repository.url, in_repository=True)


@pytest.fixture
def orphan(entry: Entry) -> Entry:
    """The same, when the process that began it was killed, and a child of it lives on."""
    pid = os.fork() if hasattr(os, "fork") else pytest.skip("needs fork")
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    entry.owner = entry.owner.replace(str(os.getpid()), str(pid), 1)
    entry.write_record()
    return entry


def _experiment() -> Record:
    return {**EXPERIMENT_FIELDS, "id": EXPERIMENT, "created": CREATED, "keepsake_version": "1.0.0"}


def checkpoint(number: int, path: str = "") -> Record:
    """The record of a checkpoint."""
    return {"id": f"{number:064x}", "created": CREATED, "metrics": {"number": number}, "step": number, "path": path}


def checkpoints(repository: Repository) -> list[str]:
    """The checkpoints that a reader sees."""
    return [c["id"] for c in repository.load(EXPERIMENT)["checkpoints"] or []]


def recover(entry: Entry, repository: Repository) -> None:
    """Do what the next run does."""
    found = Entry.load(entry.directory)
    if found is not None:
        mover.finish(found, repository)


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


@pytest.mark.parametrize("look", ["journals", "packs"])
def test_a_line_that_comes_while_an_entry_is_closed_is_not_lost(
    entry: Entry, repository: Repository, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """A child's checkpoint() returns between its parent's look at what waits and the removal of the entry."""
    entry.append({"checkpoint": checkpoint(1)})
    mover.publish(entry, repository)
    child = Entry.load(entry.directory)
    assert child is not None
    _meanwhile(monkeypatch, Entry, look, lambda: child.append({"checkpoint": checkpoint(2)}))
    entry.close()
    recover(entry, repository)
    assert checkpoints(repository) == [checkpoint(1)["id"], checkpoint(2)["id"]]


def test_a_line_that_comes_while_a_recovery_finishes_is_not_lost(
    orphan: Entry, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with a child whose parent was killed."""
    orphan.append({"checkpoint": checkpoint(1)})
    real_close = Entry.close

    def close(entry: Entry) -> bool:
        _meanwhile(monkeypatch, Entry, "packs", lambda: orphan.append({"checkpoint": checkpoint(2)}))
        return real_close(entry)

    monkeypatch.setattr(Entry, "close", close)
    recover(orphan, repository)
    monkeypatch.undo()
    recover(orphan, repository)
    assert checkpoints(repository) == [checkpoint(1)["id"], checkpoint(2)["id"]]


def test_a_recovery_leaves_the_pack_of_a_checkpoint_that_is_being_made(
    orphan: Entry, repository: Repository, project_directory: Path
) -> None:
    """The files are frozen, the line is not written yet, and another process recovers."""
    (project_directory / "model.pth").write_text("weights")
    freeze(project_directory, "model.pth", orphan.directory, str(checkpoint(1)["id"]))
    recover(orphan, repository)
    orphan.append({"checkpoint": checkpoint(1, "model.pth")})
    recover(orphan, repository)
    assert (project_directory / f"repo/checkpoints/{checkpoint(1)['id']}.tar.gz").exists()


@pytest.mark.parametrize("read", ["load", "records", "summaries"])
def test_what_is_published_while_it_is_read_is_seen(entry: Entry, storage: FaultyStorage, read: str) -> None:
    """The record is read, then the journal is published and dropped, then the journal is read."""
    entry.append({"checkpoint": checkpoint(1)})
    reader = Repository(storage, entry.directory.parent)
    writer = Repository(storage.inner, entry.directory.parent)
    left = [1]

    def publish_after_reading(moment: str, verb: str, key: str) -> None:
        if (moment, verb) == ("after", "get") and EXPERIMENT in key and left:
            left.clear()
            mover.publish(entry, writer)

    reader.check()
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
    (project_directory / "model.pth").write_text("weights")
    freeze(project_directory, "model.pth", entry.directory, str(checkpoint(1)["id"]))
    entry.append({"checkpoint": checkpoint(1, "model.pth")})
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
    assert (project_directory / f"repo/checkpoints/{checkpoint(1)['id']}.tar.gz").exists()


def test_an_experiment_that_was_deleted_is_not_brought_back(entry: Entry, repository: Repository) -> None:
    """By a recovery of what a killed run had left of it; its heartbeat and files do not come back either."""
    entry.append({"checkpoint": checkpoint(1)})
    Repository(repository.storage).delete([_experiment()])
    recover(entry, repository)
    assert list(repository.storage.list("metadata")) == []
    assert not entry.directory.exists()


def test_two_that_take_the_same_journal_bring_it_once(entry: Entry, repository: Repository) -> None:
    """Each of two recoveries holds the lines; both bring them, and one checkpoint comes of it."""
    entry.append({"checkpoint": checkpoint(1)})
    other = Entry.load(entry.directory)
    assert other is not None
    changes, taken = other.take(others=True)
    mover.publish(entry, repository, others=True)
    Repository(repository.storage).merge(other.record, changes, create=False)
    other.drop(taken)
    assert checkpoints(repository) == [checkpoint(1)["id"]]
    assert entry.close()


def test_the_next_line_after_a_torn_one_is_not_lost(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write comes to nothing half way, and what should take it back fails as well."""
    real_write = os.write

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:10]))
    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(KeepsakeError):
        entry.append({"checkpoint": checkpoint(1)})
    monkeypatch.undo()
    entry.append({"checkpoint": checkpoint(2)})
    assert [c["id"] for c in entry.pending().checkpoints] == [checkpoint(2)["id"]]
