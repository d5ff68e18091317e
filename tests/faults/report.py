"""What a campaign reports, and how long it may take."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.sandbox import Sandbox
from tests.faults.workload import returned_by

_LONGEST_SECONDS = 480.0  # a campaign stops here; the points come in no order, so it has seen some of each kind


@dataclass
class Report:
    """What a campaign found."""

    points: int = 0  # faults that there are to choose from
    runs: int = 0
    hits: int = 0  # runs in which the fault happened
    returned: int = 0  # checkpoints that had returned
    problems: list[str] = field(default_factory=list)

    def add(self, sandbox: Sandbox, problems: list[str], fault: object, *, hit: bool) -> None:
        """Count a run, and keep its sandbox only if there is a problem."""
        self.runs += 1
        self.hits += hit
        self.returned += len(returned_by(sandbox)[1])
        self.problems += [f"{sandbox.directory} {fault}: {problem}" for problem in problems]
        if not problems:
            shutil.rmtree(sandbox.directory)


def seconds_left() -> Callable[[], bool]:
    """Return what tells whether a campaign that begins now has time left."""
    end = time.monotonic() + float(os.environ.get("FAULTS_SECONDS", _LONGEST_SECONDS))
    return lambda: time.monotonic() < end
