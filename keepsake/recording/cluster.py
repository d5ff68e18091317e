"""The scheduler's job that this process belongs to, for the record, and whether it was started again."""

from __future__ import annotations

import os

from keepsake.metadata import Record

# System, variable of the job's ID, variable of the number of a task of an array.
_SYSTEMS = (
    ("pbs", "PBS_JOBID", ""),  # its ID names the task
    ("lsf", "LSB_JOBID", "LSB_JOBINDEX"),
    ("sge", "JOB_ID", "SGE_TASK_ID"),
)


def current_job(run: int = 0) -> Record | None:
    """Return the job of this process, such as `{"system": "slurm", "id": "123_4", "restart": 1}`; None without one.

    A worker of torchrun within a scheduler's job has `{"torchrun": {"id": …, "restart": …}}` in addition.

    `run`: the number of runs that the process has begun before.
    """
    job, elastic = _scheduled(), _elastic()
    if job is not None:
        job = {**job, "torchrun": elastic} if elastic else job
    elif elastic is not None:
        job = {"system": "torchrun", **elastic}
    return {**job, "run": run} if job and run else job


def is_same(job: object, other: object) -> bool:
    """Whether two records name one job, however often it was started."""
    if not isinstance(job, dict) or not isinstance(other, dict):
        return False
    return bool(job.get("id")) and all(job.get(name) == other.get(name) for name in ("system", "id"))


def attempt(job: Record) -> tuple[int, int]:
    """Return how often a job was started again: by its scheduler, then by torchrun."""
    elastic = job.get("torchrun")
    counts = job.get("restart"), elastic.get("restart") if isinstance(elastic, dict) else 0
    first, second = (count if isinstance(count, int) else 0 for count in counts)
    return first, second


def _scheduled() -> Record | None:
    environment = os.environ
    if id := environment.get("SLURM_JOB_ID"):
        array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
        name = f"{array}_{task}" if array and task else id
        return {"system": "slurm", "id": name, "restart": _count("SLURM_RESTART_COUNT")}
    for system, variable, index in _SYSTEMS:
        if id := environment.get(variable):
            task = environment.get(index, "")
            return {"system": system, "id": f"{id}_{task}" if task not in ("", "0", "undefined") else id, "restart": 0}
    if id := environment.get("SUBMITIT_LOCAL_JOB_ID"):  # submitit's executor for one machine, without a scheduler
        return {"system": "submitit", "id": _of_launcher(id), "restart": 0}
    return None


def _elastic() -> Record | None:
    id = os.environ.get("TORCHELASTIC_RUN_ID")
    if not id:
        return None
    if id == "none":  # the default; the launcher, which outlives its workers, tells the job from others
        id = _of_launcher(os.getppid())
    return {"id": id, "restart": _count("TORCHELASTIC_RESTART_COUNT")}


def _of_launcher(process: int | str) -> str:
    return f"{os.uname().nodename if hasattr(os, 'uname') else ''}:{process}"


def _count(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() else 0
