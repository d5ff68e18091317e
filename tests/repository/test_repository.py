"""Records in a repository: writing by two, removing."""

from __future__ import annotations

import io
from typing import Any

import pytest

from keepsake.exceptions import DoesNotExist, MissingRecord, WriteError
from keepsake.repository.deletion import delete_experiments, delete_files
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.spool.journal import Changes
from tests.repository.records import CountingStorage, make_checkpoint, make_id, make_record, put, stored


def test_two_writers_of_one_experiment_lose_nothing(storage: CountingStorage) -> None:
    one, other = Repository(storage), Repository(storage)
    base = make_record(1)
    one.merge(base, Changes({}, [make_checkpoint(1)]), create=True)
    for number in range(2, 20):
        writer = one if number % 2 else other
        writer.merge(base, Changes({"user": f"{number}"}, [make_checkpoint(number)]), create=False)
    assert {c["id"] for c in stored(storage, 1)["checkpoints"]} == {make_checkpoint(n)["id"] for n in range(1, 20)}


def test_an_identity_that_another_process_replaced_at_once_is_not_believed(
    storage: CountingStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both create the repository, and the server knows no conditions."""
    put_missing = storage.put_missing

    def replaced(objects: dict[str, bytes]) -> set[str]:
        written = put_missing(objects)
        storage.put("identity.json", b'{"id": "theirs"}')
        return written

    monkeypatch.setattr(storage, "put_missing", replaced)
    assert Repository(storage).ensure() == "theirs"


def test_merging_the_same_again_writes_nothing(storage: CountingStorage, repository: Repository) -> None:
    changes = Changes({"python_packages": {"numpy": "2"}}, [make_checkpoint(1)])
    repository.merge(make_record(1), changes, create=True)
    etag = storage.get(f"metadata/experiments/{make_id(1)}.json")[1]
    repository.merge(make_record(1), changes, create=False)
    Repository(storage).merge(make_record(1), changes, create=True)
    assert storage.get(f"metadata/experiments/{make_id(1)}.json")[1] == etag


def test_what_a_thread_wrote_is_not_forgotten_by_one_that_only_looked(
    storage: CountingStorage, repository: Repository
) -> None:
    """Otherwise, the files of the new checkpoint would wait forever, because no known record names them."""
    base = make_record(1)
    repository.merge(base, Changes({}, [make_checkpoint(1)]), create=True)

    class Meanwhile(dict[str, Any]):
        def items(self) -> Any:
            repository.merge(base, Changes({}, [make_checkpoint(2)]), create=False)
            return super().items()

    repository.merge(base, Changes(Meanwhile(), []), create=False)
    known = repository.merge(base, Changes(), create=False)
    assert [c["id"] for c in known["checkpoints"]] == [make_checkpoint(n)["id"] for n in (1, 2)]


def test_unknown_fields_and_the_text_of_times_survive_a_rewrite(
    storage: CountingStorage, repository: Repository
) -> None:
    record = make_record(1, created="2021-01-01T00:00:00.123456789Z", later={"x": 1})
    record["checkpoints"] = [make_checkpoint(1, created="2021-01-01T01:00:00+01:00", other=True)]
    put(storage, record)
    repository.merge(record, Changes({}, [make_checkpoint(2)]), create=False)
    found = stored(storage, 1)
    assert (found["created"], found["later"]) == (record["created"], {"x": 1})
    assert found["checkpoints"][0]["created"] == "2021-01-01T01:00:00+01:00"
    assert found["checkpoints"][0]["other"] is True


def test_an_experiment_that_was_removed_is_not_brought_back(storage: CountingStorage, repository: Repository) -> None:
    put(storage, make_record(1))
    delete_experiments(View(Repository(storage)), [make_record(1)])
    with pytest.raises(DoesNotExist):
        repository.merge(make_record(1), Changes({}, [make_checkpoint(1)]), create=False)


def test_a_missing_experiment_does_not_count_as_removed(storage: CountingStorage, repository: Repository) -> None:
    """A backup may have been restored, or a file lost. What waits in a spool must not be dropped for that."""
    with pytest.raises(MissingRecord, match="keepsake rm 0000001"):
        repository.merge(make_record(1), Changes({}, [make_checkpoint(1)]), create=False)


def test_what_was_removed_can_be_copied_here_again(storage: CountingStorage, repository: Repository) -> None:
    put(storage, make_record(1))
    put(storage, make_record(2))
    delete_experiments(View(repository), [make_record(1), make_record(2)])
    assert repository.removals.come_back([make_id(1)]) == set()
    assert (make_id(1) in repository.removals.ids(), make_id(2) in repository.removals.ids()) == (False, True)


def test_archives_of_checkpoints_that_came_since_a_record_was_read_are_deleted_too(
    storage: CountingStorage, repository: Repository
) -> None:
    read_before = make_record(1)
    put(storage, make_record(1, checkpoints=[make_checkpoint(1, path="weights")]))
    storage.put(f"checkpoints/{make_checkpoint(1)['id']}.tar.gz", b"archive")
    delete_experiments(View(repository), [read_before])
    assert list(storage.list("checkpoints")) == []


def test_an_archive_of_an_experiment_that_is_deleted_meanwhile_is_not_left(
    storage: CountingStorage, repository: Repository
) -> None:
    record = make_record(1)
    put(storage, record)

    class Source(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            delete_experiments(View(Repository(storage)), [record])
            return super().read(size)

    with pytest.raises(DoesNotExist):
        repository.put_archive(make_id(1), make_id(1), Source(b"archive"))
    assert [info.key for info in storage.list("") if not info.key.startswith("removed/")] == ["repository.json"]


def test_deleting_removes_the_metadata_first(storage: CountingStorage, repository: Repository) -> None:
    """A crash then leaves garbage, and never a wrong listing."""
    record = make_record(1, path=".", checkpoints=[make_checkpoint(1, path="a"), make_checkpoint(2)])
    put(storage, record)
    for key in (f"experiments/{make_id(1)}.tar.gz", f"checkpoints/{make_checkpoint(1)['id']}.tar.gz"):
        storage.put(key, b"")
    batches: list[list[str]] = []
    real_delete = storage.delete

    def delete(keys: Any) -> None:
        batches.append(list(keys))
        real_delete(batches[-1])

    storage.delete = delete  # type: ignore[method-assign]
    delete_experiments(View(repository), [record])
    assert batches[0] == [f"metadata/experiments/{make_id(1)}.json"]
    assert len(batches) == 2
    assert [key for key in storage.objects if not key.startswith("removed/")] == ["repository.json"]


def test_deleting_a_checkpoints_files_keeps_its_metrics(storage: CountingStorage, repository: Repository) -> None:
    checkpoints = [make_checkpoint(1, path="a", metrics={"x": 1}), make_checkpoint(2, path="a")]
    put(storage, make_record(1, checkpoints=checkpoints))
    for checkpoint in checkpoints:
        storage.put(f"checkpoints/{checkpoint['id']}.tar.gz", b"")
    delete_files(View(repository), {make_id(1): {checkpoints[0]["id"]}})
    found = stored(storage, 1)["checkpoints"]
    assert [(c["path"], c["metrics"]) for c in found] == [("", {"x": 1}), ("a", None)]
    assert [key for key in storage.objects if key.startswith("checkpoints/")] == [
        f"checkpoints/{checkpoints[1]['id']}.tar.gz"
    ]


def test_the_files_of_a_checkpoint_that_is_on_its_way_stay(storage: CountingStorage, repository: Repository) -> None:
    """Another process has taken its journal just now. Its record would name files that are gone."""
    checkpoint, late = make_checkpoint(1, path="a"), make_checkpoint(2, path="a")
    put(storage, make_record(1, checkpoints=[checkpoint]))
    for each in (checkpoint, late):
        storage.put(f"checkpoints/{each['id']}.tar.gz", b"")
    before = dict(storage.objects)
    with pytest.raises(WriteError, match="does not name checkpoint"):
        delete_files(View(repository), {make_id(1): {checkpoint["id"], late["id"]}})
    assert storage.objects == before


def test_an_experiment_comes_back_only_when_its_removal_has_ended(repository: Repository) -> None:
    removals = repository.removals
    key = removals.add([make_id(1), make_id(2)], [f"experiments/{make_id(2)}.tar.gz"])
    removals.add([make_id(3)], ())
    assert removals.come_back([make_id(1), make_id(3)]) == {make_id(1)}
    assert removals.ids() == {make_id(1), make_id(2)}
    assert list(removals.unfinished()) == [(key, {make_id(1), make_id(2)}, {f"experiments/{make_id(2)}.tar.gz"})]
