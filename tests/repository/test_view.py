"""The experiments of a repository as a project sees them: listed by the index, found by prefix, with their status."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keepsake.exceptions import (
    ReadError,
)
from keepsake.listing.filters import Query
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.storage.base import ObjectInfo
from keepsake.util.directories import cache_directory
from tests.repository.records import CountingStorage, beat, make_checkpoint, make_id, make_record, put


def fail_from(number: int, get: Callable[[str], tuple[bytes, str]]) -> Callable[[str], tuple[bytes, str]]:
    """Return what does as `get`, until it is asked for the record of that number (from 1)."""
    calls = itertools.count(1)

    def failing(key: str) -> tuple[bytes, str]:
        if "experiments" in key and next(calls) >= number:
            raise ReadError("the connection was cut")
        return get(key)

    return failing


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
