"""`keepsake diff`: whole outputs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import keepsake
from keepsake.exceptions import DoesNotExist, FileDoesNotExist, ValidationError
from keepsake.util import console
from tests.cli.conftest import Run, World, checkpoint, experiment, on_disk

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

FILES = """\
Files
removed  -1     data/x
changed  +1 -1  train.py

--- 9f02c7d/data/x
+++ /dev/null
@@ -1 +0,0 @@
-9f02c7d300
\\ No newline at end of file

--- 9f02c7d/train.py
+++ d7718e5/train.py
@@ -1 +1 @@
-print(1)
+print(2)

"""

BEST_AND_LATEST = """\
═══╡ "a37" matches an experiment, picking the best checkpoint
═══╡ "b51" matches an experiment, picking the latest checkpoint
"""


def test_two_experiments_differ_in_params_metrics_and_files(three_runs: World, run: Run) -> None:
    result = run("diff", "a37", "b51")
    assert (result.stdout, result.stderr) == (TWO_RUNS + FILES, BEST_AND_LATEST)
    assert run("diff", "a37", "b51", "--no-code").stdout == TWO_RUNS
    stat = FILES.split("\n\n")[0] + "\n\n"
    assert run("diff", "a37", "b51", "--stat").stdout == TWO_RUNS + stat


def test_two_checkpoints_of_one_experiment_can_be_compared(three_runs: World, run: Run) -> None:
    result = run("diff", "9f0", "5d8", "--no-code")
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
    assert result.stdout == TWO_RUNS + FILES
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
    assert "The files are not compared: The files of experiment c90d1f4 (.) are not in the repository" in result.stderr
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


def test_runs_without_checkpoints_can_be_compared(world: World, run: Run) -> None:
    world.add(experiment("e100000000", 0), experiment("e200000000", 0))
    none = "(no difference)\n\n"
    assert run("diff", "e10", "e20").stdout == (
        f"Experiment\nID:                       e100000                   e200000\n{none}"
        f"Params\n{none}Python Packages\n{none}Checkpoint\n{none}Metrics\n{none}"
    )


def test_values_differ_by_what_they_mean_and_are_cut(world: World, run: Run) -> None:
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


@on_disk
def test_nested_params_are_compared_name_by_name(world: World, run: Run) -> None:
    """Line by line where both sides, or one of them, has names; a long text from its first difference on."""
    left = {"opt": {"name": "adam", "lr": {"max": 1}}, "net": {"a": 1}, "x": {"y": 1}, "x.y": 2, "long": "x" * 60 + "1"}
    right = {"opt": {"name": "adam", "lr": {"max": 2}}, "net": "mlp", "x": {"y": 2}, "x.y": 2, "long": "x" * 60 + "2"}
    world.add(experiment("e100000000", 0, params=left), experiment("e200000000", 0, params=right | {"new": {"k": []}}))
    assert run("diff", "e10", "e20").stdout.split("\n\n")[1] == (
        "Params\n"
        "long:                     ...xxxxxxxxxxxxxxx1       ...xxxxxxxxxxxxxxx2\n"
        'net:                      {"a":1}                   mlp\n'
        'new:                      (not set)                 {"k":[]}\n'
        "opt.lr.max:               1                         2\n"
        'x:                        {"y":1}                   {"y":2}'
    )


@pytest.fixture
def code(world: World) -> World:
    """Two runs with files of many kinds."""
    world.add(experiment("e100000000", 60, path="."), experiment("e200000000", 0, path=".", command="train.py -x"))
    old = {"same_py": "x\n", "src__gone_py": "1\n", "bin": "\0a", "large": "x" * 1_000_001, "tabs": "\ta\x1b\n"}
    new = {"same_py": "x\n", "src__new_py": "1\n2\n", "bin": "\0b", "large": "y" * 1_000_001, "tabs": "\tb\x1b\n"}
    world.archive("experiments/e100000000", **old)
    world.archive("experiments/e200000000", **new)
    return world


@on_disk
def test_files_that_differ_are_listed_before_their_lines(code: World, run: Run) -> None:
    assert run("diff", "-2", "-1").stdout.partition("Files\n")[2] == (
        "changed         bin (binary, 2 B)\n"
        "changed         large (more than 1.0 MB, 1.0 MB)\n"
        "removed  -1     src/gone.py\n"
        "added    +2     src/new.py\n"
        "changed  +1 -1  tabs\n"
        "\n--- e100000/src/gone.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n"
        "\n--- /dev/null\n+++ e200000/src/new.py\n@@ -0,0 +1,2 @@\n+1\n+2\n"
        "\n--- e100000/tabs\n+++ e200000/tabs\n@@ -1 +1 @@\n-\ta\\x1b\n+\tb\\x1b\n\n"
    )
    assert run("diff", "-2", "-1", "--path", "src/", "--stat").stdout == (
        "Files\nremoved  -1  src/gone.py\nadded    +2  src/new.py\n\n"
    )
    assert run("diff", "-2", "-1", "--path", "same.py").stdout == "Files\n(no difference)\n\n"
    assert "file or directory 'tab'. Did you mean 'tabs'?" in run("diff", "-2", "-1", "--path", "tab", status=1).stderr


@on_disk
def test_json_has_what_differs(code: World, run: Run) -> None:
    found = json.loads(run("diff", "-2", "-1", "--json").stdout)
    assert found["experiment"]["Command"] == ["train.py", "train.py -x"]
    assert found["experiment"]["Created"][0].startswith("2022-03-14T09:50:07")
    assert [(file["path"], file["kind"], file["lines"]) for file in found["files"]][2:] == [
        ("src/gone.py", "removed", [0, 1]),
        ("src/new.py", "added", [2, 0]),
        ("tabs", "changed", [1, 1]),
    ]
    assert "files" not in json.loads(run("diff", "-2", "-1", "--json", "--no-code").stdout)


@on_disk
def test_a_comparison_in_python_has_what_differs(code: World) -> None:
    one, other = keepsake.experiments.list()
    found = one.diff(other)
    assert (found.files.added, found.files.removed) == (["src/new.py"], ["src/gone.py"])
    assert found.files.changed == ["bin", "large", "tabs"]
    assert found.files.text("src/new.py").endswith("+1\n+2\n")
    assert found.files.text("bin") == ""
    assert repr(found.files) == "<FileComparison: 3 changed, 1 added, 1 removed>"
    assert repr(found) == "<Comparison of e100000 and e200000: the same params, packages and metrics>"
    assert "src/new.py" in found._repr_html_()
    assert not one.diff(one).files
    with pytest.raises(FileDoesNotExist, match="Neither has"):
        found.files.text("other.py")


MANY = """\
                 a37c2e9         b51e7a0         a37c2e9         b51e7a0

