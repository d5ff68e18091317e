"""A tracker for Accelerate: `import keepsake.accelerate`, and then `Accelerator(log_with="keepsake")`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keepsake.experiment import Experiment
from keepsake.integrations.recordable import flat, recordable
from keepsake.integrations.recorder import Primary, Recorder, needing
from keepsake.util.values import mapping_of

with needing("accelerate", "Accelerate", "accelerate"):
    from accelerate import tracking

_PATIENCE_SECONDS = 2.0  # nothing tells that a step is complete


class KeepsakeTracker(tracking.GeneralTracker):  # type: ignore[misc]
    """Records what `accelerator.log()` logs. The values of a step are one checkpoint. The main process records.

    Args:
        run_name: the name of the project that `accelerator.init_trackers()` has; it is recorded among the params.
        params: further hyperparameters, beside the `config` of `accelerator.init_trackers()`.
        primary_metric: one of the metrics and its goal, such as `("loss", "minimize")`.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

    `accelerator.get_tracker("keepsake", unwrap=True)` is the Experiment, whose `checkpoint()` also saves files.
    """

    name = "keepsake"
    requires_logging_directory = False
    main_process_only = True

    def __init__(
        self,
        run_name: str = "",
        params: Mapping[str, Any] | None = None,
        primary_metric: Primary | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._recorder = Recorder(params, primary_metric, options=options, patience=_PATIENCE_SECONDS)
        self._project = {"project": run_name} if run_name else {}
        self._ended: Experiment | None = None  # by `accelerator.end_training()`

    @property
    def tracker(self) -> Experiment | None:
        """The Experiment. It begins when it is first asked for, or when something is logged."""
        self._begin()
        return self._recorder.experiment or self._ended

    def start(self) -> None:
        """Let another training begin. `accelerator.init_trackers()` calls this."""
        self._ended = None

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Begin the experiment with these hyperparameters. If it has begun, add them."""
        config = flat(mapping_of(values, "the config"))
        experiment = self._recorder.experiment
        if experiment is None:
            self._ended = None
            self._recorder.begin({**self._project, **config})
        else:
            self._recorder.attempt("A config was not recorded", lambda: experiment.update_params(recordable(config)))

    def log(self, values: Mapping[str, Any], step: int | None = None, **others: Any) -> None:
        """Record values with the others of the step. Those that come after the end of the training are recorded too."""
        self._begin()
        self._recorder.attempt("Values were not recorded", lambda: self._log(values, step))

    def _log(self, values: Mapping[str, Any], step: int | None) -> None:
        if self._ended is not None:
            self._ended.checkpoint(step=step, metrics=values, quiet=True)
        elif step is None:
            self._recorder.record(values)
        else:
            self._recorder.log(values, step)

    def finish(self) -> None:
        """Record what is held back, and end the experiment."""
        self._recorder.end_of_training()
        self._ended = self._recorder.experiment or self._ended
        self._recorder.stop()

    def _begin(self) -> None:
        if self._recorder.experiment is None and self._ended is None:
            self._recorder.begin(self._project)


if hasattr(tracking, "register_tracker_class"):  # older versions take the tracker itself: log_with=KeepsakeTracker()
    tracking.register_tracker_class(KeepsakeTracker)
