"""Random histories of two machines and two repositories, checked against a model of what must be there.

Machines record, resume, copy, remove, prune and repair, beside each other and at each other's calls. Processes are
killed, interrupted and refused, and disks are full, unmounted, swapped and restored from backups.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.amounts import amounts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and sends signals")


@amounts(4, 0)
def test_whatever_happens_in_whatever_order_nothing_that_was_promised_is_lost(
    campaign: Callable[[str, int, Path], dict[str, Any]], scratch: Path, count: int
) -> None:
    """A history that fails is told in the fewest steps, and a command plays it again."""
    assert campaign("histories", count, scratch)["returned"] > 0
