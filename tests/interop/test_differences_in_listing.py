"""Differences by intent, each shown to be real on both sides: filters, sorting, tables, what is best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop import records
from tests.interop.compare import Both, lines
from tests.interop.differences import shows

A, B, C = "e0000001", "e0000002", "e0000003"


def write_params(project: Path, *params: dict[str, Any], checkpoints: int = 0) -> None:
    """An experiment for each."""
    for number, each in enumerate(params, 1):
        made = [records.checkpoint(10 * number + n) for n in range(checkpoints)]
        records.write(project, records.experiment(number, *made, params=each))


def write_metrics(project: Path, *metrics: Any, primary: str | None = "loss", goal: str = "minimize") -> None:
    """One experiment, with a checkpoint for each."""
    declared = {"name": primary, "goal": goal} if primary else None
    found = [each if isinstance(each, dict) else {"loss": each} for each in metrics]
    made = [records.checkpoint(n, metrics=each, primary_metric=declared) for n, each in enumerate(found, 1)]
    records.write(project, records.experiment(1, *made))


# Filters and sorting


@shows("filter-type-mismatch")
def test_filter_type_mismatch(both: Both, project: Path) -> None:
    """Theirs: nothing but an error. Ours: all others."""
    write_params(project, {"lr": "high"}, {"lr": 0.1})
    theirs, ours = both.run("ls", "-q", "--filter", "lr < 0.5", cwd=project)
    assert (theirs.status, theirs.stdout) == (1, "")
    assert (ours.status, ours.stdout.split()) == (0, [B])
    assert "lr" in ours.stderr
    theirs, ours = both.run("ls", "-q", "--filter", "lr != 0.1", cwd=project)
    assert (theirs.status, ours.stdout.split()) == (1, [A])


@shows("filter-int-vs-float")
def test_filter_int_vs_float(both: Both, project: Path) -> None:
    """Theirs cannot compare 1 with 0.9."""
    write_params(project, {"accuracy": 1}, {"accuracy": 0.5})
    for condition, found in {">= 0.9": [A], "= 1.0": [A], "!= 1": [B], "<= 0.5": [B]}.items():
        theirs, ours = both.run("ls", "-q", "--filter", f"accuracy {condition}", cwd=project)
        assert (theirs.status, theirs.stdout) == (1, "")
        assert (ours.status, ours.stdout.split()) == (0, found)


@shows("filter-quoted-string")
def test_filter_quoted_string(both: Both, project: Path) -> None:
    """`opt = "adam"`."""
    write_params(project, {"opt": "adam"}, {"opt": "sgd"})
    theirs, ours = both.run("ls", "-q", "--filter", 'opt = "adam"', cwd=project)
    assert theirs.status == 1
    assert (ours.status, ours.stdout.split()) == (0, [A])


@shows("filter-names")
@pytest.mark.parametrize("text", ["val/loss < 1", "eval.loss<1", '"a<b" < 1'])
def test_filter_names(both: Both, project: Path, text: str) -> None:
    """Theirs does not parse them."""
    name = text.rpartition("<")[0].strip(' "')
    write_params(project, {name: 0.5}, {name: 1.5})
    theirs, ours = both.run("ls", "-q", "--filter", text, cwd=project)
    assert (theirs.status, theirs.stdout) == (1, "")
    assert (ours.status, ours.stdout.split()) == (0, [A])


@shows("filter-dates-in-words")
def test_filter_dates_in_words(both: Both, project: Path) -> None:
    """Yesterday began less than two days ago."""
    records.write(project, records.experiment(1), records.experiment(2, created=records.ago(1)))
    theirs, ours = both.run("ls", "-q", "--filter", "created >= yesterday", cwd=project)
    assert (theirs.status, theirs.stdout) == (1, "")
    assert (ours.status, ours.stdout.split()) == (0, [B])


@shows("filter-date-precision")
def test_filter_date_precision(both: Both, project: Path) -> None:
    """A day, and a run in its morning."""
    records.write(project, records.experiment(1, created="2021-02-04T09:00:00Z"), records.experiment(2))
    found = [
        [done.stdout.split() for done in both.run("ls", "-q", "-f", f"created {operator} 2021-02-04", cwd=project)]
        for operator in ("=", "!=")
    ]
    assert found == [[[], [A]], [[B, A], [B]]]


@shows("filter-dotted-dates")
def test_filter_dotted_dates(both: Both, project: Path) -> None:
    """04.02.2021, and a run in March."""
    records.write(project, records.experiment(1, created="2021-03-01T00:00:00Z"))
    theirs, ours = both.run("ls", "-q", "--filter", "created > 04.02.2021", cwd=project)
    assert (theirs.status, theirs.stdout.split()) == (0, [])
    assert (ours.status, ours.stdout.split()) == (0, [A])


@shows("unknown-names")
def test_unknown_names(both: Both, project: Path) -> None:
    """Theirs finds every run; ours knows a better name."""
    write_params(project, {"dropout": 0.5}, {"dropout": 0.1})
    for arguments in (["--filter", "dropot != 0.5"], ["--sort", "dropot"]):
        theirs, ours = both.run("ls", "-q", *arguments, cwd=project)
        assert theirs.stdout.split() == [A, B]
        assert (ours.status, ours.stdout) == (1, "")
        assert 'Did you mean "dropout"?' in ours.stderr


@shows("filter-words")
@pytest.mark.parametrize("value", ["a or b=1", "a)"])
def test_filter_words(both: Both, project: Path, value: str) -> None:
    """The words are in a value of 0.4.2, and in quotes."""
    write_params(project, {"opt": value, "b": 2}, {"opt": "a", "b": 2})
    theirs, ours = both.run("ls", "-q", "--filter", f"opt = {value}", cwd=project)
    assert theirs.stdout.split() == [A]
    assert ours.stdout.split() != [A]
    assert both.run("ls", "-q", "--filter", f'opt = "{value}"', cwd=project)[1].stdout.split() == [A]


@shows("latest-metrics")
def test_latest_metrics(both: Both, project: Path) -> None:
    """One run, which declares no primary metric."""
    write_metrics(project, 0.5, 0.25, primary=None)
    theirs, ours = both.run("ls", "-q", "--filter", "loss = 0.25", cwd=project)
    assert (theirs.stdout.split(), ours.stdout.split()) == ([], [A])
    write_metrics(project, {"loss": 0.5}, {"acc": 0.25}, primary=None)
    theirs, ours = both.run("ls", "-q", "--filter", "loss = 0.5", cwd=project)
    assert (theirs.stdout.split(), ours.stdout.split()) == ([], [A])


@shows("sort-ties")
def test_sort_ties(both: Both, project: Path) -> None:
    """Theirs turns them around with -desc, and mixes them from seven on."""
    write_params(project, {"n": 1}, {"n": 1}, {"n": 2})
    theirs, ours = both.run("ls", "-q", "--sort", "n-desc", cwd=project)
    assert theirs.stdout.split() == [C, B, A]
    assert ours.stdout.split() == [C, A, B]
    values = [2, 1, 1, 1, 1, 1, 1, 1]
    write_params(project, *({"n": value} for value in values))
    expected = [f"e{number:07d}" for number in (2, 3, 4, 5, 6, 7, 8, 1)]
    theirs, ours = both.run("ls", "-q", "--sort", "n", cwd=project)
    assert sorted(theirs.stdout.split()) == sorted(expected)
    assert theirs.stdout.split() != expected
    assert ours.stdout.split() == expected


@shows("sort-missing")
def test_sort_missing(both: Both, project: Path) -> None:
    """3, missing, 1: theirs leaves it so."""
    write_params(project, {"n": 3}, {}, {"n": 1})
    theirs, ours = both.run("ls", "-q", "--sort", "n", cwd=project)
    assert theirs.stdout.split() == [A, B, C]
    assert ours.stdout.split() == [C, A, B]
    theirs, ours = both.run("ls", "-q", "--sort", "n-desc", cwd=project)
    assert theirs.stdout.split() != [A, C, B]
    assert ours.stdout.split() == [A, C, B]


@shows("sort-mixed-types")
@pytest.mark.parametrize("values", [("text", 1), ([1], [2])], ids=["text and number", "lists"])
def test_sort_mixed_types(both: Both, project: Path, values: tuple[Any, Any]) -> None:
    """Theirs panics."""
    write_params(project, {"n": values[0]}, {"n": values[1]})
    theirs, ours = both.run("ls", "-q", "--sort", "n", cwd=project)
    assert theirs.status == 2
    assert "panic" in theirs.stderr
    assert (ours.status, sorted(ours.stdout.split())) == (0, [A, B])


# What is best


def best_steps(both: Both, project: Path) -> list[int | None]:
    """The best checkpoint on both command lines, by its step."""
    steps = []
    for done in both.run("ls", "--json", cwd=project):
        best = json.loads(done.stdout)[0]["best_checkpoint"]
        steps.append(best and best["step"])
    return steps


@shows("best-nan")
def test_best_nan(both: Both, project: Path) -> None:
    """(0.75, 0.25, NaN), minimized."""
    write_metrics(project, 0.75, 0.25, "[NaN]")
    assert best_steps(both, project) == [3, 2]
    assert both.call("got", prefix=A, directory=str(project))["best"] == "c0000002"


@shows("best-ties")
def test_best_ties(both: Both, project: Path) -> None:
    """Seven checkpoints, three of them equal."""
    write_metrics(project, 0.75, 0.5, 0.25, 0.5, 0.75, 0.75, 0.24, goal="maximize")
    assert best_steps(both, project) == [1, 6]
    assert both.call("got", prefix=A, directory=str(project))["best"] == "c0000006"


@shows("best-first-checkpoint")
def test_best_first_checkpoint(both: Both, project: Path) -> None:
    """The first one declares nothing."""
    first = records.checkpoint(1, metrics={"loss": 0.5})
    records.write(project, records.experiment(1, first, records.checkpoint(2, **records.metric(0.25))))
    assert best_steps(both, project) == [None, 2]
    assert both.call("got", prefix=A, directory=str(project))["best"] == "c0000002"


@shows("best-undeclared")
def test_best_undeclared(both: Both, project: Path) -> None:
    """The better one has the metric, and declares nothing."""
    second = records.checkpoint(2, metrics={"loss": 0.25})
    records.write(project, records.experiment(1, records.checkpoint(1, **records.metric(0.5)), second))
    theirs, ours = (side.call("got", prefix=A, directory=str(project)) for side in (both.original, both.ours))
    assert (theirs["best"], ours["best"]) == ("c0000001", "c0000002")
    crashed, shown = both.run("show", A, cwd=project)
    assert (crashed.status, shown.status) == (2, 0)
    assert "0.25 (best)" in shown.stdout


@shows("best-python-errors")
def test_best_python_errors(both: Both, project: Path) -> None:
    """One of them declares a metric that it does not have."""
    for metrics, error in (({"other": 1}, "KeyError"), (None, "TypeError")):
        lacking = records.checkpoint(2, metrics=metrics, primary_metric={"name": "loss", "goal": "minimize"})
        records.write(project, records.experiment(1, records.checkpoint(1, **records.metric(0.5)), lacking))
        source = f"""
