"""Copying experiments between two repositories in memory: only what is whole and new arrives."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Callable
from typing import Any

import pytest

from keepsake.exceptions import WriteError
from keepsake.repository import deletion
from keepsake.repository.copying import Copy
from keepsake.repository.deletion import delete_experiments, delete_files
from keepsake.repository.doctor import diagnose
from keepsake.repository.keys import REMOVED
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.storage import ObjectInfo
from tests.archive.archives import archive_bytes, freeze_files
from tests.storage.benches import MemoryBench
from tests.storage.faults import FaultyStorage

MINE, THEIRS, FORGED = (digit * 64 for digit in "123")
CHECKPOINTS = ["a" * 64, "b" * 64]


PRUNED = {"path": "model.pth", "time": "2026-01-01T00:00:00Z"}


def record(experiment_id: str, *checkpoint_ids: str, **fields: Any) -> dict[str, Any]:
    created = f"2024-01-0{experiment_id[0]}T00:00:00Z"
    checkpoints = [{"id": id, "created": created, "path": "model.pth", "step": 1} for id in checkpoint_ids]
    common = {"id": experiment_id, "created": created, "path": "", "keepsake_version": "1.0.0"}
    return common | {"checkpoints": checkpoints} | fields


def archive_key(checkpoint_id: str) -> str:
    return f"checkpoints/{checkpoint_id}.tar.gz"


class Side:
    """A repository in memory."""

    def __init__(self, name: str) -> None:
        self.bench = MemoryBench()
        self.bench.memory.url = f"memory://{name}"
        self.bench.write("repository.json", b'{"version":1}')
        self.repository = Repository(self.bench.memory)

    def add(self, record: dict[str, Any], archive: bytes | None) -> None:
        self.bench.write(f"metadata/experiments/{record['id']}.json", json.dumps(record).encode())
        for checkpoint in record["checkpoints"]:
            if archive is not None:
                self.bench.write(archive_key(checkpoint["id"]), archive)

    def paths(self, experiment_id: str) -> list[str]:
        return [checkpoint["path"] for checkpoint in View(self.repository).load(experiment_id)["checkpoints"]]


@pytest.fixture
def source() -> Side:
    return Side("source")


@pytest.fixture
def target() -> Side:
    return Side("target")


def copy(source: Side, target: Side, *, thorough: bool = False) -> list[str]:
    """Copy all; return what went wrong."""
    records = list(View(source.repository).records())
    copy = Copy(source.repository, View(target.repository), records, named=False, thorough=thorough)
    return [str(error) for outcome in copy.run(lambda count: None) for error in outcome.errors]


def copy_by_name(source: Side, target: Side) -> list[str]:
    """Copy all as if each was named; return what went wrong."""
    records = list(View(source.repository).records())
    copy = Copy(source.repository, View(target.repository), records, named=True)
    return [str(error) for outcome in copy.run(lambda count: None) for error in outcome.errors]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive with a table of contents, of two files."""
    files = {"model.pth": bytes(range(256)) * 1000, "train.py": b"print()\n" * 100}
    return archive_bytes(freeze_files(tmp_path_factory.mktemp("archive"), files))


