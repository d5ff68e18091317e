"""Pairs of commands on two repositories: the second one runs at an operation of the first one's storages.

Afterwards, what neither of them removes is where it was, no archive is without a record, and a copy each way completes
what is in one of the two repositories alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count as counted
from itertools import product

import pytest

from keepsake.exceptions import KeepsakeError
from keepsake.metadata import checkpoints_of
from keepsake.repository.copying import Copy
from keepsake.repository.deletion import delete_experiments, delete_files
from keepsake.repository.doctor import diagnose
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from tests.archive.archives import archive_bytes, freeze_files
from tests.faults.amounts import amounts
from tests.repository.test_copying import Side, archive_key, record
from tests.storage.faults import Fault, FaultyStorage

MINE, THEIRS = "1" * 64, "2" * 64
FIRST, SECOND, OTHER = (archive_key(digit * 64) for digit in "abc")
_EVERY = 7  # moments from one interruption to the next; which ones differs from pair to pair

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
STATES = ("nothing", "record", "one archive", "one checkpoint", "all", "removed", "pruned", "pruned here")


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


def _interrupted(first: Command, second: Command, source: Side, target: Side, moment: int) -> bool:
    """Run the first command, and the second one at that moment of it; return whether there is such a moment."""
    left = moment

    def fault(when: str, verb: str, key: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            _run(second, _view(source), _view(target))

    _run(first, _view(source, fault), _view(target, fault))
    return left <= 0


def _run(command: Command, source: View, target: View) -> None:
    try:
        command(source, target)
    except KeepsakeError:
        pass  # such as an experiment that is being removed


def _problems(source: Side, target: Side, done: tuple[str, ...], state: str) -> Iterator[str]:
    for side, other in ((source, target), (target, source)):
        there = _there(side)
        yield from (f"{key} in {side.repository.url} has no record" for key in there - _named(_view(side)))
        missing = _named(_view(side)) - there & _there(other)
        yield from (f"{key} in {side.repository.url} is missing" for key in missing)
    for side, where in ((source, "here"), (target, "there")):
        kept = {OTHER} | ({FIRST, SECOND} if where == "here" or state != "removed" else set())
        if f"rm {where}" in done or (where == "there" and "rm here" in done):
            kept -= {FIRST, SECOND}
        if "prune" in " ".join(done) or state.startswith("pruned"):
            kept -= {FIRST}
        yield from (f"{key} is lost in {side.repository.url}" for key in kept - _there(side))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An archive."""
    return archive_bytes(freeze_files(tmp_path_factory.mktemp("archive"), {"model.pth": b"weights" * 100}))


@amounts(100, 0)
def test_a_command_in_the_middle_of_another_costs_nothing(whole: bytes, count: int) -> None:
    cases = list(product(COMMANDS, COMMANDS, STATES))
    generator, found, hits = random.Random(12), list[str](), 0
    for first, second, state in generator.sample(cases, count or len(cases)):
        for moment in counted(1 + generator.randrange(_EVERY), _EVERY * (3 if count else 1)):
            source, target = _sides(state, whole)
            if not _interrupted(COMMANDS[first], COMMANDS[second], source, target, moment):
                break
            hits += 1
            for later in ("doctor --fix here", "doctor --fix there", "push", "pull"):
                _run(COMMANDS[later], _view(source), _view(target))
            problems = _problems(source, target, (first, second), state)
            found += [f"{second} at moment {moment} of {first}, {state} there: {problem}" for problem in problems]
    print("interruptions:", hits)
    assert found == []
    assert hits > len(COMMANDS)
