"""A Keras callback that records a run: `model.fit(…, callbacks=[KeepsakeCallback(params=…)])`. For Keras 3."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from keepsake.exceptions import ValidationError
from keepsake.integrations.recorder import HasExperiment, Recorder, needing

with needing("keras", "Keras", "keras"):
    from keras.callbacks import Callback


class KeepsakeCallback(HasExperiment, Callback):  # type: ignore[misc]
    """Begins an experiment when training begins, and records a checkpoint with the model after each epoch.

    Args:
        filepath: the file for the model, relative to the project directory, which must be the working directory;
            None: metrics only. `.keras` is Keras's own format; with `save_weights_only`, `.weights.h5`. `.h5` and
            `.hdf5` still work. As in Keras's ModelCheckpoint, it may contain `{epoch:02d}` and metrics.
        params: hyperparameters to record.
        primary_metric: one of Keras's metrics and its goal, such as `("val_loss", "minimize")`.
        save_freq: "epoch", or the number of batches between checkpoints.
        save_weights_only: save the weights without the rest of the model.
        save_best_only: save the model only if the primary metric is better than in all earlier checkpoints.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

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
        save_best_only: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.filepath = None if filepath is None else os.fspath(filepath)
        self.save_freq = save_freq
        self.save_weights_only = save_weights_only
        self._recorder = Recorder(params, primary_metric, save_best_only, options)
        self._epoch = self._batches = 0  # the epoch, and the batches since the last checkpoint
        self._last_batch = -1
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
        self._batches = 0
        self._recorder.begin()
        self._recorder.may_end()  # nothing tells that an exception, such as a pruned trial's, ends the training

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the number of the epoch, for the name of the file."""
        self._epoch, self._last_batch = epoch, -1

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record a checkpoint every `save_freq` batches; its step counts the checkpoints."""
        # With `steps_per_execution`, Keras tells only of the last one of several batches.
        self._batches, self._last_batch = self._batches + batch - self._last_batch, batch
        if self.save_freq != "epoch" and self._batches >= int(self.save_freq):
            self._batches = 0
            self._checkpoint(logs, step=None, batch=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record a checkpoint; its step is the epoch, from 0."""
        if self.save_freq == "epoch":
            self._checkpoint(logs, step=epoch)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Warn if no checkpoint had the primary metric, because its name is probably misspelt."""
        self._recorder.end_of_training()

    def _checkpoint(self, logs: Mapping[str, Any] | None, step: int | None, **names: int) -> None:
        metrics = dict(logs or {})
        path = None
        if self.filepath is not None:
            path = self.filepath.format_map(_Names(epoch=self._epoch + 1, **names, **metrics))
        self._recorder.record(metrics, step, path, lambda: self._save(str(path)))

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
