"""What is saved of a project's files, and what comes back: archives of either side, read by both."""

from __future__ import annotations

import random
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.interop import records
from tests.interop.compare import Both, check_out, contents, tree
from tests.interop.sides import Side

MB = 1 << 20


def run(path: str | None, *checkpoints: str | None, **files: str) -> dict[str, object]:
    """A run that saves one path, and others in its checkpoints."""
    saved = [{"path": checkpoint, "metrics": {"loss": 0.5}} for checkpoint in checkpoints]
    return {"path": path, "params": None, "checkpoints": saved, "files": files}


def members(project: Path, identifier: str, kind: str = "experiments") -> list[str]:
    """The names in an archive, as the standard library's tarfile reads them."""
    with tarfile.open(project / f".keepsake/{kind}/{identifier}.tar.gz") as archive:
        return sorted(member.name.partition("/")[2] for member in archive if member.isfile())


# What is saved

FILES = """
a.log keep.log logs/a.log logs/keep.log logs/deep/x.txt build/out src/build/out top.txt src/top.txt data/a.bin
data/deep/b.bin x1.c x2.c xa.c er/c.log ünï.log #hash !bang .hidden .git/config .mypy_cache/a venv/pyvenv.cfg venv/lib/x
docs/readme .replicate/y foo.pyc a/b/foo.pyc .keepsakeignore.txt sub/.git/config sub/.gitignore env/bin/python
""".split()  # noqa: SIM905 - readable

PATTERNS = [
    *["", "*.log", "*.log\n!keep.log", "logs/", "logs/\n!logs/keep.log", "logs", "/top.txt", "top.txt", "data/*.bin"],
    *["data/**/*.bin", "**/build", "build/", "x[0-9].c", "x[12].c", "/er/c.log", "# c\n\n\\#hash", "\\!bang"],
    *["*.log  ", "ünï.log", ".hidden", "*\n!*.c", "src/**", "*.py[co]", "logs/*\n!logs/keep.log", "foo.pyc", "DATA"],
    *["a/*/foo.pyc", "**/er/c.log", "data/deep", "data/deep/", "a.log\r\ntop.txt\r\n", "keepsake.yaml", "\n\n  \n"],
]


@pytest.fixture
def littered(project: Path) -> Path:
    """A project with files of many kinds."""
    for name in FILES:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return project


def test_ignore_rules(both: Both, littered: Path, tmp_path: Path) -> None:
    """The same files are saved under the same .keepsakeignore."""
    runs = [run(".", **{".keepsakeignore": pattern}) for pattern in PATTERNS]
    saved = []
    for side in (both.original, both.ours):
        copy = tmp_path / side.name
        shutil.copytree(littered, copy)
        ids = side.record(runs=runs, directory=str(copy))
        saved.append({pattern: members(copy, each[0]) for pattern, each in zip(PATTERNS, ids, strict=True)})
    assert saved[1] == saved[0]
    assert ".git/config" not in saved[1][""]
    assert "venv/lib/x" not in saved[1][""]


def test_older_name_of_the_ignore_file(both: Both, littered: Path) -> None:
    """.replicateignore counts where there is no .keepsakeignore."""
    (littered / ".replicateignore").write_text("*.log\n")
    saved = []
    for side in (both.original, both.ours):
        ids = side.record(runs=[run("."), run(".", **{".keepsakeignore": "*.c"})], directory=str(littered))
        saved.append([members(littered, each[0]) for each in ids])
        (littered / ".keepsakeignore").unlink()
    assert saved[1] == saved[0]
    assert saved[1][0] != saved[1][1]


def test_paths(both: Both, littered: Path) -> None:
    """However a path is written: the same files under the same names, and the same text in the metadata."""
    paths = [".", "src", "src/", "./src", "data/../src", "src/top.txt", "./top.txt", "docs", ".hidden"]
    saved = []
    for side in (both.original, both.ours):
        ids = side.record(runs=[run(path, path) for path in paths], directory=str(littered))
        for path, (experiment, checkpoint) in zip(paths, ids, strict=True):
            record = records.read(littered, experiment)
            found = members(littered, experiment), members(littered, checkpoint, "checkpoints")
            saved.append((path, record["path"], record["checkpoints"][0]["path"], *found))
    assert saved[len(paths) :] == saved[: len(paths)]


def test_paths_that_cannot_be_saved(both: Both, littered: Path) -> None:
    """init() raises on both sides."""
    (littered / "void").mkdir()
    program = """
result = []
for path in ["nothing", "src/nothing", "/etc", "..", "../other", ".git", "venv", "void"]:
    try:
        project.experiments.create(path=path, quiet=True)
        result.append(path)
    except Exception:
        pass
"""
    for side in (both.original, both.ours):
        assert side.call("program", source=program, directory=str(littered)) == []


# What comes back


def test_large_files(writer: Side, both: Both, project: Path, tmp_path: Path) -> None:
    """They have several members in our archives. Some shrink and some do not, and small ones are among them."""
    generator = random.Random(1)
    (project / "weights").mkdir()
    (project / "weights/noise.bin").write_bytes(generator.randbytes(20 * MB + 1))
    (project / "weights/zeros.bin").write_bytes(bytes(30 * MB))
    (project / "weights/text").write_bytes(b"".join(b"%d %f\n" % (n, generator.random()) for n in range(500_000)))
    (project / "weights/empty").write_bytes(b"")
    before = {name: content for name, content in contents(tree(project)).items() if name.startswith("weights/")}
    ids = writer.record(runs=[run(None, "weights")], directory=str(project))[0]
    assert contents(check_out(both, project, tmp_path / "all", ids[1])) == before
    assert list(check_out(both, project, tmp_path / "one", ids[1], "--path", "weights/text")) == ["weights/text"]