@pytest.fixture(scope="module")
def old() -> bytes:
    """An archive such as 0.4.2 writes, without a table."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("a/model.pth")
        info.size = 256_000
        tar.addfile(info, io.BytesIO(bytes(range(256)) * 1000))
    return buffer.getvalue()


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut early": lambda data: data[:50],
    "cut in the middle": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "zeros at its end": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "a bit in the middle": lambda data: flipped(data, len(data) // 2),
    "a bit at its start": lambda data: flipped(data, 0),
    "a checksum": lambda data: flipped(data, len(data) - 6),
    "something behind it": lambda data: data + b"more",
    "something else": lambda data: b"Not found" * 100,
}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
kinds = pytest.mark.parametrize("kind", ["whole", "old"])


@kinds
@damages
@pytest.mark.parametrize("there", [True, False])
def test_no_damaged_archive_arrives(
    source: Side, target: Side, request: pytest.FixtureRequest, kind: str, damage: Callable[[bytes], bytes], there: bool
) -> None:
    good: bytes = request.getfixturevalue(kind)
    source.add(record(MINE, *CHECKPOINTS), good)
    source.bench.write(archive_key(CHECKPOINTS[0]), damage(good))
    if there:
        target.add(record(MINE, *CHECKPOINTS), good)
    errors = copy(source, target, thorough=True)
    assert len(errors) == 1
    assert f"memory://source/{archive_key(CHECKPOINTS[0])} is damaged" in errors[0]
    assert target.bench.contents().get(archive_key(CHECKPOINTS[0])) == (good if there else None)
    assert target.bench.read(archive_key(CHECKPOINTS[1])) == good


@kinds
@damages
def test_what_is_damaged_at_the_target_is_mended(
    source: Side, target: Side, request: pytest.FixtureRequest, kind: str, damage: Callable[[bytes], bytes]
) -> None:
    """If the size and the table are right, only a thorough copy examines the rest."""
    good: bytes = request.getfixturevalue(kind)
    source.add(record(MINE, *CHECKPOINTS), good)
    target.add(record(MINE, *CHECKPOINTS), good)
    target.bench.write(archive_key(CHECKPOINTS[0]), damage(good))
    assert copy(source, target, thorough=True) == []
    assert target.bench.read(archive_key(CHECKPOINTS[0])) == good


@damages
def test_of_two_damaged_archives_neither_is_replaced(
    source: Side, target: Side, whole: bytes, damage: Callable[[bytes], bytes]
) -> None:
    source.add(record(MINE, CHECKPOINTS[0]), damage(whole))
    target.add(record(MINE, CHECKPOINTS[0]), whole[:1000])
    (error,) = copy(source, target)
    assert "memory://source" in error
    assert target.bench.read(archive_key(CHECKPOINTS[0])) == whole[:1000]


def test_two_whole_archives_may_differ(source: Side, target: Side, whole: bytes, old: bytes) -> None:
    """Such as the same files archived by this version and by 0.4.2."""
    source.add(record(MINE, CHECKPOINTS[0]), whole)
    target.add(record(MINE, CHECKPOINTS[0]), old)
    assert copy(source, target) == []
    assert target.bench.read(archive_key(CHECKPOINTS[0])) == old


def test_what_was_recorded_again_since_the_last_copy_is_replaced_in_the_target(
    source: Side, target: Side, whole: bytes
) -> None:
    """This happens once the new files are there."""
    before, after = CHECKPOINTS
    target.add(record(MINE, before), whole)
    again = record(MINE, after)
    again["checkpoints"][0]["restart"] = 1
    source.add(again, None)
    (error,) = copy(source, target)
    assert "missing" in error
    assert target.bench.read(archive_key(before)) == whole
    source.bench.write(archive_key(after), whole)
    assert copy(source, target) == []
    archives = [key for key in target.bench.contents() if key.startswith("checkpoints/")]
    assert archives == [archive_key(after)]


def recorded_again(checkpoint_id: str, **fields: Any) -> dict[str, Any]:
    """A record of MINE in which a process that went on with it has replaced the first checkpoint."""
    again = record(MINE, checkpoint_id) | {"replaced": [CHECKPOINTS[0]]}
    again["checkpoints"][0] |= {"restart": 1, **fields}
    return again


def test_files_of_a_step_that_was_recorded_again_and_pruned_since_stay_in_the_target(
    source: Side, target: Side, whole: bytes
) -> None:
    """They are all that is left of that step. The metrics of both checkpoints are there."""
    before, after = CHECKPOINTS
    target.add(record(MINE, before), whole)
    source.add(recorded_again(after, path="", pruned=PRUNED), None)
    for _ in range(2):
        assert copy(source, target) == []
        assert target.bench.read(archive_key(before)) == whole
        assert {each["id"]: each["path"] for each in View(target.repository).load(MINE)["checkpoints"]} == {
            before: "model.pth",
            after: "",
        }


def test_files_that_were_to_be_replaced_by_files_pruned_during_the_copy_stay(
    source: Side, target: Side, whole: bytes
) -> None:
    before, after = CHECKPOINTS
    target.add(record(MINE, before), whole)
    source.add(recorded_again(after), None)
    (error,) = copy(source, target)
    assert "missing" in error
    source.add(recorded_again(after, path="", pruned=PRUNED), None)
    for _ in range(2):
        assert copy(source, target) == []
        assert target.bench.read(archive_key(before)) == whole


def test_files_stay_while_those_that_replace_them_are_on_their_way_from_a_third_repository(
    source: Side, target: Side, whole: bytes
) -> None:
    before, after = CHECKPOINTS
    source.add(record(MINE, before), whole)
    target.add(recorded_again(after), None)
    target.bench.write(archive_key(before), whole)
    assert copy(source, target) == []
    assert target.bench.read(archive_key(before)) == whole


@pytest.mark.parametrize("is_removed", [False, True])
def test_files_that_were_pruned_elsewhere_may_arrive_unless_they_are_removed_here_too(
    source: Side, target: Side, whole: bytes, is_removed: bool
) -> None:
    (checkpoint_id, _), repository = CHECKPOINTS, target.repository
    pruned = record(MINE, checkpoint_id)
    pruned["checkpoints"][0] |= {"path": "", "pruned": PRUNED}
    source.add(pruned, None)
    assert copy(source, target) == []
    if is_removed:
        delete_files(View(repository), {MINE: {checkpoint_id}})
    assert repository.put_archive(MINE, checkpoint_id, io.BytesIO(whole))
    assert (archive_key(checkpoint_id) in target.bench.listed()) is not is_removed
    assert target.paths(MINE) == ["" if is_removed else "model.pth"]


def test_an_archive_that_cannot_be_deleted_concerns_its_experiment_alone(
    source: Side, target: Side, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = CHECKPOINTS
    target.add(record(MINE, before), whole)
    again = record(MINE, after)
    again["checkpoints"][0]["restart"] = 1
    source.add(again, whole)

    def refuse(*_: object) -> None:
        raise WriteError("It cannot be deleted.")

    monkeypatch.setattr(type(target.bench.storage), "delete", refuse)
    assert copy(source, target) == ["It cannot be deleted."]
    assert target.bench.read(archive_key(after)) == whole


def test_what_only_the_target_has_is_not_missed(source: Side, target: Side, whole: bytes) -> None:
    source.add(record(MINE, CHECKPOINTS[0]), None)
    target.add(record(MINE, CHECKPOINTS[0]), whole)
    assert copy(source, target) == []


@pytest.mark.parametrize("has_archive", [True, False])
def test_a_checkpoint_of_mine_is_not_taken_over(
    source: Side, target: Side, whole: bytes, old: bytes, has_archive: bool
) -> None:
    """Not even where its files have not arrived yet."""
    target.add(record(MINE, *CHECKPOINTS), whole if has_archive else None)
    source.add(record(FORGED, "c" * 64, CHECKPOINTS[1]), old)
    source.add(record(THEIRS, "d" * 64), old)
    (error,) = copy(source, target)
    assert f"Its checkpoint bbbbbbb belongs to experiment {MINE[:7]}" in error
    assert target.bench.contents().get(archive_key(CHECKPOINTS[1])) == (whole if has_archive else None)
    assert archive_key("c" * 64) not in target.bench.listed()
    assert {r["id"] for r in View(target.repository).records()} == {MINE, THEIRS}


def test_a_record_that_says_that_my_checkpoints_were_replaced_deletes_none(
    source: Side, target: Side, whole: bytes
) -> None:
    """Neither when it is copied, nor when it is deleted, which may be after it was copied by an older version."""
    target.add(record(MINE, *CHECKPOINTS), whole)
    forged = record(FORGED, "c" * 64) | {"replaced": [CHECKPOINTS[1]]}
    source.add(forged, whole)
    (error,) = copy(source, target)
    assert f"Its checkpoint bbbbbbb belongs to experiment {MINE[:7]}" in error
    target.add(forged, whole)
    delete_experiments(View(target.repository), [View(target.repository).load(FORGED)])
    archives = {key for key in target.bench.listed() if key.startswith("checkpoints/")}
    assert archives == {archive_key(id) for id in CHECKPOINTS}


def test_of_two_that_name_the_same_checkpoint_the_older_one_is_copied(source: Side, target: Side, whole: bytes) -> None:
    source.add(record(THEIRS, CHECKPOINTS[0]), whole)
    source.add(record(MINE, CHECKPOINTS[0]), whole)
    assert len(copy(source, target)) == 1
    assert [r["id"] for r in View(target.repository).records()] == [MINE]


def test_deleting_a_record_that_names_my_checkpoints_leaves_their_files(target: Side, whole: bytes) -> None:
    """Such a record may have been there before copies were checked."""
    target.add(record(MINE, *CHECKPOINTS), whole)
    target.add(record(FORGED, "c" * 64, *CHECKPOINTS), whole)
    delete_files(View(target.repository), {FORGED: {CHECKPOINTS[0]}})
    delete_experiments(View(target.repository), [View(target.repository).load(FORGED)])
    archives = {key for key in target.bench.listed() if key.startswith("checkpoints/")}
    assert archives == {archive_key(id) for id in CHECKPOINTS}
    delete_experiments(View(target.repository), [View(target.repository).load(MINE)])
    assert not any(key.startswith("checkpoints/") for key in target.bench.listed())


def test_a_record_that_cannot_be_read_is_named_where_it_may_matter(
    source: Side, target: Side, whole: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may name the checkpoints that are looked for."""
    for side in (source, target):
        side.add(record(MINE, CHECKPOINTS[0]), whole)
    target.bench.write(f"metadata/experiments/{THEIRS}.json", b"{")
    view = View(target.repository)
    for look in (lambda: copy(source, target), lambda: view.find("f" * 10), lambda: view.holders([CHECKPOINTS[0]])):
        look()
        assert f"metadata/experiments/{THEIRS}.json" in capsys.readouterr().err


