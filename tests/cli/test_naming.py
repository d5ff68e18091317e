"""Names that stand for an ID wherever one is expected: `latest`, `best`, `-2`, `ID:best`; in commands and Python."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete

import keepsake
from keepsake.cli import cli
from keepsake.cli.opening import Settings
from keepsake.exceptions import AmbiguousID, DoesNotExist, ValidationError
from keepsake.project import Project
from tests.cli.conftest import Run, World, checkpoint, experiment, on_disk

pytestmark = on_disk

# The best of them all is 9f02c7d, of a37c2e9; b51e7a0 is the latest, and its checkpoint has no primary metric's value
NAMES = {
    "latest": "b51e7a0f66",
    "-1": "b51e7a0f66",
    "-2": "a37c2e9d04",
    "-3": "c90d1f4e55",
    "best": "a37c2e9d04",
    "best:best": "9f02c7d300",
    "best:latest": "5d8f0b6a12",
    "-2:best": "9f02c7d300",
    "a37:latest": "5d8f0b6a12",
    "latest:latest": "d7718e5c77",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_leads_to_one_run_or_checkpoint(three_runs: World, run: Run, name: str) -> None:
    kind = "Checkpoint" if ":" in name else "Experiment"
    assert run("show", name).stdout.startswith(f"{kind}: {NAMES[name]}")
    assert Project().find(name).id == NAMES[name]


def test_names_work_in_python_too(three_runs: World) -> None:
    assert keepsake.experiments.get("-2").id == keepsake.experiments.get("best").id == "a37c2e9d04"
    ids = {"9f0": "9f02c7d300", "best": "9f02c7d300", "-2:latest": "5d8f0b6a12", "latest": "d7718e5c77"}
    for name, id in ids.items():
        assert keepsake.checkpoints.get(name).id == id
    assert keepsake.checkpoints.get("9f0").owner().id == "a37c2e9d04"
    assert [each.id[:3] for each in Project().checkpoints.list()] == ["4e1", "9f0", "5d8", "d77"]


def test_files_of_a_checkpoint_by_name(three_runs: World) -> None:
    with keepsake.checkpoints.get("best").open("data/x") as file:
        assert file.read() == b"9f02c7d300"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a37", "'a37' is an experiment, and a checkpoint is needed. 'a37:best' and 'a37:latest' are"),
        ("-1", "'-1' is an experiment"),
        ("", "at least its first digits"),
        ("fff", "There is no checkpoint whose ID begins with 'fff'"),
        ("lastest", "Did you mean 'latest'?"),
        ("c90:best", "Experiment c90d1f4 has no checkpoints, so it has no best checkpoint"),
        ("b51:best", "Experiment b51e7a0 has no value of a primary metric, so it has no best checkpoint"),
    ],
)
def test_no_checkpoint_has_that_name(three_runs: World, name: str, message: str) -> None:
    with pytest.raises(DoesNotExist) as caught:
        keepsake.checkpoints.get(name)
    assert message in str(caught.value)


def test_no_experiment_has_that_name(three_runs: World, run: Run) -> None:
    for name, message in {
        "-4": "it has 3 experiments. The names -1 to -3 are theirs.",
        "-0": "There is no experiment -0",
        "latest:best": "has no value of a primary metric",
    }.items():
        assert message in run("show", name, status=1).stderr
    with pytest.raises(DoesNotExist, match="'best:best' is a checkpoint, and an experiment is needed"):
        keepsake.experiments.get("best:best")
    with pytest.raises(ValidationError, match="-1 is of type int"):
        keepsake.checkpoints.get(-1)  # type: ignore[arg-type]


def test_an_empty_repository_has_no_best_or_latest(world: World, run: Run) -> None:
    for name in ("latest", "-2"):
        assert f"There are no experiments in {world.repository.url}, so {name!r} stands for none." in (
            run("show", name, status=1).stderr.replace("\n   │ ", " ")
        )
    world.add(experiment("e100000000", 0))
    assert "none has a value of a primary metric. Pass primary_metric=" in run("show", "best", status=1).stderr
    with pytest.raises(DoesNotExist, match="There are no checkpoints"):
        keepsake.checkpoints.get("latest")


def test_no_experiment_is_best_if_primary_metrics_differ(world: World, run: Run) -> None:
    other = {"name": "acc", "goal": "maximize"}
    world.add(
        experiment("e100000000", 3, checkpoint("c100000000", 3, 0, {"metric-1": 1})),
        experiment("e200000000", 2, checkpoint("c200000000", 2, 0, {"metric-1": 1})),
        experiment("e300000000", 1, checkpoint("c300000000", 1, 0, {"acc": 1}, primary_metric=other)),
    )
    message = run("show", "best", status=1).stderr.replace("\n   │ ", " ")
    assert "metric-1 (minimize) in 2, acc (maximize) in 1. Name one by its ID." in message
    with pytest.raises(AmbiguousID):
        keepsake.experiments.get("best")


def test_the_latest_of_equals_is_best(world: World) -> None:
    """This holds where the best checkpoint does not declare the metric, and beside NaN."""
    first = checkpoint("c300000000", 9, 0, {"metric-1": 2})
    world.add(
        experiment("e100000000", 3, checkpoint("c100000000", 3, 0, {"metric-1": 1})),
        experiment("e200000000", 2, first, checkpoint("c200000000", 2, 0, {"metric-1": 1.0}, primary_metric=None)),
        experiment("e300000000", 1, checkpoint("c400000000", 1, 0, {"metric-1": "[NaN]"})),
    )
    assert keepsake.experiments.get("best").id == "e200000000"
    assert keepsake.checkpoints.get("best").id == "c200000000"


def test_a_negative_number_is_not_an_option_and_a_wrong_option_is_not_an_id(three_runs: World, run: Run) -> None:
    assert "a37c2e9" in run("diff", "-2", "-1", "--no-color").stdout
    assert run("show", "--json", "-1:latest").stdout.startswith("{")
    assert run("show", "-1", "--json").stdout.startswith("{")
    for wrong in (["show", "-2", "--jsn"], ["show", "--jsn", "a37"], ["rm", "-x", "-1"], ["ls", "-1"]):
        assert "No such option" in run(*wrong, status=2).stderr


def test_what_is_removed_by_a_word_is_named(three_runs: World, run: Run) -> None:
    result = run("rm", "best", "-1:latest", input="n\n", status=1)
    assert "* Experiment a37c2e9 (named by 'best', 3 checkpoints)\n" in result.stdout
    assert "* Checkpoint d7718e5 (named by '-1:latest')\n" in result.stdout
    assert "Removing experiment b51e7a0 and its checkpoints (named by 'latest')..." in run("rm", "-f", "latest").stderr
    assert [each.id[:3] for each in keepsake.experiments.list()] == ["c90", "a37"]


def test_words_are_completed(three_runs: World) -> None:
    completer = ShellComplete(cli, {"obj": Settings()}, "keepsake", "_KEEPSAKE_COMPLETE")
    assert [item.value for item in completer.get_completions(["show"], "be")] == ["best"]
    assert [item.value for item in completer.get_completions(["diff", "-1"], "")][:3] == ["latest", "best", "b51e7a0"]


def test_words_are_not_completed_where_there_is_nothing(world: World) -> None:
    completer = ShellComplete(cli, {"obj": Settings()}, "keepsake", "_KEEPSAKE_COMPLETE")
    assert completer.get_completions(["show"], "") == []
