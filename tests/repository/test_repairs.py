"""Repairing what `doctor` finds, in each place, without loss."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import KeepsakeError
from keepsake.experiment import Experiment
from keepsake.spool.journal import Changes
from keepsake.storage import Storage
from tests.repository.examining import ORPHAN, examine, fix, hours_later, kinds
from tests.storage.benches import Bench, DiskBench, S3Bench

pytestmark = pytest.mark.usefixtures("place")

on_disk = pytest.mark.parametrize("place", ["file"], indirect=True)


@pytest.mark.parametrize(("content", "kind"), [(None, "spec-missing"), (b"version 1", "spec-corrupt")])
def test_the_spec_is_written_anew(trained: Experiment, place: Bench, content: bytes | None, kind: str) -> None:
    place.remove("repository.json")
    if content:
        place.write("repository.json", content)
    assert kinds() == [kind]
    fix()
    assert kinds() == []
    assert [e.id for e in keepsake.Project().experiments.list()] == [trained.id]


def test_a_spec_that_is_replaced_is_kept_and_one_that_came_meanwhile_stays(trained: Experiment, place: Bench) -> None:
    place.write("repository.json", b"version 1")
    problems = examine()
    place.write("repository.json", b'{"version": 1}')
    assert [problem.fix() for problem in problems if problem.fix] == [False]
    assert place.read("repository.json") == b'{"version": 1}'
    place.write("repository.json", b"version 1")
    fix()
    assert (place.read("repository.json"), place.read("repository.json.damaged")) == (b'{"version":1}', b"version 1")


def test_what_no_record_names_is_moved_aside_once_it_is_old(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = place.contents()
    place.write(ORPHAN, b"orphan")
    place.write(f"experiments/{'b' * 64}.tar.gz", b"another")
    place.write(f"metadata/heartbeats/{'c' * 64}.json", b"{}")
    assert kinds() == []  # they may just be being saved
    hours_later(place, monkeypatch)
    assert kinds() == ["archive-orphan", "archive-orphan", "heartbeat-orphan"]
    fix()
    aside = {f"orphaned/{ORPHAN}": b"orphan", f"orphaned/experiments/{'b' * 64}.tar.gz": b"another"}
    assert place.contents() == before | aside
    assert kinds() == []
    assert keepsake.experiments.get(trained.id).checkpoints[0].open("model.pth").close() is None


def test_what_was_moved_aside_comes_back_with_its_record(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This happens when a backup is restored in two steps."""
    others = [keepsake.init(path="model.pth") for _ in range(2)]
    for experiment in others:
        experiment.stop()
    before = {key: content for key, content in place.contents().items() if "heartbeats" not in key}
    key = f"metadata/experiments/{trained.id}.json"
    place.remove(key)
    hours_later(place, monkeypatch)
    assert kinds() == ["archive-orphan", "archive-orphan"]
    fix()
    place.write(key, before[key])
    assert kinds() == ["archive-aside", "archive-aside"]
    fix()
    assert kinds() == []
    assert place.contents() == before


