"""Plots over steps and over hyperparameters: what is drawn, how it is named, and what is said of the rest."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import matplotlib
import numpy
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_hex
from matplotlib.lines import Line2D

import keepsake
from keepsake.checkpoint import Checkpoint, CheckpointList, PrimaryMetric
from keepsake.collection import ExperimentList
from keepsake.exceptions import MissingExtra, ValidationError
from keepsake.experiment import Experiment
from keepsake.project import Project

matplotlib.use("Agg")

MINIMIZE = PrimaryMetric(name="loss", goal="minimize")
MAXIMIZE = PrimaryMetric(name="loss", goal="maximize")
START = datetime(2024, 5, 1, 12, 0, 0)
NAN = math.nan


@pytest.fixture(autouse=True)
def _draws_without_warnings() -> Iterator[None]:
    """Whatever a test plots can be drawn too, and leaves nothing to the next."""
    pyplot.close("all")
    yield
    for number in pyplot.get_fignums():
        pyplot.figure(number).canvas.draw()
    pyplot.close("all")


def make(
    number: int,
    metrics: Sequence[dict[str, Any] | None],
    params: dict[str, Any] | None = None,
    primary: PrimaryMetric | None = MINIMIZE,
) -> Experiment:
    """An experiment with a checkpoint at every tenth step."""
    experiment = Experiment(Project(), f"{number:07x}" + "0" * 57, START + timedelta(hours=number), params=params)
    experiment.checkpoints = CheckpointList(
        Checkpoint(f"{step:064x}", START + timedelta(minutes=step), None, 10 * step, values, primary)
        for step, values in enumerate(metrics)
    )
    for checkpoint in experiment.checkpoints:
        checkpoint.experiment = experiment
    return experiment


def losses(number: int, *values: Any, primary: PrimaryMetric | None = MINIMIZE, **params: Any) -> Experiment:
    return make(number, [{"loss": value} for value in values], params, primary)


def curves(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if not str(line.get_label()).startswith("_")]


def points(line: Line2D) -> list[tuple[float, float]]:
    return [(x, y) for x, y in numpy.asarray(line.get_xydata()).tolist()]


def stars(axes: Axes) -> list[tuple[float, float]]:
    return [point for line in axes.lines if line.get_marker() == "*" for point in points(line)]


def legend(axes: Axes) -> list[str]:
    shown = axes.get_legend()
    return [text.get_text() for text in shown.get_texts()] if shown else []


def scattered(axes: Axes) -> list[tuple[float, float]]:
    return [(x, y) for x, y in numpy.asarray(axes.collections[0].get_offsets()).tolist()]


# Over the steps


def test_each_experiment_is_a_labelled_curve_with_its_best_checkpoint_marked() -> None:
    axes = ExperimentList([losses(1, 0.5, 0.25, 0.75), losses(2, 0.9, 0.8)]).plot("loss")
    first, second = curves(axes)
    assert points(first) == [(0, 0.5), (10, 0.25), (20, 0.75)]
    assert points(second) == [(0, 0.9), (10, 0.8)]
    assert stars(axes) == [(10, 0.25), (10, 0.8)]
    assert legend(axes) == ["0000001", "0000002", "best checkpoint"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("step", "loss", "linear")
    assert not same_color(first.get_color(), second.get_color())


def test_an_experiment_and_its_checkpoints_plot_the_same() -> None:
    experiment = losses(1, 0.5, 0.25, 0.75)
    for plot in (experiment.plot, experiment.checkpoints.plot):
        pyplot.close("all")
        axes = plot()
        assert [points(line) for line in curves(axes)] == [[(0, 0.5), (10, 0.25), (20, 0.75)]]
        assert legend(axes) == ["0000001", "best checkpoint"]


def test_a_slice_of_checkpoints_has_a_best_of_its_own() -> None:
    axes = losses(1, 0.1, 0.5, 0.4).checkpoints[-2:].plot("loss")
    assert points(curves(axes)[0]) == [(10, 0.5), (20, 0.4)]
    assert stars(axes) == [(20, 0.4)]


def test_checkpoints_of_no_experiment_are_plotted() -> None:
    axes = CheckpointList([Checkpoint("a" * 64, START, metrics={"loss": 1})]).plot("loss")
    assert points(curves(axes)[0]) == [(0, 1)]
    assert legend(axes) == ["checkpoints"]


def test_the_metric_defaults_to_the_primary_metric_of_the_first_that_has_one() -> None:
    experiments = ExperimentList([make(1, [{"accuracy": 1}], primary=None), losses(2, 0.5)])
    assert experiments.plot().get_ylabel() == "loss"


def test_it_draws_on_the_current_axes_as_pyplot_does() -> None:
    """Code for 0.4.2 calls pyplot before and after; two plots lie one over the other."""
    figure, (left, right) = pyplot.subplots(1, 2)
    pyplot.sca(left)
    assert losses(1, 0.5).plot("loss") is left
    assert losses(2, 0.5).plot("loss") is left
    pyplot.title("two runs")
    pyplot.tight_layout()
    assert left.get_title() == "two runs"
    assert legend(left) == ["0000001", "0000002", "best checkpoint"]
    assert len({to_hex(line.get_color()) for line in curves(left)}) == 2
    assert right.lines[:] == []
    assert pyplot.get_fignums() == [figure.number]


def test_another_metric_is_drawn_on_a_figure_of_its_own() -> None:
    experiment = make(1, [{"loss": 0.5, "accuracy": 0.9}, {"loss": 0.4, "accuracy": 0.8}])
    first = experiment.plot("loss")
    assert experiment.plot("loss") is first
    second = experiment.plot("accuracy")
    assert second is not first
    assert (first.get_ylabel(), second.get_ylabel()) == ("loss", "accuracy")
    assert len(pyplot.get_fignums()) == 2
    pyplot.cla()
    assert experiment.plot("loss") is second


def test_many_plots_open_one_figure() -> None:
    for number in range(25):
        losses(number, 0.5, 0.4).plot("loss")
    assert pyplot.get_fignums() == [1]


def test_a_logarithmic_axis_leaves_gaps_for_what_it_cannot_show() -> None:
    axes = losses(1, 1.0, 0.0, -1.0, 0.01).plot("loss", logy=True)
    assert axes.get_yscale() == "log"
    assert 0 < axes.get_ylim()[0] < 0.01
    assert not numpy.isfinite(axes.yaxis.get_transform().transform([0.0, -1.0])).any()


@pytest.mark.parametrize("gap", [None, NAN])
def test_none_and_nan_are_gaps(gap: float | None) -> None:
    axes = losses(1, 0.5, gap, 0.25).plot("loss")
    values = points(curves(axes)[0])
    assert values[::2] == [(0, 0.5), (20, 0.25)]
    assert math.isnan(values[1][1])


def test_a_checkpoint_without_the_metric_is_no_gap() -> None:
    axes = make(1, [{"loss": 1}, {"accuracy": 1}, None, {"loss": 2}]).plot("loss")
    assert points(curves(axes)[0]) == [(0, 1), (30, 2)]


def test_a_point_between_gaps_has_a_dot_where_others_have_none() -> None:
    values = [0.5] * 300
    values[1] = values[3] = NAN
    line = curves(losses(1, *values).plot("loss"))[0]
    assert (line.get_marker(), line.get_markevery()) == (".", [0, 2])
    pyplot.close("all")
    assert curves(losses(1, *[0.5] * 300).plot("loss"))[0].get_marker() == "None"


def test_few_points_all_have_dots() -> None:
    line = curves(losses(1, 0.5, 0.4).plot("loss"))[0]
    assert (line.get_marker(), line.get_markevery()) == (".", None)


def test_steps_are_whole_numbers_on_the_axis() -> None:
    experiment = losses(1, 0.5, 0.4, 0.3)
    for step, checkpoint in enumerate(experiment.checkpoints):
        checkpoint.step = step
    axes = experiment.plot()
    axes.figure.canvas.draw()
    assert all(tick == int(tick) for tick in axes.get_xticks())


def test_infinite_and_huge_numbers_do_no_harm() -> None:
    axes = losses(1, 0.5, math.inf, 10**400, True).plot("loss")
    values = [y for _, y in points(curves(axes)[0])]
    assert (values[0], values[3]) == (0.5, 1.0)
    assert math.isnan(values[2])


def test_runs_without_a_number_are_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    axes = ExperimentList([losses(1, 0.5), losses(2, NAN), make(3, []), make(4, [{"accuracy": 1}])]).plot("loss")
    assert legend(axes) == ["0000001", "best checkpoint"]
    assert "Left out, without a number for 'loss': 0000002, 0000003, 0000004" in capsys.readouterr().err


@pytest.mark.parametrize(("primary", "sign"), [(MINIMIZE, 1), (MAXIMIZE, -1)])
def test_of_very_many_runs_the_best_stand_out(primary: PrimaryMetric, sign: int) -> None:
    axes = ExperimentList(losses(n, sign * 200, sign * n, NAN, primary=primary) for n in range(1, 101)).plot()
    assert legend(axes) == [f"{n:07x}" for n in range(1, 11)] + ["… and 90 more", "best checkpoint"]
    assert axes.get_legend().get_title().get_text() == "Best 10 of 100"
    assert len({to_hex(line.get_color()) for line in curves(axes)}) == 10
    assert len(axes.lines) == 110
    assert stars(axes) == [(10, sign * n) for n in range(1, 11)]


def test_of_very_many_runs_without_a_goal_the_latest_stand_out() -> None:
    axes = ExperimentList(losses(n, n, primary=None) for n in range(1, 31)).plot("loss")
    assert legend(axes) == [f"{n:07x}" for n in range(30, 20, -1)] + ["… and 20 more"]
    assert axes.get_legend().get_title().get_text() == "Latest 10 of 30"


@pytest.mark.parametrize("plot", [lambda runs: runs.plot("loss"), lambda runs: [run.plot("loss") for run in runs][-1]])
def test_twenty_runs_can_be_told_apart(plot: Callable[[ExperimentList], Axes]) -> None:
    """In one plot or one after the other: no two of them have the same colour and dashes."""
    axes = plot(ExperimentList(losses(n, n, n + 1) for n in range(20)))
    assert len({(to_hex(line.get_color()), line.get_linestyle()) for line in curves(axes)}) == 20
    assert len(legend(axes)) == 21


def test_a_legend_of_runs_plotted_one_by_one_does_not_grow_for_ever() -> None:
    for number in range(30):
        axes = losses(number, 1, 2).plot("loss")
    assert legend(axes)[-2:] == ["… and 10 more", "best checkpoint"]
    assert len(legend(axes)) == 22


def test_a_long_legend_stands_beside_the_axes_within_the_figure() -> None:
    axes = ExperimentList(losses(n, 1, 2) for n in range(15)).plot("loss")
    figure = pyplot.gcf()
    figure.canvas.draw()
    box = axes.get_legend().get_window_extent()
    assert box.x0 > axes.get_window_extent().x1
    assert box.x1 <= figure.bbox.x1


def test_axes_placed_by_hand_stay_where_they_are() -> None:
    pyplot.figure().add_axes((0.1, 0.1, 0.5, 0.8))
    axes = ExperimentList(losses(n, 1, 2) for n in range(15)).plot("loss")
    pyplot.gcf().canvas.draw()
    assert axes.get_position().bounds == pytest.approx((0.1, 0.1, 0.5, 0.8))


def test_names_are_no_formulas() -> None:
    """Matplotlib would take what stands between dollar signs for mathematics, and fail on what is not."""
    name = "loss $\\nonsense{$ \x1b[31m"
    axes = make(1, [{name: 1}], {"p": "$\\x$"}).plot(name)
    assert axes.get_ylabel() == r"loss \$\nonsense{\$ \x1b[31m"
    pyplot.figure()
    ExperimentList([make(1, [{name: 1}], {"p": "$\\x$"})]).scatter("p", name)


def test_nothing_recorded_yet_is_an_empty_plot(capsys: pytest.CaptureFixture[str]) -> None:
    """A notebook that follows a run from its first second goes on."""
    axes = make(1, []).plot("loss")
    assert curves(axes) == []
    assert legend(axes) == []
    assert ExperimentList().scatter("lr", "loss").get_xlabel() == "lr"
    assert "0000001" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (lambda runs: runs.plot("los"), "There is no metric 'los'. Did you mean 'loss'?"),
        (lambda runs: runs[0].plot("zzz"), "There is no metric 'zzz'. Choose from: accuracy, loss."),
        (lambda runs: runs[0].checkpoints.plot(["loss"]), r"There is no metric \['loss'\]. Did you mean 'loss'?"),
        (lambda runs: runs.plot(), r"No primary metric is declared. Name one of the metrics: accuracy, loss."),
        (lambda runs: make(1, []).plot(), r"No primary metric is declared. Name one of the metrics: none."),
        (lambda runs: runs.scatter("rate", "loss"), "There is no param 'rate'. Choose from: lr."),
        (lambda runs: runs.scatter("l", "loss"), "There is no param 'l'. Did you mean 'lr'?"),
        (lambda runs: runs.scatter("lr", "accurasy"), "There is no metric 'accurasy'. Did you mean 'accuracy'?"),
        (
            lambda runs: runs.scatter("lr", "loss", logx=True),
            "Not all values of param 'lr' are numbers. Leave out logx.",
        ),
        (
            lambda runs: losses(2, "bad").plot(),
            "Cannot plot metric 'loss' of 0000002: bad is not a number. Choose another one.",
        ),
        (
            lambda runs: losses(2, [1]).plot(),
            r"Cannot plot metric 'loss' of 0000002: \[1\] is not a number. Choose another one.",
        ),
        (
            lambda runs: ExperimentList([losses(2, "bad", p=1)]).scatter("p"),
            "Cannot plot metric 'loss' of 0000002: bad is not a number. Choose another one.",
        ),
    ],
)
def test_a_wrong_argument_is_one_clear_error(plot: Callable[[ExperimentList], object], message: str) -> None:
    runs = [make(1, [{"loss": 1, "accuracy": 1}], {"lr": lr}, primary=None) for lr in (0.1, "auto")]
    with pytest.raises(ValidationError, match=f"^{message}$".replace("?", r"\?")):
        plot(ExperimentList(runs))
    assert pyplot.get_fignums() == []


def test_many_names_are_not_all_listed() -> None:
    experiment = make(1, [{f"metric {number:02}": 1 for number in range(50)}])
    with pytest.raises(ValidationError, match=r"metric 09 and 40 more\.$"):
        experiment.plot("zzz")


@pytest.mark.parametrize("plot", [lambda runs: runs.plot(), lambda runs: runs.scatter("lr")])
def test_without_matplotlib_the_error_says_what_to_install(
    plot: Callable[[ExperimentList], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'keepsake\[plot\]'") as caught:
        plot(ExperimentList([losses(1, 0.5, lr=1)]))
    assert isinstance(caught.value, ImportError)


# Over a hyperparameter


def test_a_point_is_the_best_checkpoint_or_else_the_latest() -> None:
    runs = [losses(1, 0.5, 0.25, 0.75, lr=0.1), losses(2, 0.9, 0.8, 0.85, lr=0.01, primary=None)]
    axes = ExperimentList(runs).scatter("lr")
    assert scattered(axes) == [(0.01, 0.85), (0.1, 0.25)]
    assert stars(axes) == [(0.1, 0.25)]
    assert [text.get_text() for text in axes.texts] == ["0000002", "0000001 (best)"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr", "loss")
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")


def test_the_best_of_all_is_marked_if_the_metric_has_a_goal() -> None:
    runs = [make(n, [{"loss": n, "accuracy": n}], {"lr": n}, MAXIMIZE) for n in (1, 3, 2)]
    assert stars(ExperimentList(runs).scatter("lr")) == [(3, 3)]
    pyplot.close("all")
    assert stars(ExperimentList(runs).scatter("lr", "accuracy")) == []


def test_both_axes_can_be_logarithmic() -> None:
    runs = ExperimentList(losses(n, 10.0**-n if n else 0.0, lr=0.1 * n) for n in range(4))
    axes = runs.scatter("lr", logx=True, logy=True)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlim()[0] > 0
    assert axes.get_ylim()[0] > 0


def test_of_many_points_only_the_best_has_its_id_beside_it() -> None:
    axes = ExperimentList(losses(n, n, lr=n) for n in range(5, 205)).scatter("lr")
    assert [text.get_text() for text in axes.texts] == ["0000005 (best)"]
    assert len(scattered(axes)) == 200


def test_runs_without_the_param_or_metric_are_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        losses(1, 0.5, lr=0.1),
        losses(2, 0.5),
        losses(3, 0.5, lr=None),
        losses(4, 0.5, lr=NAN),
        losses(5, NAN, lr=1),
    ]
    axes = ExperimentList([*runs, make(6, [], {"lr": 1}), make(7, [{"accuracy": 1}], {"lr": 1})]).scatter("lr")
    assert scattered(axes) == [(0.1, 0.5)]
    said = capsys.readouterr().err.replace("\n   │", "")
    assert "without param 'lr' or a number for 'loss': " + ", ".join(f"000000{n}" for n in range(2, 8)) in said


def test_a_param_of_words_makes_categories_in_order() -> None:
    runs = [losses(n, n, optimizer=name) for n, name in enumerate(["sgd", "adam", "sgd", "rmsprop"])]
    axes = ExperimentList(runs).scatter("optimizer")
    pyplot.gcf().canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["adam", "rmsprop", "sgd"]
    assert scattered(axes) == [(0, 1), (1, 3), (2, 0), (2, 2)]


@pytest.mark.parametrize(
    ("values", "categories"),
    [([True, False], ["false", "true"]), (["text", [1], 10, 9, True], ["true", "9", "10", "text", "[1]"])],
)
def test_bools_and_mixed_types_are_categories(values: list[Any], categories: list[str]) -> None:
    axes = ExperimentList(losses(number, number, p=value) for number, value in enumerate(values)).scatter("p")
    pyplot.gcf().canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()] == categories


def test_very_many_categories_are_not_all_named() -> None:
    axes = ExperimentList(losses(n, n, name=f"the long name of run {n:03} " + "x" * 99) for n in range(100)).scatter(
        "name"
    )
    pyplot.gcf().canvas.draw()
    labels = axes.get_xticklabels()
    assert len(labels) == 25
    assert all(len(label.get_text()) == 50 and label.get_rotation() == 90 for label in labels)
    assert len(scattered(axes)) == 100


# Both


def test_what_was_really_recorded_is_plotted(project_directory: Path) -> None:
    for rate in (0.1, 0.01):
        experiment = keepsake.init(params={"rate": rate})
        for loss in (0.5, NAN, 0.25):
            experiment.checkpoint(metrics={"loss": rate * loss}, primary_metric=("loss", "minimize"))
        experiment.stop()
    experiments = keepsake.experiments.list()
    axes = experiments.plot()
    assert legend(axes) == [experiments[0].short_id(), experiments[1].short_id(), "best checkpoint"]
    assert [x for x, _ in points(curves(axes)[0])] == [0, 1, 2]
    pyplot.figure()
    assert scattered(experiments.scatter("rate")) == [(0.01, 0.0025), (0.1, 0.025)]