Experiment
Created:         03-14 09:41:07  03-14 09:50:07  03-14 09:41:07  03-14 09:50:07
Host:            10.1.1.1        10.1.1.2        10.1.1.1        10.1.1.2
Python version:  3.4.5           3.4.6           3.4.5           3.4.6

Params
param-1:         100             200             100             200
param-3:         (not set)       hi              (not set)       hi

Checkpoint
ID:              9f02c7d         d7718e5         9f02c7d         d7718e5
Created:         03-14 09:47:07  03-14 09:49:07  03-14 09:47:07  03-14 09:49:07
Path:            data                            data
Step:            20              5               20              5

Metrics
metric-1:        0.01            (not set)       0.01            (not set)
metric-2:        2               (not set)       2               (not set)
metric-3:        (not set)       0.5             (not set)       0.5

Files
data/x:          version 1       (not set)       version 1       (not set)
train.py:        version 1       version 2       version 1       version 2
"""


def test_more_than_two_runs_make_a_table(three_runs: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = run("diff", "a37", "b51", "9f0", "-1")
    assert result.stdout == MANY
    assert json.loads(run("diff", "a37", "b51", "9f0", "--json").stdout)["files"]["data/x"] == [1, None, 1]


@on_disk
def test_more_than_fit_stand_below_each_other(three_runs: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    lines = run("diff", *["a37", "b51", "9f0"] * 3, "--no-code").stdout.splitlines()
    assert max(map(len, lines)) <= 50
    heads = [line.split() for line in lines if line.startswith(" ")]
    assert [id for head in heads for id in head] == ["a37c2e9", "b51e7a0", "a37c2e9"] * 3


@on_disk
def test_on_a_terminal_it_fits_the_width(
    three_runs: World, run: Run, monkeypatch: pytest.MonkeyPatch, on_a_terminal: None
) -> None:
    long = " ".join(["python train.py", *(f"--option-{number}=12345" for number in range(9))])
    three_runs.add(experiment("f100000000", 0, command=long, params={"a_very_long_name_of_a_param_of_a_model": 1}))
    stdout = run("diff", "a37", "f10").stdout
    assert max(map(len, stdout.splitlines())) <= 80
    assert "".join(stdout.split()).count("--option-8=12345") == 1
    assert "2022-03-14 09:41:07 UTC  2022-03-14 09:51:07 UTC" in stdout


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns, higher than any output here."""
    monkeypatch.setattr(console, "is_terminal", lambda stream: True)
    monkeypatch.setenv("LINES", "1000")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo terminals of this kind")
