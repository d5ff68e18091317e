"""Arguments that cannot be recorded. Each cause is reported once, not once per epoch, and summed up at the end."""

from __future__ import annotations

import re
from collections import Counter

from keepsake.util.console import warn
from keepsake.util.ids import short_id

WHOLE = "whole checkpoints"
_PARTICULARS = r"'[^']*'|\"[^\"]*\"|\d+"  # texts that differ from epoch to epoch, such as a file's name


class Problem:
    """A problem with a checkpoint.

    Attributes:
        what: the part that is left out, such as "metric 'loss'"; "" if nothing is.
        why: the reason, as full sentences.
        is_error: whether it raises in strict mode.
    """

    def __init__(self, what: str, why: str, is_error: bool = True) -> None:
        self.what = what
        self.why = why
        self.is_error = is_error


class Complaints:
    """The problems of one run."""

    def __init__(self) -> None:
        self._left_out: Counter[str] = Counter()
        self._said: set[tuple[str, str]] = set()

    def add(self, problem: Problem, checkpoint_id: str = "") -> None:
        """Count a problem of a checkpoint, and report it unless it was reported before."""
        if problem.what:
            self._left_out[problem.what] += 1
        cause = (problem.what, re.sub(_PARTICULARS, "", problem.why))
        if cause in self._said:
            return
        self._said.add(cause)
        why = problem.why if problem.why.endswith(".") else f"{problem.why}."
        if problem.what == WHOLE:
            warn(f"The checkpoint was not saved: {why}")
        elif problem.what:
            warn(f"Checkpoint {short_id(checkpoint_id)} is saved without {problem.what}: {why}")
        else:
            warn(why)

    def summary(self) -> str:
        """Return the parts that were left out, and how often: "metric 'loss' (3 times)"; "" if none were."""
        counts = sorted(self._left_out.items(), key=lambda item: -item[1])
        often = {1: "once", 2: "twice"}
        return ", ".join(f"{what} ({often.get(count, f'{count} times')})" for what, count in counts)

    def clear(self) -> None:
        """Forget all problems, because the run has ended."""
        self._left_out.clear()
        self._said.clear()
