"""Whole runs recorded with one library, read by both: command lines, libraries and files agree."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.interop.compare import Both, Tree, check_out, contents, tree
from tests.interop.generate import Generator
from tests.interop.sides import Side

SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_made_up_runs(writer: Side, both: Both, project: Path, tmp_path: Path, seed: int) -> None:
    """Everything that can be asked about them."""
    generator = Generator(seed)
    files = generator.project(project)
    before = tree(project)
    ids = writer.record(runs=generator.runs(4, files), directory=str(project))
    ask_for_tables(both, project, ids)
    ask_for_values(both, project, ids)
    found = ask_libraries(both, project, ids)
    compare_files(both, project, tmp_path, found, before)


def ask_for_tables(both: Both, project: Path, ids: list[list[str]]) -> None:
    for options in ([], ["--all"], ["--sort", "created-desc"]):
        both.agree("ls", *options, cwd=project)
    for identifier in (identifier for experiment in ids[:2] for identifier in experiment[:3]):
        both.agree("show", identifier[:10], cwd=project, tolerating=("show-alignment",))


def ask_for_values(both: Both, project: Path, ids: list[list[str]]) -> None:
    tolerating = ("ls-json-null", "added-fields")
    both.agree("ls", "--json", cwd=project, tolerating=tolerating)
    for command in ("ls", "ps"):
        both.agree(command, "-q", cwd=project)
    for identifier in (identifier for experiment in ids[:2] for identifier in experiment[:3]):
        both.agree("show", identifier, "--json", cwd=project, tolerating=tolerating)
    having = [experiment[0] for experiment in ids if experiment[1:]]
    both.agree("diff", having[0], having[-1], cwd=project)
    both.agree("diff", next(experiment[1] for experiment in ids if experiment[1:]), having[-1], cwd=project)


def ask_libraries(both: Both, project: Path, ids: list[list[str]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = both.call("listed", directory=str(project))
    assert [[run["id"], *(checkpoint["id"] for checkpoint in run["checkpoints"])] for run in found] == ids
    assert both.call("got", prefix=ids[1][0][:9], directory=str(project)) == found[1]
    return found


def compare_files(both: Both, project: Path, out: Path, found: list[dict[str, Any]], before: Tree) -> None:
    for run in found:
        for owner in run["checkpoints"][:2]:
            expected = {name: file for name, file in before.items() if is_in(name, run["path"], owner["path"])}
            if expected:
                assert contents(check_out(both, project, out / owner["id"], owner["id"])) == contents(expected)
    having = [(run, owner) for run in found for owner in run["checkpoints"] if run["path"] or owner["path"]]
    run, owner = having[-1]
    assert check_out(both, project, out / run["id"], run["id"])
    names = [name for name in before if is_in(name, run["path"], owner["path"])]
    where = {"experiment": run["id"], "checkpoint": owner["id"], "directory": str(project)}
    hashes = [hashlib.sha256(before[name][0]).hexdigest() for name in names]
    assert both.call("opened", paths=names, **where) == hashes
    for side in (both.original, both.ours):
        side.call("checked_out", into=str(out / "library" / side.name), **where)
        assert contents(tree(out / "library" / side.name)) == {name: before[name][0] for name in names}


def is_in(name: str, *paths: str | None) -> bool:
    """Whether what was saved of a project has a file."""
    return any(path and f"{name}/".startswith("" if path == "." else path.rstrip("/") + "/") for path in paths)
