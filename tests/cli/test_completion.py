"""Completion of commands, options, IDs and names, as a shell asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from keepsake.cli import COMMANDS, cli
from keepsake.cli.opening import Settings
from tests.cli.conftest import Run, World, checkpoint, experiment


def complete(*args: str) -> dict[str, str | None]:
    *before, last = args
    completer = ShellComplete(cli, {"obj": Settings()}, "keepsake", "_KEEPSAKE_COMPLETE")
    return {item.value: item.help for item in completer.get_completions(list(before), last)}


def test_commands_are_completed() -> None:
    assert complete("").keys() == {name for name, lazy in COMMANDS.items() if not lazy.hidden}
    assert complete("ls") == {"ls": "List experiments in this project."}
    assert set(complete("sh")) == {"show"}
    assert {"--json", "--filter"} <= set(complete("ls", "--"))


def test_ids_are_completed(three_runs: World) -> None:
    three_runs.add(experiment("b51e7a0fff", 0, params={"p": "a,b\nc"}))
    assert complete("show", "") == {
        "latest": "the experiment that was created last",
        "best": "the experiment with the best primary metric",
        "b51e7a0fff": "about a second ago stopped p=a b c",
        "b51e7a0f66": "about a minute ago stopped param-1=200 param-2=hello param-3=hi",
        "d7718e5": "latest checkpoint of b51e7a0 step 5",
        "a37c2e9": "10 minutes ago running param-1=100 param-2=hello",
        "9f02c7d": "best checkpoint of a37c2e9 step 20",
        "5d8f0b6": "latest checkpoint of a37c2e9 step 20",
        "c90d1f4": "11 minutes ago stopped param-1=200 param-2=hello",
    }
    assert set(complete("rm", "a37", "5d8")) == {"5d8f0b6"}
    assert set(complete("diff", "a37", "c90d1f4e")) == {"c90d1f4e55"}
    assert set(complete("checkout", "-R", "file://nowhere", "")) == set()


def test_sort_keys_are_completed(three_runs: World, run: Run) -> None:
    """Metrics count whichever checkpoints have them."""
    earlier, latest = (checkpoint(f"e1{n}0000000", 9 - n, n, {name: 1}) for n, name in enumerate(("rare", "metric-1")))
    three_runs.add(experiment("e100000000", 9, earlier, latest))
    assert complete("ls", "--sort", "s") == {"step": "field", "status": "field"}
    assert complete("ls", "-s", "m") == {"metric-1": "metric", "metric-2": "metric", "metric-3": "metric"}
    assert complete("ps", "-s", "r") == {"rare": "metric"}
    assert list(complete("plot", "rar")) == ["rare"]
    assert complete("ps", "-s", "p")["param-3"] == "param"
    assert run("ls", "-q", "-s", "metric-3").stdout.startswith("b51e7a0f66\n")


def test_names_in_filters_are_completed(three_runs: World) -> None:
    """At the beginning, and after each word and parenthesis that joins comparisons."""
    assert complete("ls", "--filter", "metric-1") == {"metric-1": "metric"}
    for before in ("step > 1 and ", "not ", "(step > 1 or ", "not (", 'host = "a b" AND  '):
        assert list(complete("ps", "-f", f"{before}param-3")) == [f"{before}param-3"]
    assert complete("plot", "-f", "step > p").keys() == set()
    assert list(complete("report", "statu")) == ["status"]


def test_saved_paths_are_completed(three_runs: World) -> None:
    """Those of the experiment and of its checkpoint."""
    saved = list(complete("cat", "b51e7a0", ""))
    assert saved == sorted(saved)
    assert saved
    assert list(complete("cat", "b51e7a0", saved[0][:-1])) == [saved[0]]
    assert complete("cat", "zzz", "") == {}


def test_completion_says_nothing_when_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {"_KEEPSAKE_COMPLETE": "bash_complete", "COMP_WORDS": "keepsake show ", "COMP_CWORD": "2"}
    result = CliRunner().invoke(cli, [], env=environment)
    assert (result.exit_code, result.output.strip()) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_completion_script(run: Run, shell: str) -> None:
    assert f"_KEEPSAKE_COMPLETE={shell}_complete" in run("completion", shell).stdout
