"""How much of a campaign is run: a little in every test run, all of it by `make faults`."""

from __future__ import annotations

import pytest


def amounts(quick: int, exhaustive: int) -> pytest.MarkDecorator:
    """Parametrize a test with `count`. For a campaign over points, an exhaustive count of 0 means all of them."""
    long = pytest.param(exhaustive, marks=[pytest.mark.exhaustive, pytest.mark.timeout(4 * 3600)], id="exhaustive")
    return pytest.mark.parametrize("count", [pytest.param(quick, id="quick"), long])
