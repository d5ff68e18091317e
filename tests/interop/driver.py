"""Runs under either Keepsake, in a process of its own: what a user's program does with the library, call by call.

Requests come on stdin, one JSON object a line: the name of a function below and its arguments; the answers go out on
what was stdout. Only the public API is used, so that the same program proves the same promise of both libraries.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import time
import traceback
from typing import Any

Project = Any
Experiment = Any

_projects: dict[tuple[str, str | None], Project] = {}  # keeping them saves what starting one costs 0.4.2


def _project(keepsake: Any, directory: str, repository: str | None = None, fresh: bool = False) -> Project:
    if fresh or (directory, repository) not in _projects:
        _projects[directory, repository] = keepsake.Project(repository=repository, directory=directory)
    return _projects[directory, repository]


def record(keepsake: Any, runs: list[dict[str, Any]], **where: Any) -> list[list[str]]:
    """Record whole runs; return the ID of each experiment, and of its checkpoints after it.

    A run may begin by writing files into the project.
    """
    project = _project(keepsake, **where)
    ids = []
    for run in runs:
        for name, text in run.get("files", {}).items():
            with open(os.path.join(where["directory"], name), "w", encoding="utf-8") as file:
                file.write(text)
        experiment = project.experiments.create(path=run["path"], params=run["params"], quiet=True)
        checkpoints = [experiment.checkpoint(**_checkpoint(arguments)) for arguments in run["checkpoints"]]
        experiment.stop()
        _settle(keepsake, [experiment, *checkpoints], **where)
        ids.append([experiment.id, *(checkpoint.id for checkpoint in checkpoints)])
    return ids


def add_checkpoints(keepsake: Any, experiment: str, checkpoints: list[dict[str, Any]], **where: Any) -> list[str]:
    """Go on with an experiment that is in the repository."""
    found = _project(keepsake, **where).experiments.get(experiment)
    made = [found.checkpoint(**_checkpoint(arguments)) for arguments in checkpoints]
    found.stop()
    _settle(keepsake, made, **where)
    return [checkpoint.id for checkpoint in made]


def _settle(keepsake: Any, made: list[Any], directory: str, repository: str | None = None) -> None:
    """Wait until 0.4.2 has saved the files: it does so later, and on a busy machine forgets it if the program ends."""
    if not keepsake.__version__.startswith("0."):
        return
    archives = [f"{type(owner).__name__.lower()}s/{owner.id}.tar.gz" for owner in made if owner.path]
    if repository is None:
        with open(os.path.join(directory, "keepsake.yaml"), encoding="utf-8") as file:
            repository = file.read().split()[1]
    scheme, _, root = repository.partition("://")
    for _ in range(1000 if scheme == "file" else 0):  # in the clouds, the test waits
        if all(_is_whole(os.path.join(directory, root, archive)) for archive in archives):
            return
        time.sleep(0.01)


def _is_whole(archive: str) -> bool:
    size = 0
    try:
        with gzip.open(archive) as file:
            while block := file.read(1 << 20):
                size += len(block)
    except (OSError, EOFError):
        return False
    return size > 0  # an empty file is not an error


def _checkpoint(arguments: dict[str, Any]) -> dict[str, Any]:
    primary = arguments.get("primary_metric")
    return {"quiet": True, **arguments, "primary_metric": tuple(primary) if primary else None}


def listed(keepsake: Any, **where: Any) -> list[dict[str, Any]]:
    """All experiments, as `experiments.list()` has them."""
    return [_described(experiment) for experiment in _project(keepsake, **where).experiments.list()]


def got(keepsake: Any, prefix: str, **where: Any) -> dict[str, Any]:
    """One experiment, as `experiments.get()` has it."""
    return _described(_project(keepsake, **where).experiments.get(prefix))


def _described(experiment: Experiment) -> dict[str, Any]:
    fields = {field.name: getattr(experiment, field.name) for field in dataclasses.fields(experiment)}
    best, latest = experiment.best(), experiment.latest()
    duration = experiment.duration if experiment.checkpoints else None
    return {
        **fields,
        "created": experiment.created.isoformat(),
        "python_packages": dict(experiment.python_packages or {}),
        "checkpoints": [
            {**dataclasses.asdict(checkpoint), "created": checkpoint.created.isoformat()}
            for checkpoint in experiment.checkpoints
        ],
        "metrics": {name: experiment.checkpoints.metrics[name] for name in _metric_names(experiment)},
        "steps": list(experiment.checkpoints.step),
        "duration": None if duration is None else duration.total_seconds(),
        "best": best and best.id,
        "latest": latest and latest.id,
        "primary metric": _primary_metric(experiment),
        "running": experiment.is_running(),
        "short ID": experiment.short_id(),
    }


def _primary_metric(experiment: Experiment) -> str | None:
    declares = any(checkpoint.primary_metric for checkpoint in experiment.checkpoints)
    return experiment.primary_metric() if declares else None


def _metric_names(experiment: Experiment) -> list[str]:
    """The metrics that some checkpoint has, and which are not None."""
    metrics = [checkpoint.metrics or {} for checkpoint in experiment.checkpoints]
    return sorted({name for each in metrics for name, value in each.items() if value is not None})


def checked_out(keepsake: Any, experiment: str, checkpoint: str, into: str, **where: Any) -> None:
    """`checkpoint.checkout()`."""
    _find(_project(keepsake, **where), experiment, checkpoint).checkout(into, quiet=True)


def opened(keepsake: Any, experiment: str, checkpoint: str, paths: list[str], **where: Any) -> list[str]:
    """The SHA-256 of files as `checkpoint.open()` reads them."""
    found = _find(_project(keepsake, **where), experiment, checkpoint)
    digests = []
    for path in paths:
        with found.open(path) as file:
            digests.append(hashlib.sha256(file.read()).hexdigest())
    return digests


def _find(project: Project, experiment: str, checkpoint: str) -> Any:
    checkpoints = project.experiments.get(experiment).checkpoints
    return next(found for found in checkpoints if found.id == checkpoint)


def deleted(keepsake: Any, experiments: list[str], **where: Any) -> None:
    """`experiments.delete()`."""
    _project(keepsake, **where).experiments.list(lambda experiment: experiment.id in experiments).delete()


def command_line(keepsake: Any, args: list[str], cwd: str, answer: str) -> dict[str, Any]:
    """Our command line without a process for each command, which saves time; 0.4.2's is not a Python program."""
    from keepsake.cli import cli

    out, err = io.StringIO(), io.StringIO()
    before = os.getcwd()
    os.chdir(cwd)
    try:
        sys.stdin = io.StringIO(answer)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main(args)
    except SystemExit as stop:
        status = stop.code
    finally:
        os.chdir(before)
    return {"status": status, "stdout": out.getvalue(), "stderr": err.getvalue()}


def program(keepsake: Any, source: str, **names: Any) -> Any:
    """A program of the test's own; what it calls `result` is returned. Given a `directory`, it has its `project`."""
    names["keepsake"] = keepsake
    if "directory" in names:
        names["project"] = _project(keepsake, names["directory"])
    exec(source, names)
    return names.get("result")


class _Patient(subprocess.Popen):  # type: ignore[type-arg]
    """Waits a moment for what it starts: 0.4.2 asks its daemon too early, and then tries again after a second."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        time.sleep(0.1)


def _serve() -> None:
    requests, sys.stdin = sys.stdin, io.StringIO()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints must not get among the answers
    sys.argv = ["train.py", "--lr", "0.1"]  # what is recorded as the command
    import keepsake

    if keepsake.__version__.startswith("0."):
        subprocess.Popen = _Patient  # type: ignore[misc]
    for line in requests:
        function, arguments = json.loads(line)
        try:
            answer = {"result": globals()[function](keepsake, **arguments)}
        except Exception as error:  # noqa: BLE001 - the test decides what to make of it
            answer = {"error": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
