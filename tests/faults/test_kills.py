"""kill -9, at every step and at any moment: nothing under a final name is unreadable, nothing that returned is lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.amounts import amounts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and sends signals")

Campaign = Callable[[str, int, Path], dict[str, Any]]


@amounts(30, 0)
def test_a_run_can_be_killed_before_any_call_and_within_any_write(
    campaign: Campaign, scratch: Path, count: int
) -> None:
    """The next run finishes what was left, and leaves nothing of it in the spool."""
    assert campaign("kills_at_each_step", count, scratch)["returned"] > 0


@amounts(8, 0)
def test_a_recovery_can_be_killed_before_any_call_and_within_any_write(
    campaign: Campaign, scratch: Path, count: int
) -> None:
    """The recovery after that finishes what was left."""
    report = campaign("kills_of_recoveries", count, scratch)
    assert report["returned"] == 4 * report["runs"]


@amounts(30, 1_000)
def test_a_run_can_be_killed_at_any_moment(campaign: Campaign, tmp_path: Path, count: int) -> None:
    """On a real disk, where flushing takes its time."""
    assert campaign("kills_at_random", count, tmp_path)["returned"] > count
