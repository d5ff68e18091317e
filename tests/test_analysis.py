"""What a notebook gets answers alike: the collection of a project, lists of experiments, and parts of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib import pyplot

import keepsake
from keepsake.analysis import Analysis
from keepsake.exceptions import KeepsakeError, ValidationError

matplotlib.use("Agg")

VERBS = sorted(name for name in vars(Analysis) if not name.startswith("_"))
ARGUMENTS = {"scatter": ("lr",)}


@pytest.fixture(autouse=True)
def _figures() -> Iterator[None]:
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> keepsake.Project:
    """Three runs with a metric in a dict, two of which differ by their seed alone."""
    directory = tmp_path_factory.mktemp("project")
    (directory / "keepsake.yaml").write_text("repository: file://.keepsake", "utf-8")
    project = keepsake.Project(directory=directory)
    for lr, seed in ((0.1, 1), (0.1, 2), (0.2, 1)):
        run = project.experiments.create(params={"lr": lr, "seed": seed}, quiet=True)
        for step in (1, 2, 3):
            metrics = {"loss": lr / step, "acc": {"top1": step / 10, "top5": step / 5}}
            run.checkpoint(step=step, metrics=metrics, primary_metric=("loss", "minimize"))
        run.stop()
    return project


PARTS: dict[str, Callable[[keepsake.ExperimentCollection], Any]] = {
    "collection": lambda experiments: experiments,
    "list": lambda experiments: experiments.list(),
    "slice": lambda experiments: experiments[:2],
    "filtered": lambda experiments: experiments.list("lr < 1"),
    "sum": lambda experiments: experiments[:1] + experiments[1:],
    "copy": lambda experiments: experiments.list().copy(),
    "group": lambda experiments: experiments.group()[0].runs,
}


@pytest.mark.parametrize("part", PARTS)
def test_all_answer_the_same_verbs(project: keepsake.Project, part: str) -> None:
    found = PARTS[part](project.experiments)
    assert len(found) == len(list(found)) >= 2
    assert found[0] == project.experiments[0]
    for name in VERBS:
        verb = getattr(found, name)
        assert (verb(*ARGUMENTS.get(name, ())) if callable(verb) else verb) is not None
    assert found._repr_html_()


def test_the_collection_of_all_does_what_their_list_does(project: keepsake.Project) -> None:
    everything, listed = project.experiments, project.experiments.list()
    assert everything.to_columns() == listed.to_columns()
    assert everything.draw("acc.top1") == listed.draw("acc.top1")
    assert project.checkpoints.to_columns() == listed.checkpoints.to_columns()
    assert list(project.checkpoints) == project.checkpoints.list() == everything.checkpoints
    assert "list()" in repr(everything)
    assert "list()" in repr(project.checkpoints)


def test_nothing_to_draw_is_said(project: keepsake.Project) -> None:
    nothing = project.experiments.list("lr > 1")
    for name in ("plot", "draw", "importances"):
        with pytest.raises(ValidationError, match="There are no experiments to draw"):
            getattr(nothing, name)()
    assert (len(nothing[:1]), nothing.group(), nothing.report().runs) == (0, [], 0)
    assert set(nothing.to_dataframe().columns) >= {"id", "created", "status"}


def test_what_has_just_begun_has_no_metrics_yet(project_directory: Path) -> None:
    with keepsake.init(params={"lr": 1}, quiet=True), pytest.raises(ValidationError, match="no metrics yet"):
        keepsake.experiments.plot()


def test_a_metric_in_a_dict_has_its_path_as_its_name(project: keepsake.Project) -> None:
    experiments = project.experiments
    assert len(experiments.list("acc.top1 > 0.2 and best:acc.top5 < 1", sort="-metrics.acc.top1")) == 3
    assert experiments.to_columns()["last:acc.top1"] == [0.3] * 3
    assert experiments[0].checkpoints.to_columns()["metrics.acc.top5"] == [0.2, 0.4, 0.6]
    assert experiments[0].checkpoints.metrics["acc.top1"] == [0.1, 0.2, 0.3]
    assert set(experiments.importances("acc.top1")) == {"lr", "seed"}
    assert experiments.scatter("lr", "acc.top5").get_ylabel() == "acc.top5"
    assert "acc.top1" in experiments[0].checkpoints._repr_html_()
    with pytest.raises(KeyError):
        experiments[0].checkpoints.metrics["acc.top2"]
    with pytest.raises(KeepsakeError, match=r'Did you mean "acc\.top5"'):
        experiments.plot("acc.top6")
