"""Differences by intent, each shown to be real on both sides: what is saved of files, and what comes back."""

from __future__ import annotations

import codecs
import io
import os
import shutil
import socket
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.interop import records
from tests.interop.compare import Both, contents, tree
from tests.interop.differences import shows
from tests.interop.sides import Failed, Side

EXPERIMENT, CHECKPOINT = "e0000001", "c0000002"
RUN: dict[str, Any] = {"path": ".", "params": None, "checkpoints": []}
Member = tuple[str, bytes, dict[str, Any]]  # name, content, more attributes


@pytest.fixture(scope="module")
def _workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project for all tests that save files, as 0.4.2 is slow to begin."""
    return tmp_path_factory.mktemp("workshop")


@pytest.fixture
def workshop(_workshop: Path) -> Path:
    """A project with one file; whatever an earlier test put there is gone, but for the repository."""
    for path in _workshop.iterdir():
        if path.name != ".keepsake":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (_workshop / "keepsake.yaml").write_text("repository: file://.keepsake\n")
    (_workshop / "train.py").write_text("print('training')\n")
    return _workshop


def saved(side: Side, project: Path, path: str = ".", **files: str) -> list[str] | str:
    """The names in the archive of a run that saves a path; or what was raised."""
    try:
        identifier = side.call("record", runs=[{**RUN, "path": path, "files": files}], directory=str(project))[0][0]
    except Failed as failed:
        return failed.kind
    with tarfile.open(project / f".keepsake/experiments/{identifier}.tar.gz") as archive:
        return sorted(member.name.partition("/")[2] for member in archive)


def write_archive(project: Path, identifier: str, *members: Member) -> Path:
    """An archive as anybody may have made it."""
    path = project / f".keepsake/{'experiments' if identifier == EXPERIMENT else 'checkpoints'}/{identifier}.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content, attributes in members:
            member = tarfile.TarInfo(f"{identifier}/{name}")
            member.size = len(content)
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_run(project: Path, *checkpoints: dict[str, Any], files: dict[str, bytes] | None = None) -> None:
    """An experiment with these files, and checkpoints."""
    found = files or {"run.sh": b"run", "src/a.py": b"a", "src/b.py": b"b"}
    records.write(project, records.experiment(1, *checkpoints, path="."))
    write_archive(project, EXPERIMENT, *((name, content, {}) for name, content in found.items()))


def check_out(both: Both, project: Path, out: Path, *args: str) -> list[tuple[int, dict[str, bytes]]]:
    """The exit status and the files, on both sides."""
    found = []
    for side in (both.original, both.ours):
        done = side.run("checkout", EXPERIMENT, *args, "-o", str(out / side.name), cwd=project)
        found.append((done.status, contents(tree(out / side.name))))
    return found


# Saving


@shows("absolute-paths")
def test_absolute_paths(both: Both, workshop: Path) -> None:
    """The path of the project itself, written in full."""
    assert "train.py" in saved(both.ours, workshop, str(workshop))
    assert "train.py" not in saved(both.original, workshop, str(workshop))


@shows("exec-bits-lost")
def test_exec_bits_lost(both: Both, workshop: Path) -> None:
    """A script."""
    (workshop / "train.py").chmod(0o755)
    modes = []
    for side in (both.original, both.ours):
        identifier = side.call("record", runs=[{**RUN, "path": "train.py"}], directory=str(workshop))[0][0]
        with tarfile.open(workshop / f".keepsake/experiments/{identifier}.tar.gz") as archive:
            modes.append(archive.getmember(f"{identifier}/train.py").mode & 0o111)
    assert modes == [0, 0o111]


@shows("symlinks")
@pytest.mark.parametrize("target", ["nowhere", "folder"])
def test_symlinks(both: Both, workshop: Path, target: str) -> None:
    """A dangling one, and one to a directory."""
    (workshop / "folder").mkdir()
    (workshop / "link").symlink_to(target)
    assert saved(both.original, workshop) == "Exception"
    assert saved(both.ours, workshop) == ["keepsake.yaml", "train.py"]


@shows("unreadable-files")
def test_unreadable_files(both: Both, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket."""
    monkeypatch.chdir(workshop)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert saved(both.original, workshop) == "Exception"
        assert saved(both.ours, workshop) == ["keepsake.yaml", "train.py"]


