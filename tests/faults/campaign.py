"""Campaigns of faults: `python -m tests.faults.campaign NAME COUNT [DIRECTORY]` prints its findings as JSON.

It does COUNT runs. 0 stands for one run at each point at which the fault can happen, and for each kind of fault, but
for a few minutes at most. It is a process of its own, because it forks and must have no threads.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import cycle, islice, takewhile
from pathlib import Path
from typing import TypeVar

from keepsake.archive import (
    gzip,  # noqa: F401 - before it forks
    writer,  # noqa: F401 - before it forks
)
from keepsake.archive import pack as _snapshot  # noqa: F401 - before it forks
from keepsake.archive import reader as _archive  # noqa: F401 - before it forks
from keepsake.listing import index  # noqa: F401 - before it forks
from keepsake.recording import (
    run,  # noqa: F401 - before it forks
    saver,  # noqa: F401 - before it forks
)
from keepsake.restoring import checkout as _checkout  # noqa: F401 - before it forks
from tests.faults.histories.campaign import histories, histories_on_network_disks
from tests.faults.injector import Action, Point, fail_at, full_from, kill_at, short_writes
from tests.faults.report import Report, seconds_left
from tests.faults.restoring import check_checkout, check_out, check_removal, prepare, remove
from tests.faults.sandbox import ChildDone, Sandbox, Work, sandboxes, wait
from tests.faults.workload import check, let_time_pass, next_run, quickly, train, train_until_killed

T = TypeVar("T")
Check = Callable[[Sandbox], list[str]]
Fault = tuple[object, Action, "Point | None"]  # what to call it, what it does, and where; None: everywhere

_TRIALS = 3  # unharmed runs that tell which points there are: threads take different ways
_ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES)


# Kills


def kills_at_each_step(base: Path, count: int) -> Report:
    """Kill a run before each call that changes something, and in the middle of each write."""
    return _harm(base, _kills(_points(base, train), count), train)


def kills_of_recoveries(base: Path, count: int) -> Report:
    """Kill a run, then the recovery at each of its steps, then recover."""
    points = _points(base, next_run, before=train_until_killed)
    return _harm(base, _kills(points, count), next_run, before=train_until_killed)


def kills_of_checkouts(base: Path, count: int) -> Report:
    """Kill a checkout over other files at each step."""
    points = _points(base, check_out, before=prepare, everywhere=True)
    faults = _kills(points, count)
    return _harm(base, faults, check_out, before=prepare, check=check_checkout, everywhere=True)


def kills_of_removals(base: Path, count: int) -> Report:
    """Kill the deletion of an experiment at each step."""
    points = _points(base, remove, before=prepare)
    return _harm(base, _kills(points, count), remove, before=prepare, check=check_removal)


def kills_at_random(base: Path, count: int) -> Report:
    """Kill a run at random moments, whatever it is doing."""
    return _send(base, count, signal.SIGKILL)


def terminations_at_random(base: Path, count: int) -> Report:
    """Send SIGTERM at random moments."""
    return _send(base, count, signal.SIGTERM)


def interrupts_at_random(base: Path, count: int) -> Report:
    """Send SIGINT (Ctrl-C) at random moments."""
    return _send(base, count, signal.SIGINT)


def recoveries_at_once(base: Path, count: int) -> Report:
    """Let twelve recoveries of a killed run go on at the same time, all of old packs, and kill one of them."""
    generator = random.Random(4)
    report = Report(points=count)
    for sandbox in islice(_sandboxes(base), count):
        sandbox.run(train_until_killed)
        let_time_pass(sandbox)
        running = [sandbox.start(next_run) for _ in range(12)]
        time.sleep(generator.uniform(0, 0.3))
        os.kill(running[0], signal.SIGKILL)
        failed = [status for status in map(wait, running) if status not in (0, -signal.SIGKILL)]
        report.add(sandbox, [*(f"exit status {status}" for status in failed), *check(sandbox)], "", hit=True)
    return report


def _send(base: Path, count: int, number: int) -> Report:
    """Send a signal at a random moment, until `count` runs were hit by it."""
    started = time.monotonic()
    Sandbox(base / "trial").run(train)
    length = time.monotonic() - started
    generator = random.Random(number)
    report = Report(points=count)
    for sandbox in islice(_sandboxes(base), 3 * count):
        moment = generator.uniform(0, length)
        pid = sandbox.start(train)
        time.sleep(moment)
        os.kill(pid, number)
        status = wait(pid)
        length *= 1.02 if status else 0.9  # how long a run takes varies with what else this machine does
        # Python itself makes an exit status of Ctrl-C
        problems = [] if status in (0, -number, 1 if number == signal.SIGINT else 0) else [f"exit status {status}"]
        report.add(sandbox, problems + check(sandbox), f"after {moment:.3f} s", hit=status != 0)
        if report.hits == count:
            break
    return report


# Errors


def errors_at_each_step(base: Path, count: int) -> Report:
    """Let each call fail once, with the errors that disks know; the run goes on."""
    return _harm(base, _errors(_points(base, train), count), quickly(train))


def errors_of_checkouts(base: Path, count: int) -> Report:
    """Let each call of a checkout fail once."""
    points = _points(base, check_out, before=prepare, everywhere=True)
    faults = _errors(points, count)
    return _harm(base, faults, check_out, before=prepare, check=check_checkout, everywhere=True)


def full_disks(base: Path, count: int) -> Report:
    """Let the disk be full from each step to the end of the run."""
    points = [point for point in _points(base, train) if point.changes]
    points = _chosen(_one_of_each(points) if count else points, count)
    return _harm(base, [(point, full_from(point), point) for point in points], quickly(train))


def short_writes_of(base: Path, count: int) -> Report:
    """Let every write take only some of what it is given."""
    sizes = _chosen([100, 65_537, 1_000, 4_000, 1 << 20], count)
    return _harm(base, [(size, short_writes(size), None) for size in sizes], train)


# How it is done


def _kills(points: list[Point], count: int) -> list[Fault]:
    points = _one_of_each(points) if count else points
    changing = [(point, False) for point in points if point.changes]
    torn = [(point, True) for point in points if point.is_write]
    chosen = _chosen(changing + torn, count)
    return [((*point, "torn" if torn else ""), kill_at(point, torn=torn), point) for point, torn in chosen]


def _errors(points: list[Point], count: int) -> list[Fault]:
    if count:
        targets = list(zip(_one_of_each(points), cycle(_ERRORS), strict=False))
    else:
        targets = [(point, code) for point in points for code in _ERRORS]
    chosen = _chosen(targets, count)
    return [((*point, errno.errorcode[code]), fail_at(point, code), point) for point, code in chosen]


def _harm(
    base: Path,
    faults: Sequence[Fault],
    work: Work,
    *,
    before: Work | None = None,
    check: Check = check,
    everywhere: bool = False,
) -> Report:
    """Do `work` in a new sandbox for each fault, after `before`, and check it."""
    report = Report(points=len(faults))
    for (name, action, point), sandbox in zip(faults, _sandboxes(base), strict=False):
        if before is not None:
            sandbox.run(before)
        status = sandbox.run(work, action, everywhere=everywhere)
        hit = status == -signal.SIGKILL or point is None or point in sandbox.reached()
        problems = [] if status in (0, -signal.SIGKILL) else [f"exit status {status}"]
        report.add(sandbox, problems + check(sandbox), name, hit=hit)
    return report


def _points(base: Path, work: Work, before: Work | None = None, *, everywhere: bool = False) -> list[Point]:
    """Return the points that `work` comes by."""
    found: set[Point] = set()
    for number in range(_TRIALS):
        trial = Sandbox(base / f"trial-{number}")
        if before is not None:
            trial.run(before)
        status = trial.run(work, lambda point: None, everywhere=everywhere)
        if status:
            raise AssertionError(f"status {status} without any fault: {trial.said()}")
        found.update(trial.reached())
    return sorted(found)


def _one_of_each(points: list[Point]) -> list[Point]:
    """Return one point, a middle one, of each call on each path."""
    kinds: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        kinds.setdefault(point[:2], []).append(point)
    return [same[len(same) // 2] for same in kinds.values()]


def _chosen(targets: Sequence[T], count: int) -> list[T]:
    """Return `count` of the targets, evenly spread; 0: all, in no order."""
    if not count:
        return random.Random(len(targets)).sample(targets, len(targets))
    count = min(count, len(targets))
    return [targets[position * len(targets) // count] for position in range(count)]


def _sandboxes(base: Path) -> Iterator[Sandbox]:
    """Yield new sandboxes until the campaign has taken its time."""
    is_time_left = seconds_left()
    return takewhile(lambda _: is_time_left(), sandboxes(base))


CAMPAIGNS = {
    campaign.__name__: campaign
    for campaign in (
        *(kills_at_each_step, kills_of_recoveries, kills_of_checkouts, kills_of_removals),
        *(kills_at_random, terminations_at_random, interrupts_at_random, recoveries_at_once),
        *(errors_at_each_step, errors_of_checkouts, full_disks, short_writes_of),
        *(histories, histories_on_network_disks),
    )
}


def main() -> None:
    """Run the campaign that the arguments name."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    name, count = sys.argv[1], int(sys.argv[2])
    base = Path(tempfile.mkdtemp(prefix="keepsake-faults-", dir=sys.argv[3] if len(sys.argv) > 3 else None))
    report = CAMPAIGNS[name](base, count)
    if not report.problems:
        shutil.rmtree(base)
    print(json.dumps(asdict(report), indent=1))


if __name__ == "__main__":
    try:
        main()
    except ChildDone:
        pass  # the end of a child: what is registered to be called at exit is called now
