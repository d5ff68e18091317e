"""The campaign of random histories: what it reports of one that fails, and how to play it again."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from itertools import count as counted
from pathlib import Path

from tests.faults.histories.making import History, make
from tests.faults.histories.mounts import CACHES
from tests.faults.histories.playing import play
from tests.faults.histories.shrinking import shortest
from tests.faults.report import Report, seconds_left

_SEEDS = (21, 14, 10)  # the second one is on buckets
_SHRINKING_SECONDS = 120.0


def histories(base: Path, count: int) -> Report:
    """Play some histories that are always the same, or, for a count of 0, new ones until the time is up."""
    return _play_some(base, count, {})


def histories_on_network_disks(base: Path, count: int) -> Report:
    """Play others, in which each machine sees the repositories through a mount that caches."""
    return _play_some(base, count, {"storage": "disks", "caches": CACHES})


def _play_some(base: Path, count: int, setup: dict[str, str]) -> Report:
    report = Report(points=count)
    is_time_left = seconds_left()
    for seed in _SEEDS[:count] if count else counted(time.time_ns() // 1_000):
        if not is_time_left():
            break
        history = make(seed)
        history["setup"] |= setup
        ledger = play(history, base / "world")
        report.runs += 1
        report.hits += bool(ledger.saved)
        report.returned += len(ledger.saved)
        if ledger.problems:
            report.problems.append(_story(history, ledger.problems, base / "world"))
    return report


def _story(history: History, problems: list[str], base: Path) -> str:
    """Tell what goes wrong, in as few steps as can be found, and how to see it again."""
    short = shortest(history, problems, base, _SHRINKING_SECONDS)
    file = Path(tempfile.gettempdir()) / f"keepsake-history-{history['seed']}.json"
    file.write_text(json.dumps(short, indent=1))
    return "\n".join([f"seed {history['seed']}:", *problems, *told(short), f"Again: python -m {__package__} {file}"])


def told(history: History) -> Iterator[str]:
    """Tell a history, a step a line."""
    yield f"setup: {json.dumps(history['setup'])}"
    for step in history["steps"]:
        yield f"- {json.dumps(step)}"
