"""A model of what was promised: which checkpoints, files and tags must be where, as the processes have reported."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.histories.holdings import Holding, Waiting, waiting
from tests.faults.histories.world import Place, Step, World

Event = dict[str, Any]

# What waits elsewhere, or was never sent; and temporary files, which look old to a machine whose clock is ahead
_HARMLESS = ("archive-missing", "archive-waiting", "run-waiting", "temporary")


@dataclass
class Promise:
    """What a place must have of an experiment, or a spool for it."""

    checkpoints: set[str] = field(default_factory=set)
    archives: set[str] = field(default_factory=set)  # those of checkpoints, and that of the experiment itself
    tags: set[str] = field(default_factory=set)


@dataclass
class Run:
    """How an experiment began."""

    key: int
    keep: str | None
    order: list[str] = field(default_factory=list)  # its checkpoints with files, as they returned


@dataclass
class Saved:
    """A checkpoint that has returned."""

    experiment: str
    key: int
    at: int
    restart: int
    has_files: bool


@dataclass
class Course:
    """A step of a process: what was mounted when it began, and what a copy found."""

    step: Step
    own: Place
    source: Place | None = None
    target: Place | None = None
    before: dict[str, Promise] = field(default_factory=dict)
    kept: dict[str, set[str]] = field(default_factory=dict)  # archives that a pruning may delete
    known: set[str] = field(default_factory=set)  # experiments that were promised to the repository before
    is_over: bool = False
    is_crossed: bool = False  # whether a backup was restored meanwhile, so that what it did may be undone


class Ledger:
    """Is told what happens, in its order, and keeps what must be there."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runs: dict[str, Run] = {}
        self.saved: dict[str, Saved] = {}
        self.promised: dict[tuple[Place, str], Promise] = {}
        self.uncertain: set[tuple[Place, str]] = set()  # experiments that may be there, such as half removed ones
        self.removed: set[tuple[Place, str]] = set()
        self.pruned: dict[Place, set[str]] = defaultdict(set)
        self.forced: dict[str, set[Place]] = defaultdict(set)  # where `sync --force` may have sent an experiment
        self.copies: list[tuple[str, str, str]] = []  # machine, verb, other repository
        self.problems: list[str] = []
        self._identities: dict[str, Place] = {}
        self._courses: dict[int, Course] = {}
        self._offset = 0
        self.look()

    def look(self) -> None:
        """Look at what lies where."""
        self.held = {place: Holding(self.world.directory(place)) for place in self.world.places()}
        for place, holding in self.held.items():
            if holding.identity:
                self._identities.setdefault(holding.identity, place)
        self.waiting: dict[str, list[Waiting]] = defaultdict(list)
        for each in waiting(self.world):
            self.waiting[each.experiment].append(each)

    def mounted(self) -> list[Place]:
        """What the machines see."""
        return [place for place in self.held if self.world.is_mounted(place)]

    def complain(self, problem: str) -> None:
        """Note what is wrong, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def promise(self, place: Place, experiment: str) -> Promise:
        """What is promised of an experiment."""
        return self.promised.setdefault((place, experiment), Promise())

    def contents(self, place: Place) -> dict[str, Promise]:
        """What a place holds of each experiment."""
        if place not in self.held:
            return {}
        holding, found = self.held[place], dict[str, Promise]()
        for experiment, record in holding.records.items():
            archives = holding.named(experiment) & holding.archives
            if record is not None:
                tags = {*(record.get("tags") or ())}
                found[experiment] = Promise({*holding.checkpoints(experiment)}, archives, tags)
        return found

    # Steps

    def begin(self, step: Step) -> None:
        """A process is about to start."""
        self.look()
        own = self._mounted(self.world.repository_of(step["machine"]))
        course = self._courses[step["number"]] = Course(step, own, known=self._promised_to(own))
        if step["do"] not in ("push", "pull"):
            return
        other = self._mounted(step["other"])
        course.source, course.target = (own, other) if step["do"] == "push" else (other, own)
        course.before = self.contents(course.source)
        for experiment in step["ids"]:
            if (course.target, experiment) in self.removed:  # naming it brings it back
                self.removed.discard((course.target, experiment))
                self.uncertain.add((course.target, experiment))

    def end(self, step: Step) -> None:
        """The process has ended."""
        self.read()
        self._courses[step["number"]].is_over = True
        if step["do"] in ("push", "pull"):
            self.copies.append((step["machine"], step["do"], step["other"]))

    def read(self) -> None:
        """Take in what the processes have reported since."""
        events, self._offset = self.world.events(self._offset)
        for event in events:
            self.look()
            _HANDLERS[event["event"]](self, self._courses[event["step"]], event)

    def _mounted(self, name: str) -> Place:
        return self.world.place(name) or Place(name, 0)

    # What was reported

    def _began(self, course: Course, event: Event) -> None:
        experiment = event["experiment"]
        run = self.runs.setdefault(experiment, Run(event["key"], event["keep"]))
        run.keep = event["keep"] or run.keep
        place = self._identities.get(event["identity"])
        if place and not event["is_resumed"]:
            promise = self.promise(place, experiment)
            promise.archives |= {experiment} if event["path"] else set()

    def _saved(self, course: Course, event: Event) -> None:
        experiment, id = event["experiment"], event["id"]
        self.saved[id] = Saved(experiment, event["key"], event["at"], event["restart"], event["has_files"])
        if event["has_files"]:
            self.runs[experiment].order.append(id)
        mounted = (place for place in self.mounted() if place.name == course.own.name)
        has_it = (place for place in mounted if experiment in self.held[place].records)
        place = self._identities.get(event["identity"]) or next(has_it, None)
        if place is None or (place, experiment) in self.removed | self.uncertain:
            return
        promise = self.promise(place, experiment)
        promise.checkpoints.add(id)
        promise.archives |= {id} if event["has_files"] else set()

    def _tagged(self, course: Course, event: Event) -> None:
        place = self._identities.get(event["identity"]) if event["identity"] else course.own
        if place is not None and (place, event["experiment"]) not in self.removed | self.uncertain:
            self.promise(place, event["experiment"]).tags.add(event["tag"])

    def _removes(self, course: Course, event: Event) -> None:
        """From here on, nothing is sure of what is there, nor of what waits here for other places."""
        for experiment in event["experiments"]:
            for place in (Place(course.own.name, 0), Place(course.own.name, 1)):
                self._forget(place, experiment)
            for place in {place for place, _ in self.promised}:
                if self.waiting[experiment] and self._is_incomplete(place, experiment):
                    self._forget(place, experiment)

    def _removed(self, course: Course, event: Event) -> None:
        for experiment in event["experiments"]:
            self.promised.pop((course.own, experiment), None)
            is_sure = self.world.is_mounted(course.own) and not course.is_crossed
            if not is_sure or self._is_being_copied(course.own, experiment):
                continue
            self.uncertain.discard((course.own, experiment))
            self.removed.add((course.own, experiment))

    def _prunes(self, course: Course, event: Event) -> None:
        """Any archive of a checkpoint may go."""
        wanted = event["experiments"]
        for (place, experiment), promise in self.promised.items():
            if place == course.own and (not wanted or experiment in wanted):
                course.kept[experiment] = promise.archives - {experiment}
                promise.archives &= {experiment}
                self.pruned[place] |= course.kept[experiment]

    def _pruned(self, course: Course, event: Event) -> None:
        """All but those that were deleted are promised again."""
        gone = set(event["archives"])
        self.pruned[course.own] -= set[str]().union(*course.kept.values())
        for experiment, archives in course.kept.items() if not course.is_crossed else ():
            if (course.own, experiment) not in self.removed | self.uncertain:
                self.promise(course.own, experiment).archives |= archives - gone
        for (place, _), promise in self.promised.items():
            if place == course.own:
                promise.archives -= gone
        self.pruned[course.own] |= gone

    def _copied(self, course: Course, event: Event) -> None:
        """The target has what the source had before and after."""
        source, target = course.source, course.target
        assert source is not None
        assert target is not None
        if course.is_crossed or not self.world.is_mounted(source) or not self.world.is_mounted(target):
            return
        now = self.contents(source)
        for experiment in {*event["experiments"]} & now.keys() & course.before.keys() - self._gone(target):
            if (target, experiment) in self.uncertain:
                if experiment not in course.step["ids"] or course.step.get("pauses"):
                    continue
                self.uncertain.discard((target, experiment))
            promise, before = self.promise(target, experiment), course.before[experiment]
            promise.checkpoints |= now[experiment].checkpoints & before.checkpoints
            promise.archives |= (now[experiment].archives & before.archives) - self.pruned[target]
            promise.tags |= now[experiment].tags & before.tags

    def _forces(self, course: Course, event: Event) -> None:
        for experiment in self.runs:
            self.forced[experiment].add(course.own)

    def _listed(self, course: Course, event: Event) -> None:
        """Judge a listing only if nothing has been going on beside it."""
        if course.step.get("is_nested") or not self.world.is_mounted(course.own):
            return
        for experiment in course.known & self._promised_to(course.own) - {*event["experiments"]}:
            if experiment in self.held[course.own].records:
                self.complain(f"ls of {course.own} does not show {experiment[:7]}")

    def _examined(self, course: Course, event: Event) -> None:
        if course.step.get("must_be_healthy"):
            for kind, key, message in event["problems"]:
                if kind not in _HARMLESS:
                    self.complain(f"doctor finds {kind}: {message} ({key})")

    def _escaped(self, course: Course, event: Event) -> None:
        self.complain(f"{event['error']} got out: {event['trace']}")

    # Disks

    def restored(self, name: str, *, under_a_process: bool) -> None:
        """A backup has taken the place of a disk's content: what it lacks is promised only if it waits in a spool."""
        place = Place(name, 0)
        self.look()
        there = self.contents(place)
        for course in self._courses.values():
            course.is_crossed |= not course.is_over and place in (course.own, course.source, course.target)
        for experiment in self._promised_to(place):
            spooled = [] if under_a_process else self.waiting[experiment]
            if experiment not in there and not self.waiting[experiment]:
                del self.promised[place, experiment]
                continue
            promise, found = self.promised[place, experiment], there.get(experiment, Promise())
            promise.checkpoints &= found.checkpoints.union(*(each.checkpoints for each in spooled))
            known = found.checkpoints.union({experiment}, *(each.checkpoints for each in spooled))
            promise.archives &= known & found.archives.union(*(each.archives for each in spooled))
            promise.tags.clear()
        self.removed = {(where, experiment) for where, experiment in self.removed if where != place}
        self.pruned[place].clear()

    # What follows

    def _promised_to(self, place: Place) -> set[str]:
        return {experiment for where, experiment in self.promised if where == place}

    def _gone(self, place: Place) -> set[str]:
        return {experiment for where, experiment in self.removed if where == place}

    def _forget(self, place: Place, experiment: str) -> None:
        self.promised.pop((place, experiment), None)
        self.uncertain.add((place, experiment))

    def _is_incomplete(self, place: Place, experiment: str) -> bool:
        """Whether a part of what is promised may be in a spool alone."""
        promise, found = self.promised.get((place, experiment)), self.contents(place).get(experiment)
        if promise is None or found is None:
            return True
        return not promise.checkpoints <= found.checkpoints or not promise.archives <= self.held[place].archives

    def _is_being_copied(self, place: Place, experiment: str) -> bool:
        """Whether a copy that names it may bring it back."""
        running = (course for course in self._courses.values() if not course.is_over and course.target == place)
        return any(experiment in course.step["ids"] for course in running)


_HANDLERS: dict[str, Callable[[Ledger, Course, Event], None]] = {
    "began": Ledger._began,
    "saved": Ledger._saved,
    "tagged": Ledger._tagged,
    "removes": Ledger._removes,
    "removed": Ledger._removed,
    "prunes": Ledger._prunes,
    "pruned": Ledger._pruned,
    "copied": Ledger._copied,
    "forces": Ledger._forces,
    "listed": Ledger._listed,
    "examined": Ledger._examined,
    "escaped": Ledger._escaped,
}


def known_experiments(ledger: Ledger, place: Place | None) -> list[str]:
    """The experiments that a person may name: those of a place and those that wait, the oldest first."""
    holding = ledger.held.get(place) if place else None
    there: Iterable[str] = {*(holding.records if holding else ()), *(id for id, each in ledger.waiting.items() if each)}
    return [experiment for experiment in ledger.runs if experiment in there]
