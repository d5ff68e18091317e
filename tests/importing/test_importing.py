"""What comes of the runs of other tools: every param and every point, the files, the end, and nothing twice."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from keepsake.exceptions import ReadError, ValidationError
from keepsake.experiment import Experiment
from keepsake.importing import importing
from keepsake.importing.runs import record_of, typed
from keepsake.project import Project
from keepsake.util.processes import process_name
from tests.importing.reading import only
from tests.importing.sources import (
    DATA,
    Metrics,
    write_mlflow_database,
    write_mlflow_run,
    write_trackio_database,
    write_wandb_run,
)

INFINITE = math.inf
BINARY = ["runs/one/events.out.tfevents.1700000000.host", "wandb/offline-run-1/run-usc5dy0y.wandb"]


def points(experiment: Experiment, metric: str) -> list[tuple[int | None, Any]]:
    """The steps and values of a metric, in the order of time."""
    return [(c.step, c.metrics[metric]) for c in experiment.checkpoints if c.metrics and metric in c.metrics]


def content(experiment: Experiment, path: str) -> bytes:
    """A file of the last checkpoint."""
    with experiment.checkpoints[-1].open(path) as file:
        return file.read()


def test_an_mlflow_folder_is_imported_whole(project: Project, tmp_path: Path) -> None:
    write_mlflow_run(
        tmp_path / "mlruns",
        "a" * 32,
        params={"lr": "0.1", "n": "3", "flag": "True", "none": "None", "text": "007", "optimizer/name": "adam\nw"},
        metrics={"loss": [(1000, 0.5, 0), (2000, 0.25, 1)], "val/loss": [(2500, INFINITE, 1)]},
        tags={"mlflow.note.content": "a note", "mlflow.source.git.commit": "c0ffee", "team": "blue", "ok": "true"},
        files={"model/weights.txt": "weights"},
    )
    done = project.import_runs(tmp_path)
    assert (len(done.new), done.checkpoints, done.files, done.errors, done.warnings) == (1, 2, 1, [], [])
    run = only(project)
    assert run.params == {
        "lr": 0.1,
        "n": 3,
        "flag": True,
        "none": None,
        "text": "007",
        "optimizer/name": "adam\nw",
    }
    assert points(run, "loss") == [(0, 0.5), (1, 0.25)]
    assert points(run, "val/loss") == [(1, INFINITE)]
    assert (run.name, run.tags, run.notes, run.user, run.end_reason) == (
        *("calm-owl", ["experiment=iris", "ok", "team=blue"], "a note", "ada"),
        "finished",
    )
    assert content(run, "artifacts/model/weights.txt") == b"weights"
    assert run.environment["git"] == {"commit": "c0ffee"}


def test_points_without_steps_are_all_kept(project: Project, tmp_path: Path) -> None:
    """A script that never passes a step has all of them at step 0."""
    metrics: Metrics = {
        "loss": [(1000 + n, n / 2, 0) for n in range(5)],
        "accuracy": [(1000 + n, n, 0) for n in range(3)],
    }
    write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics=metrics)
    project.import_runs(tmp_path / "mlruns")
    assert points(only(project), "loss") == [(0, n / 2) for n in range(5)]
    assert points(only(project), "accuracy") == [(0, n) for n in range(3)]
    assert len(only(project).checkpoints) == 5


@pytest.mark.parametrize(
    ("status", "end_time", "shown", "reason"),
    [
        (3, 1_700_000_100_500, "stopped", "finished"),
        (4, 1_700_000_100_500, "failed", "exception"),
        (5, 1_700_000_100_500, "stopped", "terminated"),
        (1, None, "lost", None),
    ],
)
def test_an_imported_run_knows_how_it_ended(
    project: Project, tmp_path: Path, status: int, end_time: int | None, shown: str, reason: str | None
) -> None:
    write_mlflow_run(tmp_path / "mlruns", "a" * 32, status=status, end_time=end_time, metrics={"m": [(1000, 1, 0)]})
    project.import_runs(tmp_path / "mlruns")
    assert (only(project).status, only(project).end_reason) == (shown, reason)


def test_a_run_that_ran_is_brought_up_to_date(project: Project, tmp_path: Path) -> None:
    """What has been added here stays, and what somebody wrote on it too."""
    store = tmp_path / "mlruns"
    write_mlflow_run(store, "a" * 32, status=1, end_time=None, metrics={"loss": [(1000, 0.5, 0)]})
    project.import_runs(store)
    only(project).rename("mine")
    shutil.rmtree(store)
    metrics = {"loss": [(1000, 0.5, 0), (2000, 0.25, 1)], "accuracy": [(1001, 0.9, 0)]}
    write_mlflow_run(store, "a" * 32, metrics=metrics)
    done = project.import_runs(store)
    assert (len(done.new), len(done.grown), done.checkpoints) == (0, 1, 1)
    run = only(project)
    assert (points(run, "loss"), points(run, "accuracy")) == ([(0, 0.5), (1, 0.25)], [(0, 0.9)])
    assert (run.name, run.status) == ("mine", "stopped")


def test_importing_twice_adds_nothing(project: Project, tmp_path: Path) -> None:
    write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics={"loss": [(1, 1, 1)]}, files={"f": "x"})
    project.import_runs(tmp_path)
    before = only(project).to_json()
    done = project.import_runs(tmp_path)
    assert (done.new, done.grown, len(done.same), done.checkpoints, done.files) == ([], [], 1, 0, 0)
    assert only(project).to_json() == before


def test_an_interrupted_import_goes_on(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interruption may be between a record and its files."""
    for letter in "abc":
        write_mlflow_run(tmp_path / "mlruns", letter * 32, metrics={"loss": [(1, 1, 1)]}, files={"f": letter})
    repository = project.workplace.repository
    real, calls = repository.put_archive, []

    def put(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as context:
        context.setattr(type(repository), "put_archive", lambda self, *arguments: put(*arguments))
        with pytest.raises(KeyboardInterrupt):
            project.import_runs(tmp_path)
    project.import_runs(tmp_path)
    kept = {content(run, "artifacts/f") for run in project.experiments.list()}
    assert kept == {b"a", b"b", b"c"}
    assert project.doctor().problems == []


def test_a_dry_run_writes_nothing(project: Project, project_directory: Path, tmp_path: Path) -> None:
    write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics={"loss": [(1, 1, 1)]}, files={"f": "x"})
    done = project.import_runs(tmp_path, dry_run=True)
    assert (len(done.new), done.checkpoints, done.files) == (1, 1, 1)
    assert not (project_directory / "repo").exists()


