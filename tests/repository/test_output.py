"""What a run has printed is sent, read, copied, counted, checked and removed with it, in each place."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import DoesNotExist, KeepsakeError, WriteError
from keepsake.experiment import Experiment
from keepsake.output import FIELD, counted, merged, parts_of
from keepsake.project import Project
from keepsake.recording import capture
from keepsake.recording.job import Job
from keepsake.recording.steps import Steps
from keepsake.repository.output import new_in, tail_of
from keepsake.spool.entry import Entry
from keepsake.spool.journal import Changes
from keepsake.workplace import open_repository
from tests.repository.examining import examine, fix, hours_later, kinds
from tests.storage.benches import Bench, DiskBench
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("place", "project_directory")
on_disk = pytest.mark.parametrize("place", ["file"], indirect=True)


@pytest.fixture(autouse=True)
def _inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept as in a notebook on Windows, which is quicker than a process for each run."""
    monkeypatch.setattr(capture, "_redirection", lambda: None)
    monkeypatch.setattr(sys, "stdout", io.StringIO())


def printed(text: str, **options: Any) -> Experiment:
    with keepsake.init(quiet=True, capture_output=True, **options) as experiment:
        experiment.checkpoint(metrics={"loss": 1})
        sys.stdout.write(text)
    return experiment


def key(experiment: Experiment) -> str:
    (part,) = parts_of(keepsake.experiments.get(experiment.id).to_json())
    return f"logs/{experiment.id}-{part}.txt.gz"


def test_output_is_kept_counted_and_removed_with_its_run(place: Bench) -> None:
    experiment, other = printed("one\ntwo\n"), printed("")
    assert keepsake.experiments.get(experiment.id).logs() == "one\ntwo\n"
    assert keepsake.experiments.get(experiment.id).logs(tail=1) == "two\n"
    assert keepsake.experiments.get(experiment.id).output == {"lines": 2, "size": 8}
    assert keepsake.experiments.get(other.id).logs() == ""
    size = len(place.read(key(experiment)))
    usage = {each.id: each.logs for each in Project().disk_usage().experiments}
    assert usage[experiment.id] == size
    kept = key(other)
    experiment.delete()
    assert [each for each in place.listed() if each.startswith("logs")] == [kept]
    assert kinds() == []


def test_output_is_sent_while_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, place: Bench) -> None:
    monkeypatch.setattr(capture, "_LOOK_SECONDS", 0.05)
    with keepsake.init(quiet=True, capture_output=True) as experiment:
        print("begun")
        wait_until(lambda: any(each.startswith("logs") for each in place.listed()))
        elsewhere = Project(experiment.project.repository_url, directory=".")
        monkeypatch.setenv("KEEPSAKE_SPOOL", "elsewhere")
        wait_until(lambda: elsewhere.experiments.get(experiment.id).logs() == "begun\n")
        monkeypatch.delenv("KEEPSAKE_SPOOL")
        assert experiment.logs() == "begun\n"
        print("more")
        lines = experiment.follow_logs(tail=1)
        wait_until(lambda: experiment.logs() == "begun\nmore\n")
        assert next(lines) == "more\n"
        print("end")
        assert next(lines) in ("", "end\n")
    assert "".join(lines) in ("", "end\n")
    assert not list(Path().glob(".keepsake/spool/*/*"))


@on_disk
def test_a_repository_that_refuses_output_gets_the_rest(monkeypatch: pytest.MonkeyPatch, place: DiskBench) -> None:
    """Such as a bucket whose policy names the prefixes that it takes."""
    storage = type(place.storage)
    put = storage.put

    def refuse(self: Any, key: str, data: bytes, **options: Any) -> str:
        if key.startswith("logs"):
            raise WriteError("You may not write there.")
        return put(self, key, data, **options)

    monkeypatch.setenv("KEEPSAKE_EXIT_SECONDS", "1")
    monkeypatch.setattr(storage, "put", refuse)
    Path("model").write_text("weights")
    experiment = keepsake.init(quiet=True, capture_output=True)
    print("kept")
    checkpoint = experiment.checkpoint(path="model")
    with pytest.raises(KeepsakeError, match="You may not write there"):
        experiment.stop()
    assert checkpoint is not None
    assert f"checkpoints/{checkpoint.id}.tar.gz" in place.listed()
    assert experiment.logs() == "kept\n"
    monkeypatch.setattr(storage, "put", put)
    assert Project().sync()
    assert keepsake.experiments.get(experiment.id).logs() == "kept\n"
    assert not list(Path().glob(".keepsake/spool/*/*"))


