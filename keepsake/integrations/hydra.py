"""A callback for Hydra that records each job as an experiment, with the resolved config as its params.

In the config of the program:

    hydra:
      callbacks:
        keepsake:
          _target_: keepsake.hydra.KeepsakeCallback
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from keepsake.experiment import Experiment
from keepsake.integrations import recorder
from keepsake.integrations.recordable import flat
from keepsake.integrations.recorder import Recorder, needing

with needing("hydra", "Hydra", "hydra-core"):
    from hydra.experimental.callback import Callback
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

_current: Experiment | None = None


def experiment() -> Experiment | None:
    """Return the experiment of the job that runs, to record checkpoints in; None if there is none."""
    return _current


class KeepsakeCallback(Callback):  # type: ignore[misc]
    """Begins an experiment with each job, and ends it with the job. In a multirun, each job is one.

    The params are the job's config, resolved, under names with dots (`optimizer.lr`). A number that the job returns is
    recorded as the metric `value`, a mapping as metrics. A job that fails ends its run as failed.
    `keepsake.hydra.experiment()` is the run, for checkpoints of your own. The callback of another framework in the job
    adds to the job's run.

    Args:
        params: further hyperparameters.
        primary_metric: one of the returned metrics and its goal, such as `[value, minimize]`.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").
    """

    def __init__(
        self, params: Mapping[str, Any] | None = None, primary_metric: Sequence[str] | None = None, **options: Any
    ) -> None:
        primary = None if primary_metric is None else (primary_metric[0], primary_metric[1])
        self._recorder = Recorder(params, primary, options=options)

    def on_job_start(self, config: Any, **others: Any) -> None:
        """Begin the experiment of a job."""
        global _current
        before = os.getcwd()  # the job's own directory, if Hydra has changed into it
        os.chdir(config.hydra.runtime.cwd)
        try:
            self._recorder.begin(flat(_resolved(config)))
        finally:
            os.chdir(before)
        _current = recorder.job = self._recorder.experiment

    def on_job_end(self, config: Any, job_return: Any, **others: Any) -> None:
        """End the experiment of a job."""
        global _current
        _current = recorder.job = None
        try:
            result = job_return.return_value
        except Exception as error:  # noqa: BLE001 - the job's own
            self._recorder.blame(error)
        else:
            self._recorder.forgive()  # the job has survived the error of a training in it
            if isinstance(result, (int, float)) and not isinstance(result, bool):
                self._recorder.record({"value": result})
            elif isinstance(result, Mapping):
                self._recorder.record(result)
        self._recorder.stop()


def _resolved(config: Any) -> dict[str, Any]:
    """Return the job's own config, without Hydra's. What cannot be resolved stays as it is written."""
    found: dict[str, Any] = {}
    for name in config:
        if name != "hydra":
            try:
                value = config[name]
                found[name] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            except OmegaConfBaseException:
                found[name] = OmegaConf.to_container(config, resolve=False)[name]
    return found