def test_what_was_removed_here_stays_removed(project: Project, tmp_path: Path) -> None:
    write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics={"loss": [(1, 1, 1)]})
    project.import_runs(tmp_path)
    only(project).delete()
    assert len(project.import_runs(tmp_path).removed) == 1
    assert project.experiments.list() == []
    assert len(project.import_runs(tmp_path, again=True).new) == 1
    assert len(project.experiments.list()) == 1


def test_what_another_import_has_brought_and_somebody_has_removed_meanwhile_stays_removed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mlflow_run(tmp_path, "a" * 32)
    make_record = record_of

    def meanwhile(*given: Any) -> Any:
        monkeypatch.setattr(importing, "record_of", make_record)
        other = Project(directory=project.directory)
        assert len(other.import_runs(tmp_path).new) == 1
        only(other).delete()
        return make_record(*given)

    monkeypatch.setattr(importing, "record_of", meanwhile)
    done = project.import_runs(tmp_path)
    assert (len(done.removed), done.new, done.errors) == (1, [], [])
    assert list(project.experiments.list()) == []


def test_what_is_removed_during_an_import_stays_removed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics={"loss": [(1, 1, 1)]})
    project.import_runs(tmp_path)
    run = only(project)
    shutil.rmtree(tmp_path / "mlruns")
    write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics={"loss": [(1, 1, 1), (2, 2, 2)]})

    def remove_first(*arguments: Any) -> Any:
        run.delete()
        return record_of(*arguments)

    monkeypatch.setattr(importing, "record_of", remove_first)
    done = project.import_runs(tmp_path)
    assert (done.removed, done.errors, done.checkpoints) == ([run.id], [], 0)
    assert project.experiments.list() == []


