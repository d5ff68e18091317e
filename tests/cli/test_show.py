"""`keepsake show`: whole outputs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from keepsake.util import console
from tests.cli.conftest import Run, World, at, checkpoint, experiment, on_disk

EXPERIMENT = """\
Experiment: a37c2e9d04

Created:         Mon, 14 Mar 2022 09:41:07 UTC
Status:          running
Host:            10.1.1.1
User:            johanna
Command:         train.py --alpha=0.3 -q

Params
param-1:         100
param-2:         hello

System
Python version:  3.4.5

Python packages
tensorflow:      2.0.0
... and 5 more. Use --all to view.

Checkpoints
ID       STEP  CREATED        METRIC-1     METRIC-2
4e19aa3  10    6 minutes ago  0.1          2
9f02c7d  20    4 minutes ago  0.01 (best)  2
5d8f0b6  20    3 minutes ago  0.02         2

To see more details about a checkpoint, run:
  keepsake show <checkpoint ID>
"""

CHECKPOINT = """\
Checkpoint: 5d8f0b6a12

Created:         Mon, 14 Mar 2022 09:48:07 UTC
Path:            data
Step:            20

Experiment
ID:              a37c2e9d04
Created:         Mon, 14 Mar 2022 09:41:07 UTC
Status:          running
Host:            10.1.1.1
User:            johanna
Command:         train.py --alpha=0.3 -q

Params
param-1:         100
param-2:         hello

System
Python version:  3.4.5

Python packages
tensorflow:      2.0.0
... and 5 more. Use --all to view.

Metrics
metric-1:        0.02 (primary, minimize)
metric-2:        2

"""


def test_an_experiment_is_shown_whole(three_runs: World, run: Run) -> None:
    assert run("show", "a37").stdout == EXPERIMENT


def test_a_checkpoint_is_shown_with_its_experiment(three_runs: World, run: Run) -> None:
    assert run("show", "5d8").stdout == CHECKPOINT


def test_all_shows_every_package(three_runs: World, run: Run) -> None:
    every = "".join(f"{name}:               1.0\n" for name in "abcde") + "tensorflow:      2.0.0\n"
    hint = "tensorflow:      2.0.0\n... and 5 more. Use --all to view.\n"
    assert run("show", "a37", "--all").stdout == EXPERIMENT.replace(hint, every)
    assert run("show", "5d8", "--all").stdout == CHECKPOINT.replace(hint, every)


def test_json_is_the_record_with_every_field(three_runs: World, run: Run) -> None:
    record = three_runs.repository.read("metadata/experiments/a37c2e9d04.json")
    shown = run("show", "--json", "a37c2e9d04").stdout
    assert list(json.loads(shown).items()) == list(json.loads(record).items())
    assert shown.startswith('{\n  "id": "a37c2e9d04",\n')
    assert json.loads(run("show", "--json", "5d8").stdout) == checkpoint(
        "5d8f0b6a12", 180, 20, {"metric-1": 0.02, "metric-2": 2}, path="data"
    )


def test_json_keeps_the_form_of_empty_values(world: World, run: Run) -> None:
    """Empty is null, {} or [], as on disk."""
    empty: dict[str, Any] = {"params": {}, "python_packages": {}, "checkpoints": []}
    world.add(experiment("e100000000", 0, **empty))
    world.add(experiment("e200000000", 0, checkpoint("c200000000", 0, 1, {}), params=None))
    shown = json.loads(run("show", "--json", "e10").stdout)
    assert {name: shown[name] for name in empty} == empty
    assert json.loads(run("show", "--json", "e20").stdout)["params"] is None
    assert json.loads(run("show", "--json", "c20").stdout)["metrics"] == {}


def test_what_is_missing_in_a_record_is_filled_in(world: World, run: Run) -> None:
    world.add({"id": "e100000000", "created": at(0), "checkpoints": [{"id": "c100000000", "created": at(0)}]})
    assert json.loads(run("show", "--json", "c10").stdout) == {
        "id": "c100000000",
        "created": at(0),
        "metrics": None,
        "step": 0,
        "path": "",
        "primary_metric": None,
    }


def test_an_experiment_without_values_is_shown(world: World, run: Run) -> None:
    world.add(experiment("e100000000", 0, command=""))
    assert (
        run("show", "e100000").stdout
        == """\
Experiment: e100000000

Created:         Mon, 14 Mar 2022 09:51:07 UTC
Status:          stopped
Host:
User:
Command:

