"""The experiment of a process that does not record, because the first process of its job does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from keepsake.checkpoint import CheckpointList
from keepsake.config import find_place, project_directory
from keepsake.exceptions import DoesNotExist
from keepsake.experiment import Experiment
from keepsake.labels import apply_edits, make_edit
from keepsake.metadata import EXPERIMENT_FIELDS, time_text
from keepsake.recording import ending
from keepsake.recording.cluster import current_job
from keepsake.recording.environment import command
from keepsake.recording.lineage import Labels
from keepsake.recording.records import text_path
from keepsake.recording.resume import Resume, find, is_wanted
from keepsake.util.directories import absolute
from keepsake.util.values import decode, encode_mapping

if TYPE_CHECKING:
    from keepsake.collection import ExperimentList
    from keepsake.project import Project


class InertExperiment(Experiment):
    """What `init()` returns in every process of a job but the first: an Experiment that records nothing.

    It touches no file and prints nothing, and its ID is empty. `checkpoints`, `latest()` and `best()` answer from what
    its own process has passed to `checkpoint()`, as far as that is plain numbers, texts and booleans. If the first
    process goes on with an experiment, they begin with the checkpoints of that, whose files can be read.
    """

    _resume: Resume = False

    @classmethod
    def of(cls, project: Project, path: object, params: object, labels: Labels, resume: Resume) -> Experiment:
        """Return the experiment for these arguments of `init()`. Raises ValidationError as in the first process."""
        job = current_job(ending.begun())
        record = {
            **EXPERIMENT_FIELDS,
            "created": time_text(),
            "params": encode_mapping(params, "params") if params is not None else None,
            "path": text_path(path, _directory(project, path)),
            "command": command(),
            **({"job": job} if job else {}),
        }
        edit, _ = make_edit(labels.name, labels.notes, labels.tags)
        experiment = cls.from_record(project, apply_edits(record, [edit]))
        if is_wanted(resume, job):
            experiment._resume = resume
        return experiment

    def _get_checkpoints(self) -> CheckpointList:
        if self._checkpoints is None:
            self._checkpoints = self._earlier() if self._resume is not False else CheckpointList()
        return self._checkpoints

    def _earlier(self) -> CheckpointList:
        """Return the checkpoints of the experiment that the first process goes on with, as they were at `init()`."""
        project = self.project.resolved()
        record = find(project.workplace, self._resume, self._record, recording=False)
        if record is None:
            return CheckpointList()
        checkpoints = Experiment.from_record(project, record).checkpoints
        return CheckpointList(checkpoint for checkpoint in checkpoints if checkpoint.created < self.created)

    def _is_inert(self) -> bool:
        return True

    def stop(self) -> None:
        """End the experiment for this process."""
        self._record = {**self._record, "ended": time_text(), "end_reason": "stopped"}

    @property
    def status(self) -> str:
        """Its status: "running", or "stopped" after `stop()` of this process."""
        return "stopped" if self.ended else "running"

    def children(self) -> ExperimentList:
        """Return no experiments."""
        from keepsake.collection import ExperimentList

        return ExperimentList()

    def _edit(self, **changes: object) -> None:
        with suppress(Exception):  # the first process reports the problems
            self._record = apply_edits(self._record, [make_edit(**changes)[0]])

    def update_params(self, params: Mapping[str, Any]) -> None:
        """Change the params in this process. The first process records them."""
        with suppress(Exception):  # the first process reports it
            self.params = {**(self.params or {}), **decode(encode_mapping(params, "params"))}

    def refresh(self) -> None:
        """Do nothing."""

    def delete(self) -> None:
        """Do nothing."""

    def logs(self, tail: int | None = None) -> str:
        """Raise DoesNotExist."""
        raise DoesNotExist("There is no output here. The first process of this job records the experiment.")

    def follow_logs(self, tail: int | None = None) -> Iterator[str]:
        """Raise DoesNotExist."""
        raise DoesNotExist("There is no output here. The first process of this job records the experiment.")

    def checkout(self, directory: str | os.PathLike[str] | None = None, path: str | None = None) -> None:
        """Do nothing. The first process puts the files there."""

    def open(self, path: str) -> BinaryIO:
        """Raise DoesNotExist."""
        raise DoesNotExist(f"There is no file {path!r} here. The first process of this job records the experiment.")


def _directory(project: Project, path: object) -> Path | None:
    """Return the project directory for an absolute path; None for others, which need none, and if it is not known."""
    if not isinstance(path, (str, os.PathLike)) or not os.path.isabs(path):
        return None
    if project.directory is not None:
        return absolute(os.path.expanduser(project.directory))
    place = find_place(absolute())
    return project_directory(place) if place else None
