"""`keepsake ls` and `keepsake ps`: whole outputs, as 0.4.2 prints them except for trailing spaces."""

from __future__ import annotations

import io
import itertools
import json
import os
from types import SimpleNamespace
from typing import Any

import pytest

from keepsake.util import console
from tests.cli.conftest import Run, World, at, checkpoint, experiment, on_disk

THREE = """\
EXPERIMENT  STARTED             STATUS   HOST      USER     PARAMS       BEST CHECKPOINT    LATEST CHECKPOINT
c90d1f4     11 minutes ago      stopped  10.1.1.2  kim      param-1=200

a37c2e9     10 minutes ago      running  10.1.1.1  johanna  param-1=100  9f02c7d (step 20)  5d8f0b6 (step 20)
                                                                         metric-1=0.01      metric-1=0.02

b51e7a0     about a minute ago  stopped  10.1.1.2  johanna  param-1=200                     d7718e5 (step 5)

"""

THREE_ALL = """\
EXPERIMENT  STARTED             STATUS   HOST      USER     PARAMS         BEST CHECKPOINT    LATEST CHECKPOINT
c90d1f4     11 minutes ago      stopped  10.1.1.2  kim      param-1=200
                                                            param-2=hello

a37c2e9     10 minutes ago      running  10.1.1.1  johanna  param-1=100    9f02c7d (step 20)  5d8f0b6 (step 20)
                                                            param-2=hello  metric-1=0.01      metric-1=0.02
                                                                           metric-2=2         metric-2=2

b51e7a0     about a minute ago  stopped  10.1.1.2  johanna  param-1=200                       d7718e5 (step 5)
                                                            param-2=hello                     metric-3=0.5
                                                            param-3=hi

"""


def test_the_table_shows_what_differs(three_runs: World, run: Run) -> None:
    result = run("ls")
    assert (result.stdout, result.stderr) == (THREE, "")


def test_all_shows_every_param_and_metric(three_runs: World, run: Run) -> None:
    assert run("ls", "--all").stdout == THREE_ALL


def test_list_is_another_name(three_runs: World, run: Run) -> None:
    assert run("list").stdout == THREE


@pytest.mark.parametrize("name", ["ps", "processes"])
def test_ps_shows_what_is_running(three_runs: World, run: Run, name: str) -> None:
    """Host and user do not differ within one experiment; a filter by status is replaced."""
    assert (
        run(name, "--filter", "status = stopped").stdout
        == """\
EXPERIMENT  STARTED         STATUS   PARAMS  BEST CHECKPOINT    LATEST CHECKPOINT
a37c2e9     10 minutes ago  running          9f02c7d (step 20)  5d8f0b6 (step 20)
                                             metric-1=0.01      metric-1=0.02

"""
    )


def test_ps_keeps_other_filters(three_runs: World, run: Run) -> None:
    assert run("ps", "-q", "-f", "user = kim").stdout == ""


def ids(stdout: str) -> list[str]:
    return [line[:3] for line in stdout.splitlines()]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--sort", "created-desc"], ["b51", "a37", "c90"]),
        (["-s", "metric-1"], ["a37", "c90", "b51"]),
        (["--sort="], ["c90", "a37", "b51"]),
        (["--last", "2"], ["a37", "b51"]),
        (["--last", "2", "--sort", "created-desc", "--limit", "1"], ["b51"]),
        (["--limit", "9"], ["c90", "a37", "b51"]),
        (["--sort", "param-1-desc", "--sort", "user", "-s", "created-desc"], ["b51", "c90", "a37"]),
        (["--filter", "param-1 = 200", "--filter", "user = johanna"], ["b51"]),
        (["-f", "metric-1<0.2"], ["a37"]),
        (["-f=status = stopped"], ["c90", "b51"]),
    ],
)
def test_filters_and_sort_keys_choose_and_order(
    three_runs: World, run: Run, args: list[str], expected: list[str]
) -> None:
    assert ids(run("ls", "-q", *args).stdout) == expected


def test_quiet_prints_whole_ids(three_runs: World, run: Run) -> None:
    assert run("ls", "--quiet").stdout == "c90d1f4e55\na37c2e9d04\nb51e7a0f66\n"