Params
(none)

Python packages
(none)

Checkpoints
ID  STEP  CREATED

To see more details about a checkpoint, run:
  keepsake show <checkpoint ID>
"""
    )


def test_a_checkpoint_without_metrics_is_shown(world: World, run: Run) -> None:
    world.add(experiment("e100000000", 0, checkpoint("c100000000", 0, 0, None, primary_metric=None)))
    assert run("show", "c10").stdout.endswith("\n\nPython packages\n(none)\n\nMetrics\n(none)\n\n")


def test_all_checkpoints_make_the_columns(world: World, run: Run) -> None:
    """0.4.2 takes the first one's and crashes where another lacks one."""
    first = checkpoint("c100000000", 9, 1, {"metric-1": 0.123456789, "text": "longer than ten"})
    second = checkpoint("c200000000", 5, 2, {"list": [1, 2, 3, 4, 5, 6], "metric-1": "[NaN]"})
    world.add(experiment("e100000000", 20, first, second))
    assert (
        """
ID       STEP  CREATED        LIST        METRIC-1        TEXT
c100000  1     9 seconds ago              0.12346 (best)  longer ...
c200000  2     5 seconds ago  [1,2,3,...  NaN
"""
        in run("show", "e10").stdout
    )


def test_values_are_shown_whole(world: World, run: Run) -> None:
    """A line break goes on in the same column; other control characters are escaped."""
    params = {
        "a float": 0.1234567,
        "dict": {"b": [1, 2.5], "a": None},
        "inf": "[-Infinity]",
        "lines": "two\nlines",
        "tiny": 1.5e-7,
        "tricky\x1b": "\x1b[31m",
        "whole": 1.0,
    }
    world.add(experiment("e100000000", 0, params=params, command="\x1b[2Jtrain.py"))
    shown = run("show", "e10").stdout
    assert "Command:         \\x1b[2Jtrain.py\n" in shown
    assert (
        r"""
Params
a float:         0.1234567
dict:            {"a":null,"b":[1,2.5]}
inf:             -Inf
lines:           two
                 lines
tiny:            1.5e-7
tricky\x1b:      \x1b[31m
whole:           1
"""
        in shown
    )


def test_the_first_five_of_unknown_packages(world: World, run: Run) -> None:
    """Well-known ones go first in any number; with none of these, the first five."""
    known = dict.fromkeys(["Torch", "lightning", "scikit-learn", "u", "v", "w"], "1")
    world.add(
        experiment("e100000000", 0, python_packages=dict.fromkeys("zyxwvut", "1")),
        experiment("e200000000", 0, python_packages=known),
        experiment("e300000000", 0, python_packages=dict.fromkeys("zyxwv", "1")),
    )

    def packages(id: str) -> list[str]:
        lines = run("show", id).stdout.split("Python packages\n")[1].split("\n\n")[0].splitlines()
        return [line.split(":")[0] for line in lines]

    assert packages("e10") == [*"tuvwx", "... and 2 more. Use --all to view."]
    assert packages("e20") == ["Torch", "lightning", "scikit-learn", "... and 3 more. Use --all to view."]
    assert packages("e30") == [*"vwxyz"]


@on_disk
@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be changed here")
@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("America/New_York", "Mon, 14 Mar 2022 05:51:07 EDT"),
        ("Asia/Kathmandu", "Mon, 14 Mar 2022 15:36:07 +0545"),
        ("America/Sao_Paulo", "Mon, 14 Mar 2022 06:51:07 -03"),
    ],
)
def test_times_are_local(world: World, run: Run, monkeypatch: pytest.MonkeyPatch, zone: str, text: str) -> None:
    world.add(experiment("e100000000", 0))
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    assert f"Created:         {text}\n" in run("show", "e10").stdout


@pytest.mark.parametrize(
    ("ended", "reason", "line"),
    [
        (at(60), "exception: ValueError", "Ended:           Mon, 14 Mar 2022 09:50:07 UTC (exception: ValueError)"),
        (at(60), None, "Ended:           Mon, 14 Mar 2022 09:50:07 UTC"),
        ("nonsense", "finished", None),
        (None, None, None),
    ],
)
def test_it_says_when_and_why_a_run_ended(
    world: World, run: Run, ended: str | None, reason: str | None, line: str | None
) -> None:
    world.add(experiment("e000000001", 600, ended=ended, end_reason=reason))
    shown = run("show", "e0").stdout.splitlines()
    assert [text for text in shown if text.startswith("Ended")] == ([line] if line else [])