def test_an_experiment_that_is_removed_while_it_is_copied_leaves_no_files(
    source: Side, target: Side, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are removed meanwhile do not come back either."""
    source.add(record(MINE, *CHECKPOINTS), whole)
    source.add(record(THEIRS, "c" * 64), whole)
    upload = target.bench.memory.upload

    def upload_later(key: str, stream: Any) -> None:
        repository = Repository(target.bench.memory)
        if key == archive_key(CHECKPOINTS[0]):
            delete_experiments(View(repository), [View(repository).load(MINE)])
        if key == archive_key("c" * 64):
            delete_files(View(repository), {THEIRS: {"c" * 64}})
        upload(key, stream)

    monkeypatch.setattr(target.bench.memory, "upload", upload_later)
    assert copy(source, target) != []
    assert not any(key.startswith("checkpoints/") for key in target.bench.listed())
    assert target.paths(THEIRS) == [""]
    assert [r["id"] for r in View(target.repository).records()] == [THEIRS]


def test_a_copy_that_fails_is_finished_by_the_next(
    source: Side, target: Side, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of its writes in turn. There is never an archive that no record names."""
    for experiment_id, checkpoint_id in ((MINE, CHECKPOINTS[0]), (THEIRS, CHECKPOINTS[1])):
        source.add(record(experiment_id, checkpoint_id), whole)
    put, left, lock = target.bench.memory.put, [0], threading.Lock()

    def failing_put(key: str, data: bytes, **conditions: Any) -> str:
        with lock:
            left[0] -= 1
            if left[0] < 0:
                raise WriteError("The disk is full.")
        return put(key, data, **conditions)

    monkeypatch.setattr(target.bench.memory, "put", failing_put)
    for writes in range(1, 6):  # one for the identity, four for the experiments
        target.bench.memory.objects.clear()
        target.bench.write("repository.json", b'{"version":1}')
        target.repository = Repository(target.bench.memory)
        left[0] = writes
        assert bool(copy(source, target)) == (writes < 5)
        named = {archive_key(c["id"]) for r in View(target.repository).records() for c in r["checkpoints"]}
        assert {key for key in target.bench.listed() if key.startswith("checkpoints/")} <= named
        left[0] = 100
        assert copy(source, target) == []
        assert {r["id"] for r in View(target.repository).records()} == {MINE, THEIRS}
        assert all(target.bench.read(archive_key(id)) == whole for id in CHECKPOINTS)


def test_fields_are_added_and_never_replaced(source: Side, target: Side) -> None:
    source.add(record(MINE, params={"x": 1}, python_packages={"torch": "2"}, note="theirs"), None)
    target.add(record(MINE, params={"x": 2}, python_packages=None), None)
    assert copy(source, target) == []
    merged = View(target.repository).load(MINE)
    assert (merged["params"], merged["python_packages"], merged["note"]) == ({"x": 2}, {"torch": "2"}, "theirs")


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (None, None, None),
        ("2024-01-02T00:00:00Z", None, "2024-01-02T00:00:00Z"),
        (None, "2024-01-02T00:00:00Z", "2024-01-02T00:00:00Z"),
        ("2024-01-03T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"),
        ("2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z", "2024-01-03T00:00:00Z"),
        ("2024-01-02T09:00:00+09:00", "2024-01-02T01:00:00Z", "2024-01-02T01:00:00Z"),
        ("tomorrow", "2024-01-02T01:00:00Z", "2024-01-02T01:00:00Z"),
    ],
)
def test_the_later_end_of_a_run_counts(
    source: Side, target: Side, here: str | None, there: str | None, expected: str | None
) -> None:
    source.add(record(MINE, ended=here, end_reason="source"), None)
    target.add(record(MINE, ended=there, end_reason="target"), None)
    assert copy(source, target) == []
    merged = View(target.repository).load(MINE)
    assert merged["ended"] == expected
    assert merged["end_reason"] == ("source" if expected and expected == here else "target")


