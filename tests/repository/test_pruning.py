"""Which files a policy deletes, that newer ones are safe before that, and that deleted files do not come back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import keepsake
from keepsake.archive import owner_id
from keepsake.exceptions import DoesNotExist, MissingRepository, ValidationError, WriteError
from keepsake.experiment import Experiment
from keepsake.metadata import Record
from keepsake.project import Project
from keepsake.repository import pruning
from keepsake.repository.pruning import Keep, keep_of, let_go, parse_keep
from keepsake.repository.repository import Repository
from keepsake.storage import open_storage
from keepsake.storage.disk import DiskStorage
from tests.storage.benches import Bench
from tests.waiting import wait_until

on_disk_and_in_a_bucket = pytest.mark.parametrize("place", ["file", "s3"], indirect=True)


def record(*losses: Any, goal: str = "minimize", without: tuple[int, ...] = ()) -> Record:
    """A record with a checkpoint for each loss; those `without` have no files."""
    checkpoints = [
        {
            "id": f"{index}" * 64,
            "created": f"2026-01-01T00:00:{index:02}Z",
            "metrics": {"loss": loss},
            "path": "" if index in without else "model",
            "primary_metric": {"name": "loss", "goal": goal},
        }
        for index, loss in enumerate(losses)
    ]
    return {"id": "e" * 64, "checkpoints": checkpoints}


# The policy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("best:3,last:1", Keep(3, 1)),
        (" last : 2 , best:1 ", Keep(1, 2)),
        ("best", Keep(1, 0)),
        ("latest:4", Keep(0, 4)),
        ("best:2,last:0", Keep(2, 0)),
    ],
)
def test_policies_are_read_and_written(text: str, expected: Keep) -> None:
    assert parse_keep(text) == parse_keep(str(expected)) == keep_of({"keep": text}) == expected


@pytest.mark.parametrize("text", ["", "worst:1", "best:x", "best:-1", "best:1,best:2", "best:0", "last:1,", 3, None])
def test_a_wrong_policy_is_an_error_before_anything_is_recorded(project_directory: Path, text: Any) -> None:
    with pytest.raises(ValidationError, match=r"does not say which files to keep\. Write for example"):
        parse_keep(text)
    assert keep_of({"keep": text}) is None
    if text is not None:
        with pytest.raises(ValidationError):
            keepsake.init(keep=text)
        assert not (project_directory / "repo").exists()


@pytest.mark.parametrize(
    ("policy", "found", "gone"),
    [
        ("best:2,last:1", record(5, 3, 1, 2, 4), "01"),
        ("best:1", record(5, 3, 1, 2, 4), "0134"),
        ("last:2", record(5, 3, 1, 2, 4), "012"),
        ("best:9,last:9", record(5, 3), ""),
        ("best:1,last:1", record(5, 3, 1, goal="maximize"), "1"),
        ("best:1", record(1, 1, 2), "02"),  # of equals, the latest
        ("best:1,last:1", record(1, "[NaN]", None, "x", 2), "123"),
        ("best:1,last:1", record("[NaN]", 3, 2, "[+Infinity]"), "01"),
        ("best:1,last:1", record(1, 2, 3, without=(0, 2)), ""),  # only files count
        ("best:3", {"checkpoints": [{**c, "primary_metric": None} for c in record(1, 2)["checkpoints"]]}, ""),
        ("best:3,last:1", {"checkpoints": [{**c, "primary_metric": None} for c in record(1, 2)["checkpoints"]]}, "0"),
        ("last:1", {"checkpoints": None}, ""),
        ("last:1", {"checkpoints": list(reversed(record(1, 2)["checkpoints"]))}, "0"),  # by time
    ],
)
def test_a_policy_lets_go_of_what_it_does_not_name(policy: str, found: Record, gone: str) -> None:
    assert "".join(checkpoint["id"][0] for checkpoint in let_go(found, parse_keep(policy))) == gone


# While a run is saved


def run_of(losses: list[float], *, keep: str | None = None) -> Experiment:
    experiment = keepsake.init(keep=keep, quiet=True)
    for loss in losses:
        Path("model").write_text(f"weights {loss}")
        experiment.checkpoint(path="model", metrics={"loss": loss}, primary_metric=("loss", "minimize"))
    return experiment


def saved(experiment: Experiment) -> dict[float, bool]:
    """Loss → whether the files are there and can be opened, as a reader sees it."""
    found = {}
    for checkpoint in Project().experiments.get(experiment.id).checkpoints:
        assert checkpoint.metrics is not None
        found[checkpoint.metrics["loss"]] = checkpoint.path is not None
        assert (checkpoint.path is None) == (checkpoint.pruned is not None)
        if checkpoint.path:
            with checkpoint.open("model") as file:
                assert file.read() == f"weights {checkpoint.metrics['loss']}".encode()
    return found


@on_disk_and_in_a_bucket
def test_a_run_keeps_what_its_policy_says(place: Bench, project_directory: Path) -> None:
    experiment = run_of([5, 3, 1, 2, 4], keep="best:2,last:1")
    experiment.stop()
    assert saved(experiment) == {5: False, 3: False, 1: True, 2: True, 4: True}
    assert sum(key.startswith("checkpoints/") for key in place.kept()) == 3
    assert Project().experiments.get(experiment.id).keep == "best:2,last:1"
    assert Project().doctor().problems == []


def test_a_run_that_cannot_go_on_with_an_experiment_deletes_none_of_its_files(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its init() has failed, and so has its policy."""
    keepsake.init().stop()
    repository, away = project_directory / "repo", project_directory / "away"
    repository.rename(away)
    monkeypatch.setenv("KEEPSAKE_EXIT_SECONDS", "0")
    monkeypatch.delenv("KEEPSAKE_STRICT")
    experiment = run_of([1.0, 2.0])
    experiment.stop()
    monkeypatch.setattr("keepsake.spool.entry.process_name", lambda: "another process")
    with pytest.raises(MissingRepository):
        keepsake.init(resume=experiment.id, keep="last:1")
    away.rename(repository)
    Project().sync()
    assert saved(experiment) == {1.0: True, 2.0: True}


