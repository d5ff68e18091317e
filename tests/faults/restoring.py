"""Restoring and removing under fire: what `checkout`, its undo and `rm` leave when they are killed or fail."""

from __future__ import annotations

import os
from pathlib import Path

import keepsake
from keepsake import Project
from keepsake.exceptions import KeepsakeError, ReadError
from keepsake.project import undo_checkout
from tests.faults import inspect_repository as inspect
from tests.faults.sandbox import Sandbox
from tests.faults.workload import next_run, returned_by, train

_MINE = {"model.bin": b"mine, not saved anywhere else", "code/train.py": b"mine as well", "code/other.py": b"new"}


def prepare(sandbox: Sandbox) -> None:
    """A finished run, and files of the person's own in the place of some of those it saved."""
    train(sandbox)
    for name, content in _MINE.items():
        (sandbox.project / name).write_bytes(content)
    (sandbox.project / "code/empty").unlink()


def check_out(sandbox: Sandbox) -> None:
    """Put the first checkpoint's files into the project directory."""
    try:
        _first_checkpoint(sandbox).checkout(sandbox.project, quiet=True)
        sandbox.note("outcome", "done")
    except KeepsakeError as error:
        sandbox.note("outcome", "refused")
        print(error)


def take_back(sandbox: Sandbox) -> None:
    """Undo the checkout."""
    undo_checkout(sandbox.project)


def remove(sandbox: Sandbox) -> None:
    """Delete the experiment."""
    try:
        for experiment in Project(directory=sandbox.project).experiments.list():
            experiment.delete()
        sandbox.note("outcome", "done")
    except KeepsakeError as error:
        print(error)


def check_checkout(sandbox: Sandbox) -> list[str]:
    """After a kill, undo brings everything back; after an error, all is as it was; and it works the next time."""
    after = {**_MINE, **_restored(sandbox)}
    files = _files(sandbox.project)
    outcome = sandbox.noted()[-1]
    problems = sandbox.complaints()
    if outcome == ["outcome", "done"] and files != after:
        problems.append("it succeeded, but not all files are there")
    elif outcome == ["outcome", "refused"] and files != _MINE:
        problems.append(f"it failed and changed {_differing(files, _MINE)}")
    elif files not in (_MINE, after):
        if sandbox.run(take_back):
            problems.append("what it overwrote cannot be brought back")
        differing = _differing(_files(sandbox.project), _MINE)
        problems += [f"after undo, {name} is not as it was" for name in differing if name in _MINE]
    if sandbox.run(check_out) or _files(sandbox.project) != after:
        problems.append("the next checkout does not succeed")
    return problems


def check_removal(sandbox: Sandbox) -> list[str]:
    """What is listed is there with all its files; what was begun to be removed can be removed again."""
    experiment_id, returned = returned_by(sandbox)
    problems = inspect.broken(sandbox.repository)
    listed = [experiment.id for experiment in Project(directory=sandbox.project).experiments.list()]
    if experiment_id in listed:
        problems += inspect.missing(sandbox.project, returned, experiment_id)
    if sandbox.noted()[-1] == ["outcome", "done"] and listed:
        problems.append("it succeeded, but the experiment is still listed")
    sandbox.run(next_run)
    if experiment_id not in listed and experiment_id in os.listdir(sandbox.repository / "metadata/experiments"):
        problems.append("a recovery brought it back")
    return problems


def _first_checkpoint(sandbox: Sandbox) -> keepsake.Checkpoint:
    experiments = Project(directory=sandbox.project).experiments.list()
    if not experiments:
        raise ReadError("A listing warns of a record that cannot be read, and goes on without it.")
    return experiments[0].checkpoints[0]


def _restored(sandbox: Sandbox) -> inspect.Contents:
    """Return what the first checkpoint and its experiment hold, as Python's tarfile reads it."""
    checkpoint = _first_checkpoint(sandbox)
    experiment_id, _ = returned_by(sandbox)
    archives = (f"experiments/{experiment_id}", f"checkpoints/{checkpoint.id}")
    found: inspect.Contents = {}
    for archive in archives:
        found |= inspect.by_tarfile(sandbox.repository / f"{archive}.tar.gz")
    return found


def _files(project: Path) -> inspect.Contents:
    """Return a person's files in the project."""
    paths = [project / "model.bin", *(project / "code").rglob("*")]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in paths if path.is_file()}


def _differing(one: inspect.Contents, other: inspect.Contents) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
