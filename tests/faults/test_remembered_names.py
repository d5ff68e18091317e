"""What the client of a network disk remembers of a directory, while another machine changes it, decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keepsake.exceptions import DoesNotExist, Removed, WriteError
from keepsake.project import Project
from keepsake.recording import mover, resume
from keepsake.repository.deletion import delete_experiments
from keepsake.repository.keys import record_key
from keepsake.repository.repository import Repository
from keepsake.repository.rereading import Records
from keepsake.repository.view import View
from keepsake.spool.entry import Entry
from keepsake.spool.journal import Changes
from keepsake.storage.base import ObjectInfo
from tests.faults.entries import EXPERIMENT, RECORD, checkpoint, checkpoint_id
from tests.storage.memory import MemoryStorage


class Client(MemoryStorage):
    """A machine that shares the objects of `server`, and remembers which names each directory had at the start."""

    def __init__(self, server: MemoryStorage) -> None:
        super().__init__()
        self.objects = server.objects
        self._names = set(server.objects)
        self._refreshed: tuple[str, ...] = ()

    def refresh(self, prefix: str) -> None:
        self._refreshed += (f"{prefix}/",)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return (info for info in super().list(prefix) if self._shows(info.key))

    def get(self, key: str) -> tuple[bytes, str]:
        if not self._shows(key):
            raise DoesNotExist(key)
        return super().get(key)

    def _shows(self, key: str) -> bool:
        return key in self._names or key.startswith(self._refreshed)


@pytest.fixture
def server() -> MemoryStorage:
    storage = MemoryStorage()
    Repository(storage).ensure()
    return storage


def begin(repository: Repository) -> None:
    repository.merge(RECORD, Changes(), create=True)


def remove(server: MemoryStorage) -> None:
    delete_experiments(View(Repository(server)), [RECORD])


def test_a_run_that_another_machine_has_just_removed_does_not_come_back(
    server: MemoryStorage, project_directory: Path
) -> None:
    """Its process was killed before it knew that its record had arrived."""
    begin(Repository(server))
    repository = Repository(Client(server))
    remove(server)
    root = project_directory / ".keepsake" / "spool"
    entry = Entry.create(root, RECORD, repository.url, in_repository=False, identity=repository.identity)
    with pytest.raises(Removed):
        mover.publish(entry, repository)
    assert record_key(EXPERIMENT) not in server.objects


def test_a_run_that_goes_on_learns_of_its_removal_at_once(server: MemoryStorage) -> None:
    begin(Repository(server))
    repository = Repository(Client(server))
    remove(server)
    with pytest.raises(Removed):
        repository.merge(RECORD, Changes({}, [checkpoint(1)]), create=False)


def test_a_run_whose_record_has_just_come_back_was_not_removed(server: MemoryStorage) -> None:
    begin(Repository(server))
    data = server.get(record_key(EXPERIMENT))[0]
    remove(server)
    repository = Repository(Client(server))
    server.put(record_key(EXPERIMENT), data)
    with pytest.raises(WriteError, match="just come back"):
        repository.merge(RECORD, Changes({}, [checkpoint(1)]), create=False)
    repository.merge(RECORD, Changes({}, [checkpoint(1)]), create=False)


def test_an_archive_that_arrives_during_a_removal_elsewhere_is_taken_back(server: MemoryStorage) -> None:
    begin(Repository(server))
    repository = Repository(Client(server))
    Repository(server).removals.add([EXPERIMENT])
    key = f"checkpoints/{checkpoint_id(1)}.tar.gz"
    server.put(key, b"weights")
    with pytest.raises(WriteError, match="is being removed"):
        repository.see_arrival(EXPERIMENT, checkpoint_id(1))
    assert key not in server.objects


def test_a_repair_sees_records_that_another_machine_has_just_put_back(server: MemoryStorage) -> None:
    records = Records(Client(server))
    records.look()
    server.put(record_key(EXPERIMENT), b"This is no record")
    with pytest.raises(Exception, match="cannot be read"):
        records.look_again(at_once=True)


def test_a_job_that_is_restarted_elsewhere_at_once_finds_its_experiment(
    server: MemoryStorage, project_directory: Path
) -> None:
    client = Client(server)
    job = {"scheduler": "slurm", "id": "7"}
    Repository(server).merge({**RECORD, "job": job}, Changes(), create=True)
    workplace = Project().workplace
    workplace.repository = Repository(client)
    assert [record["id"] for record in resume._of_job(workplace, job)] == [EXPERIMENT]
