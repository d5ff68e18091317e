"""A small training run with files, the run after it, and what must hold then."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import keepsake
from keepsake.exceptions import KeepsakeError
from keepsake.recording import contact, job
from keepsake.storage import claims
from tests.faults import inspect_repository as inspect
from tests.faults.sandbox import Sandbox, Work, weights
from tests.spools import nothing_waits

_CHECKPOINTS = 4


def train(sandbox: Sandbox) -> None:
    """A training run with files, which overwrites them as soon as checkpoint() returns."""
    try:
        experiment = keepsake.init(path="code", params={"learning_rate": 0.1})
    except KeepsakeError as error:  # a run that cannot be recorded says so at its start
        print(error)
        return
    sandbox.note("experiment", experiment.id)
    model = sandbox.project / "model.bin"
    for number in range(_CHECKPOINTS):
        path = "model.bin" if number % 3 != 2 else None  # every third one has metrics only
        model.write_bytes(weights(number))
        checkpoint = experiment.checkpoint(path=path, metrics={"number": number}, quiet=True)
        if checkpoint is not None:
            sandbox.note("checkpoint", checkpoint.id, number, checkpoint.path or "-")
        model.write_bytes(b"overwritten")


def train_until_killed(sandbox: Sandbox) -> None:
    """A run that is killed when its last checkpoint has returned."""
    train(sandbox)
    os.kill(os.getpid(), signal.SIGKILL)


def next_run(sandbox: Sandbox) -> None:
    """What a person does after a crash: start the next run, which finishes what is left."""
    claims.PATIENCE = 0.2  # a claim that a killed process left costs 2 s otherwise
    keepsake.init()


def quickly(work: Work) -> Work:
    """Let `work` try again soon after an error, so that a campaign does not take days."""

    def run(sandbox: Sandbox) -> None:
        job._RETRY_SECONDS = (0.01, 0.05, 0.05, 0.05, 0.05)
        contact._DEADLINE_SECONDS = 5.0
        claims.PATIENCE = 0.2
        work(sandbox)

    return run


def check(sandbox: Sandbox) -> list[str]:
    """Say what is wrong in a sandbox: as it is, and after a recovery. Nothing may be."""
    problems = [f"before recovery: {problem}" for problem in inspect.broken(sandbox.repository)]
    let_time_pass(sandbox)
    if sandbox.run(next_run):
        problems.append("the next run failed")
    problems += inspect.broken(sandbox.repository) + inspect.unfulfilled(sandbox.repository)
    experiment_id, returned = returned_by(sandbox)
    if experiment_id:
        problems += inspect.missing(sandbox.project, returned, experiment_id)
    problems += _left_in_spool(sandbox)
    return problems + sandbox.complaints()


def _left_in_spool(sandbox: Sandbox) -> list[str]:
    """Say what is in the spool though nothing waits any more."""
    if not nothing_waits(sandbox.project):  # half-made files of a crash are removed once they are too old to be in use
        let_time_pass(sandbox)
        sandbox.run(next_run)
    if nothing_waits(sandbox.project):
        return []
    left = sandbox.project / ".keepsake"
    found = [path for path in left.rglob("*") if path.is_file() and path.name != "repositories.json"]
    # Files that a checkpoint() froze, which did not return, are kept with their entry for a person to decide
    kept = {path.parent for path in found if ".unnamed." in path.name}
    litter = [path for path in found if ".unnamed." not in path.name]
    litter = [path for path in litter if path.parent not in kept or path.name not in ("record.json", ".room")]
    return [f"left in the spool: {path.relative_to(left)}" for path in litter]


def let_time_pass(sandbox: Sandbox) -> None:
    """Make all that is in the spool look old, so that no process seems to be using it."""
    for path in (sandbox.project / ".keepsake").rglob("*"):
        with suppress(FileNotFoundError):
            os.utime(path, (0, 0))


def returned_by(sandbox: Sandbox) -> tuple[str | None, dict[str, inspect.Contents]]:
    """Return the experiment of a sandbox and the files of each of its checkpoints that had returned."""
    experiment_id, returned = None, {}
    for kind, identifier, *rest in sandbox.noted():
        if kind == "experiment":
            experiment_id = identifier
        elif kind == "checkpoint":
            number, path = int(rest[0]), rest[1]
            returned[identifier] = {path: weights(number)} if path != "-" else {}
    return experiment_id, returned
