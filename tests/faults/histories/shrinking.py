"""Finding the shortest list of steps that still shows what a history showed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.histories.making import History
from tests.faults.histories.playing import play
from tests.faults.histories.world import Step

_TRIES = 2  # threads take different ways


def shortest(history: History, problems: list[str], base: Path, seconds: float) -> History:
    """Return the shortest history that is found in that time and that shows a problem of the same kind."""
    end, kinds = time.monotonic() + seconds, {_kind(problem) for problem in problems}

    def fails(steps: list[Step]) -> bool:
        for _ in range(_TRIES):
            if time.monotonic() > end:
                return False
            if kinds & {_kind(problem) for problem in play({**history, "steps": steps}, base).problems}:
                return True
        return False

    steps, before = history["steps"], None
    while steps != before and time.monotonic() < end:
        before = steps
        steps = _simpler(_fewer(steps, fails), fails)
    return {**history, "steps": steps}


def _kind(problem: str) -> str:
    return re.sub(r"[0-9a-f]{7,}|r\d-\d|step \d+", "…", problem)[:60]


def _fewer(steps: list[Step], fails: Callable[[list[Step]], bool]) -> list[Step]:
    """Leave out as many as can be left out, half of them at first."""
    size = max(1, len(steps) // 2)
    while size:
        start = 0
        while start < len(steps):
            rest = steps[:start] + steps[start + size :]
            if fails(rest):
                steps = rest
            else:
                start += size
        size //= 2
    return steps


def _simpler(steps: list[Step], fails: Callable[[list[Step]], bool]) -> list[Step]:
    """Leave out what can be left out of each step."""
    for index in range(len(steps)):
        for step in _variants(steps[index]):
            changed = [*steps[:index], step, *steps[index + 1 :]]
            if fails(changed):
                steps = changed
                break
    return steps


def _variants(step: Step) -> Iterator[Step]:
    """Yield the step without one of its parts."""
    for name in ("pauses", "fault", "keep", "is_offline", "resume"):
        if step.get(name):
            yield {key: value for key, value in step.items() if key != name}
    for name in ("pauses", "parts", "steps"):
        parts = step.get(name) or []
        for index, part in enumerate(parts):
            if len(parts) > 1 or name == "parts":
                yield {**step, name: parts[:index] + parts[index + 1 :]}
            if name != "parts":
                for inner in _variants(part):
                    yield {**step, name: [*parts[:index], inner, *parts[index + 1 :]]}
