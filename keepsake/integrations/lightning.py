"""A Lightning callback that records a run: `Trainer(callbacks=[KeepsakeCallback(params=…)])`.

It works with Lightning 2 under both of its names, `lightning` and `pytorch_lightning`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from keepsake.exceptions import MissingExtra, ValidationError
from keepsake.experiment import Experiment
from keepsake.project import init
from keepsake.recording import ending
from keepsake.util.console import warn


def _bases() -> tuple[type, ...]:
    """Return the callback classes of the installed packages. Each package's trainer accepts only its own."""
    found = []
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            found.append(importlib.import_module(name).Callback)
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] not in ("lightning", "pytorch_lightning"):
                raise  # a package that Lightning needs is missing
    if not found:
        raise MissingExtra("keepsake.pl_callback needs Lightning. Install it with:\n    pip install lightning")
    return tuple(found)


class KeepsakeCallback(*_bases()):  # type: ignore[misc]
    """Begins an experiment when training begins, and records a checkpoint with the model every few epochs.

    The metrics are those that the model logs, and `global_step`; the step is the epoch, from 0. A validation in the
    middle of an epoch (`val_check_interval`) makes a checkpoint of its own. The checkpoint of an epoch without
    validation lacks the validation's metrics, and the primary metric if it is among them.

    Args:
        filepath: the file for the model, relative to the project directory, which must be the working directory;
            None: metrics only.
        params: hyperparameters to record.
        primary_metric: one of the metrics and its goal, such as `("val_loss", "minimize")`.
        period: the number of epochs between checkpoints.
        save_weights_only: save the weights without the state of the training.

    Attributes:
        experiment: the Experiment, once training has begun, in its first process (`trainer.is_global_zero`); None in
            the others. The next `fit()` ends it. In a notebook, call `experiment.stop()` at the end.

    Raises ValidationError if `period` is not a positive integer.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str] | None = "model.pth",
        params: Mapping[str, Any] | None = None,
        primary_metric: tuple[str, str] | None = None,
        period: int = 1,
        save_weights_only: bool = False,
    ) -> None:
        super().__init__()
        given: object = period
        if not isinstance(given, int) or given < 1:
            raise ValidationError(f"The period {given!r} is invalid. Give a number of epochs, 1 or more.")
        self.filepath = None if filepath is None else os.fspath(filepath)
        self.params = params
        self.primary_metric = primary_metric
        self.period = period
        self.save_weights_only = save_weights_only
        self.experiment: Experiment | None = None
        self._saved_epoch: int | None = None  # the epoch with a saved model and no checkpoint yet
        self._before_validation: dict[str, Any] = {}
        self._of_validation: set[str] = set()  # the metrics that a validation logs
        self._is_validated = False  # whether a validation has run since the last checkpoint
        self._metric_names: set[str] = set()

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin an experiment, and save the project directory. An earlier training's experiment ends."""
        if self.experiment is not None:
            self.experiment.stop()
            self.experiment = None
        self._saved_epoch, self._is_validated = None, False
        self._of_validation.clear()
        self._metric_names.clear()
        if trainer.is_global_zero and not trainer.fast_dev_run:
            self.experiment = init(path=".", params=self.params)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Keep the current metrics, to see which ones the validation logs."""
        self._before_validation = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Record a checkpoint in the middle of an epoch. The end of the epoch has its own."""
        before, self._before_validation = self._before_validation, {}
        metrics = trainer.callback_metrics
        self._of_validation |= {name for name in metrics if name not in before or before[name] is not metrics[name]}
        self._is_validated = not trainer.sanity_checking
        if not trainer.sanity_checking and self._is_due(trainer) and not trainer.is_last_batch:
            self._save(trainer)
            self._record(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save the model. A training that is resumed from the file then continues with the next epoch."""
        if self._is_due(trainer):
            self._save(trainer)
            self._saved_epoch = trainer.current_epoch

    # The model logs metrics at the end of an epoch after the callbacks have run, so they are recorded in the next hook.

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Record the checkpoint of the previous epoch."""
        self._record_epoch(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Record the checkpoint of the last epoch. Warn if no checkpoint had the primary metric."""
        self._record_epoch(trainer)
        if self._metric_names and self.primary_metric and self.primary_metric[0] not in self._metric_names:
            warn(
                f"No checkpoint has the primary metric {self.primary_metric[0]!r}. "
                f"The metrics of this training are: {', '.join(sorted(self._metric_names))}."
            )

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Record the last finished epoch, and the exception that ends the run, because Lightning hides a Ctrl-C."""
        self._record_epoch(trainer)
        if self.experiment is not None:
            ending.blame(self.experiment.id, exception)

    def _is_due(self, trainer: Any) -> bool:
        return not trainer.fast_dev_run and (trainer.current_epoch + 1) % self.period == 0

    def _save(self, trainer: Any) -> None:
        if self.filepath is not None:
            trainer.save_checkpoint(self.filepath, weights_only=self.save_weights_only)

    def _record_epoch(self, trainer: Any) -> None:
        epoch, self._saved_epoch = self._saved_epoch, None
        if epoch is not None:
            self._record(trainer, epoch)

    def _record(self, trainer: Any, epoch: int) -> None:
        if self.experiment is None:
            return
        # Lightning still shows the metrics of an earlier validation. They would be wrong for this checkpoint.
        stale = set() if self._is_validated else self._of_validation
        logged = {name: value for name, value in trainer.callback_metrics.items() if name not in stale}
        metrics = {"global_step": trainer.global_step, **logged}
        self._is_validated = False
        self._metric_names |= metrics.keys()
        primary = self.primary_metric
        if primary and primary[0] not in metrics:
            primary = None
        # A line for each checkpoint would break Lightning's progress bar.
        self.experiment.checkpoint(path=self.filepath, step=epoch, metrics=metrics, primary_metric=primary, quiet=True)
