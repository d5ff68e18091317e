"""`keepsake tag`, `note` and `rename`, and what shows what they write."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import keepsake
from tests.cli.conftest import Run


@pytest.fixture
def id(project_directory: Path) -> str:
    experiment = keepsake.init(name="first", tags=["draft", "Old"], quiet=True)
    experiment.checkpoint(loss=1)
    experiment.stop()
    return experiment.short_id()


@pytest.mark.parametrize(
    ("args", "tags"),
    [
        (["+good", "-draft"], "Old, good"),
        (["good", "better one", "--remove", "draft"], "Old, good, better one"),
        (["-vague", "-hard", "-draft"], "Old"),
        (["--remove=Old", "--remove", "draft"], "none"),
        (["draft", "-nothing"], "draft, Old"),
    ],
)
def test_tags_are_added_and_removed(run: Run, id: str, args: list[str], tags: str) -> None:
    assert run("tag", id, *args).output == f"═══╡ Tags of experiment {id}: {tags}\n"
    assert run("tag", "-1").output == f"═══╡ Tags of experiment {id}: {tags}\n"


@pytest.mark.parametrize("args", [["a,b"], [""], ["+-x"], ["--remove", "a,b"]])
def test_a_wrong_tag_changes_nothing(run: Run, id: str, args: list[str]) -> None:
    assert "tag" in run("tag", id, "+good", *args, status=1).stderr
    assert run("tag", id).output.endswith(": draft, Old\n")


def test_notes_are_written_in_an_editor_or_given(
    run: Run, id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("note", id, "line 1\nline 2").stderr.startswith("═══╡ Wrote the notes of experiment ")
    editor = tmp_path / "editor.py"
    editor.write_text("import sys, pathlib\np = pathlib.Path(sys.argv[1])\np.write_text(p.read_text()[:-2] + 'two')\n")
    monkeypatch.setenv("VISUAL", f"{sys.executable} {editor}")
    run("note", id)
    assert re.search(r"^Notes: +line 1\n +line two$", run("show", id).stdout, re.MULTILINE)
    editor.write_text("")
    assert run("note", id).stderr == "═══╡ The notes stay as they are.\n"
    assert run("note", id, "").stderr.endswith("═══╡ Removed the notes of experiment " + id[:7] + ".\n")
    assert "Notes" not in run("show", id).stdout


def test_names_are_given_and_shown(run: Run, id: str) -> None:
    assert run("rename", id, "wider layers").stderr == f"═══╡ Experiment {id} is named 'wider layers'.\n"
    assert re.search(r"^Name: +wider layers\nTags: +draft, Old$", run("show", id).stdout, re.MULTILINE)
    (listed,) = json.loads(run("ls", "--json").stdout)
    assert (listed["name"], listed["tags"], listed["notes"]) == ("wider layers", ["draft", "Old"], "")
    assert run("rename", id, "").stderr == f"═══╡ Experiment {id} has no name now.\n"
    assert run("rename", id, "a\nb", status=1).stderr.startswith("═══╡ The name 'a\\nb' contains a line break")


def test_an_experiment_that_is_not_there_is_an_error(run: Run, id: str) -> None:
    for command in (["tag", "zzz", "x"], ["note", "zzz", "x"], ["rename", "zzz", "x"]):
        assert "There is no experiment" in run(*command, status=1).stderr
