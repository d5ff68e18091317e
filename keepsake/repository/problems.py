"""The problems that `doctor` finds, and the result that its callers get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from keepsake.exceptions import KeepsakeError
from keepsake.util.console import Progress, error, say


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be."""

    kind: str  # such as "archive-damaged": stable, for scripts
    key: str  # the object or file that it is about
    message: str  # its meaning, and the advice
    fix: Callable[[], object] | None = field(default=None, compare=False)  # repairs it without loss

    def to_json(self) -> dict[str, Any]:
        """Return it as `keepsake doctor --json` prints it."""
        return {"kind": self.kind, "key": self.key, "message": self.message, "fixable": self.fix is not None}


@dataclass(frozen=True)
class Diagnosis:
    """The result of `doctor`.

    Attributes:
        problems: the problems.
        repaired: the number of them that were repaired.
        is_empty: whether there was no repository, and no part of one.
        aside: the amount and place of archives that were moved aside, and how to delete them; None if there are none.
    """

    problems: list[Problem]
    repaired: int
    is_empty: bool
    aside: str | None


def repair(problems: list[Problem]) -> int:
    """Repair problems; return the number of those that are gone."""
    repaired = 0
    with Progress("Repairing", len(problems), unit="problems") as progress:
        for problem in problems:
            try:
                if problem.fix is not None and problem.fix() is False:
                    say(f"{problem.key} has changed meanwhile. It stays as it is.")
                repaired += 1
            except KeepsakeError as reason:
                error(f"{problem.key} could not be repaired: {reason}")
            progress.advance()
    return repaired
