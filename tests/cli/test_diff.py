"""`keepsake diff`: whole outputs."""

from __future__ import annotations

from tests.cli.conftest import Run, World, checkpoint, experiment

TWO_RUNS = """\
Experiment
ID:                       a37c2e9                        b51e7a0
Created:                  Mon, 14 Mar 2022 09:41:07 UTC  Mon, 14 Mar 2022 09:50:07 UTC
Host:                     10.1.1.1                       10.1.1.2
Python version:           3.4.5                          3.4.6

Params
param-1:                  100                            200
param-3:                  (not set)                      hi

Python Packages
(no difference)

Checkpoint
ID:                       9f02c7d                        d7718e5
Created:                  Mon, 14 Mar 2022 09:47:07 UTC  Mon, 14 Mar 2022 09:49:07 UTC
Path:                     data
Step:                     20                             5

Metrics
metric-1:                 0.01                           (not set)
metric-2:                 2                              (not set)
metric-3:                 (not set)                      0.5

"""

BEST_AND_LATEST = """\
═══╡ "a37" matches an experiment, picking the best checkpoint
═══╡ "b51" matches an experiment, picking the latest checkpoint
"""


def test_two_experiments(three_runs: World, run: Run) -> None:
    result = run("diff", "a37", "b51")
    assert (result.stdout, result.stderr) == (TWO_RUNS, BEST_AND_LATEST)


def test_two_checkpoints_of_one_experiment(three_runs: World, run: Run) -> None:
    result = run("diff", "9f0", "5d8")
    assert result.stderr == ""
    assert (
        result.stdout
        == """\
Experiment
ID:                       a37c2e9                        a37c2e9

Params
(no difference)

Python Packages
(no difference)

Checkpoint
ID:                       9f02c7d                        5d8f0b6
Created:                  Mon, 14 Mar 2022 09:47:07 UTC  Mon, 14 Mar 2022 09:48:07 UTC

Metrics
metric-1:                 0.01                           0.02

"""
    )


def test_one_id_is_compared_with_the_experiment_before(three_runs: World, run: Run) -> None:
    result = run("diff", "b51")
    assert result.stdout == TWO_RUNS
    assert result.stderr == "═══╡ Comparing with a37c2e9, the experiment before b51e7a0.\n" + BEST_AND_LATEST.replace(
        '"a37"', '"a37c2e9"'
    )


def test_the_first_experiment_has_none_before_it(three_runs: World, run: Run) -> None:
    result = run("diff", "c90", status=1)
    assert "c90d1f4 is the first experiment" in result.stderr
    assert "keepsake diff ID ID" in result.stderr


def test_an_experiment_without_checkpoints_is_compared_by_itself(three_runs: World, run: Run) -> None:
    """0.4.2 fails here."""
    result = run("diff", "c90", "a37")
    assert '"c90" matches an experiment without checkpoints, comparing the experiment itself' in result.stderr
    assert (
        result.stdout
        == """\
Experiment
ID:                       c90d1f4                        a37c2e9
Command:                  train.py                       train.py --alpha=0.3 -q
Created:                  Mon, 14 Mar 2022 09:40:07 UTC  Mon, 14 Mar 2022 09:41:07 UTC
Host:                     10.1.1.2                       10.1.1.1
Python version:                                          3.4.5
User:                     kim                            johanna

Params
param-1:                  200                            100

Python Packages
(no difference)

Checkpoint
ID:                       (not set)                      9f02c7d
Created:                  (not set)                      Mon, 14 Mar 2022 09:47:07 UTC
Path:                     (not set)                      data
Step:                     (not set)                      20

Metrics
metric-1:                 (not set)                      0.01
metric-2:                 (not set)                      2

"""
    )


def test_neither_has_checkpoints(world: World, run: Run) -> None:
    world.add(experiment("e100000000", 0), experiment("e200000000", 0))
    none = "(no difference)\n\n"
    assert run("diff", "e10", "e20").stdout == (
        f"Experiment\nID:                       e100000                   e200000\n{none}"
        f"Params\n{none}Python Packages\n{none}Checkpoint\n{none}Metrics\n{none}"
    )


def test_values(world: World, run: Run) -> None:
    """1 is 1.0 and NaN is NaN; a string that looks like a number is told from it; long ones are cut."""
    left = {"int": 1, "nan": "[NaN]", "list": ["[NaN]"], "text": "1", "bool": True, "long": "x" * 51, "esc": "\x1b"}
    right = {"int": 1.0, "nan": "[NaN]", "list": ["[NaN]"], "text": 1, "bool": 1, "long": "y" * 50, "esc": "a\nb"}
    world.add(experiment("e100000000", 0, params=left), experiment("e200000000", 0, params=right))
    packages = {"numpy": "2.0"}
    world.add(experiment("e300000000", 0, checkpoint("c100000000", 0, 0, {"m": 1}), python_packages=packages))
    wide = "x" * 47 + "..."
    assert (
        run("diff", "e10", "e20").stdout.split("\n\n")[1]
        == f"""\
Params
bool:                     true                                                1
esc:                      \\x1b                                                a
                                                                              b
long:                     {wide}  {"y" * 50}
text:                     "1"                                                 1"""
    )
    assert run("diff", "e10", "e30").stdout.split("\n\n")[2] == (
        "Python Packages\nnumpy:                    (not set)" + " " * 43 + "2.0"
    )
