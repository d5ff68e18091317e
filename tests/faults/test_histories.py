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
from tests.storage.test_network_disk import UNSHARE, needs_fuse

Campaign = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and sends signals")


@amounts(3, 0)
def test_whatever_happens_in_whatever_order_nothing_that_was_promised_is_lost(
    campaign: Campaign, scratch: Path, count: int
) -> None:
    """A history that fails is told in the fewest steps, and a command plays it again."""
    assert campaign("histories", count, scratch)["returned"] > 0


@needs_fuse
@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_the_same_holds_where_machines_see_late_what_others_have_changed(campaign: Campaign, scratch: Path) -> None:
    """Names, times and missing files are remembered for three seconds, as NFS does it."""
    assert campaign("histories_on_network_disks", 0, scratch, UNSHARE)["returned"] > 0
