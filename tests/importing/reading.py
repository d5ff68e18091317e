"""What came of an import."""

from __future__ import annotations

from keepsake.experiment import Experiment
from keepsake.project import Project


def only(project: Project) -> Experiment:
    """The one experiment of a project."""
    (experiment,) = project.experiments.list()
    return experiment
