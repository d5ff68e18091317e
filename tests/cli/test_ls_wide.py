"""`keepsake ls` for people: a line per run, in the columns that fit the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from keepsake.util.width import text_width
from tests.cli.conftest import Run, World, checkpoint, experiment, on_disk

pytestmark = on_disk

THREE = """\
Same in all: param-2=hello
ID       STARTED  STATUS   HOST      USER     param-1  param-3  metric-1  metric-3  STEP
c90d1f4  11m ago  stopped  10.1.1.2  kim      200
a37c2e9  10m ago  running  10.1.1.1  johanna  100               0.01*               20
b51e7a0  60s ago  stopped  10.1.1.2  johanna  200      hi                 0.5        5
"""


@pytest.fixture
def wide(run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `ls` as on a terminal of some width, and returns its lines."""

    def wide(*args: str, width: int = 80) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        return run("ls", "--layout", "wide", *args).stdout.splitlines()

    return wide


def sweep(world: World, count: int, params: int, **fields: Any) -> None:
    """Runs with params that differ, and others that do not."""
    for number in range(count):
        values = {f"parameter_{index}": number * 0.37 + index for index in range(params)}
        same = {f"constant_{index}": index for index in range(9)}
        made = checkpoint(f"c{number:02}0000000", count - number, number, {"metric-1": number / 7, "other": 1})
        world.add(experiment(f"e{number:02}0000000", 3600 * (count - number), made, params=values | same, **fields))


def test_without_a_limit_every_column_is_shown(three_runs: World, run: Run) -> None:
    result = run("ls", "--layout", "wide")
    assert (result.stdout, result.stderr) == (THREE, "")


def test_forty_runs_fit_a_screen(world: World, wide: Any) -> None:
    """80 × 45 characters, with a line for the prompt."""
    sweep(world, 40, 10, end_reason="exception: ValueError", error="ValueError: " + "very long " * 99)
    lines = wide()
    assert len(lines) <= 44
    assert max(map(text_width, lines)) <= 80
    assert lines[0].startswith("Same in all: constant_0=0 constant_1=1 ")
    assert lines[1].split() == ["ID", "STARTED", "STATUS", "para…er_0", "para…er_1", "metric-1", "STEP", "REASON"]
    assert lines[2].split() == ["e000000", "40h", "ago", "failed", "0", "1", "0*", "0", "ValueError:", "ver…"]
    assert lines[-1] == "Not shown: parameter_2, parameter_3 and 6 more (-c NAME, --layout tall)"


@pytest.mark.parametrize("width", [25, 40, 60, 80, 132, 200])
def test_no_line_is_wider_than_the_terminal(world: World, wide: Any, width: int) -> None:
    texts = ["日本語の長い名前です", "e\u0301" * 50, "👩‍💻 " * 9, "\x1b[31mred\nline", "한국어"]
    for number, text in enumerate(texts):
        fields = {"params": {f"{text} {n}": text * n for n in range(6)} | {"same": text}, "user": text}
        world.add(experiment(f"e{number:02}0000000", number, **fields))
    lines = wide(width=width)
    assert max(map(text_width, lines)) <= width
    assert len(lines) <= len(texts) + 3
    if width == 40:
        assert lines[-1] == "Not shown: 31 (-c NAME, --layout tall)"
    assert "\x1b" not in "".join(lines)


def test_one_run_shows_its_params(world: World, wide: Any) -> None:
    world.add(experiment("e100000000", 5, params={"lr": 0.1, "layers": [3], "name": "x"}))
    assert wide() == ["ID       STARTED  STATUS   lr   name", "e100000  5s ago   stopped  0.1  x"]


def test_runs_without_a_primary_metric_show_their_metrics(world: World, wide: Any) -> None:
    plain = {"primary_metric": None}
    world.add(
        experiment("e100000000", 9, checkpoint("c100000000", 8, 3, {"loss": 0.25, "acc": 1}, **plain)),
        experiment("e200000000", 5, checkpoint("c200000000", 4, 4, {"loss": 12.5}, **plain)),
    )
    assert wide() == [
        "ID       STARTED  STATUS   loss   acc  STEP",
        "e100000  9s ago   stopped   0.25  1    3",
        "e200000  5s ago   stopped  12.5        4",
    ]


@pytest.fixture
def now_and_then(world: World) -> World:
    """Runs that measure val_loss at step 5 of 6 and top at the first step, one of them with a primary metric."""
    for number in (1, 2, 3):
        primary = {} if number == 3 else {"primary_metric": None}
        metrics: list[dict[str, Any]] = [{"top": 1}, {"val_loss": 0.9}, {"val_loss": number / 10}, {}]
        made = [
            checkpoint(f"c{number}0000000{step}", 80 - step, step, {"metric-1": step / 10, **more}, **primary)
            for step, more in zip((1, 4, 5, 6), metrics, strict=True)
        ]
        world.add(experiment(f"e{number}00000000", 99 - number, *made, params={"seed": number, "lr": 0.1}))
    return world