experiment = keepsake.Project(directory={str(project)!r}).experiments.get({A!r})
try:
    result = experiment.best().id
except Exception as error:
    result = type(error).__name__
"""
        assert [side.call("program", source=source) for side in (both.original, both.ours)] == [error, "c0000001"]


@shows("no-primary-metric")
def test_no_primary_metric(both: Both, project: Path) -> None:
    """primary_metric() of an experiment whose checkpoints declare none."""
    write_metrics(project, 0.5, primary=None)
    source = f"""
experiment = keepsake.Project(directory={str(project)!r}).experiments.get({A!r})
try:
    result = experiment.primary_metric()
except ValueError:
    result = "ValueError"
"""
    assert [side.call("program", source=source) for side in (both.original, both.ours)] == ["ValueError", None]


@shows("metrics-of-none")
def test_metrics_of_none(both: Both, project: Path) -> None:
    """In all checkpoints."""
    write_metrics(project, {"x": None}, {"x": None}, primary=None)
    source = f"""
experiment = keepsake.Project(directory={str(project)!r}).experiments.get({A!r})
try:
    result = experiment.checkpoints.metrics["x"]
except KeyError:
    result = "KeyError"
"""
    assert [side.call("program", source=source) for side in (both.original, both.ours)] == ["KeyError", [None, None]]


# Tables and values


@shows("ls-wide")
def test_ls_wide(both: Both, project: Path) -> None:
    """On a terminal: a header and a line per experiment. Piped, both print the same."""
    write_params(project, {"lr": 0.1, "layers": 2}, {"lr": 0.2, "layers": 2})
    both.agree("ls", cwd=project)
    theirs, ours = both.run("ls", "--layout", "wide", cwd=project)
    assert theirs.status == 1
    assert [line.split()[0] for line in ours.stdout.splitlines()] == ["Same", "ID", A[:7], B[:7]]
    tall = both.run("ls", "--layout", "tall", cwd=project)[1]
    assert lines(tall.stdout) == lines(both.run("ls", cwd=project)[0].stdout)


@shows("ls-mixed-types")
def test_ls_mixed_types(both: Both, project: Path) -> None:
    """1 and 1.5."""
    write_params(project, {"n": 1, "same": 1}, {"n": 1.5, "same": 1})
    theirs, ours = both.run("ls", cwd=project)
    assert "n=" not in theirs.stdout
    assert "different types" in theirs.stderr
    assert [line for line in lines(ours.stdout) if "n=1" in line][1].endswith("n=1.5")
    assert "same=" not in ours.stdout


NUMBERS: dict[str, tuple[Any, str, str]] = {
    "ls-20-digits": (123456.789, "x=123456.78900000000431", "x=123456.789"),
    "ls-large-negative": (-123456.789, "x=-1.2346e+05", "x=-123456.789"),
}


@shows(*NUMBERS)
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_in_ls(both: Both, project: Path, name: str) -> None:
    """Large ones."""
    value, *expected = NUMBERS[name]
    write_params(project, {"x": value})
    texts = [lines(done.stdout)[1].split()[3] for done in both.run("ls", "--all", cwd=project)]
    assert texts == expected


@shows("nonfinite-in-show", "html-escape", "big-integers")
@pytest.mark.parametrize(
    ("value", "their_text", "our_text"),
    [
        ("[NaN]", '"[NaN]"', "NaN"),
        ("[-Infinity]", '"[-Infinity]"', "-Inf"),
        (["<a>&"], r'["\u003ca\u003e\u0026"]', '["<a>&"]'),
        (2**70, "1.1805916207174113e+21", "1180591620717411303424"),
    ],
)
def test_values_in_show_and_diff(both: Both, project: Path, value: Any, their_text: str, our_text: str) -> None:
    """The text of one param."""
    write_params(project, {"x": value}, {"x": "other"}, checkpoints=1)
    for command, rest in ((["show", A], ""), (["diff", A, B], "other")):
        texts = [next(x for x in lines(done.stdout) if x.startswith("x:")) for done in both.run(*command, cwd=project)]
        assert [text.removeprefix("x:").removesuffix(rest).strip() for text in texts] == [their_text, our_text]


@shows("diff-text-and-number")
def test_diff_text_and_number(both: Both, project: Path) -> None:
    """The text "1" and the number 1."""
    write_params(project, {"x": "1"}, {"x": 1}, checkpoints=1)
    theirs, ours = both.run("diff", A, B, cwd=project)
    assert "x:" not in theirs.stdout
    assert [line.split() for line in lines(ours.stdout) if line.startswith("x:")] == [["x:", '"1"', "1"]]


@shows("cut-bytes")
def test_cut_bytes(both: Both, project: Path) -> None:
    """15 characters are 30 bytes."""
    write_params(project, {"x": "é" * 15, "y": "é" * 25})
    theirs, ours = both.run("ls", "--all", cwd=project)
    assert "\ufffd" in theirs.stdout  # stands for bytes that are not UTF-8
    assert f"x={'é' * 15}\n" in f"{ours.stdout}\n"
    assert f"y={'é' * 17}..." in ours.stdout


@shows("control-characters")
def test_control_characters(both: Both, project: Path) -> None:
    """An escape sequence in a param, and in the command."""
    records.write(project, records.experiment(1, params={"x": "a\tb\x1b[31m"}, command="train\x1b[2J.py"))
    for command in (["ls", "--all"], ["show", A]):
        theirs, ours = both.run(*command, cwd=project)
        assert "\x1b[31m" in theirs.stdout
        assert "\x1b" not in ours.stdout
        assert r"a\x09b\x1b[31m" in ours.stdout


@shows("multiline-in-show")
def test_multiline_in_show(both: Both, project: Path) -> None:
    """The second line of a text, and what follows it."""
    write_params(project, {"x": "one\ntwo", "y": 1})
    theirs, ours = both.run("show", A, cwd=project)
    column = next(line for line in lines(ours.stdout) if line.startswith("y:")).index("1")
    assert "two" in lines(theirs.stdout)
    assert " " * column + "two" in lines(ours.stdout)


@shows("show-columns")
def test_show_columns(both: Both, project: Path) -> None:
    """The second checkpoint has one metric more; the third lacks one."""
    write_metrics(project, {"loss": 0.5}, {"loss": 0.25, "accuracy": 0.75})
    theirs, ours = both.run("show", A, cwd=project)
    assert "ACCURACY" not in theirs.stdout
    assert "ACCURACY" in ours.stdout
    write_metrics(project, {"loss": 0.5, "accuracy": 0.5}, {"loss": 0.25})
    theirs, ours = both.run("show", A, cwd=project)
    assert theirs.status == 2
    assert "panic" in theirs.stderr
    assert ours.status == 0


@shows("show-alignment")
def test_show_alignment(both: Both, project: Path) -> None:
    """The metrics below many packages."""
    packages = {f"a-package-with-a-long-name-{number}": "1" for number in range(7)}
    checkpoint = records.checkpoint(1, **records.metric(0.5))
    records.write(project, records.experiment(1, checkpoint, python_packages=packages))
    texts = [done.stdout for done in both.run("show", "c0000001", cwd=project)]
    columns = [_columns(text, "kim", "0.5 (") for text in texts]
    assert columns[0][0] != columns[0][1]
    assert columns[1][0] == columns[1][1]


@shows("show-environment")
def test_show_environment(both: Both, project: Path) -> None:
    """Where it is recorded."""
    environment = {"os": "Linux 6.1", "cpu": "EPYC", "cpus": 8, "git": {"commit": "0123456789abcdef", "dirty": True}}
    records.write(project, records.experiment(1, environment=environment))
    texts = [done.stdout for done in both.run("show", "e0000001", cwd=project)]
    for fact in ("EPYC (8 cores)", "Linux 6.1", "0123456789 with changes"):
        assert [fact in text for text in texts] == [False, True]


@shows("show-ended")
def test_show_ended(both: Both, project: Path) -> None:
    """When, and why."""
    records.write(project, records.experiment(1, ended="2022-03-14T09:51:07Z", end_reason="interrupted"))
    texts = [done.stdout for done in both.run("show", "e0000001", cwd=project)]
    assert ["Ended: " in text for text in texts] == [False, True]
    assert "(interrupted)\n" in texts[1]


def _columns(shown: str, *texts: str) -> list[int]:
    return [line.index(text) for text in texts for line in lines(shown) if text in line]


@shows("show-known-packages")
def test_show_known_packages(both: Both, project: Path) -> None:
    """Two that 0.4.2 does not know, among many."""
    packages = dict.fromkeys(["aa", "bb", "cc", "dd", "ee", "ff", "lightning", "scikit-learn"], "1")
    records.write(project, records.experiment(1, python_packages=packages))
    theirs, ours = both.run("show", A, cwd=project)
    assert "aa:" in theirs.stdout
    assert "lightning:" not in theirs.stdout
    assert "aa:" not in ours.stdout
    assert "lightning:" in ours.stdout
    assert "scikit-learn:" in ours.stdout


@shows("diff-no-checkpoints")
def test_diff_no_checkpoints(both: Both, project: Path) -> None:
    """Only their params."""
    write_params(project, {"lr": 0.1}, {"lr": 0.2})
    theirs, ours = both.run("diff", A, B, cwd=project)
    assert (theirs.status, theirs.stdout) == (1, "")
    assert ours.status == 0
    assert ["lr:", "0.1", "0.2"] in [line.split() for line in lines(ours.stdout)]


@shows("diff-one-id")
def test_diff_one_id(both: Both, project: Path) -> None:
    """The experiment before is what it is compared with."""
    write_params(project, {"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}, checkpoints=1)
    theirs, ours = both.run("diff", C, cwd=project)
    assert (theirs.status, theirs.stdout) == (1, "")
    assert ["lr:", "0.2", "0.3"] in [line.split() for line in lines(ours.stdout)]


@shows("diff-files")
def test_diff_files(both: Both, project: Path) -> None:
    """The two runs are of 0.4.2, and their archives have no table of contents."""
    runs = [
        {"path": "train.py", "params": {}, "checkpoints": [{"metrics": {"loss": 0.5}}], "files": files}
        for files in ({"train.py": "print(1)\n"}, {"train.py": "print(2)\n"})
    ]
    one, other = (ids[0] for ids in both.original.record(runs=runs, directory=str(project)))
    theirs, ours = both.run("diff", one, other, cwd=project)
    assert lines(ours.stdout)[: len(lines(theirs.stdout))] == lines(theirs.stdout)
    assert lines(ours.stdout)[len(lines(theirs.stdout)) :][:2] == ["Files", "changed  +1 -1  train.py"]
    assert lines(ours.stdout)[-3:-1] == ["-print(1)", "+print(2)"]
    assert lines(both.ours.run("diff", one, other, "--no-code", cwd=project).stdout) == lines(theirs.stdout)


@shows("diff-nested")
def test_diff_nested(both: Both, project: Path) -> None:
    write_params(project, {"opt": {"lr": 1, "name": "sgd"}}, {"opt": {"lr": 2, "name": "sgd"}}, checkpoints=1)
    theirs, ours = both.run("diff", A, B, cwd=project)
    assert '{"lr":1,"name":"sgd"}' in theirs.stdout
    assert [line.split() for line in lines(ours.stdout) if line.startswith("opt")] == [["opt.lr:", "1", "2"]]


@shows("diff-long-texts")
def test_diff_long_texts(both: Both, project: Path) -> None:
    write_params(project, {"x": "a" * 60 + "1"}, {"x": "a" * 60 + "2"}, checkpoints=1)
    theirs, ours = both.run("diff", A, B, cwd=project)
    texts = [next(line for line in lines(done.stdout) if line.startswith("x:")).split()[1:] for done in (theirs, ours)]
    assert texts == [["a" * 47 + "..."] * 2, ["..." + "a" * 15 + "1", "..." + "a" * 15 + "2"]]


@shows("id-words")
def test_id_words(both: Both, project: Path) -> None:
    write_metrics(project, 2, 1)
    for word in ("latest", "best", "latest:best"):
        theirs, ours = both.run("show", word, cwd=project)
        assert (theirs.status, ours.status) == (1, 0)


@shows("ls-json-null")
def test_ls_json_null(both: Both, project: Path) -> None:
    """Empty params, and a time with zeros at its end."""
    created = "2022-03-14T09:41:07.120000Z"
    records.write(project, records.experiment(1, records.checkpoint(1), created=created, params={}))
    theirs, ours = (json.loads(done.stdout) for done in both.run("show", A, "--json", cwd=project))
    assert theirs["created"] == "2022-03-14T09:41:07.12Z"
    assert ours["created"] == "2022-03-14T09:41:07.120000Z"
    listed = [json.loads(done.stdout)[0] for done in both.run("ls", "--json", cwd=project)]
    assert [(each["params"], each["latest_checkpoint"]["metrics"]) for each in listed] == [({}, {}), ({}, None)]
