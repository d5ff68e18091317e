"""Whole runs recorded with one library, read by both: command lines, libraries and files agree."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.interop.compare import Both, Tree, assert_same, check_out, contents, tree
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
        both.agree(
            "show", identifier[:10], cwd=project, tolerating=("show-alignment", "show-ended", "show-environment")
        )


def ask_for_values(both: Both, project: Path, ids: list[list[str]]) -> None:
    tolerating = ("ls-json-null", "added-fields")
    both.agree("ls", "--json", cwd=project, tolerating=tolerating)
    for command in ("ls", "ps"):
        both.agree(command, "-q", cwd=project)
    for identifier in (identifier for experiment in ids[:2] for identifier in experiment[:3]):
        both.agree("show", identifier, "--json", cwd=project, tolerating=tolerating)
    having = [experiment[0] for experiment in ids if experiment[1:]]
    both.agree("diff", having[0], having[-1], cwd=project, tolerating=("diff-files",))
    one = next(experiment[1] for experiment in ids if experiment[1:])
    both.agree("diff", one, having[-1], cwd=project, tolerating=("diff-files",))


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
                files = check_out(both, project, out / owner["id"], owner["id"])
                assert contents(files) == contents(expected)
                if not run["keepsake_version"].startswith("0."):  # which loses executable bits
                    assert files == expected
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


EXPRESSIONS = r"""
None True 0 -1 2**53+1 2**62 -2**63 0.1 1.5e-7 1e300 -123.456 float('nan') float('inf') float('-inf')
'' 'text' 'été' 'null' 'None' '[NaN]' 'a"b\\c' '<a>&' [] {} [1,2.5,'x',None,True,[1]] {'b':{'c':1},'a':[]}
np.float32(0.5) np.float16(1.5) np.float64(0.3) np.int64(7) np.uint8(3) np.str_('x') np.array(3) np.array(2.5)
np.array([1,2]) np.array([[1.5,2.25]]) np.array([True]) np.float64('nan') np.array(['a'])
""".split()  # noqa: SIM905 - readable


def test_values_of_every_kind(both: Both, project: Path) -> None:
    """As params and as metrics, from NumPy too: both read the same, whichever of them wrote it."""
    values = ", ".join(f"{expression!r}: {expression}" for expression in EXPRESSIONS)
    source = f"""
import numpy as np
project = keepsake.Project(directory={str(project)!r})
experiment = project.experiments.create(params={{{values}}}, quiet=True)
experiment.checkpoint(metrics={{{values}}}, quiet=True)
experiment.stop()
"""
    for side in (both.original, both.ours):
        side.record("program", source=source)
    theirs, ours = both.call("listed", directory=str(project))
    assert_same(ours["params"], theirs["params"], "params")
    assert_same(ours["checkpoints"][0]["metrics"], theirs["checkpoints"][0]["metrics"], "metrics")
    assert len(ours["params"]) == len(EXPRESSIONS)
    both.agree("ls", "--all", cwd=project)


def is_in(name: str, *paths: str | None) -> bool:
    """Whether what was saved of a project has a file."""
    return any(path and f"{name}/".startswith("" if path == "." else path.rstrip("/") + "/") for path in paths)
