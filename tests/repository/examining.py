"""What `doctor` finds and repairs, for the tests of both."""

from __future__ import annotations

import time

import pytest

import keepsake
from keepsake.repository.doctor import Examination
from keepsake.repository.problems import Problem
from tests.storage.benches import Bench

HOURS = 2 * 3600

ORPHAN = f"checkpoints/{'a' * 64}.tar.gz"


def examine(*, thorough: bool = True, fix: bool = True) -> list[Problem]:
    """Return the problems of the project's repository."""
    view = keepsake.Project().workplace.view
    return list(Examination(view, thorough=thorough, fix=fix, advance=lambda count: None).problems())


def kinds(*, thorough: bool = True) -> list[str]:
    """Return the kinds of problems that are found."""
    return sorted(problem.kind for problem in examine(thorough=thorough))


def kinds_without_repair() -> list[str]:
    """Return those that are found where nobody wants them repaired."""
    return [problem.kind for problem in examine(fix=False)]


def fix() -> None:
    """Repair what can be repaired."""
    for problem in examine():
        if problem.fix:
            problem.fix()


def hours_later(place: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the clock of the repository two hours later."""
    monkeypatch.setattr(type(place.storage), "now", lambda self: time.time() + HOURS)
