"""The process of a job that records: the first one, and none of its workers.

Launchers tell each process its number, the rank. Only the process of rank 0 records. Nothing is imported here, because
other processes of a job must not lose time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from keepsake.exceptions import ValidationError

_OWN = "KEEPSAKE_RANK"
# Launchers that use SLURM to start processes come first, because their processes inherit SLURM_PROCID from a daemon.
_RANKS = (
    "RANK",  # torchrun, Accelerate, DeepSpeed
    "OMPI_COMM_WORLD_RANK",  # Open MPI
    "PMIX_RANK",
    "PMI_RANK",  # MPICH, Intel MPI
    "MV2_COMM_WORLD_RANK",  # MVAPICH2
    "PALS_RANKID",  # Cray
    "JSM_NAMESPACE_RANK",  # jsrun
    "FLUX_TASK_RANK",
    "SUBMITIT_LOCAL_GLOBALID",  # submitit's executor for one machine
    "SLURM_PROCID",  # srun; 0 in a batch script, in each task of an array and in an interactive allocation
)
_LOCAL_RANKS = ("LOCAL_RANK", "NODE_RANK")  # all that Lightning sets for the processes that it starts


def records() -> bool:
    """Whether this process records. Raises ValidationError if KEEPSAKE_RANK is not a number."""
    return not is_worker() and rank() == 0


def rank() -> int:
    """Return the number of this process among those of its job; 0 outside of jobs."""
    own = os.environ.get(_OWN)
    if own:
        number = _number(own)
        if number is None:
            raise ValidationError(
                f"{_OWN} is {own!r:.50}, which is not a number. Set it to 0 to record in this process, or to 1 not to."
            )
        return number
    for name in _RANKS:
        number = _number(os.environ.get(name))
        if number is not None:
            return number
    local = [number for name in _LOCAL_RANKS if (number := _number(os.environ.get(name)))]
    return next((number for number in (*local, *map(_ask, (_of_torch, _of_jax))) if number), 0)


def is_worker() -> bool:
    """Whether this process loads data for another, or is still reading the script of its parent.

    A worker that multiprocessing spawns imports the script as `__mp_main__`, and would begin a run during the import.
    """
    data = sys.modules.get("torch.utils.data")
    if data is not None and _ask(lambda: data.get_worker_info() is not None):
        return True
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__mp_main__":
            return True
        frame = frame.f_back
    return False


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _ask(question: Callable[[], Any]) -> int:
    """Return the answer of another package; 0 if it cannot tell, as when only a part of it is imported."""
    with suppress(Exception):
        return int(question())
    return 0


def _of_torch() -> int:
    """Return the rank of a process that torch.multiprocessing started."""
    distributed = sys.modules.get("torch.distributed")
    is_known = distributed is not None and distributed.is_available() and distributed.is_initialized()
    return distributed.get_rank() if is_known and distributed is not None else 0


def _of_jax() -> int:
    """Return JAX's process index, without making JAX look for devices."""
    distributed = sys.modules.get("jax._src.distributed")
    if distributed is not None and distributed.global_state.client is not None:
        return int(distributed.global_state.process_id)
    backends = sys.modules.get("jax._src.xla_bridge")
    is_known = backends is not None and backends.backends_are_initialized()
    return int(sys.modules["jax"].process_index()) if is_known else 0
