"""`keepsake checkout`: what is copied, asked and said."""

from __future__ import annotations

from pathlib import Path

import pytest

import keepsake
from tests.cli.conftest import Run, World, experiment
from tests.storage.benches import Bench

COMMAND = """\
═══╡ Its command was:
   │
   │   train.py --alpha=0.3 -q
   │
   │ `keepsake rerun {id}` runs it again, in a new directory.
""".replace("│\n", "│ \n")
QUESTION = "\nDo you want to continue? (y/N) "


def contents(directory: Path) -> dict[str, str]:
    """The files below a directory, but for what is kept for --undo."""
    files = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    return {name: path.read_text() for name, path in files.items() if not name.startswith(".keepsake/")}


@pytest.mark.parametrize(
    ("id", "what", "files"),
    [
        (
            "a37",
            "experiment a37c2e9 and its best checkpoint 9f02c7d",
            {"train.py": "print(1)\n", "data/x": "9f02c7d300"},
        ),
        ("b51", "experiment b51e7a0 and its latest checkpoint d7718e5", {"train.py": "print(2)\n"}),
        (
            "4e1",
            "checkpoint 4e19aa3 and its experiment a37c2e9",
            {"train.py": "print(1)\n", "data/x": "4e19aa3b00"},
        ),
    ],
)
def test_the_checkpoints_files_go_over_the_experiments(
    three_runs: World, run: Run, id: str, what: str, files: dict[str, str]
) -> None:
    result = run("checkout", id, "-o", "new/directory")
    command = COMMAND.format(id="b51e7a0" if id == "b51" else "a37c2e9")
    assert result.stdout == ""
    assert result.stderr == f'═══╡ Checking out files from {what}\n═══╡ Copied all files to "new/directory"\n{command}'
    assert contents(Path("new/directory")) == files


def test_an_experiment_without_checkpoints_and_without_a_command(world: World, run: Run) -> None:
    world.add(experiment("e100000000", 0, path=".", command=""))
    world.archive("experiments/e100000000", train_py="1")
    assert run("checkout", "e10", "--output-directory", "out").stderr == (
        '═══╡ Checking out files from experiment e100000\n═══╡ Copied all files to "out"\n'
    )
    assert contents(Path("out")) == {"train.py": "1"}


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("train.py", {"train.py": "print(1)\n"}),
        ("data", {"data/x": "9f02c7d300"}),
        ("./data/", {"data/x": "9f02c7d300"}),
        ("data/x", {"data/x": "9f02c7d300"}),
    ],
)
def test_a_path_is_copied_alone(three_runs: World, run: Run, path: str, files: dict[str, str]) -> None:
    result = run("checkout", "a37", "--path", path, "-o", "out")
    assert f'Copied the path {path} to "out"' in result.stderr
    assert contents(Path("out")) == files


