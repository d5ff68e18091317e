"""Pairs of commands on two repositories: the second one runs at an operation of the first one's storages.

Right afterwards, what neither of them removes is where it was. Then a copy each way completes what is in one of the two
repositories alone, no archive is without a record, and what was removed or pruned stays so.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from itertools import count as counted
from itertools import product

import pytest

from keepsake.exceptions import KeepsakeError
from keepsake.metadata import checkpoints_of, pruned_of, was_pruned_elsewhere
from keepsake.repository import rereading
from keepsake.repository.copying import Copy
from keepsake.repository.deletion import delete_experiments, delete_files
from keepsake.repository.doctor import diagnose
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.util import clock
from keepsake.util.workers import Workers
from tests.archive.archives import archive_bytes, freeze_files
from tests.faults.amounts import amounts
from tests.repository.test_copying import Side, archive_key, record
from tests.storage.faults import Fault, FaultyStorage

MINE, THEIRS = "1" * 64, "2" * 64
FIRST, SECOND, OTHER = (archive_key(digit * 64) for digit in "abc")

Command = Callable[[View, View], object]  # of the source and the target


def _copy(source: View, target: View, *, named: bool = False, thorough: bool = False) -> None:
    records = [each for each in source.records() if not named or each["id"] == MINE]
    for _ in Copy(source.repository, target, records, named=named, thorough=thorough).run(lambda count: None):
        pass


def _remove(view: View) -> None:
    if (found := view.repository.load(MINE)) is not None:
        delete_experiments(view, [found])


def _prune(view: View) -> None:
    if FIRST in _named(view):
        delete_files(view, {MINE: {"a" * 64}})


COMMANDS: dict[str, Command] = {
    "push": _copy,
    "push ID": lambda source, target: _copy(source, target, named=True),
    "push --thorough": lambda source, target: _copy(source, target, thorough=True),
    "pull": lambda source, target: _copy(target, source),
    "pull ID": lambda source, target: _copy(target, source, named=True),
    "rm here": lambda source, target: _remove(source),
    "rm there": lambda source, target: _remove(target),
    "prune here": lambda source, target: _prune(source),
    "prune there": lambda source, target: _prune(target),
    "doctor --fix here": lambda source, target: diagnose(source, thorough=False, fix=True),
    "doctor --fix there": lambda source, target: diagnose(target, thorough=False, fix=True),
}
# What the target has at first, of the experiment that the source has
STATES = (
    *("nothing", "record", "one archive", "one checkpoint", "all", "removed", "removal begun"),
    *("pruned", "pruned here", "pruning begun"),
)
_PAUSE_SECONDS = 7200.0  # for which the first command stops before and after the second one


def _sides(state: str, whole: bytes) -> tuple[Side, Side]:
    source, target = Side("source"), Side("target")
    source.add(record(MINE, "a" * 64, "b" * 64), whole)
    for side in (source, target):
        side.add(record(THEIRS, "c" * 64), whole)
    if state != "nothing":
        ids = ["a" * 64] if state == "one checkpoint" else ["a" * 64, "b" * 64]
        target.add(record(MINE, *ids), None if state in ("record", "one archive") else whole)
    if state == "one archive":
        target.bench.write(FIRST, whole)
    if state == "removed":
        _remove(View(target.repository))
    if state == "removal begun":
        target.repository.removals.add([MINE], [FIRST, SECOND])
    if state == "pruning begun":
        target.repository.empty_paths(MINE, lambda record: {"a" * 64})
    if state.startswith("pruned"):
        _prune(View((source if state == "pruned here" else target).repository))
    return source, target


def _view(side: Side, fault: Fault = lambda moment, verb, key: None) -> View:
    return View(Repository(FaultyStorage(side.bench.memory, fault)))


def _named(view: View) -> set[str]:
    """Return the archives that the records of a repository name."""
    return {archive_key(c["id"]) for record in view.records() for c in checkpoints_of(record) if c.get("path")}


def _there(side: Side) -> set[str]:
    return {key for key in side.bench.listed() if key.startswith("checkpoints/")}


def _interrupted(
    first: Command, second: Command, source: Side, target: Side, moment: int, sleep: Callable[[float], None]
) -> bool:
    """Run the first command, and the second one at that moment of it; return whether there is such a moment."""
    left = moment

    def fault(when: str, verb: str, key: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            sleep(_PAUSE_SECONDS)
            _run(second, _view(source), _view(target))
            sleep(_PAUSE_SECONDS)

    _run(first, _view(source, fault), _view(target, fault))
    return left <= 0


def _run(command: Command, source: View, target: View) -> None:
    try:
        command(source, target)
    except KeepsakeError:
        pass  # such as an experiment that is being removed


def _wrong(side: Side, where: str, before: set[str], done: tuple[str, str], state: str) -> Iterator[str]:
    """Say what is wrong right after two commands: what neither removes is gone, or what one removed is still there."""
    gone, url = before - {key.removeprefix("orphaned/") for key in side.bench.listed()}, side.repository.url
    if f"prune {where}" in done and gone == {FIRST} and FIRST in _named(_view(side)):
        yield f"{FIRST} was pruned from {url}, and its record names it"
    if f"rm {where}" in done:
        gone -= {FIRST, SECOND}
    if f"prune {where}" in done or state == "pruning begun":
        gone -= {FIRST}
    yield from (f"{key} is lost in {url}" for key in gone)
    if state != "removal begun" and MINE in side.repository.removals.ids() and side.repository.load(MINE):
        yield f"{MINE} was removed from {url}, and its record is there"


def _given_up(side: Side) -> set[str]:
    """Return what was removed from a repository, or pruned there."""
    records = list(_view(side).records())
    checkpoints = (checkpoint for record in records for checkpoint in checkpoints_of(record))
    pruned = {archive_key(each["id"]) for each in checkpoints if pruned_of(each) and not was_pruned_elsewhere(each)}
    return pruned | side.repository.removals.ids() - {record["id"] for record in records}


def _problems(source: Side, target: Side, done: tuple[str, str], state: str) -> Iterator[str]:
    """Say what is wrong once copies have been made each way."""
    for side, other in ((source, target), (target, source)):
        there = _there(side)
        yield from (f"{key} in {side.repository.url} has no record" for key in there - _named(_view(side)))
        missing = _named(_view(side)) - there & _there(other)
        yield from (f"{key} in {side.repository.url} is missing" for key in missing)
    for side, where in ((source, "here"), (target, "there")):
        kept = {OTHER} | ({FIRST, SECOND} if where == "here" or state != "removed" else set())
        if f"rm {where}" in done or (where == "there" and "rm here" in done):
            kept -= {FIRST, SECOND}
        if "prune" in " ".join(done) or state.startswith("prun"):
            kept -= {FIRST}
        yield from (f"{key} is lost in {side.repository.url} for good" for key in kept - _there(side))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive."""
    return archive_bytes(freeze_files(tmp_path_factory.mktemp("archive"), {"model.pth": b"weights" * 100}))