def test_old_files_go_while_the_run_goes_on(project_directory: Path) -> None:
    experiment = run_of([1.0], keep="last:1")
    for number in range(2, 5):
        experiment.checkpoint(path="model", metrics={"loss": number})
        newest = [f"{experiment.checkpoints[-1].id}.tar.gz"]
        wait_until(lambda: [path.name for path in project_directory.glob("repo/checkpoints/*")] == newest)  # noqa: B023
    experiment.stop()


@pytest.fixture
def deletions(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The archives of checkpoints that were deleted, one list for each time."""
    seen: list[list[str]] = []
    delete = DiskStorage.delete

    def note(storage: DiskStorage, keys: list[str]) -> None:
        seen.extend([keys] if keys[0].startswith("checkpoints/") else [])
        delete(storage, keys)

    monkeypatch.setattr(DiskStorage, "delete", note)
    return seen


def test_nothing_goes_before_newer_files_are_safe(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, deletions: list[list[str]]
) -> None:
    """The archives after the first cannot be stored at first."""
    put = Repository.put_archive

    def putting(repository: Repository, experiment_id: str, archive_id: str, source: BinaryIO) -> None:
        if any(project_directory.glob("repo/checkpoints/*.tar.gz")):
            raise WriteError("The disk is full.")
        put(repository, experiment_id, archive_id, source)

    monkeypatch.setattr(Repository, "put_archive", putting)
    monkeypatch.setenv("KEEPSAKE_EXIT_SECONDS", "0.3")
    experiment = run_of([1.0], keep="last:1")
    wait_until(lambda: any(project_directory.glob("repo/checkpoints/*.tar.gz")))
    monkeypatch.delenv("KEEPSAKE_STRICT")
    for loss in (2.0, 3.0):
        experiment.checkpoint(path="model", metrics={"loss": loss})
    experiment.stop()
    assert deletions == []
    assert [c.path for c in Project().experiments.get(experiment.id).checkpoints] == ["model"] * 3
    monkeypatch.setattr(Repository, "put_archive", put)
    Project().sync()
    assert [c.path for c in Project().experiments.get(experiment.id).checkpoints] == [None, None, "model"]
    assert len({key for keys in deletions for key in keys}) == 2
    experiment.stop()  # else its process goes on trying to send what is sent already


def test_files_that_another_machine_still_saves_do_not_count(project_directory: Path) -> None:
    experiment = run_of([1.0, 2.0])
    experiment.stop()
    repository = Project().workplace.repository
    found = experiment.to_json()
    newest = found["checkpoints"][1]["id"]
    kept = (project_directory / "repo" / "checkpoints" / f"{newest}.tar.gz").rename(project_directory / "elsewhere")
    pruning.prune_saved(repository, found, Keep(0, 1), set(), set())
    assert Project().experiments.get(experiment.id).checkpoints[0].path == "model"
    assert Project().plan_pruning("last:1").experiments == []
    kept.rename(project_directory / "repo" / "checkpoints" / f"{newest}.tar.gz")
    assert [c.short_id() for each in Project().plan_pruning("last:1").experiments for c in each.checkpoints] == [
        experiment.checkpoints[0].short_id()
    ]


def test_a_repository_that_forbids_deleting_saves_all_the_same(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(storage: DiskStorage, keys: list[str]) -> None:
        if any(key.startswith("checkpoints/") for key in keys):
            raise WriteError("You may not delete here.")

    delete = DiskStorage.delete
    monkeypatch.setattr(DiskStorage, "delete", refuse)
    experiment = run_of([1.0, 2.0, 3.0], keep="last:1")
    experiment.stop()
    said = capsys.readouterr().err
    assert said.count("Files that keep='last:1' does not keep could not be deleted: You may not delete here.") == 1
    assert len(Project().experiments.get(experiment.id).checkpoints) == 3
    monkeypatch.setattr(DiskStorage, "delete", delete)
    problems = Project().doctor(fix=True).problems
    assert {problem.kind for problem in problems} == {"archive-pruned"}
    assert len(list(project_directory.glob("repo/checkpoints/*"))) == 1


# Afterwards


def test_all_that_reads_files_says_that_they_were_pruned(project_directory: Path, tmp_path: Path) -> None:
    experiment = run_of([1.0, 2.0])
    experiment.stop()
    old = experiment.checkpoints[0]
    done = Project().prune("last:1")
    assert [[c.id for c in each.checkpoints] for each in done.experiments] == [[old.id]]
    assert done.size > 0
    with pytest.raises(DoesNotExist, match=r"The files of checkpoint .{7} \(model\) were pruned"):
        old.open("model")  # it was read before
    (fresh, newest) = Project().experiments.get(experiment.id).checkpoints
    assert fresh.pruned is not None
    assert fresh.pruned.startswith("model, on 2")
    assert fresh.metrics == {"loss": 1.0}
    with pytest.raises(DoesNotExist, match=r"were pruned \(model, on .*\). Its experiment was recorded without a path"):
        fresh.checkout(tmp_path / "out")
    assert newest.pruned is None
    assert Project().doctor().problems == []
    assert fresh.to_json() == Project().workplace.view.load(experiment.id)["checkpoints"][0]


def test_pruned_files_do_not_come_back(project_directory: Path, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/other"
    experiment = run_of([1.0, 2.0])
    experiment.stop()
    Project().push(url)
    Project().prune("last:1")
    copied = Project().pull(url)
    assert [outcome.errors for outcome in copied.outcomes] == [[]]
    assert saved(experiment) == {1.0: False, 2.0: True}
    assert [outcome.errors for outcome in Project().push(url).outcomes] == [[]]
    assert len(list((tmp_path / "other" / "checkpoints").iterdir())) == 2, "a copy keeps its own"
    third = f"file://{tmp_path}/third"
    Project().push(third)
    assert len(list((tmp_path / "third" / "checkpoints").iterdir())) == 1
    assert Project(repository=third).experiments.list()[0].checkpoints[0].pruned is not None


def test_what_waits_in_the_spool_is_pruned_there(project_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setenv("KEEPSAKE_OFFLINE", "1")
        experiment = run_of([1.0, 2.0, 3.0], keep="last:1")
        experiment.stop()
    entry = Project().workplace.view.entries()[experiment.id]
    assert {owner_id(pack) for pack in entry.packs()} == {c.id for c in experiment.checkpoints}
    Project().sync()
    assert saved(experiment) == {1.0: False, 2.0: False, 3.0: True}
    assert len(list(project_directory.glob("repo/checkpoints/*"))) == 1


def test_what_waits_for_a_repository_that_is_away_is_not_pruned_but_can_be_given_up(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written into the mount point of a disk, and nothing leaves the spool."""
    run_of([1.0]).stop()
    with monkeypatch.context() as context:
        context.setenv("KEEPSAKE_OFFLINE", "1")
        experiment, given_up = run_of([1.0, 2.0]), run_of([1.0])
        experiment.stop()
        given_up.stop()
    repository = project_directory / "repo"
    repository.rename(project_directory / "away")
    repository.mkdir()
    with pytest.raises(MissingRepository):
        Project().prune("last:1")
    given_up.delete()
    assert list(repository.iterdir()) == []
    assert list(Project().workplace.view.entries()) == [experiment.id]
    assert len(Project().workplace.view.entries()[experiment.id].packs()) == 2
    repository.rmdir()
    (project_directory / "away").rename(repository)
    Project().prune("last:1")
    Project().sync()
    assert saved(experiment) == {1.0: False, 2.0: True}


def test_running_experiments_are_left_alone(project_directory: Path) -> None:
    experiment = run_of([1.0, 2.0])
    wait_until(lambda: len(list(project_directory.glob("repo/checkpoints/*"))) == 2)
    pruning = Project().prune("last:1")
    assert (pruning.experiments, pruning.running) == ([], [experiment])
    experiment.stop()
    assert saved(experiment) == {1.0: True, 2.0: True}
    assert len(Project().prune("last:1", [experiment.short_id()]).experiments) == 1


# What takes the space


@on_disk_and_in_a_bucket
def test_disk_usage_adds_up_what_the_repository_holds(place: Bench, project_directory: Path) -> None:
    Path("train.py").write_text("x" * 5000)
    small = keepsake.init(path="train.py", quiet=True)
    small.stop()
    Path("model").write_bytes(os.urandom(30_000))
    large = keepsake.init(quiet=True)
    for _ in range(2):
        large.checkpoint(path="model")
    large.stop()
    storage = open_storage(Project().repository_url)
    storage.put(f"checkpoints/{'f' * 64}.tar.gz", b"x" * 777)
    usage = Project().disk_usage()
    assert [each.id for each in usage.experiments] == [large.id, small.id]
    assert (usage.experiments[0].archives, usage.experiments[0].code, usage.experiments[1].checkpoints) == (2, 0, 0)
    assert 60_000 < usage.experiments[0].checkpoints < 66_000
    objects = [info for prefix in ("experiments", "checkpoints", "metadata") for info in storage.list(prefix)]
    assert usage.total == sum(info.size for info in objects)
    assert usage.other == 777


def test_two_that_prune_at_once_by_different_policies_leave_files(project_directory: Path) -> None:
    """Each has planned, and asked, before the other deletes."""
    run = run_of([3.0, 1.0, 2.0])
    run.stop()
    project = Project()
    plans = [project.plan_pruning(keep) for keep in ("best:1", "last:1")]
    deleted = [project.carry_out(plan) for plan in plans]
    assert saved(run) == {3.0: False, 1.0: True, 2.0: False}
    assert [[len(each.checkpoints) for each in pruning.experiments] for pruning in deleted] == [[2], []]


def test_a_run_that_has_gone_on_since_pruning_was_planned_is_left_alone(project_directory: Path) -> None:
    run = run_of([3.0, 1.0])
    run.stop()
    plan = Project().plan_pruning("best:1")
    Project().workplace.repository.heartbeats.beat(run.id)
    assert [each.id for each in Project().carry_out(plan).running] == [run.id]
    assert saved(run) == {3.0: True, 1.0: True}


def test_what_is_removed_while_a_run_prunes_does_not_count_as_kept(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of([3.0, 1.0, 2.0])
    run.stop()
    repository = Project().workplace.repository
    before = repository.load(run.id)
    assert before is not None
    best = run.checkpoints[1]
    Project().delete([(run, best)])
    pruning.prune_saved(repository, before, Keep(1, 0), set(), {best.id})
    assert saved(run) == {3.0: False, 1.0: False, 2.0: True}