def test_a_run_is_not_imported_again_to_where_its_files_are_being_deleted(project: Project, tmp_path: Path) -> None:
    write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics={"loss": [(1, 1, 1)]}, files={"f": "x"})
    project.import_runs(tmp_path)
    run, storage = only(project), project.workplace.repository.storage
    key = f"checkpoints/{run.checkpoints[0].id}.tar.gz"
    files, _ = storage.get(key)
    run.delete()
    project.workplace.repository.removals.add([run.id], [key])
    storage.put(key, files)
    (error,) = project.import_runs(tmp_path, again=True).errors
    assert "It is being removed from" in str(error)
    assert project.experiments.list() == []


def test_an_mlflow_database_is_imported_whole(project: Project, tmp_path: Path) -> None:
    write_mlflow_database(tmp_path / "mlflow.db")
    done = project.import_runs(tmp_path / "mlflow.db")
    run = only(project)
    assert run.params == {"lr": 0.1}
    (_, first), (_, second), (_, third) = points(run, "loss")
    assert (first, third) == (0.5, -INFINITE)
    assert math.isnan(second)
    assert (run.name, run.tags, run.status) == ("calm-owl", ["experiment=Default", "team=blue"], "failed")
    assert content(run, "artifacts/model.txt") == b"weights"
    assert done.left_out == {"deleted runs": 1, "traces": 1}


@pytest.mark.parametrize("with_ids", [True, False])
def test_a_trackio_database_is_imported_whole(project: Project, tmp_path: Path, with_ids: bool) -> None:
    write_trackio_database(tmp_path / "vision.db", with_ids=with_ids)
    project.import_runs(tmp_path)
    run = only(project)
    assert run.params == {"lr": 0.1, "optimizer": {"name": "adam"}}
    assert (run.name, run.user) == ("first", "ada")
    (_, first), (_, second) = points(run, "loss")
    assert first == 0.5
    assert math.isnan(second)
    assert points(run, "big") == [(1, INFINITE)]


def test_event_files_are_imported(project: Project) -> None:
    done = project.import_runs(DATA / "runs")
    one, two = sorted(project.experiments.list(), key=lambda run: str(run.name))
    assert [step for step, _ in points(one, "loss")] == [0, 1, 2, 3, 4]
    values = [value for _, value in points(one, "loss")]
    assert values[:4] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4], rel=1e-7)
    assert math.isnan(values[4])
    assert two.params == {"lr": 0.1, "batch_size": 32, "optimizer": "adam", "shuffle": True}
    assert points(two, "final") == [(0, 0.5)]
    assert done.left_out == {"histograms": 1, "texts": 1}


def test_offline_files_of_wandb_are_imported(project: Project) -> None:
    done = project.import_runs(DATA / "wandb")
    run = only(project)
    assert run.params == {"lr": 0.1, "optimizer": {"name": "adam"}, "api_key": "***"}
    assert done.warnings == ["Params that look like secrets are recorded as ***: api_key."]
    assert (run.name, run.tags, run.notes, run.end_reason) == (
        "first",
        ["project=vision", "good"],
        "a note",
        "finished",
    )
    assert points(run, "nested.accuracy") == [(n, n / 5) for n in range(4)]
    assert points(run, "word") == [(n, "text") for n in range(4)]
    assert points(run, "flag") == [(n, True) for n in range(4)]
    assert math.isnan(points(run, "loss")[4][1])
    assert points(run, "big") == [(4, INFINITE)]
    assert points(run, "best") == [(4, 0.5)]
    assert content(run, "files/output.log") == b"hello\n"


def test_the_group_the_kind_of_job_and_the_sweep_of_a_run_of_wandb_become_tags(
    project: Project, tmp_path: Path
) -> None:
    """As those of keepsake.wandb, so that runs from before and after the change of tool are found together."""
    texts = {1: "usc5dy0y", 3: "vision", 6: "seeds", 7: "train", 10: "good", 12: "xy12"}
    write_wandb_run(tmp_path / "run-usc5dy0y.wandb", texts, 1_700_000_000, {}, 0)
    project.import_runs(tmp_path)
    assert only(project).tags == ["project=vision", "group=seeds", "job_type=train", "good", "sweep=xy12"]