def test_an_exception_and_the_end_of_its_traceback_are_shown(world: World, run: Run) -> None:
    """The whole traceback on request."""
    trace = "Traceback (most recent call last):\n" + "".join(f"  line {number}\n" for number in range(6))
    end = {"ended": at(60), "end_reason": "exception: OSError", "error": "OSError: \x1b[31mdisk"}
    world.add(experiment("e000000001", 600, **end, traceback=f"{trace}OSError: \x1b[31mdisk\n"))
    shown = run("show", "e0").stdout
    assert "Status:          failed\n" in shown
    assert "Error:           OSError: \\x1b[31mdisk\n" in shown
    lines = "  line 3\n  line 4\n  line 5\nOSError: \\x1b[31mdisk\n\nCheckpoints"
    assert f"Traceback\n... 4 lines before these. Use --all to view.\n{lines}" in shown
    assert f"Traceback\n{trace}" in run("show", "--all", "e0").stdout
    world.beat("e000000001")
    assert "OSError" not in run("show", "e0").stdout


def test_an_experiment_that_goes_on_has_not_ended(world: World, run: Run) -> None:
    world.add(experiment("e000000001", 600, ended=at(60), end_reason="interrupted"))
    world.beat("e000000001")
    assert "Ended" not in run("show", "e0").stdout


def test_color_makes_titles_bold(three_runs: World, run: Run) -> None:
    """Colours change no column."""
    import click

    shown = run("show", "--color", "5d8").stdout
    assert shown.startswith("\x1b[1m\x1b[4mCheckpoint: 5d8f0b6a12\x1b[0m\n")
    assert "\n\x1b[1mParams\x1b[0m" in shown
    assert "\n".join(line.rstrip() for line in click.unstyle(shown).splitlines()) + "\n" == CHECKPOINT


@pytest.mark.parametrize(("id", "message"), [("zzz", "There is no experiment or checkpoint"), ("b51e7a0f6", None)])
def test_an_unknown_id_is_an_error_and_the_beginning_of_one_is_enough(
    three_runs: World, run: Run, id: str, message: str | None
) -> None:
    result = run("show", id, status=1 if message else 0)
    assert (message or "") in result.stderr


def test_an_ambiguous_prefix_says_how_many_ids_match(three_runs: World, run: Run) -> None:
    three_runs.add(experiment("a37ffffff0", 0))
    result = run("show", "a37", status=1)
    assert result.stdout == ""
    assert "2" in result.stderr


@on_disk
def test_on_a_terminal_the_checkpoints_fit_its_width(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "is_terminal", lambda stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    primary = {"name": "loss", "goal": "minimize"}
    rows = [{"loss": 1 / n, "acc": {"k1": n}, **{f"metric_{m}": m / 7 for m in range(9)}} for n in (1, 2)]
    made = [checkpoint(f"c{n}00000000", 0, n, row, primary_metric=primary) for n, row in enumerate(rows)]
    world.add(experiment("e100000000", 0, *made, params={"学習率": 0.1, "optimizer": {"lr": 1}}))
    lines = run("show", "e10").stdout.splitlines()
    table = lines[lines.index("Checkpoints") + 1 :]
    assert table[0].split()[:3] == ["ID", "STEP", "CREATED"]
    assert {"loss", "acc.k1"} <= set(table[0].split())
    assert "0.5*" in table[2]
    assert table[3].startswith("Not shown: ")
    assert max(map(len, table)) <= 80
    assert "optimizer.lr:    1" in lines
    assert "学習率:          0.1" in lines


@on_disk
def test_the_checkpoints_say_which_files_they_have(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, if they differ in that."""
    monkeypatch.setattr(console, "is_terminal", lambda stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    pruned = {"path": "w.pth", "time": "2026-03-14T09:41:07Z"}
    kept, gone = checkpoint("c100000000", 0, 1, {"a": 1}, path="w.pth"), checkpoint("c200000000", 0, 2, {"a": 2})
    world.add(experiment("e100000000", 0, kept, gone | {"path": "", "pruned": pruned}))
    lines = [line.split() for line in run("show", "e10").stdout.splitlines()]
    table = [line[-1] for line in lines if line[:1] in (["ID"], ["c100000"], ["c200000"])]
    assert table == ["FILES", "w.pth", "pruned"]
    world.add(experiment("e200000000", 0, kept | {"id": "c300000000"}))
    assert "FILES" not in run("show", "e20").stdout
