"""Playing a history: each step in processes of its own, and a look at everything after each."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from tests.faults.histories.checks import check
from tests.faults.histories.commands import COMMANDS, work_of
from tests.faults.histories.ledger import Ledger, known_experiments
from tests.faults.histories.making import History
from tests.faults.histories.mounts import network_disks
from tests.faults.histories.processes import action_of
from tests.faults.histories.world import MACHINES, REPOSITORIES, Step, World

_PATIENCE_SECONDS = 60.0
_EXPECTED_ENDS = {0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}


def play(history: History, base: Path) -> Ledger:
    """Play a history in `base`, up to the first step after which something is wrong."""
    ledger = _beginning(history["setup"], base)
    with network_disks(ledger.world):
        for step in history["steps"]:
            _do(ledger, copy.deepcopy(step))
            check(ledger)
            if ledger.problems:
                return ledger
        _end(ledger)
    return ledger


# The steps


def _do(ledger: Ledger, step: Step, *, is_nested: bool = False) -> None:
    """Do a step and take in what came of it."""
    ledger.look()
    if step["do"] == "together":
        _do_together(ledger, step["steps"])
    elif step["do"] in COMMANDS:
        resolved = _resolved(ledger, step | {"is_nested": is_nested})
        if resolved is not None:
            ledger.begin(resolved)
            _follow(ledger, resolved, _start(ledger.world, resolved))
            ledger.end(resolved)
    else:
        _change_disks(ledger, step, under_a_process=is_nested)


def _do_together(ledger: Ledger, steps: list[Step]) -> None:
    """Do some steps at the same time."""
    resolved = [found for step in steps if (found := _resolved(ledger, step | {"is_nested": True})) is not None]
    for step in resolved:
        ledger.begin(step)
    running = [(step, _start(ledger.world, step)) for step in resolved]
    for step, pid in running:
        _follow(ledger, step, pid)
    for step in resolved:
        ledger.end(step)


def _start(world: World, step: Step) -> int:
    action = action_of(step)
    return world.machines[step["machine"]].start(work_of(world, step, action), action)


def _follow(ledger: Ledger, step: Step, pid: int) -> None:
    """Wait for the end of a process, and do the steps of its pauses when it has stopped."""
    pauses = sorted(step.get("pauses") or (), key=lambda pause: int(pause["at"]))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found, status = os.waitpid(pid, os.WUNTRACED | os.WNOHANG)
        if not found and time.monotonic() < deadline:
            time.sleep(0.002)
        elif not found:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            ledger.complain(f"{step['do']} of step {step['number']} hangs")
            return
        elif os.WIFSTOPPED(status):
            ledger.read()
            for inner in pauses.pop(0)["steps"]:
                _do(ledger, inner, is_nested=True)
            os.kill(pid, signal.SIGCONT)
            deadline = time.monotonic() + _PATIENCE_SECONDS
        else:
            _judge_end(ledger, step, os.waitstatus_to_exitcode(status))
            return


def _judge_end(ledger: Ledger, step: Step, status: int) -> None:
    kind = (step.get("fault") or {}).get("kind")
    if status not in _EXPECTED_ENDS and not (kind == "interrupt" and status == 1):
        ledger.complain(f"{step['do']} of step {step['number']} ends with status {status}")


def _resolved(ledger: Ledger, step: Step) -> Step | None:
    """Replace numbers of experiments by IDs; None: there is nothing that the step could be done with."""
    own = ledger.world.repository_of(step["machine"])
    if step["do"] in ("push", "pull") and step["other"] == own:
        return None
    known = known_experiments(ledger, ledger.world.place(step["other"] if step["do"] == "pull" else own))
    if not known and (step.get("which") or step.get("resume") is not None):
        return None
    if step.get("resume") is not None:
        step["resume"] = known[-1 - step["resume"] % len(known)]
    if "which" in step:
        step["ids"] = list(dict.fromkeys(known[-1 - number % len(known)] for number in step["which"]))
    return step


def _change_disks(ledger: Ledger, step: Step, *, under_a_process: bool) -> None:
    world, name = ledger.world, step["repository"]
    if step["do"] == "unmount":
        world.unmount(name, keeps_mount_point=step["keeps_mount_point"], under_a_process=under_a_process)
    elif step["do"] in ("mount", "swap"):
        _mount(ledger, name, 0 if step["do"] == "mount" else 1)
    elif step["do"] == "let time pass":
        world.let_time_pass()
    elif step["do"] == "back up":
        world.back_up(name)
    elif step["do"] == "restore" and world.restore(name):
        ledger.restored(name, under_a_process=under_a_process)


def _mount(ledger: Ledger, name: str, disk: int) -> None:
    if written := ledger.world.remount(name, disk):
        ledger.complain(f"written into the empty mount point of {name}: {written}")


# Before and after


def _beginning(setup: dict[str, Any], base: Path) -> Ledger:
    """Return a world in which each machine has used both repositories. Each is built once, and then copied."""
    key = "-".join(f"{setup.get(name)}" for name in ("repository of B", "spool", "storage", "caches"))
    if key not in _begun:
        shutil.rmtree(base, ignore_errors=True)
        world = World(base, setup)
        with network_disks(world):
            ledger = _set_up(world)
        kept = base.with_name(f"{base.name}-{key}")
        shutil.copytree(base, kept, symlinks=True)
        _begun[key] = kept, ledger
    kept, ledger = _begun[key]
    shutil.rmtree(base)
    shutil.copytree(kept, base, symlinks=True)
    ledger = copy.deepcopy(ledger)
    ledger.world.setup = setup
    return ledger


_begun: dict[str, tuple[Path, Ledger]] = {}


def _set_up(world: World) -> Ledger:
    ledger = Ledger(world)
    do = _Steps(ledger, -1).do
    train: Step = {"has_path": True, "parts": [{"do": "checkpoint", "key": 1, "has_files": True}], "end": "exit"}
    for number, machine in enumerate(MACHINES):
        do("train", machine=machine, key=10 + number, **train)
    for machine in MACHINES:
        (other,) = {*REPOSITORIES} - {world.repository_of(machine)}
        for verb in ("pull", "push"):
            do(verb, machine=machine, other=other, ids=[], is_thorough=False)
    stranger = World(world.base / "stranger", {**world.setup, "caches": ""})
    for machine, name in zip(MACHINES, REPOSITORIES, strict=True):
        world.mount_new(name)
        stranger.machines[machine].use(world.machines[machine].url(name))
        step = {"do": "train", "machine": machine, "number": 0, "key": 20, **train, "is_patient": True}
        stranger.machines[machine].run(work_of(stranger, step, None))
        world.remount(name, 0)
        world.back_up(name)
    shutil.rmtree(stranger.base)
    check(ledger, is_final=True)
    assert ledger.problems == [], f"{ledger.problems}\n{world.messages.read_text()}"
    return ledger


class _Steps:
    """Does steps that belong to no history."""

    def __init__(self, ledger: Ledger, sign: int) -> None:
        self._ledger, self._sign, self._count = ledger, sign, 1_000_000

    def do(self, verb: str, **fields: Any) -> None:
        self._count += 1
        _do(self._ledger, {"do": verb, "number": self._sign * self._count, "is_patient": True, **fields})


def _end(ledger: Ledger) -> None:
    """Do what people do when all disks are back: send, copy and repair. Then nothing may wait or be damaged."""
    do = _Steps(ledger, 1).do

    def sync() -> None:
        for machine in MACHINES:
            do("sync", machine=machine, is_forced=False)

    def doctor(**options: Any) -> None:
        for name in REPOSITORIES:
            do("doctor", machine=MACHINES[0], repository=name, **options)

    for name in REPOSITORIES:
        _mount(ledger, name, 0)
    ledger.world.let_time_pass()
    for _ in range(2):
        sync()
    doctor(is_fixing=True)
    sync()
    copies = [*dict.fromkeys(ledger.copies)]
    for machine, verb, other in copies * 2:
        do(verb, machine=machine, other=other, ids=[], is_thorough=False)
    sync()  # what waited for a record that a copy has brought back
    for machine, verb, other in copies:
        do(verb, machine=machine, other=other, ids=[], is_thorough=False)
    ledger.world.let_time_pass()
    doctor(is_fixing=True)
    doctor(is_fixing=False, is_thorough=True, must_be_healthy=True)
    check(ledger, is_final=True)
    for complaint in ledger.world.machines[MACHINES[0]].complaints():
        ledger.complain(complaint)
