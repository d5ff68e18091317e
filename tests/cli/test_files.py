"""`keepsake files` and `keepsake cat`, and the same in Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import keepsake
from keepsake.exceptions import FileDoesNotExist, ValidationError
from tests.archive.archives import member, plain_archive
from tests.cli.conftest import Run, World, experiment, on_disk


def test_files_of_a_run_and_its_best_checkpoint(three_runs: World, run: Run) -> None:
    """Archives without a table of contents. data/x of the checkpoint is there in the place of the experiment's."""
    assert run("files", "best").stdout == (
        "Experiment a37c2e9: 1 file, 9 B\n"
        "      9 B  train.py\n"
        "\n"
        "Checkpoint 9f02c7d (best): 1 file, 10 B\n"
        "     10 B  data/x\n"
    )
    assert run("files", "5d8").stdout.endswith("Checkpoint 5d8f0b6: 1 file, 10 B\n     10 B  data/x\n")
    assert run("files", "b51").stdout == "Experiment b51e7a0: 1 file, 9 B\n      9 B  train.py\n"
    found = json.loads(run("files", "best", "--json").stdout)
    assert [(file["path"], file["size"], file["of"][:3]) for file in found] == [
        ("data/x", 10, "9f0"),
        ("train.py", 9, "a37"),
    ]


def test_a_file_is_written_to_stdout(three_runs: World, run: Run) -> None:
    assert run("cat", "best", "data/x").stdout_bytes == b"9f02c7d300"
    assert run("cat", "a37:latest", "data/x").stdout_bytes == b"5d8f0b6a12"
    assert run("cat", "9f0", "train.py").stdout_bytes == b"print(1)\n"


@on_disk
@pytest.mark.parametrize(
    ("path", "suggested"),
    [("trian.py", "train.py"), ("x", "data/x"), ("data", "data"), ("?", "The files are: data, data/x")],
)
def test_a_file_that_is_not_there(three_runs: World, run: Run, path: str, suggested: str) -> None:
    error = run("cat", "9f0", path, status=1).stderr.replace("\n   │ ", " ")
    assert f"There is no file {path!r} in checkpoint 9f02c7d or its experiment." in error
    assert suggested in error


def test_bytes_are_not_changed_and_a_closed_pipe_is_silent(project_directory: Path) -> None:
    data = bytes(range(256)) * 5000 + b"\r\n\n"
    Path("weights").write_bytes(data)
    keepsake.init(path="weights").stop()
    command = [sys.executable, "-m", "keepsake", "cat", "latest", "weights"]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == data
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(3) == data[:3]
        process.stdout.close()
        assert process.stderr.read() == b""


@on_disk
def test_files_are_listed_in_python_too(three_runs: World) -> None:
    run = keepsake.experiments.get("best")
    assert [(file.path, file.size) for file in run.files()] == [("data/x", 10), ("train.py", 9)]
    assert [file.of for file in run.checkpoints[0].files()] == ["4e19aa3b00", "a37c2e9d04"]
    project = keepsake.default_project
    with project.open(project.target("best:latest"), "data/x") as file:
        assert file.read() == b"5d8f0b6a12"
    with pytest.raises(FileDoesNotExist, match=r"Did you mean 'train\.py'"):
        run.open("trane.py")


@pytest.mark.parametrize(("mtime", "year"), [(10.0**15, 6536), (-(10.0**15), 828), (253402300801.0, 6536)])
def test_a_time_that_no_clock_shows(project_directory: Path, run: Run, mtime: float, year: int) -> None:
    """It comes from a damaged file system, or from a stranger."""
    Path("w").write_text("x")
    experiment = keepsake.init(path="w")
    experiment.stop()
    archive = plain_archive(member(f"{experiment.id}/w", b"x", mtime=mtime))
    Path(f"repo/experiments/{experiment.id}.tar.gz").write_bytes(archive)
    assert [file.modified.year for file in experiment.files()] == [year]
    assert run("files", experiment.id, "--json").stdout


@on_disk
def test_a_run_without_files_says_so(world: World, run: Run) -> None:
    world.add(experiment("e100000000", 0))
    assert "has no files" in run("files", "e10", status=1).stderr
    assert "has no files" in run("cat", "e10", "train.py", status=1).stderr


@on_disk
def test_a_preview_lists_what_init_would_save(world: World, run: Run) -> None:
    for name, size in {"train.py": 10, "src/model.py": 2000, "data/big": 9, ".git/HEAD": 1, "wandb/log": 1}.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x" * size)
    Path(".keepsakeignore").write_text("data/\n")
    Path("env").mkdir()
    Path("env/pyvenv.cfg").touch()
    preview = keepsake.default_project.preview()
    assert list(preview.files)[:2] == ["src/model.py", "keepsake.yaml"]
    assert run("files").stdout.partition("Left out\n")[2] == (
        ".git/   never saved\n"
        "data/   .keepsakeignore\n"
        "env/    a virtual environment\n"
        "wandb/  a cache, or another tool's output\n"
    )
    assert run("files", "--path", "src").stdout == (
        "init(path='src') would save 1 file, 2.0 kB:\n   2.0 kB  src/model.py\n"
    )
    assert json.loads(run("files", "--path", "src", "--json").stdout) == {
        "path": "src",
        "files": [{"path": "src/model.py", "size": 2000}],
        "left_out": [],
    }
    saved = keepsake.init(path=".")
    saved.stop()
    assert {file.path: file.size for file in saved.files()} == preview.files


@on_disk
def test_a_preview_of_a_wrong_path_is_an_error(world: World, run: Run) -> None:
    assert "--path cannot be combined with an ID" in run("files", "a37", "--path", "x", status=2).stderr
    assert "No such file or directory" in run("files", "--path", "missing", status=1).stderr
    with pytest.raises(ValidationError, match="outside the project"):
        keepsake.default_project.preview("..")


def test_a_preview_makes_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """The first run makes the working directory a project, and the preview does not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    assert run("files").stdout == "init(path='.') would save 1 file, 0 B:\n      0 B  train.py\n"
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_directories_are_summed_up(project_directory: Path, run: Run) -> None:
    for number in range(60):
        path = Path(f"code/data/part{number % 2}/{number}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * 10)
    Path("code/train.py").write_text("pass")
    keepsake.init(path="code").stop()
    head = "init(path='code') would save 61 files, 604 B:"
    listed = run("files", "--path", "code").stdout
    assert listed.startswith(f"{head}\n--depth 1 sums up directories.\n     10 B  code/data/part0/0.txt\n")
    assert run("files", "--path", "code", "--depth", "1").stdout == f"{head}\n    604 B  code/ (61 files)\n"
    parts = [f"    300 B  code/data/part{number}/ (30 files)\n" for number in (0, 1)]
    deeper = "".join([*parts, "      4 B  code/train.py\n"])
    assert run("files", "--path", "code", "--depth", "3").stdout == f"{head}\n{deeper}"
    assert run("files", "latest", "--depth", "3").stdout.endswith(f": 61 files, 604 B\n{deeper}")