def test_the_project_directory_is_the_default(
    three_runs: World, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that of the nearest keepsake.yaml, or of -D."""
    below = three_runs.project / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    run("checkout", "-f", "a37", "--path", "train.py")
    assert (three_runs.project / "train.py").read_text() == "print(1)\n"
    monkeypatch.chdir(tmp_path)
    run("checkout", "--force", "b51", "-D", "project")
    assert (three_runs.project / "train.py").read_text() == "print(2)\n"


def test_without_a_project_the_directory_must_be_named(
    three_runs: World, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert "repository: file://" in run("checkout", "a37", status=1).stderr
    assert "with -o" in run("checkout", "a37", "-R", three_runs.repository.url, status=1).stderr
    assert contents(elsewhere) == {}
    run("checkout", "a37", "-R", three_runs.repository.url, "-o", ".")
    assert contents(elsewhere) == {"train.py": "print(1)\n", "data/x": "9f02c7d300"}


@pytest.fixture
def filled(three_runs: World) -> Path:
    directory = three_runs.project / "out"
    (directory / "data").mkdir(parents=True)
    (directory / "train.py").write_text("print(1)\n")
    (directory / "data" / "x").write_text("mine")
    (directory / "notes").write_text("mine")
    return directory


def test_it_asks_before_it_touches_a_directory_in_use(three_runs: World, filled: Path, run: Run) -> None:
    before = contents(filled)
    result = run("checkout", "a37", "-o", "out", input="n\n", status=1)
    assert result.stdout == QUESTION
    assert (
        result.stderr
        == """\
═══╡ Checking out files from experiment a37c2e9 and its best checkpoint 9f02c7d
═══╡ The directory "out" is not empty.
═══╡ This checkout would overwrite 1 file (data/x). All other files stay as they are.
   │ Overwritten files are kept. `keepsake checkout --undo -o out` puts them back.
═══╡ Aborting.
"""
    )
    assert contents(filled) == before


def test_it_says_what_would_be_overwritten_and_added(three_runs: World, run: Run) -> None:
    Path("out").mkdir()
    Path("out/train.py").write_text("mine")
    said = run("checkout", "a37", "-o", "out", input="n", status=1).stderr
    assert "would overwrite 1 file (train.py) and add 1 file (data/x). All other files stay as they are." in said


def test_it_says_when_nothing_would_be_overwritten(three_runs: World, run: Run) -> None:
    Path("out").mkdir()
    Path("out/notes").write_text("mine")
    assert (
        "would add 2 files (data/x, train.py). All other files stay as they are.\n═══╡ Aborting"
        in run("checkout", "a37", "-o", "out", input="n", status=1).stderr
    )


def test_it_names_a_few_of_many_files(world: World, run: Run) -> None:
    names = [f"f{number}" for number in range(7)]
    world.add(experiment("e100000000", 0, path="."))
    world.archive("experiments/e100000000", **dict.fromkeys(names, "new"))
    Path("out").mkdir()
    for name in names:
        Path("out", name).write_text("old")
    asked = run("checkout", "e10", "-o", "out", input="n", status=1).stderr
    assert "overwrite 7 files (f0, f1, f2, f3, f4, ...). All other files stay as they are." in asked


def test_it_does_not_ask_when_nothing_would_change(three_runs: World, run: Run) -> None:
    run("checkout", "a37", "-o", "out")
    assert "Copied all files" in run("checkout", "a37", "-o", "out").stderr


def test_yes_copies(three_runs: World, filled: Path, run: Run) -> None:
    run("checkout", "a37", "-o", "out", input="y")
    assert contents(filled) == {"train.py": "print(1)\n", "data/x": "9f02c7d300", "notes": "mine"}


def test_a_closed_stdin_names_force(three_runs: World, filled: Path, run: Run) -> None:
    before = contents(filled)
    assert "'-f'" in run("checkout", "a37", "-o", "out", status=1).stderr
    assert contents(filled) == before
    run("checkout", "a37", "-o", "out", "-f")
    assert contents(filled) != before


UNDONE = """\
═══╡ Put back 1 file (data/x) in "out"
   │ `keepsake checkout --undo -o out` once more takes this back.
"""


def test_undo_puts_back_what_was_overwritten(three_runs: World, filled: Path, run: Run) -> None:
    before = contents(filled)
    run("checkout", "a37", "-f", "-o", "out")
    result = run("checkout", "--undo", "-o", "out")
    assert (result.stdout, result.stderr) == ("", UNDONE)
    assert contents(filled) == before
    assert run("checkout", "--undo", "-o", "out").stderr == UNDONE
    assert contents(filled) != before


def test_undo_without_a_checkout_is_an_error(three_runs: World, run: Run) -> None:
    assert "nothing to undo" in run("checkout", "--undo", status=1).stderr
    assert "--undo takes no ID" in run("checkout", "--undo", "a37", status=2).stderr


def test_what_is_not_there_is_an_error(three_runs: World, run: Run) -> None:
    """A missing path, an experiment that saved no files, or a missing archive: nothing is left behind."""
    three_runs.add(experiment("e100000000", 0))
    assert "'nope'" in run("checkout", "a37", "--path", "nope", "-o", "out", status=1).stderr
    assert "e100000" in run("checkout", "e10", "-o", "out", status=1).stderr
    assert "experiment c90d1f4 (.) are not in the repository" in run("checkout", "c90", "-o", "out", status=1).stderr
    assert not Path("out").exists()


def test_what_a_script_saved_is_checked_out(place: Bench, project_directory: Path, run: Run) -> None:
    """From a run of this version, with its own kind of archive."""
    Path("train.py").write_text("print('training')")
    Path("model").write_text("untrained")
    recorded = keepsake.init(path=".", params={"lr": 0.1})
    for loss in (0.5, 0.25, 0.75):
        Path("model").write_text(f"weights {loss}")
        recorded.checkpoint(path="model", metrics={"loss": loss}, primary_metric=("loss", "minimize"))
    recorded.stop()
    run("checkout", recorded.short_id(), "-o", "out")
    assert contents(Path("out")) == {
        "keepsake.yaml": Path("keepsake.yaml").read_text(),
        "model": "weights 0.25",
        "train.py": "print('training')",
    }
    run("checkout", recorded.checkpoints[2].id, "-o", "out", "--path", "model", "-f")
    assert Path("out/model").read_text() == "weights 0.75"