def test_json_holds_checkpoints_as_on_disk(three_runs: World, run: Run) -> None:
    listed = json.loads(run("ls", "--json").stdout)
    best = checkpoint("9f02c7d300", 240, 20, {"metric-1": 0.01, "metric-2": 2}, path="data")
    assert list(listed[1].items()) == [
        ("id", "a37c2e9d04"),
        ("created", at(600)),
        ("params", {"param-1": 100, "param-2": "hello"}),
        ("command", "train.py --alpha=0.3 -q"),
        ("num_checkpoints", 3),
        (
            "latest_checkpoint",
            best | {"id": "5d8f0b6a12", "created": at(180), "metrics": {"metric-1": 0.02, "metric-2": 2}},
        ),
        ("best_checkpoint", best),
        ("user", "johanna"),
        ("host", "10.1.1.1"),
        ("running", True),
        ("status", "running"),
        ("ended", None),
        ("end_reason", None),
        ("error", None),
        ("name", ""),
        ("tags", []),
        ("notes", ""),
        ("parent", ""),
    ]
    assert (listed[0]["latest_checkpoint"], listed[0]["best_checkpoint"], listed[0]["running"]) == (None, None, False)


def test_json_is_indented_and_readable(world: World, run: Run) -> None:
    world.add(experiment("e100000000", 0, params={"name": "日本語", "x": "[NaN]"}))
    assert run("ls", "--json").stdout.startswith(
        f'[\n  {{\n    "id": "e100000000",\n    "created": "{at(0)}",\n    "params": {{\n'
        '      "name": "日本語",\n      "x": "[NaN]"\n    },\n'
    )


def test_an_empty_result_is_reported_on_stderr(world: World, run: Run) -> None:
    said = {"ls": "No experiments found.", "ps": "No running experiments found."}
    for command, text in (*said.items(), ("ls -f lr=1", "No experiments match the filter.")):
        result = run(*command.split())
        assert (result.stdout, result.stderr) == ("", f"═══╡ {text}\n")
    assert run("ls", "--json").stdout == "[]\n"
    assert run("ls", "--quiet").output == ""


@pytest.mark.parametrize("other", ["--json", "--all"])
def test_quiet_excludes_other_forms(world: World, run: Run, other: str) -> None:
    assert f"Cannot use --quiet in combination with {other}." in run("ls", "-q", other, status=2).stderr


def test_a_filter_that_does_not_parse_shows_the_grammar(world: World, run: Run) -> None:
    result = run("ls", "--filter", "loss", status=1)
    start = '═══╡ Failed to parse filter: "loss". An operator is missing after the name "loss".\n   │ \n   │     loss\n'
    assert result.stderr.startswith(f"{start}   │         ^\n   │ \n   │ Filters must be in the format")
    assert result.stdout == ""


def test_values_are_short(world: World, run: Run) -> None:
    """Floats have 5 digits, strings 20 characters; objects are not shown. 0.4.2 got NaN and some others wrong."""
    params = {
        "float": 0.1234567,
        "large": 123456.789,
        "int": 12345678901,
        "nan": "[NaN]",
        "none": None,
        "bool": True,
        "text": "a text of more than twenty characters",
        "object": {"a": 1},
        "list": [1],
    }
    world.add(experiment("e100000000", 0, params=params), experiment("e200000000", -100000))
    assert (
        run("ls", "--all").stdout
        == """\
EXPERIMENT  STARTED             STATUS   PARAMS                     LATEST CHECKPOINT
e100000     about a second ago  stopped  bool=true
                                         float=0.12346
                                         int=12345678901
                                         large=123456.789
                                         nan=NaN
                                         none=null
                                         text=a text of more th...

e200000     in one day          stopped

"""
    )


@on_disk
@pytest.mark.parametrize(
    ("values", "differ"),
    [
        ([1, 1.0], False),
        ([1, 2], True),
        ([1, "1"], True),
        ([1, True], True),
        (["[NaN]", "[NaN]"], False),
        ([None, 0], True),
        ([1, ...], False),
        ([1, [1]], False),
    ],
)
def test_a_param_is_shown_if_its_values_differ(world: World, run: Run, values: list[Any], differ: bool) -> None:
    """An experiment that lacks it, or in which it is an object, does not count."""
    for number, value in enumerate(values):
        world.add(experiment(f"e{number}00000000", number, params={} if value is ... else {"p": value}))
    assert ("p=" in run("ls").stdout) is differ


def test_metrics_shown_are_the_primary_ones_in_use(world: World, run: Run) -> None:
    """They come from the best checkpoints, else the latest. All cells show the same names."""
    maximize = {"primary_metric": {"name": "y", "goal": "maximize"}}
    world.add(
        experiment("e100000000", 9, checkpoint("c100000000", 8, 1, {"metric-1": 1, "y": 2}), user="a"),
        experiment(
            "e200000000",
            5,
            checkpoint("c200000000", 4, 1, {"x": 1, "y": 2}, **maximize),
            checkpoint("c300000000", 3, 2, {"x": 1, "y": 1}, primary_metric=None),
            user="b",
        ),
    )
    assert (
        run("ls").stdout
        == """\
EXPERIMENT  STARTED        STATUS   USER  PARAMS  BEST CHECKPOINT   LATEST CHECKPOINT
e100000     9 seconds ago  stopped  a             c100000 (step 1)  c100000 (step 1)
                                                  metric-1=1        metric-1=1
                                                  y=2               y=2

e200000     5 seconds ago  stopped  b             c200000 (step 1)  c300000 (step 2)
                                                  y=2               y=1

"""
    )


