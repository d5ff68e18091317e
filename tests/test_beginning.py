"""The first minute: a run needs no configuration file, and the user finds it again, all with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

TWO_LINES = "import keepsake\nkeepsake.init(params={'lr': 0.1}).checkpoint(metrics={'loss': 1})\n"
LINE = "There is no keepsake.yaml, so experiments are kept in "


class Result(NamedTuple):
    """How a process ended."""

    status: int
    stdout: str
    stderr: str


class Shell:
    """Runs processes with an environment of their own, in which nothing is set for Keepsake."""

    def __init__(self, home: Path) -> None:
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("KEEPSAKE_")}
        self.environment |= {"HOME": str(home), "KEEPSAKE_CACHE": str(home / "cache"), "PYTHONWARNINGS": "ignore"}
        self.environment |= {"PYTHONPATH": str(Path(__file__).parents[1])}

    def run(self, directory: Path, *args: str, **environment: str) -> Result:
        """Run Python with these arguments in a directory."""
        done = subprocess.run(
            [sys.executable, *args],
            cwd=directory,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def keepsake(self, directory: Path, *args: str, **environment: str) -> Result:
        """Run the command line in a directory."""
        return self.run(directory, "-m", "keepsake", *args, **environment)

    def train(self, directory: Path, script: str = "train.py", **environment: str) -> str:
        """Run a training that succeeds; return what it says."""
        result = self.run(directory, script, **environment)
        assert result.status == 0, result.stderr
        return result.stderr

    def listed(self, directory: Path, *args: str, **environment: str) -> int:
        """Return how many experiments `keepsake ls` lists."""
        result = self.keepsake(directory, *args, "ls", "-q", **environment)
        assert result.status == 0, result.stderr
        return len(result.stdout.split())


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A directory that holds nothing but a training of two lines."""
    directory = tmp_path / "empty"
    directory.mkdir()
    (directory / "train.py").write_text(TWO_LINES)
    return directory


