"""Metrics over params: scatter plots, parallel coordinates and importance."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex

from keepsake.collection import ExperimentList
from keepsake.exceptions import ValidationError
from tests.display.drawn import curves, legend, points, scattered, stars
from tests.display.runs import MAXIMIZE, losses, make, search

NAN = math.nan


# Scatter plots


def test_a_point_is_the_best_checkpoint_or_else_the_latest() -> None:
    runs = [losses(1, 0.5, 0.25, 0.75, lr=0.1), losses(2, 0.9, 0.8, 0.85, lr=0.01, primary=None)]
    axes = ExperimentList(runs).scatter("lr")
    assert scattered(axes) == [(0.01, 0.85), (0.1, 0.25)]
    assert stars(axes) == [(0.1, 0.25)]
    assert [text.get_text() for text in axes.texts] == ["0000001 (best)", "0000002"]
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


def test_only_the_best_of_many_points_has_a_label() -> None:
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


def test_labels_overlap_neither_each_other_nor_the_points() -> None:
    axes = ExperimentList(losses(n, 1 + n % 3 * 0.02, lr=1 + n // 3 * 0.01) for n in range(9)).scatter("lr")
    pyplot.gcf().canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) >= 3
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    spots = axes.transData.transform(scattered(axes))
    assert not any(box.contains(*spot) for box in boxes for spot in spots)


def test_a_third_quantity_is_shown_by_colour() -> None:
    runs = search(20)
    axes = runs.scatter("optimizer.lr", color="optimizer.name", logx=True)
    assert legend(axes) == ["adam", "sgd"]
    ordered = sorted(runs, key=lambda run: run.params["optimizer"]["lr"] if run.params else 0)
    names = [run.params["optimizer"]["name"] for run in ordered if run.params]
    colors = [to_hex(color) for color in axes.collections[0].get_facecolor()]
    assert dict(zip(names, colors, strict=True)) == {"adam": "#0072b2", "sgd": "#d55e00"}
    pyplot.close("all")
    axes = runs.scatter("optimizer.lr", color="loss")
    assert [each.get_ylabel() for each in pyplot.gcf().axes] == ["loss", "loss"]
    with pytest.raises(ValidationError, match="Did you mean"):
        runs.scatter("optimizer.lr", color="optimizer.nam")


# Parallel coordinates


def paths_of(axes: Any) -> list[list[tuple[float, float]]]:
    """The points of each experiment's line, in the order in which they are drawn."""
    return [[(float(x), float(y)) for x, y in path] for path in axes.collections[0].get_segments()]


def test_a_line_goes_through_the_params_that_differ_and_the_metric() -> None:
    axes = search(40).parallel_coordinates()
    names = [tick.get_text() for tick in axes.get_xticklabels()]
    assert names[-2:] == ["optimizer.lr", "loss"], "what matters most is beside the metric"
    assert set(names) == {"optimizer.name", "width", "optimizer.lr", "loss"}, "no seed"
    paths = paths_of(axes)
    assert len(paths) == 40
    assert {len(path) for path in paths} == {4}
    heights = [y for path in paths for _, y in path]
    assert (min(heights), max(heights)) == (0, 1)
    best = min(search(40), key=lambda run: run.best().metrics["loss"])  # type: ignore[union-attr,index]
    assert legend(axes) == [f"best: {best.short_id()}"]
    assert points(curves(axes)[0])[-1] == (3, 0)


def test_what_is_not_set_lies_below() -> None:
    runs = ExperimentList([losses(1, 1, lr=1, a="x"), losses(2, 2, lr=2), losses(3, 3, lr=NAN, a="y"), losses(4, NAN)])
    axes = runs.parallel_coordinates(params=["lr", "a"])
    heights = [[y for _, y in path] for path in paths_of(axes)]
    assert heights == [[-0.1, 1, 1], [1, -0.1, 0.5], [0, 0, 0]], "the best above the others"
    assert points(curves(axes)[0]) == [(0, 0), (1, 0), (2, 0)], "the best once more"
    assert "not set" in {text.get_text() for text in axes.texts}


def test_the_most_important_of_many_params_are_shown() -> None:
    runs = ExperimentList(
        make(n, [{"loss": n % 7}], {f"p{p}": n * (p + 3) % 11 for p in range(12)} | {"last": n % 7}) for n in range(60)
    )
    axes = runs.parallel_coordinates()
    names = [tick.get_text() for tick in axes.get_xticklabels()]
    assert len(names) == 9
    assert names[-2:] == ["last", "loss"]
    assert axes.get_title() == "The 8 of 12 params that matter most"


@pytest.mark.parametrize("runs", [[], [losses(1, 1)], [losses(1, 1, a=[1]), losses(2, 1, a={"b": True})]])
def test_little_to_compare_is_no_error(runs: list[Any]) -> None:
    ExperimentList(runs).parallel_coordinates("loss")
    pyplot.close("all")
    ExperimentList(runs).importance("loss")
    assert "loss" in ExperimentList(runs).draw_importance("loss")


# Importance


def test_the_bars_show_the_importances() -> None:
    runs = search(60)
    shares = runs.importances()
    assert next(iter(shares)) == "optimizer.lr"
    axes = runs.importance()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(shares)
    assert [bar.get_width() for bar in axes.patches] == list(shares.values())
    assert axes.get_title(loc="left") == "What matters for loss (60 runs)"
    pyplot.close("all")
    assert runs[:9].importance().get_title(loc="left") == "What matters for loss (9 runs, weak evidence)"


def test_the_bars_can_be_text() -> None:
    runs = search(60)
    title, first, *rest = runs.draw_importance(width=60).split("\n")
    share = runs.importances()["optimizer.lr"]
    assert title == "What matters for loss (60 runs)"
    assert first.startswith("optimizer.lr   ████████")
    assert first.endswith(f" {share:.2f}")
    assert len(rest) == 3
    assert all(len(line) <= 60 for line in (title, first, *rest))
    assert "\x1b[" in runs.draw_importance(color=True)
    assert ExperimentList([losses(1, 1, a=1)]).draw_importance().endswith("No param differs.")
    with pytest.raises(ValidationError, match='Did you mean "loss"'):
        runs.importances("los")


def test_categories_that_begin_with_very_many_digits() -> None:
    """Matplotlib takes such a text for a date, and fails, if it is cut with dots."""
    scatter = search(3)
    for run, value in zip(scatter, ("one", "1" * 400, None), strict=True):
        run.params = {"mixed": value}
    scatter.scatter("mixed", "loss")