def test_metrics_that_the_latest_checkpoint_lacks_show_their_last_values(now_and_then: World, wide: Any) -> None:
    assert wide("--filter", "val_loss < 0.3") == [
        "Same in all: lr=0.1",
        "ID       STARTED  STATUS   seed  metric-1  top  val_loss  STEP",
        "e100000  98s ago  stopped  1     0.6       1    0.1       6",
        "e200000  97s ago  stopped  2     0.6       1    0.2       6",
    ]
    assert wide("--sort=-val_loss", "-c", "val_loss,metrics.val_loss,last:val_loss,best:top") == [
        "ID       val_loss  metrics.val_loss  last:val_loss  best:top",
        "e300000  0.3       0.3               0.3            1",
        "e200000  0.2       0.2               0.2",
        "e100000  0.1       0.1               0.1",
    ]
    assert wide("--all", "--filter", "seed = 3")[0].split() == [
        *("ID", "STARTED", "STATUS", "lr", "seed", "metric-1", "top", "val_loss", "STEP")
    ]
    assert wide("--group", "-c", "val_loss") == [
        "lr   N  val_loss  MIN TO MAX",
        "0.1  3  0.2       0.1 to 0.3",
    ]


def test_csv_has_their_last_values_too(now_and_then: World, run: Run) -> None:
    header, first, *_ = run("ls", "--csv").stdout.splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert [row[name] for name in ("last:metric-1", "last:top", "last:val_loss", "best:top")] == ["0.6", "1", "0.1", ""]


def test_a_metric_and_a_param_of_one_name_are_told_apart(world: World, wide: Any) -> None:
    for number in (1, 2):
        metrics = {"metric-1": number}
        made = checkpoint(f"c{number}00000000", 8, 3, metrics)
        world.add(experiment(f"e{number}00000000", 9, made, params={"metric-1": -number}))
    assert wide()[0].split() == ["ID", "STARTED", "STATUS", "metric-1", "metrics.metric-1", "STEP"]


def test_the_end_of_a_run_is_explained_unless_it_finished(world: World, wide: Any) -> None:
    ends = [("finished", None), ("interrupted", None), ("exception: OSError", "OSError: disk\nfull"), ("stopped", None)]
    for number, (reason, error) in enumerate(ends):
        world.add(experiment(f"e{number}00000000", 9 - number, end_reason=reason, error=error))
    assert [line.split()[3:] for line in wide()] == [
        ["STATUS", "REASON"][1:],
        ["stopped"],
        ["stopped", "interrupted"],
        ["failed", "OSError:", r"disk\x0afull"],
        ["stopped"],
    ]


def test_values_that_differ_look_different(world: World, wide: Any) -> None:
    """Both are shortened."""
    for number in (1, 2):
        params = {"data": f"a/long/path/to/some/images/of/version-{number}/train.csv"}
        world.add(experiment(f"e{number}00000000", 9, params=params))
    one, two = [line.split()[-1] for line in wide(width=40)[1:]]
    assert one != two


def test_all_shows_what_is_the_same_too(three_runs: World, wide: Any) -> None:
    lines = wide("--all", width=200)
    assert lines[0].split() == [
        "ID",
        "STARTED",
        "STATUS",
        "HOST",
        "USER",
        "param-1",
        "param-2",
        "param-3",
        "metric-1",
        "metric-2",
        "metric-3",
        "STEP",
    ]
    assert len(lines) == 4


@pytest.mark.parametrize("width", [60, 200])
def test_status_is_shown_in_words_and_in_colour(three_runs: World, wide: Any, width: int) -> None:
    plain, colored = wide(width=width), wide("--color", width=width)
    assert "\x1b[32mrunning\x1b[0m" in "".join(colored)
    assert len(plain) == len(colored)
    assert "\x1b" not in "".join(plain)


def test_a_terminal_without_unicode_gets_none(
    world: World, wide: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepsake.cli.rendering.is_utf8", lambda stream: False)
    monkeypatch.setattr("keepsake.cli.wide.is_utf8", lambda stream: False)
    for number in range(2):
        world.add(experiment(f"e{number}00000000", 9, params={"text": f"a long text {number} " * 9, "other": number}))
    assert "".join(wide(width=40)).isascii()


def test_names_and_tags_are_shown_where_there_are_any(world: World, wide: Any) -> None:
    world.add(
        experiment("e100000000", 9, params={"lr": 1}, name="a very long name of an experiment", tags=["good", "paper"]),
        experiment("e200000000", 9, params={"lr": 2}),
    )
    assert wide(width=100) == [
        "ID       NAME                               STARTED  STATUS   lr  TAGS",
        "e100000  a very long name of an experiment  9s ago   stopped  1   good, paper",
        "e200000                                     9s ago   stopped  2",
    ]
    assert "a very lon…xperiment  9s ago" in wide(width=64)[1]
