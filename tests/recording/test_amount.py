"""The message of init() if the files that it saves are large."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import keepsake
from keepsake.archive.pack import FileEntry
from keepsake.recording import amount
from keepsake.recording.amount import tell_if_large
from keepsake.util.ignore import walk_files

MB = 1_000_000


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amount, "_said", False)


def said_of(
    directory: Path, sizes: dict[str, int], capsys: pytest.CaptureFixture[str], *earlier: str, path: str = "."
) -> list[str]:
    """Return the lines that are said of files with these sizes."""
    tell_if_large(directory, path, [FileEntry(*item, 0o644, 0, 0) for item in sizes.items()], lambda: earlier)
    return [line[5:] for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    ("sizes", "is_said"),
    [
        ({"a": 50 * MB}, False),
        ({"a": 50 * MB, "b": 1}, True),
        ({f"d/{number}": 1 for number in range(5000)}, False),
        ({f"d/{number}": 1 for number in range(5001)}, True),
        ({}, False),
    ],
)
def test_large_files_are_reported(
    tmp_path: Path, sizes: dict[str, int], is_said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bool(said_of(tmp_path, sizes, capsys)) == is_said


def test_the_largest_are_named_with_the_lines_that_leave_them_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"train.py": 1000, "data/a": 400 * MB, "data/deep/b": 800 * MB, "model.pth": 90 * MB}
    sizes |= {f"few/{number}": 10 * MB for number in range(2)} | {"small.bin": 15 * MB, "tiny.bin": 14 * MB}
    assert said_of(tmp_path, sizes, capsys) == [
        "init(path='.') saves 1.3 GB in 8 files:",
        "   1.2 GB  data/, 2 files",
        "  90.0 MB  model.pth",
        "  20.0 MB  few/, 2 files",
        "  15.0 MB  small.bin",
        "To leave them out, add these lines to .keepsakeignore:",
        "/data/",
        "/model.pth",
        "/few/",
        "/small.bin",
    ]
    assert said_of(tmp_path, sizes, capsys) == [], "once per process"


def test_very_many_small_files_are_named_before_a_large_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {f"images/{number}.png": 10 for number in range(6000)} | {"large.bin": 10 * MB}
    said = said_of(tmp_path, sizes, capsys)
    assert said[1] == "  60.0 kB  images/, 6,000 files"
    assert said[-1] == "/images/"


def test_what_an_earlier_run_saved_as_a_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {f"set{number}": (60 - number) * MB for number in range(6)} | {"out/model.pth": 5 * MB, "out/log": 1}
    said = said_of(tmp_path, sizes, capsys, "./out/model.pth", ".", "gone")
    assert "   5.0 MB  out/model.pth (a checkpoint of an earlier run)" in said
    assert said[-1] == "/out/model.pth"
    assert len(said) == 10


def test_the_lines_name_what_is_below_the_path_that_is_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_of(tmp_path, {"data/x/a": 60 * MB, "data/y": 70 * MB}, capsys, path="./data/")
    assert said[-2:] == ["/data/y", "/data/x/"]


def test_a_single_file_that_was_named_is_not_to_be_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said_of(tmp_path, {"w.bin": 60 * MB}, capsys, path="./w.bin") == [
        "init(path='./w.bin') saves 60.0 MB in 1 file. To save less, name another path."
    ]


@pytest.mark.parametrize(
    "name", ["plain", "se[t].bin", "what?", "star*", "#hash", "!bang", "trailing ", "two  blanks", "back\\slash", "ünï"]
)
@pytest.mark.parametrize("below", ["", "/x"])
def test_the_lines_leave_out_what_they_are_for(
    tmp_path: Path, name: str, below: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / (name + below)
    file.parent.mkdir(exist_ok=True)
    file.touch()
    (tmp_path / "train.py").touch()
    line = said_of(tmp_path, {name + below: 60 * MB}, capsys)[-1]
    (tmp_path / ".keepsakeignore").write_text(f"# ours\n{line}\n")
    assert [found for found, _ in walk_files(tmp_path, ".")] == [".keepsakeignore", "train.py"]


def test_the_older_ignore_file_is_named_where_it_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".replicateignore").touch()
    assert "add these lines to .replicateignore:" in said_of(tmp_path, {"a": 60 * MB}, capsys)[2]


def test_a_run_whose_directory_holds_the_last_ones_weights(
    project_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link out of the project is named, and nothing is said a second time."""
    outside = tmp_path / "set.bin"
    for file, size in ((outside, 60 * MB), (project_directory / "model.pth", 1000)):
        file.touch()
        os.truncate(file, size)
    first = keepsake.init()
    first.checkpoint(path="model.pth")
    first.stop()
    (project_directory / "linked.bin").symlink_to(outside)
    capsys.readouterr()
    keepsake.init(path=".").stop()
    said = capsys.readouterr().err
    assert "init(path='.') saves 60.0 MB in 3 files:" in said
    assert f"60.0 MB  linked.bin (a link to {outside})" in said
    assert "1.0 kB  model.pth (a checkpoint of an earlier run)" in said
    keepsake.init(path=".").stop()
    assert "saves" not in capsys.readouterr().err


def test_offline_the_spool_knows_of_earlier_checkpoints(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    (project_directory / "model.pth").touch()
    os.truncate(project_directory / "model.pth", 60 * MB)
    first = keepsake.init()
    first.checkpoint(path="model.pth")
    first.stop()
    keepsake.init(path=".").stop()
    assert "model.pth (a checkpoint of an earlier run)" in capsys.readouterr().err
