"""Random histories, as JSON, so that they can be replayed and shortened.

A step is one of three things: the process of a machine with what it does, something that happens to the disks, or
several processes at once. A process may have a fault, and pauses in which other steps are done.
"""

from __future__ import annotations

import random
from typing import Any

from tests.faults.histories.world import MACHINES, REPOSITORIES, Step

History = dict[str, Any]

_ERRORS = ("ENOSPC", "EIO", "EXDEV", "ESTALE", "EPERM", "EACCES")
_CALLS: tuple[tuple[str, ...], ...] = (
    *(("link",), ("rename", "replace"), ("fsync",), ("open",), ("create",), ("write", "writev")),
    *(("unlink", "remove"), ("scandir", "listdir"), ("utime",), ("stat",), ()),
)
_ALWAYS = 1_000_000


def make(seed: int) -> History:
    """Return the history of a seed."""
    maker = _Maker(random.Random(seed))
    draw = maker.random.choice
    setup = {
        "repository of B": draw(["r0", "r0", "r1"]),
        "spool": draw(["project", "project", "elsewhere"]),
        "clocks": {machine: draw([0.0, 0.0, -7200.0, -100.0, 45.0, 7200.0]) for machine in MACHINES},
    }
    steps = [maker.step() for _ in range(maker.random.randint(4, 16))]
    setup["storage"] = draw(["disks", "disks", "disks", "buckets"])
    return {"seed": seed, "setup": setup, "steps": steps}


class _Maker:
    """Makes steps, each with a number."""

    def __init__(self, generator: random.Random) -> None:
        self.random = generator
        self._count = 0

    def step(self) -> Step:
        """Make any step of a history."""
        kind = self._weighted({"disk": 20, "train": 32, "command": 42, "together": 6})
        if kind == "disk":
            return self._disk()
        if kind == "together":
            return self._new("together", steps=[self._process() for _ in range(3)])
        step = self._train() if kind == "train" else self._command()
        harm = self._weighted({"fault": 20, "pauses": 40, "none": 40})
        if harm == "fault":
            step["fault"] = self._fault()
        elif harm == "pauses":
            step["pauses"] = [self._pause() for _ in range(self.random.choice([1, 1, 2]))]
        return step

    def _process(self) -> Step:
        """Make a process that is short."""
        step = self._train(most=3) if self._chance(0.3) else self._command()
        if self._chance(0.1):
            step["fault"] = self._fault()
        return step

    def _pause(self) -> dict[str, Any]:
        """Stop a process at a call, and do something else meanwhile."""
        count = self.random.choice([1, 1, 2])
        return {"at": self._moment(), "steps": [self._within() for _ in range(count)]}

    def _within(self) -> Step:
        step = self._disk() if self._chance(0.3) else self._process()
        if step["do"] in ("train", "push", "pull", "rm", "doctor") and self._chance(0.1):
            step["pauses"] = [{"at": self._moment(), "steps": [self._process()]}]  # three processes
        return step

    def _disk(self) -> Step:
        kinds = {"unmount": 4, "mount": 5, "swap": 1, "let time pass": 2, "back up": 1, "restore": 4}
        kind = self._weighted(kinds)
        return self._new(kind, repository=self.random.choice(REPOSITORIES), keeps_mount_point=self._chance(0.7))

    def _train(self, most: int = 5) -> Step:
        step = self._new(
            "train",
            machine=self.random.choice(MACHINES),
            key=self._key(),
            has_path=self._chance(0.5),
            parts=[self._part() for _ in range(self.random.randint(0, most))],
            end=self._weighted({"stop": 2, "exit": 4, "kill": 3, "_exit": 1}),
        )
        if self._chance(0.25):
            step["resume"] = self.random.randrange(4)
        if self._chance(0.15):
            step["keep"] = "last:1"
        if self._chance(0.1):
            step["is_offline"] = True
        return step

    def _part(self) -> Step:
        kind, key = self._weighted({"checkpoint": 6, "tag": 1, "rename": 1, "params": 1, "sleep": 1}), self._key()
        if kind == "checkpoint":
            part: Step = {"do": kind, "key": key, "has_files": self._chance(0.7)}
            return part | ({"at": self.random.randint(0, 4)} if self._chance(0.3) else {})
        return {"do": kind, "tag": f"t{key}", "seconds": self.random.choice([0.01, 0.1])}

    def _command(self) -> Step:
        """Make a command. `which` are numbers of experiments, the last one first."""
        verbs = {"sync": 4, "push": 4, "pull": 4, "rm": 3, "prune": 2, "label": 1, "doctor": 2, "ls": 1, "checkout": 1}
        verb, some = self._weighted(verbs), [self.random.randrange(5) for _ in range(self.random.randint(1, 2))]
        step = self._new(verb, machine=self.random.choice(MACHINES))
        if verb in ("push", "pull"):
            other = self.random.choice(REPOSITORIES)
            which = some if self._chance(0.5) else []
            return step | {"other": other, "which": which, "is_thorough": self._chance(0.15)}
        if verb == "prune":
            which = some if self._chance(0.7) else []
            return step | {"which": which, "keep": self.random.choice(["last:1", "last:2"])}
        if verb == "doctor":
            return step | {"is_fixing": self._chance(0.6)}
        if verb == "sync":
            return step | {"is_forced": self._chance(0.05)}
        return step if verb == "ls" else step | {"which": some, "tag": f"t{step['number']}"}

    def _fault(self) -> dict[str, Any]:
        kind, at = self._weighted({"kill": 8, "terminate": 2, "interrupt": 2, "full": 3, "errno": 8}), self._moment()
        if kind == "full":
            return {"kind": kind, "at": at, "times": self.random.choice([5, 50, _ALWAYS])}
        if kind != "errno":
            return {"kind": kind, "at": at, "torn": self._chance(0.3)}
        calls, times = self.random.choice(_CALLS), self.random.choice([1, 1, 3, _ALWAYS])
        code = self.random.choice(_ERRORS)
        return {"kind": kind, "at": 1 + at // 6 if calls else at, "errno": code, "calls": calls, "times": times}

    def _new(self, verb: str, **fields: Any) -> Step:
        self._count += 1
        return {"do": verb, "number": self._count, **fields}

    def _moment(self) -> int:
        """Which call something happens at: an early one as often as one of many later ones."""
        return int(2 ** self.random.uniform(0, 7.5))

    def _key(self) -> int:
        return self.random.randrange(10**6)

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def _weighted(self, weights: dict[str, int]) -> str:
        return self.random.choices([*weights], [*weights.values()])[0]