@shows("repository-in-itself")
def test_repository_in_itself(both: Both, project: Path) -> None:
    """file://repo."""
    (project / "keepsake.yaml").write_text("repository: file://repo\n")
    packed = []
    for side in (both.original, both.ours):
        identifier = side.record(runs=[RUN], directory=str(project), repository="file://repo")[0][0]
        with tarfile.open(project / f"repo/experiments/{identifier}.tar.gz") as archive:
            packed.append([name for name in archive.getnames() if "/repo/" in name])
    assert packed[0]
    assert not packed[1]


@shows("ignored-but-named")
def test_ignored_but_named(both: Both, workshop: Path) -> None:
    """checkpoint(path="model.pth") while *.pth is ignored."""
    (workshop / "model.pth").write_text("weights")
    rules = {".keepsakeignore": "*.pth\n"}
    assert saved(both.original, workshop, "model.pth", **rules) == "Exception"
    assert saved(both.ours, workshop, "model.pth", **rules) == ["model.pth"]


IGNORABLE = ["1.c", "a.c", "blank ", "deep/er/c.log", "er/c.log"]
IGNORE = {  # the difference → the rule, and which of these it ignores: theirs, ours
    "ignore-question-mark": ("?.c", [], ["1.c", "a.c"]),
    "ignore-middle-slash": ("er/c.log", ["deep/er/c.log", "er/c.log"], ["er/c.log"]),
    "ignore-negated-class": ("[!0-9].c", ["1.c"], ["a.c"]),
    "ignore-escaped-blank": ("blank\\ ", [], ["blank "]),
    "ignore-lone-slash": ("/", IGNORABLE, []),
}


@shows(*IGNORE)
@pytest.mark.parametrize("difference", IGNORE)
def test_ignore_rules(both: Both, workshop: Path, difference: str) -> None:
    """Where 0.4.2 does not do as .gitignore does."""
    for name in IGNORABLE:
        (workshop / name).parent.mkdir(parents=True, exist_ok=True)
        (workshop / name).write_text("")
    pattern, *expected = IGNORE[difference]
    found = []
    for side in (both.original, both.ours):
        names = saved(side, workshop, **{".keepsakeignore": pattern})
        found.append([name for name in IGNORABLE if name not in names])
    assert found == expected


@shows("ignore-file-in-subdirectory")
def test_ignore_file_in_subdirectory(both: Both, workshop: Path) -> None:
    """docs/.keepsakeignore."""
    (workshop / "docs").mkdir()
    for name in ("a.txt", "b.txt"):
        (workshop / "docs" / name).write_text("")
    rules = {"docs/.keepsakeignore": "a.txt"}
    assert saved(both.original, workshop, "docs", **rules) == ["docs/.keepsakeignore", "docs/b.txt"]
    assert saved(both.ours, workshop, "docs", **rules) == ["docs/.keepsakeignore", "docs/a.txt", "docs/b.txt"]
    for side in (both.original, both.ours):
        assert "docs/a.txt" in saved(side, workshop, ".", **rules)


def write(directory: Path, *names: str) -> None:
    """Empty files."""
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("")


@shows("ignore-opening")
def test_ignore_opening(both: Both, workshop: Path) -> None:
    """Nothing but programs."""
    write(workshop, "a.txt", "s/b.py", "s/c.txt")
    rules = {".keepsakeignore": "*\n!*/\n!*.py\n"}
    assert saved(both.original, workshop, **rules) == ["s/b.py", "s/c.txt", "train.py"]
    assert saved(both.ours, workshop, **rules) == ["s/b.py", "train.py"]


@shows("ignore-subdirectories")
def test_ignore_subdirectories(both: Both, workshop: Path) -> None:
    """`data/**/`."""
    write(workshop, "data/a", "data/x/b")
    rules = {".keepsakeignore": "data/**/\n*ignore\n*.yaml\n"}
    assert saved(both.original, workshop, **rules) == ["data/a", "data/x/b", "train.py"]
    assert saved(both.ours, workshop, **rules) == ["data/a", "train.py"]


@shows("ignore-utf-16")
def test_ignore_utf_16(both: Both, workshop: Path) -> None:
    """PowerShell writes text so."""
    write(workshop, "a.txt")
    (workshop / ".keepsakeignore").write_bytes(codecs.BOM_UTF16_LE + "*.txt\n*ignore\n".encode("utf-16-le"))
    assert "a.txt" in saved(both.original, workshop)
    assert saved(both.ours, workshop) == ["keepsake.yaml", "train.py"]


