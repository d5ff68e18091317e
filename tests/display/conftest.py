"""Whatever a test draws with Matplotlib can be drawn."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import pytest
from matplotlib import pyplot

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _draws_without_warnings() -> Iterator[None]:
    """Whatever a test plots can be drawn too, and leaves nothing to the next."""
    pyplot.close("all")
    yield
    for number in pyplot.get_fignums():
        pyplot.figure(number).canvas.draw()
    pyplot.close("all")