@pytest.mark.parametrize(("here", "there"), [(2, 1), (1, 2)])
def test_the_copy_with_more_restarts_says_how_a_run_goes_on(source: Side, target: Side, here: int, there: int) -> None:
    """Whatever the clocks of the machines said, and though the run has not ended again."""
    restarts, jobs = (
        ([{"reason": "killed"}] * count for count in (here, there)),
        ({"id": str(n)} for n in (here, there)),
    )
    ends = [{"ended": time, "end_reason": "exception"} for time in ("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z")]
    if here > there:
        ends[0] = {}
    for side, some, job, end in zip((source, target), restarts, jobs, ends, strict=True):
        side.add(record(MINE, restarts=some, job=job, **end), None)
    assert copy(source, target) == []
    merged = View(target.repository).load(MINE)
    assert (len(merged["restarts"]), merged["job"]["id"]) == (2, "2")
    assert merged.get("ended") == (None if here > there else ends[1]["ended"])


def test_an_experiment_that_was_removed_since_is_not_made_anew(source: Side, target: Side, whole: bytes) -> None:
    source.add(record(MINE, *CHECKPOINTS), whole)
    target.add(record(MINE), None)
    prepared = Copy(source.repository, View(target.repository), list(View(source.repository).records()), named=False)
    delete_experiments(View(target.repository), [View(target.repository).load(MINE)])
    (outcome,) = prepared.run(lambda count: None)
    assert "was removed" in str(outcome.errors[0])
    assert target.bench.kept() == {"repository.json"}


