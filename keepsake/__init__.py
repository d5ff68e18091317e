"""Version control for machine learning: code, hyperparameters, metrics and weights of every run, as plain files.

import keepsake

experiment = keepsake.init(path=".", params={"learning_rate": 0.01})
experiment.checkpoint(path="model.pth", metrics={"loss": 0.5}, primary_metric=("loss", "minimize"))
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

from keepsake import exceptions
from keepsake.project import Project, default_project, init, undo_checkout
from keepsake.version import __version__

if TYPE_CHECKING:
    from keepsake.checkpoint import Checkpoint, CheckpointList, PrimaryMetric
    from keepsake.collection import CheckpointCollection, ExperimentCollection, ExperimentList
    from keepsake.experiment import Experiment

    experiments: ExperimentCollection
    checkpoints: CheckpointCollection

__all__ = [
    "Checkpoint",
    "CheckpointCollection",
    "CheckpointList",
    "Experiment",
    "ExperimentCollection",
    "ExperimentList",
    "PrimaryMetric",
    "Project",
    "__version__",
    "checkpoints",
    "default_project",
    "exceptions",
    "experiments",
    "init",
    "undo_checkout",
]

_LATER = {
    **dict.fromkeys(("Checkpoint", "CheckpointList", "PrimaryMetric"), "checkpoint"),
    **dict.fromkeys(("CheckpointCollection", "ExperimentCollection", "ExperimentList"), "collection"),
    "Experiment": "experiment",
}


if not TYPE_CHECKING:  # type checkers know the names from above, and find misspelled ones

    def __getattr__(name: str) -> object:
        """Return a public name whose module is loaded only when somebody asks for it."""
        if name in ("experiments", "checkpoints"):
            found = getattr(default_project, name)
        elif name in _LATER:
            found = getattr(importlib.import_module(f"keepsake.{_LATER[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# In a script, `import keepsake` loads what records, so that init() need not wait for it. `keepsake ls`, also as
# `python -m keepsake ls`, does not need it.
if not any(os.path.splitext(os.path.basename(word))[0] == "keepsake" for word in sys.orig_argv[1:3]):
    importlib.import_module("keepsake.beginning")