@pytest.fixture
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands work in this thread alone: the moments are always the same, and it takes a tenth of the time."""

    def start(workers: Workers) -> None:
        workers._process, workers._running = os.getpid(), 0

    monkeypatch.setattr(Workers, "_start", start)


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass, for the commands and for the storages."""
    slept, real_time, real_monotonic = [0.0], time.time, clock.monotonic
    monkeypatch.setattr("time.time", lambda: real_time() + sum(slept))
    monkeypatch.setattr(rereading, "monotonic", lambda: real_monotonic() + sum(slept))
    return slept.append


@amounts(40, 1)
@pytest.mark.usefixtures("without_threads")
def test_a_command_in_the_middle_of_another_costs_nothing(
    whole: bytes, count: int, sleep: Callable[[float], None]
) -> None:
    """At each moment of a command, or each 20th; which ones differs from pair to pair."""
    generator, found, hits = random.Random(12), list[str](), 0
    for first, second, state in product(COMMANDS, COMMANDS, STATES):
        for moment in counted(1 + generator.randrange(count), count):
            source, target = _sides(state, whole)
            sides = {"here": source, "there": target}
            before = {where: _there(side) for where, side in sides.items()}
            if not _interrupted(COMMANDS[first], COMMANDS[second], source, target, moment, sleep):
                break
            hits += 1
            problems = [
                wrong
                for where, side in sides.items()
                for wrong in _wrong(side, where, before[where], (first, second), state)
            ]
            given_up = {where: _given_up(side) for where, side in sides.items()}
            for later in ("doctor --fix here", "doctor --fix there", "push", "pull"):
                _run(COMMANDS[later], _view(source), _view(target))
            problems += _problems(source, target, (first, second), state)
            for where, side in sides.items():
                problems += [f"{what} is back in {side.repository.url}" for what in given_up[where] - _given_up(side)]
            found += [f"{second} at moment {moment} of {first}, {state} there: {problem}" for problem in problems]
    print("interruptions:", hits)
    assert found == [], "\n".join(found)
    assert hits > len(COMMANDS)
