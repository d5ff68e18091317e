"""`keepsake logs`: the output of runs, harmless on any terminal."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.cli.conftest import Run, World, experiment, on_disk

PART = "0000-0123abcd"


def add(world: World, text: str) -> None:
    counts: dict[str, Any] = {PART: {"lines": text.count("\n"), "size": len(text)}}
    world.add(experiment("a37c2e9d04", 600, output=counts))
    world.repository.write(f"logs/a37c2e9d04-{PART}.txt.gz", gzip.compress(text.encode()))


@pytest.mark.parametrize(
    ("options", "printed"), [("", "one\ntwo\n"), ("-n 1", "two\n"), ("--tail=5 -f", "one\ntwo\n"), ("-n 0", "")]
)
def test_output_is_found_by_any_name_and_cut_to_any_length(world: World, run: Run, options: str, printed: str) -> None:
    add(world, "one\ntwo\n")
    for name in ("a37", "latest", "-1"):
        assert run("logs", name, *options.split()).stdout == printed
    assert "Output:          2 lines, 8 B (keepsake logs a37c2e9)" in run("show", "a37").stdout


@pytest.mark.parametrize(
    ("text", "color", "shown"),
    [
        ("\x1b[32mok\x1b[0m\n", "--color", "\x1b[32mok\x1b[0m\n\x1b[0m"),
        ("\x1b[32mok\x1b[0m\n", "--no-color", "ok\n"),
        ("a\tb\n", "--color", "a\tb\n"),
        ("\x1b]52;c;cm0gLXJm\x07\x1b[2J\u202e\n", "--color", "\\x1b]52;c;cm0gLXJm\\x07\\x1b[2J\\u202e\n\x1b[0m"),
    ],
)
@on_disk
def test_colors_are_all_that_a_terminal_obeys(world: World, run: Run, text: str, color: str, shown: str) -> None:
    add(world, text)
    assert run("logs", "a37", color).stdout == shown


@on_disk
def test_a_run_without_output_says_how_to_keep_it(world: World, run: Run) -> None:
    world.add(experiment("a37c2e9d04", 600))
    failed = run("logs", "a37", status=1)
    assert failed.stdout == ""
    assert failed.stderr.replace("\n   │ ", " ") == (
        "═══╡ The output of experiment a37c2e9 was not kept. To keep that of a run, pass capture_output=True to "
        "keepsake.init(), or set KEEPSAKE_CAPTURE_OUTPUT=1.\n"
    )
    assert "Output" not in run("show", "a37").stdout
