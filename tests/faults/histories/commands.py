"""What a process of a machine does. It writes each thing to the log of the world as soon as Keepsake has returned."""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

import keepsake
from keepsake import Project
from keepsake.exceptions import KeepsakeError
from tests.faults.histories.processes import be, use_buckets
from tests.faults.histories.world import Machine, Step, World, content
from tests.faults.injector import Action
from tests.faults.sandbox import Sandbox, Work
from tests.faults.workload import quickly

_EXIT_SECONDS = "0.4"  # a repository that is away is not waited for
_PATIENT_SECONDS = "20"


class Process:
    """A process that does a step. `says` writes to the log."""

    def __init__(self, world: World, machine: Machine, step: Step) -> None:
        self.world, self.machine, self.step = world, machine, step

    def says(self, event: str, **fields: Any) -> None:
        """Write an event to the log; once this returns, nothing takes it back."""
        self.machine.note(json.dumps({"event": event, "step": self.step["number"], **fields}))


def work_of(world: World, step: Step, action: Action | None) -> Work:
    """Return what a process does that a machine starts for this step, with the action at operations on buckets."""

    def work(sandbox: Sandbox) -> None:
        machine = world.machines[step["machine"]]
        print(
            "---", os.getpid(), json.dumps({key: value for key, value in step.items() if key != "pauses"}), flush=True
        )
        _prepare(world, machine, step)
        use_buckets(action)
        process = Process(world, machine, step)
        try:
            COMMANDS[step["do"]](process)
        except KeepsakeError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        except Exception as error:  # noqa: BLE001 - it should have been one of Keepsake's
            print(traceback.format_exc().replace("Traceback", "Trace back"), flush=True)
            process.says("escaped", error=repr(error), trace=traceback.format_exc()[-1500:])

    return quickly(work)


def _prepare(world: World, machine: Machine, step: Step) -> None:
    is_patient = step.get("is_patient", False)
    os.environ["KEEPSAKE_EXIT_SECONDS"] = _PATIENT_SECONDS if is_patient else _EXIT_SECONDS
    if world.setup["spool"] == "elsewhere":
        os.environ["KEEPSAKE_SPOOL"] = str(machine.home / "spool")
    if step.get("is_offline"):
        os.environ["KEEPSAKE_OFFLINE"] = "1"
    be(machine, world.setup["clocks"][machine.name])


# Training


def _train(process: Process) -> None:
    """Begin a run or go on with one, record what the step says, and end in its way."""
    step, project = process.step, process.machine.project
    code = project / f"code{step['key']}" / "data.bin"
    code.parent.mkdir(exist_ok=True)
    code.write_bytes(content(step["key"]))
    keep, resume = step.get("keep"), step.get("resume")
    path = code.parent.name if step["has_path"] and not resume else None
    experiment = keepsake.init(path=path, params={"key": step["key"]}, keep=keep, resume=resume, quiet=True)
    entry = experiment._run.entry  # type: ignore[union-attr]

    def says(event: str, **fields: Any) -> None:
        process.says(event, experiment=experiment.id, identity=entry.identity, **fields)

    says("began", path=experiment.path, key=step["key"], keep=keep, is_resumed=bool(resume))
    for part in step["parts"]:
        _PARTS[part["do"]](process, experiment, part, says)
    if step["end"] == "stop":
        experiment.stop()
    elif step["end"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif step["end"] == "_exit":
        os._exit(0)


def _checkpoint(process: Process, experiment: Any, part: Step, says: Callable[..., None]) -> None:
    """Save a checkpoint, and overwrite its file as soon as that returns."""
    model = process.machine.project / f"model{part['key']}.bin"
    model.write_bytes(content(part["key"]))
    path = model.name if part["has_files"] else None
    saved = experiment.checkpoint(path=path, step=part.get("at"), metrics={"key": part["key"]}, quiet=True)
    if saved is not None:
        restart = experiment._run._attempt
        says("saved", id=saved.id, key=part["key"], has_files=bool(saved.path), at=saved.step, restart=restart)
    model.write_bytes(b"overwritten")


def _tag(process: Process, experiment: Any, part: Step, says: Callable[..., None]) -> None:
    experiment.tag(part["tag"])
    says("tagged", tag=part["tag"])


def _rename(process: Process, experiment: Any, part: Step, says: Callable[..., None]) -> None:
    experiment.rename(part["tag"])


def _set_params(process: Process, experiment: Any, part: Step, says: Callable[..., None]) -> None:
    experiment.update_params({part["tag"]: 1})


def _sleep(process: Process, experiment: Any, part: Step, says: Callable[..., None]) -> None:
    time.sleep(part["seconds"])


_PARTS = {"checkpoint": _checkpoint, "tag": _tag, "rename": _rename, "params": _set_params, "sleep": _sleep}

# Commands


def _copy(process: Process) -> None:
    project, step = Project(), process.step
    copy = project.push if step["do"] == "push" else project.pull
    outcomes = copy(process.machine.url(step["other"]), step["ids"], thorough=step["is_thorough"]).outcomes
    for outcome in outcomes:
        for error in outcome.errors:
            print(f"{step['do']}: {outcome.record['id'][:7]}: {error}", flush=True)
    process.says("copied", experiments=[outcome.record["id"] for outcome in outcomes if not outcome.errors])


def _sync(process: Process) -> None:
    if process.step["is_forced"]:
        process.says("forces")
    for sent in Project().sync(force=process.step["is_forced"]):
        if sent.error:
            print(f"sync: {sent.experiment_id[:7]}: {sent.error}", flush=True)


def _remove(process: Process) -> None:
    project, found = Project(), []
    for id in process.step["ids"]:
        try:
            found.append((project.experiments.get(id), None))
        except KeepsakeError as error:
            print(error, flush=True)
    ids = [experiment.id for experiment, _ in found]
    process.says("removes", experiments=ids)
    project.delete(found)
    process.says("removed", experiments=ids)


def _prune(process: Process) -> None:
    step = process.step
    process.says("prunes", experiments=step["ids"])
    plan = Project().prune(step["keep"], step["ids"])
    process.says("pruned", archives=[c.id for pruned in plan.experiments for c in pruned.checkpoints])


def _label(process: Process) -> None:
    experiment = Project().experiments.get(process.step["ids"][0])
    experiment.tag(process.step["tag"])
    process.says("tagged", tag=process.step["tag"], experiment=experiment.id, identity=None)


def _doctor(process: Process) -> None:
    step = process.step
    project = Project(repository=process.machine.url(step["repository"])) if step.get("repository") else Project()
    problems = project.doctor(fix=step["is_fixing"], thorough=step.get("is_thorough", False)).problems
    for problem in problems:
        print("doctor:", problem.kind, problem.key, problem.message, flush=True)
    process.says("examined", problems=[[problem.kind, problem.key, problem.message] for problem in problems])


def _list(process: Process) -> None:
    process.says("listed", experiments=[experiment.id for experiment in Project().experiments.list()])


def _check_out(process: Process) -> None:
    project = Project()
    experiment = project.experiments.get(process.step["ids"][0])
    last = experiment.checkpoints[-1] if experiment.checkpoints else None
    project.checkout((experiment, last), process.machine.directory / "out")


COMMANDS: dict[str, Callable[[Process], None]] = {
    "train": _train,
    "push": _copy,
    "pull": _copy,
    "sync": _sync,
    "rm": _remove,
    "prune": _prune,
    "label": _label,
    "doctor": _doctor,
    "ls": _list,
    "checkout": _check_out,
}
