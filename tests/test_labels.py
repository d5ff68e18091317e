"""Names, tags and notes: checked, recorded, edited while others write, and never a reason not to train."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import DoesNotExist, ValidationError, WriteError
from keepsake.experiment import Experiment
from keepsake.labels import apply_edits, edits_of, make_edit, missing_labels
from keepsake.metadata import time_text
from keepsake.project import Project
from keepsake.spool.entry import Entry
from keepsake.spool.journal import Changes
from tests.storage.benches import Bench
from tests.waiting import wait_until

on_disk_and_in_a_bucket = pytest.mark.parametrize("place", ["file", "s3"], indirect=True)


def labels(experiment: Experiment) -> tuple[str | None, list[str], str | None]:
    return experiment.name, experiment.tags, experiment.notes


def stored(experiment: Experiment) -> Experiment:
    """The experiment as its repository has it."""
    return Project().experiments.get(experiment.id)


# What is valid

SLIPS: list[tuple[dict[str, Any], str]] = [
    ({"name": 5}, "The name cannot be 5, which is of type int. Give a string."),
    ({"name": "a\nb"}, "The name 'a\\nb' contains a line break or a control character. Remove that."),
    ({"name": "\x1b[31mred"}, "control character"),
    ({"name": "\u202egnp.exe"}, "control character"),
    ({"name": "x" * 201}, "is longer than 200 characters. Shorten it."),
    ({"notes": {"a": 1}}, "The notes cannot be {'a': 1}, which is of type dict. Give a string."),
    ({"notes": "x" * 100_001}, "is longer than 100,000 characters. Shorten it."),
    ({"tags": 5}, "The tag cannot be 5, which is of type int. Give a string."),
    ({"tags": ["good", None]}, "The tag cannot be None, which is of type NoneType. Give a string."),
    ({"tags": b"good"}, "The tag cannot be b'good', which is of type bytes. Give a string."),
    ({"tags": ["good", " "]}, "A tag is empty. Give it at least one character."),
    ({"tags": "good, better"}, "The tag 'good, better' contains a comma. Give several tags one by one"),
    ({"tags": ["-x", "good"]}, "The tag '-x' begins with '-'. Begin it with another character."),
    ({"tags": {"a" * 101}}, "is longer than 100 characters. Shorten it."),
]


@pytest.mark.parametrize(("given", "message"), SLIPS)
def test_a_slip_costs_only_itself(
    project_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ValidationError, match=r"\."):
        keepsake.init(**given)
    assert not (project_directory / "repo").exists()
    monkeypatch.delenv("KEEPSAKE_STRICT")
    experiment = keepsake.init(**{"name": "kept", "notes": "kept", **given})
    said = capsys.readouterr().err
    assert message in said
    assert "The run goes on without it." in said
    tags = ["good"] if isinstance(given.get("tags"), list) else []
    kept = (None if "name" in given else "kept", tags, None if "notes" in given else "kept")
    assert labels(stored(experiment)) == kept
    assert experiment.checkpoint(loss=1)
    experiment.stop()


def test_what_is_given_is_tidied_and_kept() -> None:
    edit, problems = make_edit("  wider layers ", "\n line 1\nline 2\t\ud800 ", add=("a", ["b", "a"]), remove="c")
    assert problems == []
    assert {**edit, "edited": ""} == {
        "name": "wider layers",
        "notes": "line 1\nline 2\t\\ud800",
        "add": ["a", "b"],
        "remove": ["c"],
        "edited": "",
    }
    assert make_edit() == ({}, [])


@pytest.mark.parametrize("damaged", [{"name": 5}, {"tags": "good"}, {"tags": [1]}, {"notes": []}, {"parent": "../x"}])
def test_damaged_labels_are_as_good_as_none(project_directory: Path, damaged: dict[str, Any]) -> None:
    experiment = keepsake.init()
    experiment.stop()
    (path,) = (project_directory / "repo/metadata/experiments").iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), **damaged}))
    found = stored(experiment)
    assert (*labels(found), found.parent) == (None, [], None, None)
    (summary,) = Project().workplace.view.summaries()
    assert (summary.name, summary.tags, summary.notes, summary.parent) == ("", [], "", "")
    found.tag("x")
    assert stored(experiment).tags == ["x"]


# Parents


@pytest.mark.parametrize("given", ["experiment", "checkpoint", "id", "prefix", "stranger"])
def test_a_parent_can_be_given(project_directory: Path, given: str) -> None:
    first = keepsake.init()
    checkpoint = first.checkpoint(loss=1)
    assert checkpoint is not None
    parents: dict[str, Any] = {
        "experiment": first,
        "checkpoint": checkpoint,
        "id": first.id,
        "prefix": checkpoint.id[:10],
    }
    child = keepsake.init(parent=parents.get(given, "f" * 64))
    expected = {"experiment": first.id, "id": first.id, "stranger": "f" * 64}.get(given, checkpoint.id)
    assert child.parent == stored(child).parent == expected
    assert first.children() == ([] if given == "stranger" else [child])
    for experiment in (first, child):
        experiment.stop()


@pytest.mark.parametrize("given", ["zzz", 5, ["a"], ""])
def test_a_parent_that_is_not_there_is_left_out(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: Any
) -> None:
    monkeypatch.delenv("KEEPSAKE_STRICT")
    with keepsake.init(parent=given) as experiment:
        assert experiment.parent is None
    assert "The parent cannot be recorded: " in capsys.readouterr().err


# Editing


@on_disk_and_in_a_bucket
@pytest.mark.parametrize("edits_first", [True, False])
def test_an_edit_and_a_run_that_goes_on_lose_nothing(place: Bench, project_directory: Path, edits_first: bool) -> None:
    """Both rewrite the same record, each from what it read before."""
    run = keepsake.init(name="first", tags=["a", "b"])
    elsewhere = stored(run)
    elsewhere.tag("seen")  # now both remember a version of the record
    for step in range(3):
        if edits_first:
            elsewhere.tag(f"tag {step}", remove=["a"])
        run.checkpoint(step=step, metrics={"loss": step})
        run.tag(f"own {step}")
        if not edits_first:
            wait_until(lambda: len(stored(run).checkpoints) == step + 1)  # noqa: B023
            elsewhere.tag(f"tag {step}", remove=["a"])
        elsewhere.name = f"name {step}"
    elsewhere.note("unstable")
    run.stop()
    found = stored(run)
    assert [checkpoint.step for checkpoint in found.checkpoints] == [0, 1, 2]
    expected = {"b", "seen", *(f"{who} {step}" for who in ("tag", "own") for step in range(3))}
    assert (found.name, set(found.tags), found.notes) == ("name 2", expected, "unstable")
    assert found.end_reason == "stopped"
    assert set(stored(run).tags) == expected


def test_the_run_itself_edits_without_waiting(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KEEPSAKE_STRICT")
    run = keepsake.init()
    run.name = "wide"
    run.tag("good", "a,b", "bad")
    run.untag("bad")
    run.notes = "fine"
    assert labels(run) == ("wide", ["good"], "fine")
    assert "The tag 'a,b' contains a comma" in capsys.readouterr().err
    run.stop()
    assert labels(stored(run)) == ("wide", ["good"], "fine")
    run.rename(None)
    run.untag("good", "never there")
    run.notes = None
    assert labels(run) == labels(stored(run)) == (None, [], None)
    with pytest.raises(ValidationError, match="empty"):
        run.tag("")


class _Failing:
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


@pytest.mark.parametrize("rank", ["0", "1"])
def test_nothing_that_fails_raises_into_the_script(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str
) -> None:
    """Neither a full disk nor an odd value, in the process that records and in the others of its job."""
    monkeypatch.setenv("KEEPSAKE_STRICT", "")
    monkeypatch.setenv("KEEPSAKE_RANK", rank)
    experiment = keepsake.init(params={"lr": 1}, name="kept", tags=["kept"])
    value: Any = _Failing()

    def edit(value: Any) -> None:
        experiment.tag(value)
        experiment.rename(value)
        experiment.notes = value
        experiment.update_params({"lr": value})

    edit(value)

    def fail(*_: object) -> None:
        raise WriteError("The disk is full.")

    if rank == "0":
        with monkeypatch.context() as patch:
            patch.setattr(Entry, "append", fail)
            edit("new")
        said = capsys.readouterr().err
        assert said.count("stay as they are: ") == 8
        assert said.count("stay as they are: The disk is full.") == 4
        assert labels(experiment) == ("kept", ["kept"], None)
        assert experiment.params == {"lr": 1}
    experiment.stop()


def test_a_run_that_waits_in_the_spool_is_edited_there(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setenv("KEEPSAKE_OFFLINE", "1")
        run = keepsake.init(tags=["a"])
        stored(run).tag("b", remove=["a"])
        assert stored(run).tags == ["b"]
        run.tag("c")
        run.stop()
    assert not (project_directory / "repo").exists()
    Project().sync()
    assert stored(run).tags == ["b", "c"]


def test_an_edit_that_arrives_late_or_twice_undoes_none_that_came_after_it(project_directory: Path) -> None:
    """From the journal of another process, or over a slow network."""
    with keepsake.init(name="first", tags=["a"]) as run:
        wait_until(lambda: Project().workplace.view.entries()[run.id].in_repository)
    late, _ = make_edit(name="second", notes="new", add=["b", "c"], remove=["a"])
    stored(run).rename("third")
    stored(run).tag("a", remove=["b"])
    for _ in range(2):
        Project().workplace.repository.merge({"id": run.id}, Changes(edits=[late]), create=False)
        assert labels(stored(run)) == ("third", ["c", "a"], "new")


def test_an_edit_counts_even_if_a_clock_was_set_back(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def set_back(seconds: float) -> None:
        monkeypatch.setattr(keepsake.labels, "time_text", lambda: time_text(time.time() - seconds))

    with keepsake.init() as run:
        run.tag("a")
        set_back(1000)
        run.untag("a")
        run.rename("here")
    set_back(2000)
    stored(run).tag("a", "b")
    set_back(3000)
    stored(run).rename("there")
    stored(run).untag("b")
    assert labels(stored(run)) == ("there", ["a"], None)


@pytest.mark.parametrize(
    "damage",
    [
        5,
        [],
        {"name": 5, "tag:a": "3000"},
        {"name": "9999-12-31T23:59:59Z"},
        {"name": "2999-12-31T23:59:59.000000Z", "tag:a": "2999-12-31T23:59:59.000000Z"},
    ],
)
def test_damaged_times_of_edits_do_not_matter(project_directory: Path, damage: object) -> None:
    with keepsake.init(name="first") as run:
        pass
    repository = Project().workplace.repository
    repository.change(run.id, lambda record: {**(record or {}), "edits": damage, "edited": damage})
    found = stored(run)
    found.rename("second")
    found.tag("a")
    assert labels(stored(run)) == ("second", ["a"], None)


def test_an_experiment_that_was_removed_cannot_be_edited(project_directory: Path) -> None:
    run = keepsake.init()
    run.stop()
    found = stored(run)
    run.delete()
    with pytest.raises(DoesNotExist):
        found.tag("x")


def test_copies_of_an_experiment_agree_on_the_later_edit(project_directory: Path, tmp_path: Path) -> None:
    run = keepsake.init(name="old", tags=["a"])
    run.stop()
    url = f"file://{tmp_path}/copy"
    Project().push(url)
    stored(run).tag("b", remove=["a"])
    stored(run).rename("")
    Project().push(url)
    copy = Project(repository=url).experiments.get(run.id)
    assert labels(copy) == (None, ["b"], None)
    copy.note("there")
    Project().push(url)
    Project().pull(url)
    assert labels(stored(run)) == labels(Project(repository=url).experiments.get(run.id)) == (None, ["b"], "there")


def test_what_was_edited_in_each_of_two_copies_is_in_both_after_push_and_pull(
    project_directory: Path, tmp_path: Path
) -> None:
    run = keepsake.init(name="first", tags=["a", "b"])
    run.stop()
    url = f"file://{tmp_path}/copy"
    Project().push(url)
    stored(run).tag("here", remove=["a"])
    copy = Project(repository=url).experiments.get(run.id)
    copy.note("there")
    copy.tag("there")
    Project().pull(url)
    Project().push(url)
    expected = "first", ["b", "here", "there"], "there"
    assert labels(stored(run)) == labels(Project(repository=url).experiments.get(run.id)) == expected


def test_later_edits_count() -> None:
    last = "2999-01-01T00:00:00.000000Z"
    first, _ = make_edit(name="a", add=["x"])
    second, _ = make_edit(name="", remove=["x"], add=["y"])
    record = apply_edits({"id": "e"}, [first, {**second, "edited": last}])
    times = {"name": last, "tag:x": last, "tag:y": last}
    assert record == {"id": "e", "tags": ["y"], "edited": last, "edits": times}
    assert apply_edits({"id": "e", "name": "b", "tags": ["x", "z"]}, edits_of(record)) == {**record, "tags": ["z", "y"]}
    assert missing_labels({"name": "b", "tags": ["x"], "notes": "n"}, record) == {"notes": "n"}