def test_weights_alone(writer: Side, both: Both, project: Path, tmp_path: Path) -> None:
    """Ours archives such files while it copies them: several, one of them small, in a checkpoint and in a run."""
    generator = random.Random(2)
    (project / "weights").mkdir()
    for shard in range(3):
        (project / f"weights/{shard}.bin").write_bytes(generator.randbytes(3 * MB + shard))
    (project / "weights/config.json").write_text('{"layers": 3}')
    before = {name: content for name, content in contents(tree(project)).items() if name.startswith("weights/")}
    for ids in (
        writer.record(runs=[run(None, "weights")], directory=str(project))[0][1:],
        writer.record(runs=[run("weights", None)], directory=str(project))[0][:1],
    ):
        assert contents(check_out(both, project, tmp_path / ids[0], ids[0])) == before
        only = check_out(both, project, tmp_path / f"{ids[0]}-1", ids[0], "--path", "weights/1.bin")
        assert contents(only) == {"weights/1.bin": before["weights/1.bin"]}


@pytest.fixture(scope="module")
def saved(writer: Side, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run whose checkpoint saved anew what the experiment had saved, and more."""
    project = tmp_path_factory.mktemp("saved")
    (project / "keepsake.yaml").write_text("repository: file://.keepsake\n")
    for name in ("src/train.py", "src/deep/model.py", "weights/a.bin", "weights/b.bin", "model.pth"):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} at first")
    ids = writer.record(runs=[run(".", None)], directory=str(project))[0]
    for name in ("weights/a.bin", "weights/c.bin"):
        (project / name).write_text(f"{name} later")
    checkpoints = [{"path": "weights", "step": 7, "metrics": {"loss": 0.25}}]
    ids += writer.record("add_checkpoints", experiment=ids[0], checkpoints=checkpoints, directory=str(project))
    return project, ids


def test_an_experiment_then_its_checkpoint_over_it(saved: tuple[Path, list[str]], both: Both, tmp_path: Path) -> None:
    """Whole, and only a path of both."""
    project, (experiment, first, second) = saved
    files = contents(check_out(both, project, tmp_path / "second", second))
    assert files["weights/a.bin"] == b"weights/a.bin later"
    assert files["weights/b.bin"] == b"weights/b.bin at first"
    assert contents(check_out(both, project, tmp_path / "experiment", experiment)) == files
    assert contents(check_out(both, project, tmp_path / "first", first))["weights/a.bin"] == b"weights/a.bin at first"


def test_only_a_path(saved: tuple[Path, list[str]], both: Both, tmp_path: Path) -> None:
    """One file, of the experiment, the checkpoint or both; or a directory, with one file in it."""
    project, (_, _, second) = saved
    whole = contents(check_out(both, project, tmp_path / "whole", second))
    for path in [
        "weights/a.bin",
        "weights/b.bin",
        "weights/c.bin",
        "model.pth",
        "./model.pth",
        "src/deep",
        "src/deep/",
    ]:
        name = {"src/deep": "src/deep/model.py"}.get(path.rstrip("/"), path.removeprefix("./"))
        out = tmp_path / "out" / path.replace("/", "-")
        assert contents(check_out(both, project, out, second, "--path", path)) == {name: whole[name]}


def test_a_path_that_is_not_there(saved: tuple[Path, list[str]], both: Both, tmp_path: Path) -> None:
    """An error, and nothing comes."""
    project, (_, _, second) = saved
    for side in (both.original, both.ours):
        done = side.run("checkout", second, "--path", "nothing", "-o", str(tmp_path / side.name), cwd=project)
        assert done.status == 1
        assert not tree(tmp_path / side.name)


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("yes\n", 0), ("Y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_asking_before_overwriting(
    saved: tuple[Path, list[str]], both: Both, tmp_path: Path, answer: str, status: int
) -> None:
    """Into a directory that holds something: yes overwrites and leaves the rest alone, no touches nothing."""
    project, (_, _, second) = saved
    trees = []
    for side in (both.original, both.ours):
        out = tmp_path / side.name
        (out / "src").mkdir(parents=True)
        (out / "model.pth").write_text("mine")
        (out / "src/mine.txt").write_text("mine")
        done = side.run("checkout", second, "-o", str(out), cwd=project, answer=answer)
        assert done.status == status
        assert "(y/N)" in done.stdout
        trees.append(tree(out))
    assert trees[1] == trees[0]
    assert trees[1]["model.pth"][0] == (b"mine" if status else b"model.pth at first")
    assert trees[1]["src/mine.txt"][0] == b"mine"


def test_into_the_project_directory(saved: tuple[Path, list[str]], both: Both, tmp_path: Path) -> None:
    """Without -o, from a folder of the project."""
    project, (_, first, _) = saved
    trees = []
    for side in (both.original, both.ours):
        copy = tmp_path / side.name
        shutil.copytree(project, copy)
        (copy / "model.pth").write_text("changed")
        assert side.run("checkout", "-f", first, cwd=copy / "src").status == 0
        trees.append(tree(copy))
    assert trees[1] == trees[0]
    assert trees[1]["model.pth"][0] == b"model.pth at first"


def test_an_archive_is_an_ordinary_one(writer: Side, project: Path, tmp_path: Path) -> None:
    """`tar xzf` unpacks it, below the ID."""
    (project / "ünïcode").mkdir()
    (project / "ünïcode/data").write_bytes(bytes(5 * MB))
    identifier = writer.record(runs=[run(".")], directory=str(project))[0][0]
    subprocess.run(["tar", "xzf", project / f".keepsake/experiments/{identifier}.tar.gz", "-C", tmp_path], check=True)
    unpacked = contents(tree(tmp_path / identifier))
    assert unpacked == contents(tree(project))
