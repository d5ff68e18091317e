"""The beginning of an experiment, from the arguments of `init()` to the object that it returns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keepsake.exceptions import ReadError
from keepsake.experiment import Experiment
from keepsake.inert import InertExperiment
from keepsake.metadata import Record
from keepsake.origin import forget_origin, read_origin
from keepsake.output import output_fields
from keepsake.packages import modules_of_script
from keepsake.recording import ending, ranks, switches
from keepsake.recording.announcing import say_copying
from keepsake.recording.cluster import current_job
from keepsake.recording.lineage import Labels, label_fields, policy_fields
from keepsake.recording.records import experiment_record
from keepsake.recording.resume import Resume, changed_fields, find, is_wanted, warning
from keepsake.recording.run import Run
from keepsake.restarts import attempts
from keepsake.util.console import plural, say, warn
from keepsake.util.errors import is_the_scripts
from keepsake.util.ids import short_id
from keepsake.util.turns import in_short_turns

if TYPE_CHECKING:
    from keepsake.project import Project


@in_short_turns
def begin(
    project: Project,
    path: str | os.PathLike[str] | None,
    params: Mapping[str, Any] | None,
    *,
    quiet: bool,
    disable_heartbeat: bool,
    labels: Labels,
    resume: Resume,
    capture_output: bool | None,
) -> Experiment:
    """Begin an experiment, or go on with one. `keepsake.init` explains the arguments."""
    if labels.keep is not None:
        from keepsake.repository.pruning import parse_keep

        labels.keep = str(parse_keep(labels.keep))
    if not ranks.records():
        return InertExperiment.of(project, path, params, labels, resume)
    switches.tell_misspelt()
    if capture_output is None:
        capture_output = switches.is_capturing()
    modules = modules_of_script()
    project = project.resolved(begin=True)
    workplace = project.workplace
    directory = workplace.directory
    origin = read_origin(directory)
    job = current_job(ending.begun())
    record = experiment_record(path, params, workplace.repository.url, directory, job)
    if is_wanted(resume, job) and (earlier := find(workplace, resume, record)):
        fields = changed_fields(earlier, record) | policy_fields(labels)
        if capture_output:
            fields |= output_fields(earlier, attempts({**earlier, **fields}))
        return _go_on(project, earlier, record, fields, quiet=quiet, disable_heartbeat=disable_heartbeat)
    if resume == "auto" and job is None and not quiet:
        say(
            "resume='auto' goes on with the unfinished experiment of a job, and no scheduler has started this program. "
            "So it begins a new one. To go on with an earlier one, pass its ID, or resume='latest'."
        )
    record |= label_fields(labels, origin.id if origin else None, workplace)
    if capture_output:
        record |= output_fields({}, 0)
    run = Run.begin(workplace, record, modules, disable_heartbeat=disable_heartbeat, quiet=quiet)
    if origin is not None and not origin.is_copy:
        forget_origin(directory)
    if not quiet:
        say_copying("experiment", record, workplace)
    return Experiment.from_record(project, record, run)


def _go_on(
    project: Project, earlier: Record, new: Record, fields: Record, *, quiet: bool, disable_heartbeat: bool
) -> Experiment:
    try:
        run = Run.resume(project.workplace, earlier, fields, disable_heartbeat=disable_heartbeat, quiet=quiet)
    except OSError as error:
        if is_the_scripts(error):
            raise
        raise ReadError(
            f"What waits of experiment {short_id(earlier['id'])} cannot be read: {error}. Check the disk, or set "
            "KEEPSAKE_SPOOL to another directory."
        ) from error
    experiment = Experiment.from_record(project, {**earlier, **fields}, run)
    if text := warning(earlier, new):
        warn(text)
    if not quiet:
        count = len(experiment.checkpoints)
        last = f", the last of step {experiment.checkpoints[-1].step}" if count else ""
        say(f"Going on with experiment {experiment.short_id()}: {plural(count, 'checkpoint')}{last}.")
    return experiment
