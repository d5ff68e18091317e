"""A process of a machine: the clock, the cache and the faults that it has."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from importlib import import_module
from itertools import count
from typing import Any

from keepsake import workplace
from keepsake.storage import Storage
from keepsake.util import processes
from tests.faults.histories import bucket
from tests.faults.histories.bucket import SCHEME, Bucket, folder_of
from tests.faults.histories.world import Machine, Step
from tests.faults.injector import Action, Point

_IMPORTED = ("collection", "pruning", "recording.amount", "recording.machine")
_OF_REPOSITORIES = ("copying", "deletion", "doctor", "finding", "pruning", "repairs", "view")
for _name in (
    *("difflib", "gzip", "importlib.metadata", "platform"),
    *(f"keepsake.{name}" for name in _IMPORTED),
    *(f"keepsake.repository.{name}" for name in _OF_REPOSITORIES),
):
    import_module(_name)  # before it forks: imports take half of a command's time

_TORN_BYTES = 20
_FILLING = ("create", "mkdir", "link", "write", "writev", "posix_fallocate")
_SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "interrupt": signal.SIGINT}


def action_of(step: Step) -> Action | None:
    """Return what happens at the calls of the step's process: its fault, and its pauses.

    A pause stops the process before a call, until the steps of the pause are done.
    """
    if not step.get("fault") and not step.get("pauses"):
        return None
    fault = _ACTIONS[step["fault"]["kind"]](step["fault"]) if step.get("fault") else lambda point: None
    pauses = sorted(pause["at"] for pause in step.get("pauses") or ())
    calls = 0

    def action(point: Point) -> int | None:
        nonlocal calls
        calls += 1
        if pauses and calls >= pauses[0]:
            pauses.pop(0)
            print(f"... stopped before {point}", flush=True)
            with bucket.in_one_step:
                os.kill(os.getpid(), signal.SIGSTOP)
        return fault(point)

    return action


def _ended(fault: dict[str, Any]) -> Action:
    """Send a signal at the n-th call that changes something, or in the middle of it if it writes."""
    number = _SIGNALS[fault["kind"]]
    changes, is_torn, is_sent = 0, False, False

    def action(point: Point) -> int | None:
        nonlocal changes, is_torn, is_sent
        changes += point.changes
        if changes < fault["at"] or is_sent:
            return None
        if fault.get("torn") and point.is_write and not is_torn:
            is_torn = True
            return _TORN_BYTES
        is_sent = True
        print(f"... {number.name} before {point}", flush=True)
        os.kill(os.getpid(), number)
        return None

    return action


def _refused(fault: dict[str, Any]) -> Action:
    """Let the n-th of certain calls fail, and some after it."""
    code, seen = getattr(errno, fault["errno"]), 0

    def action(point: Point) -> int | None:
        nonlocal seen
        if fault["calls"] and point.call not in fault["calls"]:
            return None
        seen += 1
        if fault["at"] <= seen < fault["at"] + fault["times"]:
            print(f"... {fault['errno']} at {point}", flush=True)
            raise OSError(code, os.strerror(code), point.path)
        return None

    return action


def _filled(fault: dict[str, Any]) -> Action:
    """Let the disk be full from the n-th call on that changes something, and for so many of them."""
    changes = 0

    def action(point: Point) -> int | None:
        nonlocal changes
        changes += point.changes
        if point.call in _FILLING and fault["at"] <= changes < fault["at"] + fault["times"]:
            if changes == fault["at"] and point.is_write:
                return _TORN_BYTES
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), point.path)
        return None

    return action


_ACTIONS: dict[str, Callable[[dict[str, Any]], Action]] = {
    **dict.fromkeys(_SIGNALS, _ended),
    "errno": _refused,
    "full": _filled,
}


def be(machine: Machine, clock: float) -> None:
    """Make this process one of that machine, on which no process of another one is seen."""
    processes._place = lambda: machine.name
    real = time.time
    time.time = lambda: real() + clock
    time.time_ns = lambda: int(time.time() * 1e9)


def use_buckets(action: Action | None) -> None:
    """Let the buckets of this process be those in folders, and operations on them be calls at which things happen."""
    real: Callable[..., Storage] = vars(workplace)["open_storage"]
    reached = count(1)

    def at(verb: str, key: str) -> None:
        if action is not None:
            action(Point(verb, key, next(reached)))

    def open_storage(url: str, *base: Any) -> Storage:
        return Bucket(folder_of(url), at) if url.startswith(SCHEME) else real(url, *base)

    vars(workplace)["open_storage"] = open_storage
