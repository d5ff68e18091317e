"""Plots over steps: what is drawn, how it is named, and what is reported as left out."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from cycler import cycler
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_hex

import keepsake
from keepsake.checkpoint import Checkpoint, CheckpointList, PrimaryMetric
from keepsake.collection import ExperimentList
from keepsake.display.axes import picture
from keepsake.exceptions import MissingExtra, ValidationError
from keepsake.experiment import Experiment
from tests.display.drawn import curves, legend, points, scattered, stars
from tests.display.runs import MAXIMIZE, MINIMIZE, START, losses, make

NAN = math.nan


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


def test_a_checkpoint_without_the_metric_is_not_a_gap() -> None:
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
    experiment = losses(1, 0.5, math.inf, 1, True)
    record = experiment.to_json()
    record["checkpoints"][2]["metrics"]["loss"] = 10**400  # another tool's: Keepsake records it as text
    axes = Experiment.from_record(experiment.project, record).plot("loss")
    values = [y for _, y in points(curves(axes)[0])]
    assert (values[0], values[3]) == (0.5, 1.0)
    assert math.isnan(values[2])


def test_runs_without_a_number_are_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    axes = ExperimentList([losses(1, 0.5), losses(2, NAN), make(3, []), make(4, [{"accuracy": 1}])]).plot("loss")
    assert legend(axes) == ["0000001", "best checkpoint"]
    assert "Left out, without a number for 'loss': 0000002, 0000003, 0000004" in capsys.readouterr().err


@pytest.mark.parametrize(("primary", "sign"), [(MINIMIZE, 1), (MAXIMIZE, -1)])
def test_the_best_of_very_many_runs_stand_out(primary: PrimaryMetric, sign: int) -> None:
    axes = ExperimentList(losses(n, sign * 200, sign * n, NAN, primary=primary) for n in range(1, 101)).plot()
    assert legend(axes) == [f"{n:07x}" for n in range(1, 11)] + ["… and 90 more", "best checkpoint"]
    assert axes.get_legend().get_title().get_text() == "Best 10 of 100"
    assert len({(to_hex(line.get_color()), line.get_linestyle()) for line in curves(axes)}) == 10
    assert len(axes.collections[0].get_paths()) == 90
    assert stars(axes) == [(10, sign * n) for n in range(1, 11)]


def test_the_latest_of_very_many_runs_without_a_goal_stand_out() -> None:
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


def test_names_are_not_formulas() -> None:
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
        (lambda runs: runs.plot("los"), 'No experiment has a metric "los". Did you mean "loss"?'),
        (lambda runs: runs[0].plot("zzz"), 'No experiment has a metric "zzz". Choose from: accuracy, loss.'),
        (
            lambda runs: runs[0].checkpoints.plot(["loss", "los"]),
            'No experiment has a metric "los". Did you mean "loss"?',
        ),
        (lambda runs: runs.plot(), r"No primary metric is declared. Name one of the metrics: accuracy, loss."),
        (lambda runs: make(1, []).plot(), "The experiments have no metrics yet. Record some with .*"),
        (lambda runs: runs.scatter("rate", "loss"), 'No experiment has a param "rate". Choose from: lr.'),
        (lambda runs: runs.scatter("l", "loss"), 'No experiment has a param "l". Did you mean "lr"?'),
        (
            lambda runs: runs.scatter("lr", "accurasy"),
            'No experiment has a metric "accurasy". Did you mean "accuracy"?',
        ),
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


def test_a_picture_for_a_file_leaves_the_current_figure_alone() -> None:
    axes = losses(1, 0.5, 0.25).plot()
    drawn: list[Axes] = []

    def draw() -> Axes:
        drawn.append(losses(2, 0.9, 0.8).plot())
        return drawn[-1]

    assert picture(draw, "png").startswith(b"\x89PNG")
    assert drawn[0].get_figure() is not axes.get_figure()
    assert pyplot.gca() is axes
    assert len(pyplot.get_fignums()) == 1


# Labels, colours, several metrics


def test_the_legend_names_what_differs() -> None:
    params = [
        {"optimizer": {"name": "adam", "lr": 0.00012345}, "epochs": 9, "seed": 1},
        {"optimizer": {"name": "adam", "lr": 0.5}, "epochs": 9, "seed": 1, "layers": [1, 2]},
    ]
    axes = ExperimentList(make(n, [{"loss": n}], own) for n, own in enumerate(params)).plot()
    assert legend(axes) == ["lr=0.000123", "lr=0.5 layers=[1,2]", "best checkpoint"]


def test_a_smoothed_curve_has_the_original_behind_it() -> None:
    axes = losses(1, 1.0, 0.0, NAN, math.inf, 1.0).plot(smoothing=0.5)
    (smoothed,) = curves(axes)
    raw = next(line for line in axes.lines if line.get_label() == "_raw")
    assert points(raw)[:2] == [(0, 1.0), (10, 0.0)]
    assert raw.get_alpha() == 0.25
    # 1; (0.5 * 0 + 0.25 * 1) / 0.75; gaps; (0.5 * 1 + 0.5 * 0.25) / 0.875
    assert [y for _, y in points(smoothed)] == pytest.approx([1.0, 1 / 3, NAN, NAN, 5 / 7], nan_ok=True)


def test_several_metrics_of_a_run_have_colours_and_of_many_runs_dashes() -> None:
    runs = [make(n, [{"a": n, "b": n}, {"a": 1, "b": 2}], {"lr": n}) for n in range(2)]
    axes = runs[0].plot(["a", "b"])
    assert legend(axes) == ["a", "b"]
    assert len({to_hex(line.get_color()) for line in curves(axes)}) == 2
    pyplot.close("all")
    axes = ExperimentList(runs).plot(["a", "b"])
    assert axes.get_ylabel() == "a, b"
    assert legend(axes) == ["lr=0", "lr=1", "a", "b"]
    drawn = [line for line in axes.lines if len(points(line))]
    assert len({to_hex(line.get_color()) for line in drawn}) == 2
    assert {line.get_linestyle() for line in drawn} == {"-", "--"}


def test_time_is_since_the_start_of_each_run() -> None:
    axes = ExperimentList(losses(n, 1, 2, 3, 4) for n in (1, 5)).plot(x="time")
    assert [points(line) for line in curves(axes)] == [[(0, 1), (1, 2), (2, 3), (3, 4)]] * 2
    assert axes.get_xlabel() == "time since the start (min)"


def test_a_metric_in_a_dict_is_found_by_its_path() -> None:
    experiment = make(1, [{"eval": {"loss": 3}}, {"eval": {"loss": 2}}], primary=None)
    assert points(curves(experiment.plot("eval.loss"))[0]) == [(0, 3), (10, 2)]


def test_colours_show_a_number_by_a_colour_bar() -> None:
    axes = ExperimentList(losses(n, 1, 2, optimizer={"lr": 10.0**-n}) for n in range(4)).plot(color="optimizer.lr")
    (bar,) = [each for each in pyplot.gcf().axes if each is not axes]
    assert bar.get_ylabel() == "optimizer.lr"
    assert bar.get_yscale() == "log"
    assert len({to_hex(line.get_color()) for line in axes.lines}) == 4
    assert legend(axes) == []


def test_colours_show_categories_by_a_legend() -> None:
    names = ["sgd", "adam", "sgd", None]
    axes = ExperimentList(losses(n, n + 1, n + 2, name=name) for n, name in enumerate(names)).plot(color="params.name")
    assert legend(axes) == ["adam", "sgd", "not set"]
    shown = [to_hex(line.get_color()) for line in axes.lines]
    assert shown[0] == shown[2] != shown[1]


def test_a_style_of_the_user_keeps_its_colours() -> None:
    with pyplot.rc_context({"axes.prop_cycle": cycler(color=["#123456"])}):
        assert to_hex(curves(losses(1, 1, 2).plot())[0].get_color()) == "#123456"


def test_a_figure_of_a_chosen_size_keeps_it() -> None:
    figure = pyplot.figure(figsize=(5, 3))
    ExperimentList(losses(n, 1, 2) for n in range(15)).plot("loss")
    assert tuple(figure.get_size_inches()) == (5, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"smoothing": 1}, "smoothing is 1. Give a number from 0 to below 1, such as 0.9."),
        ({"smoothing": -0.1}, "smoothing is -0.1. Give a number from 0 to below 1, such as 0.9."),
        ({"x": "date"}, "There is no x axis 'date'. Choose 'step' or 'time'."),
        ({"color": "lrr"}, 'No experiment has a metric, param or field "lrr". Did you mean "lr"?'),
    ],
)
def test_a_wrong_option_is_one_clear_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentList([losses(1, 1, 2, lr=1)]).plot(**arguments)
    assert str(caught.value) == message
    assert pyplot.get_fignums() == []


# All


def test_what_was_really_recorded_is_plotted(project_directory: Path) -> None:
    for rate in (0.1, 0.01):
        experiment = keepsake.init(params={"rate": rate})
        for loss in (0.5, NAN, 0.25):
            experiment.checkpoint(metrics={"loss": rate * loss}, primary_metric=("loss", "minimize"))
        experiment.stop()
    experiments = keepsake.experiments.list()
    axes = experiments.plot()
    assert legend(axes) == ["rate=0.1", "rate=0.01", "best checkpoint"]
    assert [x for x, _ in points(curves(axes)[0])] == [0, 1, 2]
    pyplot.figure()
    assert scattered(experiments.scatter("rate")) == [(0.01, 0.0025), (0.1, 0.025)]