@on_disk
@pytest.mark.parametrize(("pager", "expected"), [("sed s/^/paged:/", b"paged:"), ("", b"")])
def test_a_long_output_goes_through_the_pager(three_runs: World, pager: str, expected: bytes) -> None:
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"PAGER": pager, "LINES": "10", "COLUMNS": "80", "TERM": "xterm"}
        os.execv(sys.executable, [sys.executable, "-m", "keepsake", "diff", "a37", "b51"])
    output = b""
    try:
        while data := os.read(terminal, 1 << 16):
            output += data
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    plain = [line for line in output.splitlines() if b"param-1:" in line]
    assert len(plain) == 1
    assert plain[0].startswith(expected + b"param-1:")
    assert b"\x1b[32m+print(2)\x1b[0m" in output


@on_disk
def test_a_table_of_many_runs_in_python_has_what_differs(three_runs: World) -> None:
    table = keepsake.default_project.compare(["a37", "b51", "9f0"])
    assert table.params == {"param-1": (100, 200, 100), "param-3": table.params["param-3"]}
    assert table.files == {"data/x": (1, None, 1), "train.py": (1, 2, 1)}
    assert table.to_json()["params"]["param-3"] == [None, "hi", None]
    assert repr(table) == "<Comparison of 3 runs: 2 params, 3 metrics differ>"
    assert "10.1.1.2" in table._repr_html_()
    assert keepsake.experiments.list()[1:].compare().files == {"data/x": (1, None), "train.py": (1, 2)}
    with pytest.raises(ValidationError, match="two or more"):
        keepsake.experiments.list()[:1].compare()


@on_disk
def test_options_that_do_not_fit_are_errors(three_runs: World, run: Run) -> None:
    assert "--no-code compares no files" in run("diff", "-1", "-2", "--no-code", "--stat", status=2).stderr
    assert "of two, not more" in run("diff", "-1", "-2", "-3", "--stat", status=2).stderr


@on_disk
def test_files_that_are_not_there_are_reported(three_runs: World, run: Run) -> None:
    """In Python an error, which --path needs too; otherwise a warning."""
    with pytest.raises(DoesNotExist, match="are not in the repository"):
        _ = keepsake.experiments.get("c90").diff(keepsake.experiments.get("a37")).files
    assert "are not in the repository" in run("diff", "c90", "a37", "--path", "train.py", status=1).stderr
    assert "Files" not in run("diff", "c90", "a37", "b51").stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission to execute")
def test_a_file_that_became_executable_has_changed(project_directory: Path, run: Run) -> None:
    """Other permissions depend on who saved it and where, so they make no difference."""
    Path("run.sh").write_text("echo 1\n")
    for mode in (0o644, 0o600, 0o755):
        Path("run.sh").chmod(mode)
        keepsake.init(path="run.sh").stop()
    assert "Files\n(no difference)\n" in run("diff", "-3", "-2").stdout
    assert run("diff", "-3", "-1").stdout.endswith("Files\nchanged    run.sh (mode 644 to 755, 7 B)\n\n")
    files = keepsake.experiments.get("-3").diff(keepsake.experiments.get("-1")).files
    assert (files.changed, files.text()) == (["run.sh"], "")
    assert "run.sh" in run("diff", "-3", "-2", "-1").stdout
