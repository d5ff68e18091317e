"""What names mean: params, metrics and fields, and names that no experiment has."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keepsake
from keepsake.exceptions import UnknownName
from keepsake.listing import fields
from keepsake.listing.fields import FIELDS, Kind, KnownName, Names, known_names, resolve
from keepsake.listing.index import Line
from keepsake.listing.subjects import MISSING, ValuePath, WholeExperiment, flatten
from keepsake.listing.summary import Summary
from tests.listing.runs import Run

RUN = Run(
    params={"lr": 0.1, "optimizer": {"lr": 0.2, "name": "adam", "a.b": {"c": 1}}, "a.b": 2, "note": None, "loss": 9},
    best_metrics={"loss": 0.5, "val/acc": 0.9, "eval": {"f1": 0.7}},
    last_metrics={"loss": 0.6, "val/acc": 0.8, "late": 1},
    facts={"tags": ["baseline"], "name": "first"},
    user="kim",
    latest_step=7,
)


@pytest.fixture(autouse=True)
def nothing_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_explained", set())


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("lr", "param", 0.1),
        ("params.lr", "param", 0.1),
        ("optimizer.lr", "param", 0.2),
        ("params.optimizer.lr", "param", 0.2),
        ("optimizer.a.b.c", "param", 1),
        ("optimizer", "param", RUN.params["optimizer"]),
        ("a.b", "param", 2),
        ("note", "param", None),
        ("loss", "metric", 0.5),
        ("metrics.loss", "metric", 0.5),
        ("best:loss", "metric", 0.5),
        ("last:loss", "metric", 0.6),
        ("last:late", "metric", 1),
        ("params.loss", "param", 9),
        ("val/acc", "metric", 0.9),
        ("eval.f1", "metric", 0.7),
        ("user", "field", "kim"),
        ("step", "field", 7),
        ("tags", "field", ["baseline"]),
        ("name", "field", "first"),
        ("fields.name", "field", "first"),
        ("notes", "field", None),
        ("checkpoints", "field", 0),
        ("started", "field", 0.0),
    ],
)
def test_a_name_is_resolved(name: str, kind: str, value: Any) -> None:
    field = resolve(name, [Run(), RUN])
    assert (field.value(RUN), field.kind) == (value, kind)


def test_fields_of_0_4_2_hide_metrics_and_params_and_the_others_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run({"user": "param", "name": "resnet", "tags": 3}, {"step": 1.0}, facts={"name": "x"}, user="kim")
    assert [resolve(name, [run]).value(run) for name in ("user", "step", "params.user")] == ["kim", 0, "param"]
    assert capsys.readouterr().err == ""
    other = Run(facts={"name": "y"})
    field = resolve("name", [other, run])
    assert [field.value(run), field.value(other)] == ["resnet", None]
    assert "params.name or fields.name" in capsys.readouterr().err
    assert [resolve("fields.name", [other, run]).value(each) for each in (run, other)] == ["x", "y"]


def test_a_metric_that_is_a_param_too_keeps_its_meaning_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [Run({"loss": "mse"}), RUN]
    field = resolve("loss", runs)
    resolve("loss", runs)
    assert [field.value(run) for run in runs] == ["mse", 0.5]
    said = '"loss" is a metric and a param. It means the metric of the best checkpoint, else the param.'
    assert capsys.readouterr().err.count(said) == 1
    resolve("params.loss", runs)
    assert capsys.readouterr().err == ""


def test_the_last_value_of_a_metric_is_found_where_the_name_means_nothing_in_0_4_2() -> None:
    run = Run({"lr": 0.1}, last_metrics={"acc": 0.8, "lr": 0.01})
    assert [resolve(name, [run]).value(run) for name in ("acc", "metrics.acc", "last:acc")] == [0.8] * 3
    assert [resolve(name, [RUN]).value(RUN) for name in ("late", "metrics.late")] == [1, 1]
    assert [resolve(name, [run]).value(run) for name in ("lr", "metrics.lr")] == [0.1, 0.01]
    other = Run(best_metrics={"acc": 0.9})
    assert [resolve("acc", [run, other]).value(each) for each in (run, other)] == [None, 0.9]
    assert [resolve("metrics.acc", [run, other]).value(each) for each in (run, other)] == [0.8, 0.9]
    with pytest.raises(UnknownName):
        resolve("best:late", [RUN])


@pytest.mark.parametrize(
    ("name", "kind", "suggestions"),
    [
        ("dropot", None, '"dropout"'),
        ("DROPOUT", None, '"dropout"'),
        ("vall_loss", None, '"val_loss"'),
        ("statsu", None, '"status"'),
        ("beta", None, '"optimizer.beta"'),
        ("optimizer.bet", None, '"optimizer.beta"'),
        ("params.val_loss", None, None),
        ("params.drop_out", None, '"params.dropout"'),
        ("params.beta", None, '"params.optimizer.beta"'),
        ("metrics.val_los", None, '"metrics.val_loss"'),
        ("best:val_los", None, '"best:val_loss"'),
        ("best:accuracy", None, 'Did you mean "last:accuracy"?'),
        ("last:dropout", None, ""),
        ("fields.nmae", None, '"fields.name"'),
        ("val_los", "metric", '"val_loss"'),
        ("dropuot", "param", '"dropout"'),
        ("val_loss", "param", None),
        ("", None, None),
    ],
)
def test_a_name_that_none_has_is_an_error_with_the_nearest(
    name: str, kind: Kind | None, suggestions: str | None
) -> None:
    runs = [Run(), Run({"dropout": 0.5, "optimizer": {"beta": 1}}, {"val_loss": 1}, {"accuracy": 1})]
    with pytest.raises(UnknownName, match=f'No experiment has a .* "{name}"') as caught:
        resolve(name, runs, kind)
    assert ("Choose from: " if suggestions is None else suggestions) in str(caught.value)


def test_what_is_suggested_is_known() -> None:
    """A suggestion never leads to another error."""
    for name in ("x", "params.x", "metrics.x", "best:x", "last:x", "fields.x", "optimizer.x"):
        with pytest.raises(UnknownName) as caught:
            resolve(name, [RUN])
        message = str(caught.value)
        listed = message.partition("Choose from: ")[2].rstrip(".").partition(" and ")[0]
        for suggestion in listed.split(", ") if listed else message.split('"')[3::2]:
            resolve(suggestion, [RUN])


def test_names_in_errors_are_short_and_harmless() -> None:
    with pytest.raises(UnknownName) as caught:
        resolve("x" * 1000, [Run({"\x1b[31mred": 1, "y" * 1000: 2, "new\nline": 3})])
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_without_experiments_every_name_will_do() -> None:
    assert resolve("dropot", []).name == "dropot"
    assert resolve("params.dropot", []).kind == "param"


def test_all_experiments_are_looked_at_for_a_name_that_few_have() -> None:
    runs = [Run({"common": 0}) for _ in range(99)] + [Run({"rare": 1})]
    for name in ("rare", "params.rare"):
        names = Names()
        rare, common = names.field(name), names.field("common")
        found = [(rare.value(run), common.value(run)) for run in names.watch(runs)]
        assert found == [(None, 0)] * 99 + [(1, None)]


def test_watching_reads_no_further_than_it_is_asked() -> None:
    """A listing of many then holds only the matches in memory."""
    names = Names()
    names.field("lr")
    endless = names.watch(Run({"lr": number}) for number in itertools.count())
    assert [next(endless).params["lr"] for _ in range(3)] == [0, 1, 2]


def test_all_known_names() -> None:
    others = Run({"lr": 0.1, "optimizer": {"lr": 0.3, "name": "adam"}, "loss": 9.0}, last_metrics={"acc": math.nan})
    found = known_names([RUN, others])
    assert [name for name, kind, _ in found if kind == "field"] == list(FIELDS)
    assert [name for name, kind, _ in found if kind == "metric"] == ["loss", "val/acc", "late", "eval.f1", "acc"]
    params = {name: differs for name, kind, differs in found if kind == "param"}
    assert params == {
        "lr": False,
        "a.b": False,
        "note": False,
        "loss": False,
        "optimizer.lr": True,
        "optimizer.name": False,
        "optimizer.a.b.c": False,
    }
    assert known_names([])[0] == KnownName("created", "field", True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.dictionaries(st.text('ab."\\\té', max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text('ab."\\\té', max_size=3), JSON, max_size=4))
def test_every_path_is_found_and_never_missed_in_the_text(values: dict[str, Any]) -> None:
    dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    for name in flatten(values):
        path = ValuePath(name)
        assert path.find(values) is not MISSING
        assert path.may_be_in(json.dumps(values, separators=(",", ":")))
        assert path.may_be_in(dumps(values))


def test_a_line_of_the_index_and_a_whole_experiment_are_alike(tmp_path: Path) -> None:
    project = keepsake.Project(directory=str(tmp_path), repository=f"file://{tmp_path}/repo")
    experiment = project.experiments.create(params={"lr": math.nan, "optimizer": {"lr": "None"}, "é": 1}, quiet=True)
    for step, loss in enumerate((0.5, 0.4, math.inf)):
        rare = {"rare": -1, "eval": {"f1": 0.7}} if step == 0 else {}
        experiment.checkpoint(step=step, metrics={"loss": loss, **rare}, primary_metric=("loss", "minimize"))
    experiment.stop()
    (whole,), (summary,) = project.experiments.list(), project.workplace.view.summaries()
    names = [*(name for name in FIELDS if name not in ("created", "duration")), "lr", "optimizer.lr", "é"]
    found = [f"{prefix}{metric}" for prefix in ("", "metrics.", "last:") for metric in ("loss", "rare", "eval.f1")]
    for name in [*names, "best:loss", *found]:
        one, other = (resolve(name, [it]).value(it) for it in (summary, WholeExperiment(whole)))
        assert one == other or (one != one and other != other), name
    for name in ("created", "duration", "ended"):
        one, other = (resolve(name, [it]).value(it) for it in (summary, WholeExperiment(whole)))
        assert one == pytest.approx(other, abs=1e-5)
        assert one is not None


def test_fields_that_a_record_adds_are_read_from_it_and_odd_ones_are_not() -> None:
    record = {"id": "a" * 64, "created": "2026-01-01T00:00:00.5Z", "checkpoints": None, "params": {"lr": 1}}
    odd = {"name": 3, "tags": "x", "notes": [1], "ended": "whenever", "parent": None, "path": ""}
    facts = {"name": "first", "tags": ["a", 3, "b"], "ended": "2026-01-01T00:00:01Z", "parent": "b" * 64}
    fine, strange = (Summary(Line.make({**record, **more}, "", json.dumps), None) for more in (facts, odd))
    names = ("name", "tags", "ended", "parent", "notes", "path", "duration")
    assert [resolve(name, [fine]).value(fine) for name in names] == [
        "first",
        ["a", "b"],
        1767225601.0,
        "b" * 64,
        None,
        None,
        None,
    ]
    assert [resolve(name, [strange]).value(strange) for name in names] == [None] * 7