def test_a_repair_looks_again(trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The diagnosis may be hours old. Meanwhile, a record names the archive, and the run beats again."""
    monkeypatch.setattr("keepsake.repository.rereading.FRESH_SECONDS", 0)
    heartbeat = f"metadata/heartbeats/{'a' * 64}.json"
    place.write(ORPHAN, b"orphan")
    place.write(heartbeat, b"{}")
    hours_later(place, monkeypatch)
    problems = examine()
    assert [problem.kind for problem in problems] == ["archive-orphan", "heartbeat-orphan"]
    checkpoint = {"id": "a" * 64, "created": "2024-01-01T00:00:00Z", "path": "model.pth"}
    record = {"id": "b" * 64, "created": "2024-01-01T00:00:00Z", "checkpoints": [checkpoint]}
    place.write(f"metadata/experiments/{'b' * 64}.json", json.dumps(record).encode())
    place.write(heartbeat, b'{"later": 1}')
    before = place.contents()
    assert [problem.fix() for problem in problems if problem.fix] == [False, False]
    assert place.contents() == before


@pytest.mark.parametrize("has_arrived", [False, True])
def test_files_of_a_step_that_was_recorded_again_stay_until_the_new_ones_have_arrived(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch, has_arrived: bool
) -> None:
    """They may be the only ones: the machine that recorded the step again may be dead."""
    repository = keepsake.Project().workplace.repository
    again = {**trained.checkpoints[0].to_json(), "id": "b" * 64, "restart": 1}
    repository.merge({"id": trained.id}, Changes(checkpoints=[again]), create=False)
    if has_arrived:
        place.write(f"checkpoints/{'b' * 64}.tar.gz", place.read(f"checkpoints/{trained.checkpoints[0].id}.tar.gz"))
    hours_later(place, monkeypatch)
    assert kinds(thorough=False) == ["archive-orphan" if has_arrived else "archive-missing"]


@pytest.mark.parametrize("comes_back", [False, True])
def test_files_that_an_interrupted_pruning_has_left_go_unless_a_record_names_them_again(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    """Such as one of a backup, restored between the search and the repair, however short a time that is."""
    monkeypatch.setattr("keepsake.repository.rereading.FRESH_SECONDS", 3600)
    (checkpoint,) = [each for each in trained.checkpoints if each.path][:1]
    key, record = f"checkpoints/{checkpoint.id}.tar.gz", f"metadata/experiments/{trained.id}.json"
    files, before = place.read(key), place.read(record)
    keepsake.Project().delete([(trained, checkpoint)])
    place.write(key, files)
    (problem,) = examine()
    assert (problem.kind, problem.key) == ("archive-pruned", key)
    if comes_back:
        place.write(record, before)
    assert problem.fix is not None
    assert problem.fix() is not comes_back
    assert (key in place.contents()) is comes_back


def test_a_removal_takes_the_files_that_an_interrupted_pruning_has_left(trained: Experiment, place: Bench) -> None:
    (checkpoint,) = [each for each in trained.checkpoints if each.path][:1]
    key = f"checkpoints/{checkpoint.id}.tar.gz"
    files = place.read(key)
    keepsake.Project().delete([(trained, checkpoint)])
    place.write(key, files)
    keepsake.Project().delete([(trained, None)])
    assert not [key for key in place.contents() if key.startswith("checkpoints/")]


@pytest.mark.parametrize("comes_back", [False, True])
def test_an_interrupted_removal_is_finished(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    """At once, because a person wanted it; except for what a record names again."""
    monkeypatch.setattr("keepsake.repository.rereading.FRESH_SECONDS", 3600)
    record = f"metadata/experiments/{trained.id}.json"
    before, storage = place.read(record), type(place.storage)
    archives = {key for key in place.contents() if key.startswith(("experiments/", "checkpoints/"))}
    keepsake.init().stop()  # another experiment, so that the records do not seem to be lost
    delete = storage.delete

    def crash(self: Storage, keys: Any) -> None:
        delete(self, keys := list(keys))
        if record in keys:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete", crash)
        with pytest.raises(KeyboardInterrupt):
            trained.delete()
    (problem,) = [problem for problem in examine() if not problem.kind.startswith("heartbeat")]
    assert problem.kind == "removal-unfinished"
    assert archives <= place.contents().keys()
    if comes_back:
        place.write(record, before)
    assert problem.fix is not None
    problem.fix()
    assert archives & place.contents().keys() == (archives if comes_back else set())
    assert "removal-unfinished" not in kinds()


@on_disk
def test_a_repair_that_is_killed_leaves_the_age_of_what_it_was_moving(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the rest would wait for an hour."""
    place.write(ORPHAN, b"orphan")
    place.write(ORPHAN.replace("a", "b"), b"orphan")
    hours_later(place, monkeypatch)
    old = os.stat(place.storage.directory / ORPHAN).st_mtime_ns  # type: ignore[operator]
    with monkeypatch.context() as patch:

        def kill(source: str, target: str) -> None:
            raise KeyboardInterrupt

        patch.setattr("keepsake.storage.disk.replace", kill)
        with pytest.raises(KeyboardInterrupt):
            fix()
    assert os.stat(place.storage.directory / ORPHAN).st_mtime_ns == old  # type: ignore[operator]


def test_a_move_that_was_interrupted_is_finished(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive has both keys then."""
    for key in (ORPHAN, f"orphaned/{ORPHAN}"):
        place.write(key, b"orphan")
    hours_later(place, monkeypatch)
    fix()
    assert ORPHAN not in place.contents()
    assert place.read(f"orphaned/{ORPHAN}") == b"orphan"


def test_nothing_is_moved_when_a_record_has_become_unreadable(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unreadable record may name the archive."""
    monkeypatch.setattr("keepsake.repository.rereading.FRESH_SECONDS", 0)
    place.write(ORPHAN, b"orphan")
    hours_later(place, monkeypatch)
    (problem,) = examine()
    place.write(f"metadata/experiments/{trained.id}.json", b"{")
    assert problem.fix is not None
    with pytest.raises(KeepsakeError, match="may name this archive"):
        problem.fix()
    assert place.read(ORPHAN) == b"orphan"


def test_what_lies_aside_already_is_not_overwritten(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(ORPHAN, b"new")
    place.write(f"orphaned/{ORPHAN}", b"old")
    hours_later(place, monkeypatch)
    (problem,) = examine()
    assert problem.fix is not None
    with pytest.raises(KeepsakeError, match="exists already"):
        problem.fix()
    assert (place.read(ORPHAN), place.read(f"orphaned/{ORPHAN}")) == (b"new", b"old")


def test_stale_heartbeats_go_but_not_the_one_that_says_a_run_was_lost(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"id": "d" * 64, "created": "2021-01-01T00:00:00Z", "keepsake_version": "0.4.2"}
    ended = {**old, "id": "e" * 64, "keepsake_version": "1.0.0", "end_reason": "finished"}
    lost = {**trained.to_json(), "ended": None, "end_reason": None}
    for record in (old, ended, lost):
        place.write(f"metadata/experiments/{record['id']}.json", json.dumps(record).encode())
    for experiment_id in (trained.id, "d" * 64, "e" * 64):
        heartbeat = {"experiment_id": experiment_id, "last_heartbeat": "2021-01-01T00:00:00Z"}
        place.write(f"metadata/heartbeats/{experiment_id}.json", json.dumps(heartbeat).encode())
    hours_later(place, monkeypatch)
    assert kinds() == ["heartbeat-stale", "heartbeat-stale"]
    fix()
    statuses = {e.id: e.status for e in keepsake.experiments.list()}
    assert statuses == {trained.id: "lost", "d" * 64: "stopped", "e" * 64: "stopped"}
    assert {key for key in place.listed() if "heartbeats" in key} == {f"metadata/heartbeats/{trained.id}.json"}


def test_what_a_crash_left_in_the_middle_of_a_write_goes(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Cloud Storage, Google removes unfinished uploads."""
    before = place.contents()
    if isinstance(place, S3Bench):
        place.client.create_multipart_upload(Bucket=place.bucket, Key=f"{place.root}/checkpoints/x.tar.gz")
    elif isinstance(place, DiskBench):
        place.write(".0123456789abcdef.keepsake-tmp", b"half an obj")
    hours_later(place, monkeypatch)
    assert kinds() == ([] if place.url.startswith("gs:") else ["temporary"])
    fix()
    assert kinds() == []
    assert place.contents() == before