def test_control_characters_never_reach_the_terminal(world: World, run: Run) -> None:
    """A line break in a value starts a line within its cell; all else is shown escaped."""
    world.add(
        experiment("e100000000", 9, params={"p": "\x1b[31mred", "name\x07": "x"}, user="\x1b]0;k\x07", host="a\nb"),
        experiment("e200000000", 5, params={"p": "two\nlines"}),
    )
    assert (
        run("ls", "--all").stdout
        == r"""
EXPERIMENT  STARTED        STATUS   HOST    USER          PARAMS         LATEST CHECKPOINT
e100000     9 seconds ago  stopped  a\x0ab  \x1b]0;k\x07  name\x07=x
                                                          p=\x1b[31mred

e200000     5 seconds ago  stopped                        p=two
                                                          lines

"""[1:]
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_first_listing_of_a_large_repository_shows_progress(
    three_runs: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, and if it takes longer than a second; not the next one, which fetches nothing."""
    terminal, seconds = Terminal(), itertools.count()
    monkeypatch.setattr(console, "sys", SimpleNamespace(stderr=terminal))
    monkeypatch.setattr(console, "monotonic", lambda: next(seconds))
    monkeypatch.setenv("TERM", "xterm")
    assert run("ls").stdout == THREE
    assert "   │ Reading experiments  [########................]  33%  1 items of 3 items" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert run("ls").stdout == THREE
    assert terminal.getvalue().count("Reading") == 3


def test_a_broken_record_hides_no_other(three_runs: World, run: Run) -> None:
    three_runs.repository.write("metadata/experiments/bad0000000.json", b"{")
    result = run("ls")
    assert result.stdout == THREE
    assert "bad0000000.json" in result.stderr


@on_disk
@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes among files")
def test_a_record_that_is_not_a_file_hides_no_other_and_is_reported(three_runs: World, run: Run) -> None:
    records = three_runs.project / "repo/metadata/experiments"
    (records / "dangling00.json").symlink_to("nowhere")
    os.mkfifo(records / "pipe000000.json")
    for result in (run("ls"), run("ls")):
        assert result.stdout == THREE
        assert "dangling00.json" in result.stderr
        assert "pipe000000.json" in result.stderr
        assert "not JSON" not in result.stderr
    run("show", "dangling00", status=1)
    run("show", "pipe000000", status=1)


def test_an_id_that_looks_like_an_option_is_not_one(three_runs: World, run: Run) -> None:
    """`keepsake rm $(keepsake ls -q)` must not be told to ask nothing."""
    three_runs.add(experiment("-fffffff", 0))
    result = run("ls", "-q")
    assert "-fffffff" not in result.stdout.split()
    assert "-fffffff.json" in result.stderr


@pytest.mark.parametrize("text", [" ", "lr =! 1"])
def test_an_invalid_filter_lists_nothing(three_runs: World, run: Run, text: str) -> None:
    result = run("ls", "--filter", text, status=1)
    assert result.stdout == ""
    assert "Failed to parse filter" in result.stderr


@on_disk
@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "about a second ago"),
        (1.4, "about a second ago"),
        (1.5, "2 seconds ago"),
        (59.4, "59 seconds ago"),
        (59.5, "about a minute ago"),
        (89, "about a minute ago"),
        (90, "2 minutes ago"),
        (59.4 * 60, "59 minutes ago"),
        (59.5 * 60, "about an hour ago"),
        (1.5 * 3600, "2 hours ago"),
        (2.5 * 3600, "3 hours ago"),
        (23.4 * 3600, "23 hours ago"),
        (23.5 * 3600, "one day ago"),
        (36 * 3600, "2 days ago"),
        (72.9 * 3600, "3 days ago"),
        (73 * 3600, "2022-03-11"),
        (-3, "in 3 seconds"),
        (-3600, "in about an hour"),
        (-80 * 3600, "2022-03-17"),
    ],
)
def test_started_is_shown_in_words(world: World, run: Run, seconds: float, text: str) -> None:
    world.add(experiment("e100000000", seconds))
    assert run("ls").stdout.splitlines()[1].startswith(f"e100000     {text}  ")
