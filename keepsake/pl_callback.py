"""A Lightning callback that records a run: `Trainer(callbacks=[KeepsakeCallback(params=…)])`.

For Lightning 2, by either of its names: `lightning` and `pytorch_lightning`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from keepsake.exceptions import MissingExtra, ValidationError
from keepsake.experiment import Experiment
from keepsake.project import init


def _bases() -> tuple[type, ...]:
    """Return the classes that the trainers of the installed packages take for a callback: they are not the same."""
    found = []
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            found.append(importlib.import_module(name).Callback)
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] not in ("lightning", "pytorch_lightning"):
                raise  # what Lightning itself needs
    if not found:
        raise MissingExtra("keepsake.pl_callback needs Lightning. Install it: pip install lightning")
    return tuple(found)


class KeepsakeCallback(*_bases()):  # type: ignore[misc]
    """Begins an experiment when training begins, and records a checkpoint with the model every few epochs.

    Its metrics are those that the model logs, and `global_step`; its step is the epoch, from 0.

    Args:
        filepath: the file that the model is saved in, relative to the project directory, which is the working
            directory; None: metrics only.
        params: hyperparameters to record.
        primary_metric: one of the metrics and its goal, such as `("val_loss", "minimize")`.
        period: after how many epochs.
        save_weights_only: save the weights without the state of the training.

    Attributes:
        experiment: the Experiment, once training has begun, in the first process of it (`trainer.is_global_zero`);
            None in others. In a notebook, call `experiment.stop()` at the end.

    Raises ValidationError for a `period` that is no positive number.
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
            raise ValidationError(f"period must be a number of epochs, 1 or more, not {given!r}")
        self.filepath = None if filepath is None else os.fspath(filepath)
        self.params = params
        self.primary_metric = primary_metric
        self.period = period
        self.save_weights_only = save_weights_only
        self.experiment: Experiment | None = None
        self._saved_epoch: int | None = None  # whose checkpoint is to be recorded

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin an experiment, and save the project directory."""
        if trainer.is_global_zero and not trainer.fast_dev_run:
            self.experiment = init(path=".", params=self.params)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save the model: here, a training that is resumed from the file goes on with the next epoch."""
        if trainer.fast_dev_run or (trainer.current_epoch + 1) % self.period:
            return
        if self.filepath is not None:
            trainer.save_checkpoint(self.filepath, weights_only=self.save_weights_only)
        self._saved_epoch = trainer.current_epoch

    # What the model itself logs at the end of an epoch comes after the callbacks' turn; so its metrics are taken now

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Record the checkpoint of the epoch before."""
        self._record(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Record the checkpoint of the last epoch."""
        self._record(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Record the checkpoint of the last epoch that was finished."""
        self._record(trainer)

    def _record(self, trainer: Any) -> None:
        epoch, self._saved_epoch = self._saved_epoch, None
        if epoch is None or self.experiment is None:
            return
        metrics = {"global_step": trainer.global_step, **trainer.callback_metrics}
        self.experiment.checkpoint(path=self.filepath, step=epoch, metrics=metrics, primary_metric=self.primary_metric)
