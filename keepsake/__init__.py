"""Version control for machine learning: code, hyperparameters, metrics and weights of every run, as plain files.

import keepsake

experiment = keepsake.init(path=".", params={"learning_rate": 0.01})
experiment.checkpoint(path="model.pth", metrics={"loss": 0.5}, primary_metric=("loss", "minimize"))
"""

from keepsake import exceptions
from keepsake.checkpoint import Checkpoint, CheckpointList, PrimaryMetric
from keepsake.collection import CheckpointCollection, ExperimentCollection, ExperimentList
from keepsake.experiment import Experiment
from keepsake.project import Project, default_project, init, undo_checkout
from keepsake.version import __version__

experiments = default_project.experiments
checkpoints = default_project.checkpoints

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