def make(directory: Path, **files: str) -> Path:
    """Make a directory with files, whose names have `_` for the dot."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("_", ".")).write_text(text)
    return directory


# No file


def test_two_lines_in_an_empty_directory_and_then_ls(shell: Shell, empty: Path) -> None:
    said = shell.train(empty)
    assert said.count(LINE) == 1
    assert f"{LINE}{empty / '.keepsake'}. To choose another place, set KEEPSAKE_REPOSITORY" in said
    assert sorted(path.name for path in empty.iterdir()) == [".keepsake", "train.py"]
    listed = shell.keepsake(empty, "ls")
    assert (listed.status, listed.stderr) == (0, "")
    assert "loss" not in listed.stdout.splitlines()[0]
    assert "stopped" in listed.stdout
    below = make(empty / "notebooks" / "deep")
    assert shell.listed(below) == 1
    assert LINE not in shell.train(below, "../../train.py")
    assert shell.listed(empty) == 2
    assert not (below / ".keepsake").exists()


def test_a_run_without_a_network_is_found_too(shell: Shell, empty: Path) -> None:
    shell.train(empty, KEEPSAKE_OFFLINE="1")
    assert not (empty / ".keepsake" / "repository.json").exists()
    assert shell.listed(empty) == 1
    assert shell.keepsake(empty, "sync").status == 0
    assert (empty / ".keepsake" / "repository.json").exists()


def test_a_failed_beginning_leaves_no_project(shell: Shell, empty: Path) -> None:
    result = shell.run(empty, "-c", "import keepsake; keepsake.init(path='nope')")
    assert result.status == 1
    assert "'nope'" in result.stderr
    assert "There is no project" in shell.keepsake(empty, "ls").stderr


def test_a_notebook_that_looks_first_can_begin_afterwards(shell: Shell, empty: Path) -> None:
    code = (
        "import keepsake\n"
        "try: keepsake.experiments.list()\n"
        "except keepsake.exceptions.ConfigNotFound: print('nothing')\n"
        "keepsake.init()\n"
        "print(len(keepsake.experiments.list()))\n"
    )
    assert shell.run(empty, "-c", code).stdout.split() == ["nothing", "1"]


def test_a_directory_that_is_named_is_not_made_a_project(shell: Shell, empty: Path) -> None:
    code = "import keepsake; keepsake.Project(directory='.').experiments.create()"
    result = shell.run(empty, "-c", code)
    assert result.status == 1
    assert "ConfigNotFound" in result.stderr
    assert not (empty / ".keepsake").exists()


@pytest.mark.parametrize("command", [["ls"], ["show", "abc"], ["diff", "a", "b"], ["rm", "-f", "abc"], ["sync"]])
def test_reading_where_there_is_nothing_says_what_was_looked_for(shell: Shell, empty: Path, command: list[str]) -> None:
    result = shell.keepsake(empty, *command)
    assert result.status == 1
    for name in ("keepsake.yaml", ".keepsake/repository.json", f"{empty} or any directory above it"):
        assert name in result.stderr
    assert "KEEPSAKE_REPOSITORY is not set" in result.stderr
    assert not (empty / ".keepsake").exists()


def test_a_file_farther_up_goes_before_a_repository_that_is_nearer(shell: Shell, tmp_path: Path) -> None:
    """It may name that repository, and 0.4.2 goes by the file."""
    project = make(tmp_path / "project", keepsake_yaml="repository: file://runs/.keepsake\n", train_py=TWO_LINES)
    shell.train(project)
    assert (project / "runs" / ".keepsake" / "repository.json").exists()
    shell.train(project / "runs", "../train.py")
    assert shell.listed(project / "runs") == 2


# Another place, from outside


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("file://{tmp}/shared", "shared"),
        ("file://runs", "project/runs"),
        ("file://~/at-home", "at-home"),
        ("file://$HOME/at-home", "at-home"),
        ("file://${HOME}/at-home", "at-home"),
    ],
)
@pytest.mark.parametrize("has_file", [True, False])
def test_the_variable_sets_the_repository(shell: Shell, tmp_path: Path, url: str, where: str, has_file: bool) -> None:
    project = make(tmp_path / "project", train_py=TWO_LINES)
    if has_file:
        make(project, keepsake_yaml="repository: file://other\n")
    set_to = url.replace("{tmp}", str(tmp_path))
    start = make(project / "sub") if has_file else project
    said = shell.train(start, str(project / "train.py"), KEEPSAKE_REPOSITORY=set_to)
    assert LINE not in said
    assert (tmp_path / where / "repository.json").exists()
    assert not (project / "other").exists()
    assert not (project / "~").exists()
    assert shell.listed(start, KEEPSAKE_REPOSITORY=set_to) == 1


def test_an_option_goes_before_the_variable(shell: Shell, empty: Path, tmp_path: Path) -> None:
    shell.train(empty)
    nope = f"file://{tmp_path}/nope"
    assert shell.listed(empty, "-R", f"file://{empty}/.keepsake", KEEPSAKE_REPOSITORY=nope) == 1
    code = "import keepsake; print(len(keepsake.Project(repository='file://.keepsake').experiments.list()))"
    assert shell.run(empty, "-c", code, KEEPSAKE_REPOSITORY=nope).stdout == "1\n"


def test_an_empty_variable_is_not_set(shell: Shell, empty: Path) -> None:
    assert LINE in shell.train(empty, KEEPSAKE_REPOSITORY="")


@pytest.mark.parametrize("url", ["nonsense", "file://", "file://~nobody-of-that-name/x", "file://$NOT_SET_AT_ALL/x"])
def test_a_variable_that_is_wrong_is_named(shell: Shell, empty: Path, url: str) -> None:
    result = shell.keepsake(empty, "ls", KEEPSAKE_REPOSITORY=url)
    assert result.status == 1
    assert result.stderr.startswith("═══╡ KEEPSAKE_REPOSITORY: ")
    assert "train.py" in os.listdir(empty)
    assert len(os.listdir(empty)) == 1


@pytest.mark.parametrize("how", ["option", "variable"])
def test_another_repository_can_be_named_beside_a_broken_file(shell: Shell, empty: Path, how: str) -> None:
    shell.train(empty)
    make(empty, keepsake_yaml="repository: [what is this\n")
    url = f"file://{empty}/.keepsake"
    assert shell.keepsake(empty, "ls").status == 1
    if how == "option":
        assert shell.listed(empty, "-R", url) == 1
    else:
        assert shell.listed(empty, KEEPSAKE_REPOSITORY=url) == 1


# A script that is started from elsewhere


def has_file(project: Path, shell: Shell) -> None:
    make(project, keepsake_yaml="repository: file://runs\n")


def has_begun(project: Path, shell: Shell) -> None:
    shell.train(project, "src/train.py")


@pytest.mark.parametrize("prepare", [has_file, has_begun])
def test_the_project_of_a_script_counts_where_there_is_none(
    shell: Shell, tmp_path: Path, prepare: Callable[[Path, Shell], None]
) -> None:
    project, elsewhere = tmp_path / "project", make(tmp_path / "elsewhere")
    script = make(project / "src", train_py=TWO_LINES) / "train.py"
    prepare(project, shell)
    before = shell.listed(project)
    said = shell.train(elsewhere, str(script))
    assert said.count(f"The project of the script is used instead: {project}") == 1
    assert list(elsewhere.iterdir()) == []
    assert shell.listed(project) == before + 1
    shown = shell.keepsake(elsewhere, "ls")
    assert shown.status == 1, "the command line goes by where the person is"


def test_the_project_of_the_working_directory_goes_before_that_of_the_script(shell: Shell, tmp_path: Path) -> None:
    tools = make(tmp_path / "tools", train_py=TWO_LINES, keepsake_yaml="repository: file://runs\n")
    here = make(tmp_path / "here", keepsake_yaml="repository: file://runs\n")
    assert "instead" not in shell.train(here, str(tools / "train.py"))
    assert shell.listed(here) == 1
    assert not (tools / "runs").exists()