@pytest.mark.parametrize("parts", ["ab", "ba", "a then b", "b then a"])
def test_the_parts_of_a_run_of_wandb_that_was_resumed_become_one_run(
    project: Project, tmp_path: Path, parts: str
) -> None:
    """The last part says how it ended, whatever is imported first, and importing again changes nothing."""
    begun = 1_700_000_000
    write_wandb_run(tmp_path / "a/run-abc.wandb", {1: "abc", 8: "old"}, begun, {0: 1.0, 1: 0.5}, 1)
    write_wandb_run(tmp_path / "b/run-abc.wandb", {1: "abc", 8: "new"}, begun + 60, {1: 0.4, 2: 0.3}, 0)
    if " then " in parts:
        for part in parts.split(" then "):
            project.import_runs(tmp_path / part)
    else:
        (tmp_path / parts[0]).rename(tmp_path / "1")
        (tmp_path / parts[1]).rename(tmp_path / "2")
        done = project.import_runs(tmp_path)
        assert (len(done.new), done.grown, done.same) == (1, [], [])
    done = project.import_runs(tmp_path)
    assert (done.new, done.grown, len(done.same)) == ([], [], 1)
    run = only(project)
    assert (run.name, run.status, run.end_reason) == ("new", "stopped", "finished")
    assert run.checkpoints.step == [0, 1, 2]
    assert points(run, "loss") == [(0, 1.0), (1, 0.4), (2, 0.3)]


@pytest.mark.parametrize("lost", [1, 5, 40])
@pytest.mark.parametrize(
    "source", ["runs/one/events.out.tfevents.1700000000.host", "wandb/offline-run-1/run-usc5dy0y.wandb"]
)
def test_a_file_that_is_cut_off_keeps_what_is_whole(project: Project, tmp_path: Path, source: str, lost: int) -> None:
    """A run that was killed leaves such a file."""
    torn = tmp_path / Path(source).name
    torn.write_bytes((DATA / source).read_bytes()[:-lost])
    done = project.import_runs(torn)
    assert str(torn) in done.warnings[0]
    assert points(only(project), "loss")[:2] == [(0, 1.0), (1, 0.5)]


@pytest.mark.parametrize(
    "source", ["runs/one/events.out.tfevents.1700000000.host", "wandb/offline-run-1/run-usc5dy0y.wandb"]
)
def test_damage_of_any_byte_is_a_warning_or_an_error(project: Project, tmp_path: Path, source: str) -> None:
    """Never a crash, and never gigabytes of memory for a length that somebody made up."""
    data = (DATA / source).read_bytes()
    for at in range(0, min(len(data), 700), 3):
        damaged = tmp_path / f"{at}" / Path(source).name
        damaged.parent.mkdir()
        damaged.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            done = project.import_runs(damaged, dry_run=True)
        except ReadError as error:
            assert str(damaged) in str(error)
        else:
            assert done.errors or done.warnings or done.new


def test_a_torn_line_is_a_warning(project: Project, tmp_path: Path) -> None:
    folder = write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics={"loss": [(1000, 0.5, 0)]})
    with (folder / "metrics/loss").open("a") as file:
        file.write("what?\n2000 0.2")
    done = project.import_runs(tmp_path)
    assert points(only(project), "loss") == [(0, 0.5)]
    assert [warning.split(" of ")[0] for warning in done.warnings] == ["Line 2", "The last line"]


