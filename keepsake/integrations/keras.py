"""A Keras callback that records a run: `model.fit(…, callbacks=[KeepsakeCallback(params=…)])`. For Keras 3."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from keepsake.exceptions import MissingExtra, ValidationError
from keepsake.experiment import Experiment
from keepsake.project import init
from keepsake.util.console import warn

try:
    from keras.callbacks import Callback
except ModuleNotFoundError as error:
    if str(error.name).partition(".")[0] != "keras":
        raise  # a package that Keras needs is missing
    raise MissingExtra("keepsake.keras_callback needs Keras. Install it with:\n    pip install keras") from error


class KeepsakeCallback(Callback):  # type: ignore[misc]
    """Begins an experiment when training begins, and records a checkpoint with the model after each epoch.

    Args:
        filepath: the file for the model, relative to the project directory, which must be the working directory;
            None: metrics only. `.keras` is Keras's own format; with `save_weights_only`, `.weights.h5`. `.h5` and
            `.hdf5` still work. As in Keras's ModelCheckpoint, it may contain `{epoch:02d}` and metrics.
        params: hyperparameters to record.
        primary_metric: one of Keras's metrics and its goal, such as `("val_loss", "minimize")`.
        save_freq: "epoch", or the number of batches between checkpoints.
        save_weights_only: save the weights without the rest of the model.

    A checkpoint whose epoch or batch has no validation is recorded without the primary metric.

    Attributes:
        experiment: the Experiment, once training has begun; the next `fit()` ends it. In a notebook, call
            `experiment.stop()` at the end.

    Raises ValidationError for a `filepath` or `save_freq` that Keras cannot use.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str] | None = "model.hdf5",
        params: Mapping[str, Any] | None = None,
        primary_metric: tuple[str, str] | None = None,
        save_freq: str | int = "epoch",
        save_weights_only: bool = False,
    ) -> None:
        super().__init__()
        self.filepath = None if filepath is None else os.fspath(filepath)
        self.primary_metric = primary_metric
        self.save_freq = save_freq
        self.save_weights_only = save_weights_only
        self.experiment: Experiment | None = None
        self._hyperparameters = params  # Keras has attributes `params` and `model` of its own
        self._epoch = self._batches = 0
        self._metric_names: set[str] = set()
        self._check()

    def _check(self) -> None:
        if self.save_freq != "epoch" and not (isinstance(self.save_freq, int) and self.save_freq > 0):
            raise ValidationError(f"The save_freq {self.save_freq!r} is invalid. Use 'epoch' or a number of batches.")
        endings = (".weights.h5", ".h5", ".hdf5") if self.save_weights_only else (".keras", ".h5", ".hdf5")
        if self.filepath is not None and not self.filepath.endswith(endings):
            raise ValidationError(
                f"The filepath {self.filepath!r} has the wrong ending. Use {endings[0]}, .h5 or .hdf5."
            )

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin an experiment, and save the project directory. An earlier training's experiment ends."""
        if self.experiment is not None:
            self.experiment.stop()
        self._batches = 0
        self._metric_names.clear()
        self.experiment = init(path=".", params=self._hyperparameters)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the number of the epoch, for the name of the file."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record a checkpoint every `save_freq` batches; its step counts the checkpoints."""
        self._batches += 1
        if self.save_freq != "epoch" and self._batches % int(self.save_freq) == 0:
            self._checkpoint(logs, step=None, batch=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record a checkpoint; its step is the epoch, from 0."""
        if self.save_freq == "epoch":
            self._checkpoint(logs, step=epoch)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Warn if no checkpoint had the primary metric, because its name is probably misspelt."""
        if self._metric_names and self.primary_metric and self.primary_metric[0] not in self._metric_names:
            warn(
                f"No checkpoint has the primary metric {self.primary_metric[0]!r}. "
                f"The metrics of this training are: {', '.join(sorted(self._metric_names))}."
            )

    def _checkpoint(self, logs: Mapping[str, Any] | None, step: int | None, **names: int) -> None:
        assert self.experiment is not None  # noqa: S101 - Keras calls on_train_begin first
        metrics = dict(logs or {})
        self._metric_names |= metrics.keys()
        path = None
        if self.filepath is not None:
            path = self.filepath.format_map(_Names(epoch=self._epoch + 1, **names, **metrics))
            self._save(path)
        primary = self.primary_metric
        if primary and primary[0] not in metrics:
            primary = None
        # A line for each checkpoint would break Keras's progress bar.
        self.experiment.checkpoint(path=path, step=step, metrics=metrics, primary_metric=primary, quiet=True)

    def _save(self, path: str) -> None:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if not self.save_weights_only:
            self.model.save(path)
        elif path.endswith(".weights.h5"):
            self.model.save_weights(path)
        else:
            # Keras 3 writes weights alone only as .weights.h5. load_weights() can read them from this file, too.
            self.model.save(path, include_optimizer=False)


class _Names(dict[str, Any]):
    """The values for a file's name. A metric that this epoch does not have is `nan`."""

    def __missing__(self, name: str) -> float:
        return math.nan