@shows("conda-environment")
def test_conda_environment(both: Both, workshop: Path) -> None:
    """Known by the folder that conda keeps in it."""
    write(workshop, "env/conda-meta/history", "env/lib/module.py")
    assert "env/lib/module.py" in saved(both.original, workshop)
    assert saved(both.ours, workshop) == ["keepsake.yaml", "train.py"]


@shows("left-out-by-default")
def test_left_out_by_default(both: Both, workshop: Path) -> None:
    """What Python and others put beside the code."""
    write(workshop, "__pycache__/train.pyc", "wandb/run/log")
    assert {"__pycache__/train.pyc", "wandb/run/log"} <= set(saved(both.original, workshop))
    assert saved(both.ours, workshop) == ["keepsake.yaml", "train.py"]
    kept = saved(both.ours, workshop, **{".keepsakeignore": "!wandb\n*ignore\n"})
    assert kept == ["keepsake.yaml", "train.py", "wandb/run/log"]


# Checking out


@shows("times-of-files")
def test_times_of_files(both: Both, workshop: Path, tmp_path: Path) -> None:
    """Changed long ago, saved by ours."""
    os.utime(workshop / "train.py", (1_000_000_000, 1_000_000_000))
    identifier = both.ours.call("record", runs=[{**RUN, "path": "train.py"}], directory=str(workshop))[0][0]
    for side in (both.original, both.ours):
        assert side.run("checkout", identifier, "-o", str(tmp_path / side.name), cwd=workshop).status == 0
        kept = (tmp_path / side.name / "train.py").stat().st_mtime == 1_000_000_000
        assert kept == (side is both.ours)


@shows("path-of-a-directory")
def test_path_of_a_directory(both: Both, project: Path, tmp_path: Path) -> None:
    """--path src."""
    write_run(project)
    theirs, ours = check_out(both, project, tmp_path, "--path", "src")
    assert theirs == (0, {"src/a.py": b"a"})
    assert ours == (0, {"src/a.py": b"a", "src/b.py": b"b"})


@shows("path-part-of-name")
def test_path_part_of_name(both: Both, project: Path, tmp_path: Path) -> None:
    """--path ru."""
    write_run(project)
    assert check_out(both, project, tmp_path, "--path", "ru") == [(1, {}), (1, {})]
    theirs, ours = both.run("checkout", EXPERIMENT, "--path", "ru", "-o", str(tmp_path / "new"), cwd=project)
    assert "lstat" in theirs.stderr
    assert "lstat" not in ours.stderr
    assert "ru" in ours.stderr


@shows("path-missing-exit-0")
def test_path_missing_exit_0(both: Both, project: Path, tmp_path: Path) -> None:
    """--path nothing, without a checkpoint."""
    write_run(project)
    assert check_out(both, project, tmp_path, "--path", "nothing") == [(0, {}), (1, {})]


@shows("checkout-asks-in-time")
def test_checkout_asks_in_time(both: Both, project: Path, tmp_path: Path) -> None:
    """What was saved with path="src" and a checkpoint of run.sh, into a directory that holds a run.sh."""
    second = records.checkpoint(2, path="run.sh")
    records.write(project, records.experiment(1, second, path="src"))
    write_archive(project, EXPERIMENT, ("src/a.py", b"a", {}))
    write_archive(project, CHECKPOINT, ("run.sh", b"old", {}))
    found = []
    for side in (both.original, both.ours):
        out = tmp_path / side.name
        out.mkdir()
        (out / "run.sh").write_text("mine")
        done = side.run("checkout", EXPERIMENT, "-o", str(out), cwd=project, answer="n\n")
        found.append((done.status, "(y/N)" in done.stdout, (out / "run.sh").read_text()))
        assert ("1 file (run.sh)" in done.stderr) == (side is both.ours)
    assert found == [(0, False, "old"), (1, True, "mine")]


