"""Campaigns of faults: `python -m tests.faults.campaign NAME COUNT` does COUNT runs (0: one for each point at which the
fault can happen) and prints what it found as JSON.

A process of its own, because it forks, for which it must have no threads.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from keepsake import _archive, _checkout, _gzip, _recording, _saver, _snapshot  # noqa: F401 - before it forks
from tests.faults.injector import Action, Point, fail_at, full_from, kill_at, short_writes
from tests.faults.sandbox import ChildDone, Sandbox, Work, sandboxes, wait
from tests.faults.workload import check, next_run, quickly, returned_by, train, train_until_killed

T = TypeVar("T")

_TRIALS = 3  # unharmed runs that tell which points there are: threads take different ways
_ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES)


@dataclass
class Report:
    """What a campaign found."""

    runs: int = 0
    hits: int = 0  # runs in which the fault happened
    returned: int = 0  # checkpoints that had returned
    problems: list[str] = field(default_factory=list)

    def add(self, sandbox: Sandbox, status: int, allowed: tuple[int, ...], fault: object, *, hit: bool) -> None:
        """Count a run, check its sandbox, and keep that only if there is a problem."""
        self.runs += 1
        self.hits += hit
        problems = [] if status in allowed else [f"exit status {status}"]
        problems += check(sandbox)
        self.returned += len(returned_by(sandbox)[1])
        self.problems += [f"{sandbox.directory} {fault}: {problem}" for problem in problems]
        if not problems:
            shutil.rmtree(sandbox.directory)


def kills_at_each_step(base: Path, count: int) -> Report:
    """Kill a run before each call that changes something, and in the middle of each write."""
    points = _points(base, train)
    return _kill(base, points, count, train)


def kills_of_recoveries(base: Path, count: int) -> Report:
    """Kill a run, then the recovery at each of its steps, then recover."""
    points = _points(base, next_run, before=train_until_killed)
    return _kill(base, points, count, next_run, before=train_until_killed)


def _kill(base: Path, points: list[Point], count: int, work: Work, before: Work | None = None) -> Report:
    report = Report()
    targets = [(point, False) for point in points if point.changes] + [(point, True) for point in points if point.is_write]
    for (point, torn), sandbox in zip(_chosen(targets, count), sandboxes(base)):
        if before is not None:
            sandbox.run(before)
        status = sandbox.run(work, kill_at(point, torn=torn))
        report.add(sandbox, status, (0, -signal.SIGKILL), (*point, torn), hit=status == -signal.SIGKILL)
    return report


def kills_at_random(base: Path, count: int) -> Report:
    """Kill a run at random moments, whatever it is doing."""
    return _send(base, count, signal.SIGKILL)


def terminations_at_random(base: Path, count: int) -> Report:
    """Send SIGTERM at random moments."""
    return _send(base, count, signal.SIGTERM)


def interrupts_at_random(base: Path, count: int) -> Report:
    """Send SIGINT (Ctrl-C) at random moments."""
    return _send(base, count, signal.SIGINT)


def _send(base: Path, count: int, number: int) -> Report:
    started = time.monotonic()
    Sandbox(base / "trial").run(train)
    length = time.monotonic() - started
    generator = random.Random(number)
    report = Report()
    for sandbox in islice(sandboxes(base), count or 100):
        moment = generator.uniform(0, 1.1 * length)
        pid = sandbox.start(train)
        time.sleep(moment)
        os.kill(pid, number)
        status = wait(pid)
        report.add(sandbox, status, (0, -number), f"after {moment:.3f} s", hit=status == -number)
    return report


def errors_at_each_step(base: Path, count: int) -> Report:
    """Let each call fail once, with the errors that disks know; the run goes on."""
    points = _points(base, train)
    targets = [(point, code) for code in _ERRORS for point in points]
    return _fail(base, _chosen(targets, count), lambda target: fail_at(*target), lambda target: target[0])


def full_disks(base: Path, count: int) -> Report:
    """Let the disk be full from each step to the end of the run."""
    points = [point for point in _points(base, train) if point.changes]
    return _fail(base, _chosen(points, count), full_from, lambda point: point)


def short_writes_of(base: Path, count: int) -> Report:
    """Let every write take only some of what it is given."""
    sizes = _chosen([1 << 20, 65_537, 4_000, 1_000, 100], count)
    return _fail(base, sizes, short_writes, lambda size: None)


def _fail(base: Path, faults: list[T], action: Callable[[T], Action], point: Callable[[T], Point | None]) -> Report:
    report = Report()
    for fault, sandbox in zip(faults, sandboxes(base)):
        status = sandbox.run(quickly(train), action(fault))
        hit = point(fault) is None or point(fault) in sandbox.reached()
        report.add(sandbox, status, (0,), fault, hit=hit)
    return report


def _points(base: Path, work: Work, before: Work | None = None) -> list[Point]:
    """Return the points that `work` comes by."""
    found: set[Point] = set()
    for number in range(_TRIALS):
        trial = Sandbox(base / f"trial-{number}")
        if before is not None:
            trial.run(before)
        status = trial.run(work, lambda point: None)
        if status:
            raise AssertionError(f"status {status} without any fault: {trial.said()}")
        found.update(trial.reached())
    return sorted(found)


def _chosen(targets: list[T], count: int) -> list[T]:
    """Return `count` of the targets, evenly spread; 0: all."""
    count = min(count or len(targets), len(targets))
    return [targets[position * len(targets) // count] for position in range(count)]


CAMPAIGNS = (
    kills_at_each_step,
    kills_of_recoveries,
    kills_at_random,
    terminations_at_random,
    interrupts_at_random,
    errors_at_each_step,
    full_disks,
    short_writes_of,
)


def main() -> None:
    """Run the campaign that the arguments name."""
    name, count = sys.argv[1], int(sys.argv[2])
    base = Path(tempfile.mkdtemp(prefix="keepsake-faults-", dir=sys.argv[3] if len(sys.argv) > 3 else None))
    report = next(campaign for campaign in CAMPAIGNS if campaign.__name__ == name)(base, count)
    if not report.problems:
        shutil.rmtree(base)
    print(json.dumps(asdict(report), indent=1))


if __name__ == "__main__":
    try:
        main()
    except ChildDone:
        pass  # the end of a child: what is registered to be called at exit is called now