@on_disk
def test_what_a_dead_process_left_is_sent_by_the_next_run(place: DiskBench) -> None:
    experiment = printed("whole\n")
    entry = Entry.create(Path(".keepsake/spool").absolute(), experiment.to_json(), place.url, in_repository=True)
    entry.log("0001-0123abcd").with_suffix(".live").write_text("cut of")
    entry.rest()
    assert keepsake.experiments.get(experiment.id).logs().endswith("cut of")
    assert [sent.error for sent in Project().sync()] == [None]
    assert not entry.directory.exists()
    assert keepsake.experiments.get(experiment.id).output == {"lines": 2, "size": 12}


@on_disk
def test_whoever_waits_sees_that_output_moves_and_that_tasks_are_done(place: DiskBench) -> None:
    experiment = printed("one\n")
    entry = Entry.create(Path(".keepsake/spool").absolute(), experiment.to_json(), place.url, in_repository=True)
    entry.log("0001-0123abcd").touch()
    steps, job = Steps(), Job(entry, open_repository(place.url))
    for tasks in (0, 1):
        job.tasks, steps.last_move = [lambda: None] * tasks, 0.0
        steps.actions["upload"](job)
        assert steps.last_move
    steps.last_move = 0.0
    steps.actions["upload"](job)
    assert not steps.last_move


def test_copies_have_the_longest_of_each_part(tmp_path: Path) -> None:
    experiment = printed("one\n")
    other = f"file://{tmp_path / 'other'}"
    Project().push(other)
    copy = Project(other, directory=tmp_path)
    assert copy.experiments.get(experiment.id).logs() == "one\n"
    printed("two\n", resume=experiment.id)
    Project().pull(other)  # takes nothing back
    both = "one\n--- restart 1 ---\ntwo\n"
    assert keepsake.experiments.get(experiment.id).logs() == both
    Project().push(other)
    assert copy.experiments.get(experiment.id).logs() == both
    assert copy.experiments.get(experiment.id).output == {"lines": 2, "size": 8}
    assert Project().push(other).sent == 0


@on_disk
def test_a_copy_of_a_running_run_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: DiskBench) -> None:
    monkeypatch.setattr(capture, "_LOOK_SECONDS", 0.05)
    other = f"file://{tmp_path / 'other'}"
    with keepsake.init(quiet=True, capture_output=True) as experiment:
        Project().push(other)  # nothing is there yet, and that is fine
        print("one")
        wait_until(lambda: any(each.startswith("logs") for each in place.listed()))
        assert [outcome.errors for outcome in Project().push(other).outcomes] == [[]]
        print("two")
    Project().push(other)
    assert Project(other, directory=tmp_path).experiments.get(experiment.id).logs() == "one\ntwo\n"


