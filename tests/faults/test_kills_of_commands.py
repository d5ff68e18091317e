"""Checkouts and deletions that are killed or fail: a person's files are never lost, a listing never lies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.amounts import amounts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and sends signals")

Campaign = Callable[[str, int, Path], dict[str, Any]]


@amounts(8, 0)
def test_what_a_killed_checkout_overwrote_can_be_brought_back(campaign: Campaign, scratch: Path, count: int) -> None:
    """Undo restores every file, and the next checkout succeeds."""
    campaign("kills_of_checkouts", count, scratch)


@amounts(8, 0)
def test_a_checkout_that_fails_changes_nothing(campaign: Campaign, scratch: Path, count: int) -> None:
    """Whatever call fails, and with whatever error."""
    campaign("errors_of_checkouts", count, scratch)


@amounts(3, 0)
def test_after_a_killed_deletion_all_that_is_listed_is_there(campaign: Campaign, scratch: Path, count: int) -> None:
    """Metadata goes first: the rest is invisible garbage, and no recovery brings it back."""
    campaign("kills_of_removals", count, scratch)


@amounts(3, 100)
def test_a_run_can_be_terminated_at_any_moment(campaign: Campaign, scratch: Path, count: int) -> None:
    """SIGTERM loses nothing that had returned."""
    campaign("terminations_at_random", count, scratch)


@amounts(3, 100)
def test_a_run_can_be_interrupted_at_any_moment(campaign: Campaign, scratch: Path, count: int) -> None:
    """Ctrl-C loses nothing that had returned."""
    campaign("interrupts_at_random", count, scratch)


@amounts(3, 100)
def test_recoveries_at_once_do_no_harm(campaign: Campaign, scratch: Path, count: int) -> None:
    """Twelve at the same time, one of which is killed."""
    report = campaign("recoveries_at_once", count, scratch)
    assert report["returned"] == 4 * report["runs"]
