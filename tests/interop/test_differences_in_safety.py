"""Differences by intent, each shown to be real on both sides: what is hidden, kept or refused for safety."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.interop import records
from tests.interop.compare import Both
from tests.interop.differences import shows
from tests.interop.sides import Side
from tests.interop.test_clouds import Place, place, root  # noqa: F401 (fixtures)
from tests.interop.test_differences_in_files import _workshop as _workshop
from tests.interop.test_differences_in_files import saved, workshop  # noqa: F401 (fixtures)

A, B = "e0000001", "e0000002"


# What is recorded, and where

_RUN = "import sys, keepsake; keepsake.init(params={'api_key': 'a secret', 'lr': 0.5}).stop()"


def run(side: Side, project: Path) -> None:
    (project / "train.py").write_text(_RUN)
    assert side.script(project / "train.py").status == 0


@shows("secrets-in-params")
def test_secrets_in_params(both: Both, project: Path) -> None:
    """A key."""
    found = []
    for side in (both.original, both.ours):
        run(side, project)
        (record,) = (project / ".keepsake/metadata/experiments").iterdir()
        found.append(json.loads(record.read_text())["params"])
        record.unlink()
    assert found == [{"api_key": "a secret", "lr": 0.5}, {"api_key": "***", "lr": 0.5}]


@shows("tilde")
def test_tilde(both: Both, project: Path) -> None:
    """In the home directory, or in one of that name."""
    (project / "keepsake.yaml").write_text("repository: file://~/runs\n")
    for side in (both.ours, both.original):
        run(side, project)
        at_home = Path(side.environment["HOME"]) / "runs/repository.json"
        assert at_home.exists() == (side is both.ours)
        assert (project / "~/runs/repository.json").exists() == (side is both.original)


@shows("repository-not-mounted")
def test_repository_not_mounted(both: Both, project: Path) -> None:
    """A repository that is gone when the next run begins."""
    for side in (both.original, both.ours):
        run(side, project)
        (project / ".keepsake/repository.json").unlink()
        shutil.rmtree(project / ".keepsake/metadata")
        (project / ".keepsake/identity.json").unlink(missing_ok=True)
        run(side, project)
        assert (project / ".keepsake/repository.json").exists() == (side is both.original)
        shutil.rmtree(project / ".keepsake")


@shows("group-writable")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_group_writable(both: Both, project: Path) -> None:
    """A folder of a group, and the usual umask."""
    umask = os.umask(0o022)
    try:
        for side in (both.original, both.ours):
            folder = project / ".keepsake"
            folder.mkdir()
            folder.chmod(0o2775)
            run(side, project)
            (record,) = (folder / "metadata/experiments").iterdir()
            assert bool(record.stat().st_mode & stat.S_IWGRP) == (side is both.ours)
            shutil.rmtree(folder)
    finally:
        os.umask(umask)


@shows("added-objects")
def test_added_objects(both: Both, project: Path) -> None:
    """0.4.2 works beside them, and they are left when it removes all experiments."""
    for side in (both.ours, both.ours, both.original):
        run(side, project)
    first, *others = both.agree("ls", "-q", cwd=project).stdout.split()
    assert both.ours.run("rm", "-f", first, cwd=project).status == 0
    assert both.original.run("rm", "-f", *others, cwd=project).status == 0
    left = {path.relative_to(project / ".keepsake").parts[0] for path in project.glob(".keepsake/**/*.json")}
    assert left == {"identity.json", "removed", "repository.json", "spool"}
    assert records.keys(project) == {"repository.json"}
    assert both.agree("ls", "-q", cwd=project).stdout == ""


# What is removed, listed and refused


@shows("rm-shared-files")
def test_rm_shared_files(both: Both, project: Path) -> None:
    """A second record names the same checkpoint, as after a copy of one that was renamed by hand."""
    archive = project / ".keepsake/checkpoints/c0000003.tar.gz"
    for side in (both.original, both.ours):
        shared = records.checkpoint(3, path="model")
        records.write(project, records.experiment(1, shared), records.experiment(2, shared))
        archive.parent.mkdir(exist_ok=True)
        archive.write_bytes(b"")
        assert side.run("rm", "-f", A, cwd=project).status == 0
        assert archive.exists() == (side is both.ours)


@shows("ids-like-options")
@pytest.mark.parametrize("odd", ["--force0", "*******", "a?b?c?d", "[a-z]123"])
def test_ids_like_options(both: Both, project: Path, odd: str) -> None:
    """`keepsake rm $(keepsake ls -q)` must do what it says."""
    records.write(project, records.experiment(1), records.experiment(2, id=odd))
    theirs, ours = both.run("ls", "-q", cwd=project)
    assert theirs.stdout.split() == [A, odd]
    assert ours.stdout.split() == [A]
    assert odd in ours.stderr


@shows("json-in-any-encoding")
def test_json_in_any_encoding(both: Both, project: Path) -> None:
    """A code page in which a character is missing."""
    text = "naïve Ω"
    records.write(project, records.experiment(1, params={"text": text}))
    found: list[Any] = []
    for side in (both.original, both.ours):
        environment = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"}
        shown = side.process("ls", "--json", cwd=project, environment=environment).stdout
        found.append((json.loads(shown)[0]["params"]["text"], shown.isascii()))
    assert found == [(text, False), (text, True)]


@shows("missing-repository")
def test_missing_repository(both: Both, project: Path) -> None:
    """A mistyped one."""
    theirs, ours = both.run("ls", "-q", "-R", f"file://{project}/mistyped", cwd=project)
    assert (theirs.status, theirs.stdout) == (0, "")
    assert (ours.status, ours.stdout) == (1, "")
    assert "mistyped" in ours.stderr