def test_doctor_moves_aside_what_no_run_has_printed(place: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.4.2 leaves such output when it removes a run."""
    experiment, name = printed("one\n"), ""
    for _ in range(3):
        printed("others stay\n")
    name = key(experiment)
    record = place.read(f"metadata/experiments/{experiment.id}.json")
    place.remove(f"metadata/experiments/{experiment.id}.json")
    assert kinds() == []  # a deletion may be under way
    hours_later(place, monkeypatch)
    assert kinds() == ["archive-orphan"]
    fix()
    assert f"orphaned/{name}" in place.listed()
    place.write(f"metadata/experiments/{experiment.id}.json", record)
    assert kinds() == ["archive-aside"]
    fix()
    assert keepsake.experiments.get(experiment.id).logs() == "one\n"


def test_doctor_reads_output_only_when_thorough(place: Bench) -> None:
    experiment = printed("one\n" * 100)
    name = key(experiment)
    place.write(name, place.read(name)[:-3])
    assert kinds(thorough=False) == []
    assert kinds() == ["output-damaged"]
    with pytest.raises(KeepsakeError, match="is damaged: it is cut off"):
        keepsake.experiments.get(experiment.id).logs()


def test_output_is_found_though_0_4_2_dropped_it_from_the_record(place: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = printed("one\n")
    path = f"metadata/experiments/{experiment.id}.json"
    record = json.loads(place.read(path))
    del record["output"]
    place.write(path, json.dumps(record).encode())
    again = keepsake.experiments.get(experiment.id)
    assert again.output is None
    assert again.logs() == "one\n"
    hours_later(place, monkeypatch)
    assert [problem.kind for problem in examine()] == []


@on_disk
def test_an_error_about_missing_output_says_how_to_get_it(place: DiskBench) -> None:
    with keepsake.init(quiet=True) as experiment:
        pass
    with pytest.raises(DoesNotExist, match=r"was not kept\. To keep that of a run, pass capture_output=True"):
        keepsake.experiments.get(experiment.id).logs()
    experiment = printed("one\n")
    place.remove(key(experiment))
    with pytest.raises(DoesNotExist, match="is not in the repository yet"):
        keepsake.experiments.get(experiment.id).logs()


@pytest.mark.parametrize(
    "output", [None, [], "text", {"../../x": {"lines": 1}}, {"0000-0123abcd": None}, {"0000-0123abcd": {"lines": "x"}}]
)
@on_disk
def test_counts_in_a_hostile_record_are_read_as_0(output: object, place: DiskBench) -> None:
    parts = parts_of({"id": "x", "output": output})
    assert set(parts) <= {"0000-0123abcd"}
    assert all(counts == {"lines": 0, "size": 0} for counts in parts.values())


@on_disk
def test_of_each_part_the_longer_one_counts_when_records_merge(place: DiskBench) -> None:
    one, two = "0000-0123abcd", "0001-0123abcd"
    ours = {"output": {one: {"lines": 5, "size": 1}, two: {"lines": 1, "size": 1}}}
    theirs = {"output": {one: {"lines": 4, "size": 9}}}
    assert merged(ours, theirs) == merged(theirs, ours) == ours["output"]


@on_disk
def test_two_processes_that_send_output_at_once_are_both_in_the_record(place: DiskBench) -> None:
    """The line of one that went on with the run may arrive late, or twice, and knows nothing of what was sent since."""
    run = keepsake.init(quiet=True)
    run.stop()
    first, second, third = (f"000{number}-0000000{number}" for number in range(3))
    repository, other = Project().workplace.repository, Project().workplace.repository
    late = Changes({FIELD: {first: counted(0, 0), third: counted(0, 0)}})
    repository.merge({"id": run.id}, late, create=False)
    for each, part in (repository, first), (other, second), (repository, third):
        each.merge({"id": run.id}, Changes({FIELD: {part: counted(3, 30)}}), create=False)
    found = other.merge({"id": run.id}, late, create=False)
    assert found[FIELD] == dict.fromkeys([first, second, third], counted(3, 30))


@pytest.mark.parametrize(
    ("text", "count", "tail"),
    [("a\nb\n", 1, "b\n"), ("a\nb", 1, "b"), ("a\nb\n", 5, "a\nb\n"), ("a\nb\n", 0, ""), ("", 3, "")],
)
@on_disk
def test_tail_returns_the_last_lines(text: str, count: int, tail: str, place: DiskBench) -> None:
    assert tail_of(text, count) == tail


@pytest.mark.parametrize(
    ("shown", "text", "new"),
    [
        ("", "a\n", "a\n"),
        ("a\n", "a\nb\n", "b\n"),
        ("a\n10%\nz\n", "a\n20%\nz\nb\n", "20%\nz\nb\n"),
        ("head\n" + "x\n" * 5000 + "last\n", "head\n...\n" + "x\n" * 3000 + "last\nnew\n", "new\n"),
    ],
)
@on_disk
def test_following_shows_only_what_is_new(shown: str, text: str, new: str, place: DiskBench) -> None:
    assert new_in(text, shown) == new
