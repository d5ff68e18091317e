"""Records in a repository: listing by the index, merging, heartbeats, the order of deletion."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keepsake.exceptions import (
    DoesNotExist,
    MissingRecord,
    MissingRepository,
    OtherRepository,
    ReadError,
    WriteError,
)
from keepsake.listing.filters import Query
from keepsake.metadata import Record, time_text
from keepsake.repository.deletion import delete_experiments, delete_files
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.spool.journal import Changes
from keepsake.storage import open_storage
from keepsake.storage.base import ObjectInfo
from keepsake.util.directories import cache_directory
from tests.storage.memory import MemoryStorage

SPEC = b'{"version":1}'


def make_id(number: int) -> str:
    return f"{number:07x}" + "0" * 57


def make_record(number: int, **fields: object) -> Record:
    return {
        "id": make_id(number),
        "created": f"2021-01-01T00:00:{number % 60:02d}Z",
        "keepsake_version": "1.0.0",
        **fields,
    }


def make_checkpoint(number: int, **fields: object) -> Record:
    return {"id": f"c{number:06x}" + "0" * 57, "created": "2021-01-01T01:00:00Z", **fields}


def fail_from(number: int, get: Callable[[str], tuple[bytes, str]]) -> Callable[[str], tuple[bytes, str]]:
    """Return what does as `get`, until it is asked for the record of that number (from 1)."""
    calls = itertools.count(1)

    def failing(key: str) -> tuple[bytes, str]:
        if "experiments" in key and next(calls) >= number:
            raise ReadError("the connection was cut")
        return get(key)

    return failing


class CountingStorage(MemoryStorage):
    """Remembers which keys were fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def get(self, key: str) -> tuple[bytes, str]:
        self.fetched.append(key)
        return super().get(key)


@pytest.fixture
def storage() -> CountingStorage:
    storage = CountingStorage()
    storage.put("repository.json", SPEC)
    return storage


@pytest.fixture
def repository(storage: CountingStorage) -> Repository:
    return Repository(storage)


def put(storage: MemoryStorage, record: Record) -> None:
    storage.put(f"metadata/experiments/{record['id']}.json", json.dumps(record).encode())


def beat(storage: MemoryStorage, number: int, seconds_ago: float) -> None:
    heartbeat = {"experiment_id": make_id(number), "last_heartbeat": time_text(storage.now() - seconds_ago)}
    storage.put(f"metadata/heartbeats/{make_id(number)}.json", json.dumps(heartbeat).encode())


def stored(storage: MemoryStorage, number: int) -> dict[str, Any]:
    return json.loads(storage.objects[f"metadata/experiments/{make_id(number)}.json"].data)  # type: ignore[no-any-return]


def index_file() -> Path:
    """The only file of the index."""
    cache = cache_directory()
    assert cache is not None
    (index,) = (cache / "index").iterdir()
    return index


def test_a_listing_fetches_only_what_changed(storage: CountingStorage, repository: Repository) -> None:
    for number in range(5):
        put(storage, make_record(number))
    assert [s.id for s in View(repository).summaries()] == [make_id(number) for number in range(5)]
    put(storage, make_record(2, user="kim"))
    put(storage, make_record(7))
    storage.delete([f"metadata/experiments/{make_id(0)}.json"])
    storage.fetched.clear()
    assert [s.user for s in View(Repository(storage)).summaries()] == ["", "kim", "", "", ""]
    assert sorted(storage.fetched) == [
        f"metadata/experiments/{make_id(2)}.json",
        f"metadata/experiments/{make_id(7)}.json",
        "repository.json",
    ]


