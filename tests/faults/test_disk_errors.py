"""Disks that fail, fill up or make short writes: training goes on, and what checkpoint() returned for is not lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.amounts import amounts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")

Campaign = Callable[[str, int, Path], dict[str, Any]]


@amounts(16, 0)
def test_any_call_can_fail_once(campaign: Campaign, scratch: Path, count: int) -> None:
    """With an input/output error, a full disk or a missing permission: the run goes on, nothing it returned is lost."""
    campaign("errors_at_each_step", count, scratch)


@amounts(2, 0)
def test_the_disk_can_get_full_at_any_step(campaign: Campaign, scratch: Path, count: int) -> None:
    """It stays full. What had returned before is saved when there is room again."""
    campaign("full_disks", count, scratch)


@amounts(2, 0)
def test_writes_can_be_short(campaign: Campaign, scratch: Path, count: int) -> None:
    """A system may take fewer bytes than it is given; the rest follows, and what cannot be split is not recorded."""
    campaign("short_writes_of", count, scratch)