def test_an_experiment_that_was_copied_and_removed_since_the_listing_stays_removed(
    source: Side, target: Side, whole: bytes
) -> None:
    """Another process has copied it meanwhile. A copy that names the experiment brings it back."""
    source.add(record(MINE, *CHECKPOINTS), whole)
    records = list(View(source.repository).records())
    prepared = [Copy(source.repository, View(target.repository), records, named=named) for named in (False, True)]
    assert copy(source, target) == []
    delete_experiments(View(target.repository), [View(target.repository).load(MINE)])
    (outcome,) = prepared[0].run(lambda count: None)
    assert "has just been removed" in str(outcome.errors[0])
    assert target.bench.kept() == {"repository.json"}
    (outcome,) = prepared[1].run(lambda count: None)
    assert outcome.errors == []
    assert target.paths(MINE) == ["model.pth", "model.pth"]


def test_what_another_machine_has_just_removed_is_not_copied_back(
    source: Side, target: Side, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of a network disk remembers for a while which files a directory has."""
    source.add(record(MINE, *CHECKPOINTS), whole)
    target.add(record(MINE, *CHECKPOINTS), whole)
    storage = target.repository.storage
    remembered: dict[str, list[ObjectInfo]] = {REMOVED: []}
    delete_experiments(View(target.repository), [View(target.repository).load(MINE)])
    listed = storage.list
    monkeypatch.setattr(storage, "list", lambda prefix: iter(remembered.get(prefix, listed(prefix))))
    monkeypatch.setattr(storage, "refresh", remembered.pop)
    assert copy(source, target) == []
    assert target.bench.kept() == {"repository.json"}


@pytest.mark.parametrize("are_left", [True, False])
@pytest.mark.parametrize("are_known", [True, False])
def test_an_experiment_is_not_copied_to_where_its_files_are_being_deleted(
    source: Side, target: Side, whole: bytes, are_known: bool, are_left: bool
) -> None:
    """If the removal was interrupted, `doctor --fix` ends it, also if nothing is left of the files."""
    source.add(record(MINE, *CHECKPOINTS), whole)
    archives = [archive_key(checkpoint_id) for checkpoint_id in CHECKPOINTS]
    target.repository.removals.add([MINE], archives if are_known else None)
    if are_left:
        target.bench.write(archives[0], whole)

    (error,) = copy_by_name(source, target)
    assert "It is being removed from memory://target" in error
    assert target.repository.load(MINE) is None
    assert target.repository.removals.under_way() == {MINE}
    diagnose(View(target.repository), thorough=False, fix=True)
    assert copy_by_name(source, target) == []
    assert target.paths(MINE) == ["model.pth", "model.pth"]


def test_an_experiment_that_comes_back_during_its_removal_keeps_its_files(
    source: Side, target: Side, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`doctor --fix` takes the removal for one that was interrupted, and ends it. Then `push ID` is possible."""
    source.add(record(MINE, *CHECKPOINTS), whole)
    target.add(record(MINE, *CHECKPOINTS), whole)
    monkeypatch.setattr(deletion, "_AT_ONCE", 1)

    def meanwhile(moment: str, verb: str, key: str) -> None:
        if (moment, verb, key) == ("after", "delete", archive_key(CHECKPOINTS[0])):
            diagnose(View(target.repository), thorough=False, fix=True)
            copy_by_name(source, target)

    removing = Repository(FaultyStorage(target.bench.memory, meanwhile))
    delete_experiments(View(removing), [View(removing).load(MINE)])
    assert target.paths(MINE) == ["model.pth", "model.pth"]
    assert {archive_key(id) for id in CHECKPOINTS} < target.bench.kept()
    assert target.repository.removals.ids() == set()


def test_files_whose_arrival_was_not_recorded_because_of_a_kill_are_named_by_the_next_copy(
    source: Side, target: Side, whole: bytes
) -> None:
    """They were pruned in the source since, and the target was told so while they were on their way."""
    pruned = record(MINE, *CHECKPOINTS)
    pruned["checkpoints"][0] |= {"path": "", "pruned": PRUNED}
    source.add(pruned, whole)
    source.bench.memory.delete([archive_key(CHECKPOINTS[0])])
    assert copy(source, target) == []
    target.bench.write(archive_key(CHECKPOINTS[0]), whole)
    assert target.paths(MINE) == ["", "model.pth"]
    assert copy(source, target) == []
    assert target.paths(MINE) == ["model.pth", "model.pth"]


@pytest.mark.parametrize("is_removed", [False, True])
def test_an_archive_that_vanishes_from_the_target_during_a_copy_is_sent_unless_somebody_removed_it(
    source: Side, target: Side, whole: bytes, is_removed: bool
) -> None:
    for side in (source, target):
        side.add(record(MINE, *CHECKPOINTS), whole)
    copy = Copy(source.repository, View(target.repository), list(View(source.repository).records()), named=False)
    may_differ = copy._may_differ

    def vanish(key: str) -> bool:
        if is_removed and target.repository.has_archive(MINE, CHECKPOINTS[0]):
            delete_files(View(Repository(target.bench.memory)), {MINE: {CHECKPOINTS[0]}})
        target.bench.memory.delete([archive_key(CHECKPOINTS[0])])
        return may_differ(key)

    copy._may_differ = vanish  # type: ignore[method-assign]
    assert [error for outcome in copy.run(lambda count: None) for error in outcome.errors] == []
    assert target.repository.has_archive(MINE, CHECKPOINTS[0]) is not is_removed


@pytest.mark.parametrize("came_before", ["nothing", "record", "files"])
def test_files_that_the_source_prunes_during_a_copy_are_not_missed_in_the_target(
    source: Side, target: Side, whole: bytes, came_before: str
) -> None:
    source.add(record(MINE, *CHECKPOINTS), whole)
    if came_before != "nothing":
        target.add(record(MINE, *CHECKPOINTS), whole if came_before == "files" else None)
    records = list(View(source.repository).records())
    source.repository.empty_paths(MINE, lambda record: {CHECKPOINTS[0]})
    source.bench.memory.delete([archive_key(CHECKPOINTS[0])])
    outcomes = list(Copy(source.repository, View(target.repository), records, named=False).run(lambda count: None))
    assert [error for outcome in outcomes for error in outcome.errors] == []
    assert [bool(path) for path in target.paths(MINE)] == [came_before == "files", *[True] * (len(CHECKPOINTS) - 1)]
    assert target.repository.has_archive(MINE, CHECKPOINTS[0]) == (came_before == "files")


def test_what_an_import_has_added_to_checkpoints_is_copied_too(source: Side, target: Side, whole: bytes) -> None:
    """But not files that somebody removed from the target."""
    first, second = (record(MINE, *CHECKPOINTS, imported={"from": "mlflow"}) for _ in range(2))
    for number, checkpoint in enumerate(second["checkpoints"]):
        checkpoint |= {"path": "", "metrics": {"loss": 1}} if number else {"path": "", "pruned": PRUNED}
        first["checkpoints"][number]["metrics"] = {"loss": 2, "acc": 3}
    source.add(first, whole)
    target.add(second, None)
    assert copy(source, target) == []
    found = View(target.repository).load(MINE)["checkpoints"]
    assert [bool(each["path"]) for each in found] == [False, *[True] * (len(CHECKPOINTS) - 1)]
    assert [each["metrics"] for each in found][1:] == [{"loss": 1, "acc": 3}] * (len(CHECKPOINTS) - 1)
    assert target.repository.has_archive(MINE, CHECKPOINTS[1])


@pytest.mark.parametrize("thorough", [False, True])
def test_progress_adds_up_whatever_is_skipped(source: Side, target: Side, whole: bytes, thorough: bool) -> None:
    source.add(record(MINE, *CHECKPOINTS), whole)
    source.add(record(THEIRS, "c" * 64, "d" * 64), whole)
    target.add(record(MINE, CHECKPOINTS[0]), whole)
    emptied = record(THEIRS, "c" * 64, "d" * 64)
    emptied["checkpoints"][0]["path"] = ""
    target.add(emptied, None)
    records = list(View(source.repository).records())
    prepared = Copy(source.repository, View(target.repository), records, named=False, thorough=thorough)
    moved: list[int] = []
    assert [outcome.errors for outcome in prepared.run(moved.append)] == [[], []]
    assert sum(moved) == prepared.size == (4 if thorough else 3) * len(whole)
    assert prepared.sent == 2 * len(whole)
