"""Columns by choice, groups, CSV, JSON and tables for papers, from `keepsake ls`."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from tests.cli.conftest import Run, World, at, checkpoint, experiment, on_disk

pytestmark = on_disk

HOSTILE = ["=1+1", "+A1", "-x", "@SUM(A1)", "\t=1", " =1", "＝1", "=cmd|' /C calc'!A0"]


@pytest.fixture
def seeds(world: World) -> World:
    """Two learning rates with two seeds each, a nested param, and one run without checkpoints."""
    for number, (lr, seed, loss) in enumerate([(0.1, 1, 0.5), (0.1, 2, 0.7), (0.2, 1, 0.123456789), (0.2, 2, None)]):
        made = [checkpoint(f"c{number}00000000", 8, 3, {"metric-1": loss, "acc": 1})] if loss else []
        params = {"optimizer": {"lr": lr, "name": "adam"}, "seed": seed}
        world.add(experiment(f"e{number}00000000", 60 * (9 - number), *made, params=params))
    return world


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


# Columns


def test_columns_are_chosen_by_name(seeds: World, run: Run) -> None:
    names = ["-c", "optimizer.lr, best:metric-1", "--columns", "last:acc,seed,created,status"]
    assert run("ls", *names, "--limit", "2").stdout == (
        "ID       optimizer.lr  best:metric-1  last:acc  seed  CREATED  STATUS\n"
        "e000000  0.1           0.5            1         1     9m ago   stopped\n"
        "e100000  0.1           0.7            1         2     8m ago   stopped\n"
    )


def test_fields_of_all_types_are_shown(world: World, run: Run) -> None:
    end = {"ended": at(60), "end_reason": "exception: E", "error": "E: \x1b[31m"}
    made = checkpoint("c100000000", 15, 3, {"metric-1": 1})
    world.add(experiment("e100000000", 3700, made, params={"x": [1, 2]}, user="kim", **end))
    names = "id,created,ended,duration,checkpoints,step,user,command,status,end_reason,error,x"
    shown = re.split(r"  +", run("ls", "-c", names).stdout.splitlines()[1])
    assert shown[:9] == ["e100000", "62m ago", "60s ago", "1:01:25", "1", "3", "kim", "train.py", "failed"]
    assert shown[9:] == ["exception: E", r"E: \x1b[31m", "[1,2]"]


def test_a_name_that_no_experiment_has_is_an_error(seeds: World, run: Run) -> None:
    result = run("ls", "-c", "optimiser.lr", status=1)
    assert result.stdout == ""
    assert '"optimizer.lr"' in result.stderr


def test_chosen_columns_that_do_not_fit_are_named(seeds: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = run("ls", "-c", "seed,created,status,command,user,host,optimizer.lr").stdout.splitlines()
    assert lines[0].split() == ["ID", "seed", "CREATED", "STATUS", "COMMAND"]
    assert lines[-1] == "Not shown: user, host and 1 more (--csv)"


# Groups


def test_groups_show_mean_and_range_best_first(seeds: World, run: Run) -> None:
    assert run("ls", "--group").stdout == (
        "Same in all: optimizer.name=adam\n"
        "optimizer.lr  N       metric-1  MIN TO MAX\n"
        "0.2           1 of 2  0.12346*\n"
        "0.1           2       0.6       0.5 to 0.7\n"
    )


def test_groups_of_one_are_explained(seeds: World, run: Run) -> None:
    seeds.add(experiment("e900000000", 1, params={"output": "x"}))
    assert run("ls", "--group").stderr == ""
    assert "No two experiments differ only in output" in run("ls", "--group", "output").stderr


def test_sort_keys_order_groups_by_their_first_runs(seeds: World, run: Run) -> None:
    lines = run("ls", "--group", "--sort", "created", "-c", "acc").stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["optimizer.lr", "N", "acc", "MIN", "TO", "MAX"],
        ["0.1", "2", "1", "1"],
        ["0.2", "1", "of", "2", "1"],
    ]


def test_other_params_are_named(seeds: World, run: Run) -> None:
    groups = json.loads(run("ls", "--group", "seed,optimizer.lr", "--json").stdout)
    assert groups == [
        {
            "params": {"optimizer.name": "adam"},
            "n": 4,
            "experiments": ["e000000000", "e100000000", "e200000000", "e300000000"],
            "metrics": {
                "metric-1": {"mean": pytest.approx(0.441152263), "min": 0.123456789, "max": 0.7, "n": 3},
                "acc": {"mean": 1.0, "min": 1, "max": 1, "n": 3},
            },
        }
    ]


def test_groups_apart_from_a_name_that_no_experiment_has_are_an_error(seeds: World, run: Run) -> None:
    assert '"params.seed"' in run("ls", "--group", "sed", status=1).stderr


def test_csv_of_groups_has_their_figures(seeds: World, run: Run) -> None:
    header, *lines = rows(run("ls", "--group", "--csv", "--sort", "created").stdout)
    assert header[:6] == [
        "params.optimizer.lr",
        "params.optimizer.name",
        "n",
        "mean:metric-1",
        "min:metric-1",
        "max:metric-1",
    ]
    assert lines == [
        ["0.1", "adam", "2", "0.6", "0.5", "0.7", "1.0", "1", "1"],
        ["0.2", "adam", "2", *["0.123456789"] * 3, "1.0", "1", "1"],
    ]


def test_a_group_has_metrics_only(seeds: World, run: Run) -> None:
    assert "seed is a param" in run("ls", "--group", "-c", "seed", status=2).stderr


# CSV, JSON, and formats for papers


def test_csv_has_everything_with_all_digits(world: World, run: Run) -> None:
    metrics = {"metric-1": 0.1234567890123, "nan": "[NaN]", "nested": {"a": [1, 2]}}
    params = {
        "big": 123456789012345678901234567890,
        "text": 'a "quoted", text\nof two lines',
        "none": None,
        "yes": True,
    }
    world.add(experiment("e100000000", 60, checkpoint("c100000000", 8, 3, metrics), params=params, user="kim"))
    world.add(experiment("e200000000", 50))
    text = run("ls", "--csv").stdout_bytes.decode()
    assert text.count("\r\n") == 3
    header, first, second = rows(text)
    table = dict(zip(header, first, strict=True))
    assert header[:7] == ["id", "created", "name", "status", "ended", "end_reason", "error"]
    assert table == {
        "id": "e100000000",
        "created": at(60),
        "status": "stopped",
        "ended": "",
        "end_reason": "",
        "name": "",
        "tags": "",
        "error": "",
        "user": "kim",
        "host": "",
        "command": "train.py",
        "checkpoints": "1",
        "best_checkpoint": "c100000000",
        "best_step": "3",
        "latest_checkpoint": "c100000000",
        "latest_step": "3",
        "params.big": str(params["big"]),
        "params.text": params["text"],
        "params.none": "",
        "params.yes": "true",
        "best:metric-1": "0.1234567890123",
        "best:nan": "nan",
        "best:nested.a": "[1,2]",
        "last:metric-1": "0.1234567890123",
        "last:nan": "nan",
        "last:nested.a": "[1,2]",
    }
    assert second[header.index("params.text")] == ""


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_holds_no_formula(world: World, run: Run, text: str) -> None:
    """Neither in a value nor in a name. Numbers stay numbers, and control characters reach no terminal."""
    made = checkpoint("c100000000", 8, 3, {"metric-1": -0.5, text: "-0.5"})
    world.add(experiment("e100000000", 60, made, params={"p": text, "esc": "\x1b]0;x\x07"}, user=text))
    for arguments in (["--csv"], ["--csv", "-c", "p,user,metric-1,esc"], ["--format", "tsv"]):
        found = run("ls", *arguments).stdout
        assert "\x1b" not in found
        delimiter = "\t" if "tsv" in arguments else ","
        for row in csv.reader(io.StringIO(found, newline=""), delimiter=delimiter):
            for cell in row:
                assert cell.strip()[:1] not in ("=", "+", "@", "＝")
                assert cell[:1] != "-" or float(cell)


def test_csv_of_nothing_has_a_header(world: World, run: Run) -> None:
    assert run("ls", "--csv").stdout.startswith("id,created,name,status,")


def test_csv_has_the_chosen_columns(seeds: World, run: Run) -> None:
    header, first, *_ = rows(run("ls", "--csv", "-c", "optimizer.lr,created,metric-1").stdout)
    assert header == ["id", "optimizer.lr", "created", "metric-1"]
    assert first == ["e000000000", "0.1", at(540), "0.5"]


def test_json_has_the_chosen_columns_too(seeds: World, run: Run) -> None:
    listed = json.loads(run("ls", "--json", "-c", "optimizer.lr,best:metric-1").stdout)
    assert [each["columns"] for each in listed] == [
        {"optimizer.lr": 0.1, "best:metric-1": 0.5},
        {"optimizer.lr": 0.1, "best:metric-1": 0.7},
        {"optimizer.lr": 0.2, "best:metric-1": 0.123456789},
        {"optimizer.lr": 0.2, "best:metric-1": None},
    ]
    assert list(listed[0])[:3] == ["id", "created", "params"]


def test_a_table_for_a_pull_request(seeds: World, run: Run) -> None:
    assert run("ls", "--format", "github", "--limit", "2").stdout.splitlines() == [
        "| ID      | STARTED          | STATUS   |   seed |   metric-1 |   STEP |",
        "|---------|------------------|----------|--------|------------|--------|",
        "| e000000 | 2022-03-14 09:42 | stopped  |      1 |        0.5 |      3 |",
        "| e100000 | 2022-03-14 09:43 | stopped  |      2 |        0.7 |      3 |",
    ]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("github", r"\<script\>\|a\`"),
        ("html", "&lt;script&gt;|a`"),
        ("latex", r"\ensuremath{<}script\ensuremath{>}|a`"),
        ("plain", "<script>|a`"),
    ],
)
def test_formats_escape_what_they_would_run(world: World, run: Run, form: str, expected: str) -> None:
    world.add(*(experiment(f"e{number}00000000", 60, params={"p": f"<script>|a`{number}"}) for number in range(2)))
    assert expected in run("ls", "--format", form).stdout


@pytest.mark.parametrize("form", ["unsafehtml", "latex_raw", "word"])
def test_other_formats_are_refused_with_a_list(seeds: World, run: Run, form: str) -> None:
    assert "asciidoc, colon_grid" in run("ls", "--format", form, status=2).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--csv", "--json"],
        ["--format", "html", "--csv"],
        ["--layout", "tall", "-c", "seed"],
        ["--layout", "tall", "--group"],
        ["--layout", "wide", "--json"],
        ["-q", "--watch"],
        ["-q", "-c", "seed"],
        ["--all", "-c", "seed"],
        ["--last", "0"],
        ["--watch"],  # not on a terminal
    ],
)
def test_options_that_contradict_each_other_are_errors(seeds: World, run: Run, arguments: list[str]) -> None:
    result: Any = run("ls", *arguments, status=2)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["seed < 2"], "To filter: --filter 'seed < 2'."),
        (["--filter", "seed", "=", "2"], "Put a filter in quotation marks: --filter 'seed = 2'."),
        (["-c", "seed,", "loss"], "Write names of columns without blanks: -c seed,loss."),
    ],
)
def test_words_without_an_option_are_told_what_they_mean(
    world: World, run: Run, arguments: list[str], says: str
) -> None:
    assert says in " ".join(run("ls", *arguments, status=2).stderr.split())


def test_markdown_is_the_format_of_github(seeds: World, run: Run) -> None:
    assert run("ls", "--format", "markdown").stdout == run("ls", "--format", "github").stdout