def test_old_lines_and_lines_with_a_data_set(project: Project, tmp_path: Path) -> None:
    """Two words have no step. Of five words, MLflow's own reader loses the step."""
    folder = write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics={"loss": []})
    (folder / "metrics/loss").write_text("1000 0.5\n2000 0.25 7 train c0ffee\n")
    project.import_runs(tmp_path)
    assert points(only(project), "loss") == [(0, 0.5), (7, 0.25)]


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
@pytest.mark.parametrize("name", ["params/lr", "metrics/loss", "tags/x", "meta.yaml"])
def test_a_link_in_a_run_is_refused(project: Project, tmp_path: Path, name: str) -> None:
    """It would bring a file that its maker has no right to read."""
    write_mlflow_run(tmp_path / "mlruns", "b" * 32, metrics={"loss": [(1, 1, 1)]})
    folder = write_mlflow_run(tmp_path / "mlruns", "a" * 32, params={"lr": "1"}, metrics={"loss": [(1, 1, 1)]})
    (tmp_path / "secret").write_text("run_id: x\n")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "secret")
    done = project.import_runs(tmp_path)
    (error,) = done.errors
    assert f"{folder / name} is a link" in str(error)
    assert len(done.new) == 1


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_links_among_artifacts_and_addresses_outside_are_left_out(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "key").write_text("private")
    store = tmp_path / "store/mlruns"
    folder = write_mlflow_run(store, "a" * 32, metrics={"loss": [(1, 1, 1)]}, files={"f": "x"})
    (folder / "artifacts/link").symlink_to(outside / "key")
    other = write_mlflow_run(store, "b" * 32, metrics={"loss": [(1, 1, 1)]}, artifact_uri=outside.as_uri())
    shutil.rmtree(other / "artifacts")
    done = project.import_runs(store)
    assert done.files == 1
    assert done.left_out == {"links and special files among the artifacts": 1, "artifact folders elsewhere": 1}
    assert "artifacts/link" in done.warnings[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: None, "There is nothing at"),
        (lambda place: place.mkdir(), "There are no runs"),
        (lambda place: place.write_bytes(b"SQLite format 3\0" + bytes(100)), "is damaged or of an unknown version"),
        (lambda place: place.write_bytes(b"text"), "There are no runs"),
    ],
)
def test_what_cannot_be_imported_is_named(project: Project, tmp_path: Path, make: Any, message: str) -> None:
    make(tmp_path / "source")
    with pytest.raises(ReadError, match=message) as caught:
        project.import_runs(tmp_path / "source")
    assert str(tmp_path / "source") in str(caught.value)


def test_a_kind_or_goal_that_does_not_exist_is_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="kind 'neptune'"):
        project.import_runs(tmp_path, kind="neptune")
    with pytest.raises(ValidationError, match="goal 'low'"):
        project.import_runs(tmp_path, metric="loss", goal="low")


def test_a_primary_metric_makes_a_best_checkpoint(project: Project, tmp_path: Path) -> None:
    write_mlflow_run(tmp_path / "mlruns", "a" * 32, metrics={"loss": [(n, abs(n - 2), n) for n in range(5)]})
    project.import_runs(tmp_path, metric="loss", goal="minimize")
    best = only(project).best()
    assert best is not None
    assert best.step == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1", 1), ("-3", -3), ("0.1", 0.1), ("1e-05", 1e-05), ("True", True), ("None", None), ("inf", INFINITE)],
        *[("01", "01"), ("1.0", 1.0), ("1.50", "1.50"), ("true", "true"), ("", ""), ("1_000", "1_000"), (" 1", " 1")],
    ],
)
def test_a_text_is_a_number_only_if_it_comes_back_the_same(text: str, value: Any) -> None:
    assert (typed(text), type(typed(text))) == (value, type(value))


def test_what_a_killed_import_left_is_removed_by_the_next(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not so the files of one that is at work, and nothing else that lies among the temporary files."""
    program = "from keepsake.util.processes import process_name; print(end=process_name())"
    ended = subprocess.check_output([sys.executable, "-c", program], text=True)
    temporary = tmp_path / "temporary"
    owners = {"killed": ended, "at-work": process_name(), "elsewhere": "1 2 another-machine", "torn": "", "other": None}
    for name, owner in owners.items():
        directory = temporary / f"keepsake-import-{name}"
        directory.mkdir(parents=True)
        (directory / "large.pack").touch()
        if owner is not None:
            (directory / "owner").write_text(owner)
    (temporary / "keepsake-import-link").symlink_to(temporary / "keepsake-import-at-work")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    write_mlflow_run(tmp_path / "mlruns", "a" * 32, files={"model": "x"})
    assert project.import_runs(tmp_path / "mlruns").files == 1
    left = {path.name.removeprefix("keepsake-import-") for path in temporary.iterdir()}
    assert left == {"at-work", "elsewhere", "torn", "other", "link"}