def test_an_index_that_is_damaged_or_gone_costs_only_time(storage: CountingStorage, repository: Repository) -> None:
    for number in range(3):
        put(storage, make_record(number, params={"text": "tab\tline\nend"}))
    expected = [s.raw_params for s in View(repository).summaries()]
    index = index_file()
    content = index.read_bytes()
    for damaged in (
        b"",
        b"something else",
        content[: len(content) // 2],
        content.replace(b"\t", b" ", 1),
        b"\xff" * 99,
    ):
        index.write_bytes(damaged)
        assert [s.raw_params for s in View(repository).summaries()] == expected
    index.unlink()
    index.mkdir()  # cannot be written
    assert [s.raw_params for s in View(repository).summaries()] == expected


def test_an_interrupted_listing_keeps_what_it_has_fetched(
    monkeypatch: pytest.MonkeyPatch, storage: CountingStorage, repository: Repository
) -> None:
    monkeypatch.setattr("keepsake.repository.view._INDEXED_AT_ONCE", 2)
    for number in range(5):
        put(storage, make_record(number))
    with monkeypatch.context() as patch:
        patch.setattr(storage, "get", fail_from(4, storage.get))
        with pytest.raises(ReadError, match="cut"):
            View(repository).summaries()
    storage.fetched.clear()
    assert [s.id for s in View(repository).summaries()] == [make_id(number) for number in range(5)]
    assert len([key for key in storage.fetched if "experiments" in key]) == 3


def test_the_index_is_written_anew_when_most_of_it_is_out_of_date(
    storage: CountingStorage, repository: Repository
) -> None:
    put(storage, make_record(1))
    for number in range(300):
        put(storage, make_record(2, user=str(number)))
        View(repository).summaries()
    index = index_file()
    assert len(index.read_text().splitlines()) < 150
    assert [s.user for s in View(repository).summaries()] == ["", "299"]


def test_summaries_hold_what_ls_shows(storage: CountingStorage, repository: Repository) -> None:
    primary = {"name": "loss", "goal": "minimize"}
    checkpoints = [
        make_checkpoint(1, metrics={"loss": "[NaN]"}, primary_metric=primary, step=1),
        make_checkpoint(2, metrics={"loss": 0.5}, primary_metric=primary, step=2),
        make_checkpoint(3, metrics={"loss": 0.75}, primary_metric=primary, step=3),
    ]
    put(storage, make_record(1, params={"lr": "[NaN]", "opt": "adam"}, checkpoints=checkpoints, host=None))
    (summary,) = View(repository).summaries()
    assert summary.num_checkpoints == 3
    assert summary.best is not None
    assert summary.best["step"] == 2
    assert summary.latest == {**make_checkpoint(3, metrics={"loss": 0.75}, primary_metric=primary, step=3), "path": ""}
    assert summary.latest_step == 3
    assert summary.best_metrics == {"loss": 0.5}
    assert summary.params["opt"] == "adam"
    assert summary.params["lr"] != summary.params["lr"]
    assert summary.raw_params == {"lr": "[NaN]", "opt": "adam"}
    assert (summary.host, summary.created) == ("", 1609459201.0)


def test_heartbeats_are_listed_while_experiments_are(
    storage: CountingStorage, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This saves a round trip to a bucket."""
    put(storage, make_record(1))
    both, listed = threading.Barrier(2), storage.list

    def list_together(prefix: str) -> Iterator[ObjectInfo]:
        both.wait(timeout=10)
        return listed(prefix)

    monkeypatch.setattr(storage, "list", list_together)
    assert [s.id for s in View(repository).summaries()] == [make_id(1)]


def test_filters_apply_to_summaries(storage: CountingStorage, repository: Repository) -> None:
    for number in range(4):
        put(storage, make_record(number, params={"val/loss": number / 4}))
    wanted = Query(["val/loss < 0.5"])
    assert [s.id for s in View(repository).summaries(wanted)] == [make_id(0), make_id(1)]


def test_a_broken_record_is_one_warning_each_time(
    storage: CountingStorage, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    put(storage, make_record(1))
    storage.put(f"metadata/experiments/{make_id(2)}.json", b"{")
    for _ in range(2):
        assert [s.id for s in View(repository).summaries()] == [make_id(1)]
        assert capsys.readouterr().err.count("left out") == 1
    with pytest.raises(ReadError, match=make_id(2)):
        View(repository).load(make_id(2))


def test_experiments_and_checkpoints_are_found_by_prefix(storage: CountingStorage, repository: Repository) -> None:
    put(storage, make_record(0xABC, checkpoints=[make_checkpoint(1), make_checkpoint(2)]))
    put(storage, make_record(0xABD, checkpoints=[make_checkpoint(0x10)]))
    assert [(r["id"], c) for r, c in View(repository).find("0000abc")] == [(make_id(0xABC), None)]
    ((record, checkpoint),) = View(repository).find(make_checkpoint(2)["id"][:20])
    assert (record["id"], checkpoint) == (make_id(0xABC), make_checkpoint(2))
    assert len(View(repository).find("c0000")) == 3
    assert len(View(repository).find("0000ab")) == 2
    assert View(repository).find("c000009") == []
    assert View(repository).find("../../x") == []


def test_two_writers_of_one_experiment_lose_nothing(storage: CountingStorage) -> None:
    one, other = Repository(storage), Repository(storage)
    base = make_record(1)
    one.merge(base, Changes({}, [make_checkpoint(1)]), create=True)
    for number in range(2, 20):
        writer = one if number % 2 else other
        writer.merge(base, Changes({"user": f"{number}"}, [make_checkpoint(number)]), create=False)
    assert {c["id"] for c in stored(storage, 1)["checkpoints"]} == {make_checkpoint(n)["id"] for n in range(1, 20)}


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
    repository.removals.forget([make_id(1)])
    assert (make_id(1) in repository.removals.ids(), make_id(2) in repository.removals.ids()) == (False, True)


def test_archives_of_checkpoints_that_came_since_a_record_was_read_are_deleted_too(
    storage: CountingStorage, repository: Repository
) -> None:
    read_before = make_record(1)
    put(storage, make_record(1, checkpoints=[make_checkpoint(1, path="weights")]))
    storage.put(f"checkpoints/{make_checkpoint(1)['id']}.tar.gz", b"archive")
    delete_experiments(View(repository), [read_before])
    assert list(storage.list("checkpoints")) == []


def test_a_repository_has_one_identity(storage: CountingStorage) -> None:
    identity = Repository(storage).ensure()
    assert Repository(storage).ensure() == Repository(storage).identity == identity
    Repository(storage).expect(identity)


def test_another_repository_in_the_same_place_is_recognised(storage: CountingStorage) -> None:
    identity = Repository(storage).ensure()
    storage.delete(["identity.json"])
    with pytest.raises(OtherRepository, match="sync --force"):
        Repository(storage).expect(identity)
    Repository(storage).ensure()
    with pytest.raises(OtherRepository):
        Repository(storage).expect(identity)


def test_a_missing_repository_is_not_replaced() -> None:
    """An empty mount point is not the place for a new one."""
    repository = Repository(MemoryStorage())
    with pytest.raises(MissingRepository, match="mounted"):
        repository.ensure("0" * 32)
    assert list(repository.storage.list("")) == []


def test_a_repository_whose_folder_is_renamed_during_a_write_is_said_to_be_gone(tmp_path: Path) -> None:
    repository = Repository(open_storage(f"file://{tmp_path}/repo"))
    repository.ensure()
    record = repository.merge(make_record(1), Changes(), create=True)
    (tmp_path / "repo").rename(tmp_path / "elsewhere")
    with pytest.raises(MissingRepository, match="is gone"):
        repository.merge(record, Changes(checkpoints=[make_checkpoint(1)]), create=False)


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


def test_a_repository_that_is_away_has_deleted_nothing() -> None:
    """A disk that is not mounted must not make the contents of the spool look unwanted."""
    with pytest.raises(WriteError, match="whether its disk is mounted"):
        Repository(MemoryStorage()).merge(make_record(1), Changes({}, [make_checkpoint(1)]), create=False)


@pytest.mark.parametrize(
    ("version", "seconds_ago", "reason", "status"),
    [
        ("1.0.0", 1, None, "running"),
        ("1.0.0", 1, "exception: ValueError", "running"),  # it was taken up again
        ("0.4.2", 29, None, "running"),
        ("1.0.0", 31, None, "lost"),
        ("1.0.0", 31, "exception: ValueError", "failed"),
        ("0.4.2", 31, None, "stopped"),  # its normal end leaves a stale heartbeat
        ("", 31, None, "stopped"),
        ("1.0.0", -600, None, "running"),
        ("1.0.0", None, None, "stopped"),
        ("1.0.0", None, "finished", "stopped"),
        ("1.0.0", None, "terminated", "stopped"),
        ("1.0.0", None, "exception: ValueError", "failed"),
        ("1.0.0", None, "exit status 3", "failed"),
        ("1.0.0", None, "exit", "stopped"),
        ("1.0.0", None, ["exception"], "stopped"),
    ],
)
def test_the_status_is_what_the_heartbeat_and_the_end_tell(
    storage: CountingStorage, repository: Repository, version: str, seconds_ago: float | None, reason: Any, status: str
) -> None:
    put(storage, make_record(1, keepsake_version=version, end_reason=reason))
    if seconds_ago is not None:
        beat(storage, 1, seconds_ago)
    assert [s.status for s in View(repository).summaries()] == [status]
    assert View(repository).status(make_id(1), version) == status
    assert View(repository).status(make_id(1), version, reason) == status


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"last_heartbeat": "now"}', b'{"last_heartbeat": 7}'])
def test_a_heartbeat_that_cannot_be_read_is_stale(
    storage: CountingStorage, repository: Repository, content: bytes
) -> None:
    put(storage, make_record(1))
    storage.put(f"metadata/heartbeats/{make_id(1)}.json", content)
    assert [s.status for s in View(repository).summaries()] == ["lost"]


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


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ENOSPC])
def test_a_place_that_cannot_be_examined_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Whether a URL leads to a file only matters for a better message. Operations there report their own errors."""
    place = tmp_path / "repo"
    real = os.stat

    def stat(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if str(path) == str(place):
            raise OSError(code, os.strerror(code), path)
        return real(path, *arguments, **options)

    repository = Repository(open_storage(f"file://{place}"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        repository.check()
        with pytest.raises(WriteError, match=os.strerror(code)):
            repository.ensure()
    assert repository.ensure()


def test_an_experiment_that_comes_back_leaves_the_removal_of_others_to_be_finished(repository: Repository) -> None:
    removals = repository.removals
    key = removals.add([make_id(1), make_id(2)], [f"experiments/{make_id(2)}.tar.gz"])
    removals.forget([make_id(1)])
    assert removals.ids() == {make_id(2)}
    assert list(removals.unfinished()) == [(key, {make_id(2)}, {f"experiments/{make_id(2)}.tar.gz"})]
