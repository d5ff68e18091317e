"""What the tests read from the repository of the project in which they are."""

from __future__ import annotations

from typing import Any

import keepsake

HEAVY = "`make test-frameworks FRAMEWORKS=heavy-frameworks` installs it"


def all_recorded() -> Any:
    """The experiments, as they are there."""
    return keepsake.experiments.list()


def recorded() -> Any:
    """The one experiment."""
    (experiment,) = all_recorded()
    return experiment