@shows("checkout-undo")
def test_checkout_undo(both: Both, project: Path, tmp_path: Path) -> None:
    """What was overwritten."""
    write_run(project)
    for side in (both.original, both.ours):
        out = tmp_path / side.name
        out.mkdir()
        (out / "run.sh").write_text("mine")
        assert side.run("checkout", EXPERIMENT, "-f", "-o", str(out), cwd=project).status == 0
        assert (out / "run.sh").read_text() == "run"
        done = side.run("checkout", "--undo", "-o", str(out), cwd=project)
        assert done.status == (0 if side is both.ours else 1)
        assert contents(tree(out)).get("run.sh") == (b"mine" if side is both.ours else b"run")
    assert contents(tree(tmp_path / "ours")) == {"run.sh": b"mine"}


@shows("checkout-origin")
def test_checkout_origin(both: Both, project: Path, tmp_path: Path) -> None:
    """Where the repository of keepsake.yaml is relative, as nearly always."""
    write_run(project, files={"keepsake.yaml": b"repository: file://.keepsake\n"})
    for side in (both.original, both.ours):
        copy = tmp_path / f"copy-{side}"
        assert side.run("checkout", EXPERIMENT, "-f", "-o", str(copy), cwd=project).status == 0
        listed = side.run("ls", "-q", cwd=copy)
        assert (EXPERIMENT in listed.stdout) == (side is both.ours)


@shows("checkout-across-disks")
def test_checkout_across_disks(both: Both, project: Path) -> None:
    """Out of the temporary directory's file system."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == project.stat().st_dev:
        pytest.skip("there is no second file system")
    write_run(project)
    with tempfile.TemporaryDirectory(dir=memory) as out:
        theirs, ours = check_out(both, project, Path(out), "--path", "run.sh")
    assert theirs[0] == 1
    assert ours == (0, {"run.sh": b"run"})


@shows("damaged-archives")
def test_damaged_archives(both: Both, project: Path, tmp_path: Path) -> None:
    """One bit of the weights, in an archive of 0.4.2."""
    weights = os.urandom(3_000_000)
    (project / "weights").write_bytes(weights)
    identifier = both.original.record(runs=[{**RUN, "path": "weights"}], directory=str(project))[0][0]
    archive = project / f".keepsake/experiments/{identifier}.tar.gz"
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    found = []
    for side in (both.original, both.ours):
        done = side.run("checkout", identifier, "-o", str(tmp_path / side.name), cwd=project)
        found.append((done.status, contents(tree(tmp_path / side.name)).get("weights")))
    assert found[0][0] == 0
    assert found[0][1] not in (None, weights)
    assert found[1] == (1, None)


@shows("hostile-archives")
def test_archives_with_links(both: Both, project: Path, tmp_path: Path) -> None:
    """A link out of the directory, and a file below it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    records.write(project, records.experiment(1, path="."))
    link = ("link", b"", {"type": tarfile.SYMTYPE, "linkname": str(outside)})
    write_archive(project, EXPERIMENT, link, ("link/planted", b"planted", {}))
    for side in (both.original, both.ours):
        side.run("checkout", EXPERIMENT, "-o", str(tmp_path / side.name), cwd=project)
        assert (outside / "planted").exists() == (side is both.original)
        (outside / "planted").unlink(missing_ok=True)


@shows("hostile-archives")
def test_archives_with_setuid(both: Both, project: Path, tmp_path: Path) -> None:
    """The permission to run as somebody else."""
    records.write(project, records.experiment(1, path="."))
    write_archive(project, EXPERIMENT, ("run.sh", b"run", {"mode": 0o4755}))
    for side in (both.original, both.ours):
        assert side.run("checkout", EXPERIMENT, "-o", str(tmp_path / side.name), cwd=project).status == 0
        mode = (tmp_path / side.name / "run.sh").stat().st_mode
        assert bool(mode & stat.S_ISUID) == (side is both.original)


@shows("open-missing-file")
def test_open_missing_file(both: Both, project: Path) -> None:
    """checkpoint.open("nothing")."""
    write_run(project, records.checkpoint(2))
    where = {"experiment": EXPERIMENT, "checkpoint": CHECKPOINT, "directory": str(project)}
    kinds = []
    for side in (both.original, both.ours):
        with pytest.raises(Failed) as failed:
            side.call("opened", paths=["nothing"], **where)
        kinds.append(failed.value.kind)
        assert ("c000000" in failed.value.message) == (side is both.ours)
    assert kinds == ["FileNotFoundError", "FileDoesNotExist"]
