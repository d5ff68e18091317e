"""`keepsake plot`: in the terminal, and as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

import keepsake
from keepsake.cli import cli
from tests.cli.conftest import Run, World, checkpoint, experiment, on_disk

pytestmark = on_disk


@pytest.fixture(autouse=True)
def two_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    for letter, values, lr in (("a", (4, 3), 0.1), ("b", (2.75, 1), 0.2)):
        points = [checkpoint(f"{letter}{n}" * 6, 100 - n, 10 * n, {"metric-1": v}) for n, v in enumerate(values)]
        world.add(experiment(letter * 12, 600, *points, params={"lr": lr}))
    return world


def test_it_draws_what_python_draws(run: Run) -> None:
    shown = run("plot", "metric-1").stdout
    assert shown == keepsake.experiments.list().draw("metric-1") + "\n"
    assert run("plot").stdout == shown, "the primary metric"
    lines = shown.split("\n")
    assert lines[0] == "metric-1, 2 runs (lower is better)"
    assert [line.split(" ")[-2:] for line in lines if line.endswith(("lr=0.1", "lr=0.2"))] == [
        ["aaaaaaa", "lr=0.1"],
        ["bbbbbbb", "lr=0.2"],
    ]


def test_ids_and_filters_choose_the_runs(run: Run) -> None:
    for arguments in (["aaa"], ["-f", "lr < 0.2"], ["a0a0a0", "aaa"], ["aaa", "bbb", "-f", "lr = 0.1"]):
        shown = run("plot", "metric-1", *arguments).stdout
        assert shown.startswith("metric-1, 1 run (lower is better)\n"), arguments
        assert "aaaaaaa" in shown
    assert run("plot", "aaa").stdout == run("plot", "metric-1", "aaa").stdout, "the primary metric"
    assert run("plot", "aaa", "bbb").stdout == run("plot").stdout
    assert "No experiment has a metric" in run("plot", "zzz", status=1).stderr
    assert "draws one metric. IDs follow its name." in run("plot", "loss", "zzz", status=1).stderr
    assert run("plot", "-f", "lr > 9").stderr == "═══╡ No experiments found.\n"


def test_it_adapts_to_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("LINES", "15")
    assert run("plot").stdout == keepsake.experiments.list().draw(width=50, height=14) + "\n"
    assert "\x1b[38;5;" not in run("plot").stdout
    assert "\x1b[38;5;" in run("plot", "--color").stdout


def test_the_options_are_those_of_python(run: Run) -> None:
    expected = keepsake.experiments.list().draw(logy=True, smoothing=0.5, x="time") + "\n"
    assert run("plot", "--logy", "--smooth", "0.5", "--x", "time").stdout == expected
    assert run("plot", "--importance").stdout == keepsake.experiments.list().draw_importance() + "\n"


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_picture_is_a_file_of_its_kind(kind: str, start: bytes, run: Run) -> None:
    result = run("plot", "metric-1", "--by", "lr", "-o", f"loss.{kind}")
    assert Path(f"loss.{kind}").read_bytes().startswith(start)
    assert result.stderr == f"═══╡ Wrote loss.{kind}\n"
    run("plot", "--importance", "-o", f"importance.{kind}")
    assert sorted(path.name for path in Path().glob("*.*")) == sorted(
        ["keepsake.yaml", f"importance.{kind}", f"loss.{kind}"]
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["metric"], 1, 'No experiment has a metric "metric". Did you mean "metric-1"?'),
        (["metric-1", "zzzzzzz"], 1, "zzzzzzz"),
        (["-o", "x.bmp"], 2, "'x.bmp' is not the name of a picture. End it with .png, .svg or .pdf."),
        (
            ["-o", "no/such/x.png"],
            1,
            "'no/such/x.png' cannot be written: No such file or directory. Name another file.",
        ),
        (["--by", "lr"], 2, "--by sets the colors of a picture. Name its file with -o."),
        (["--by", "lrr", "-o", "x.png"], 1, 'No experiment has a metric, param or field "lrr".'),
        (["--importance", "--logy"], 2, "--importance draws bars. Leave out --logy, --smooth, --by and --x."),
        (["-f", "lrr = 1"], 1, 'No experiment has a metric, param or field "lrr". Did you mean "lr"?'),
        (["--smooth", "1"], 2, "is not in the range"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_no_file(arguments: list[str], status: int, message: str, run: Run) -> None:
    result = run("plot", *arguments, status=status)
    assert message in result.stderr.replace("\n   │ ", " ")
    assert result.stdout == ""
    assert [path.name for path in Path().glob("*.*")] == ["keepsake.yaml"]


def test_metrics_and_ids_are_completed() -> None:
    complete = ShellComplete(cli, {}, "keepsake", "_KEEPSAKE_COMPLETE")
    assert [item.value for item in complete.get_completions(["plot"], "met")] == ["metric-1"]
    assert [item.value for item in complete.get_completions(["plot", "metric-1"], "bbb")] == ["bbbbbbb"]


def test_without_matplotlib_only_pictures_fail(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'keepsake[plot]'" in run("plot", "-o", "x.png", status=1).stderr
    assert run("plot").stdout.startswith("metric-1")
