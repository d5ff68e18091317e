"""A callback and a logger for Lightning that record a run.

`Trainer(callbacks=[KeepsakeCallback()])` saves the model itself, `Trainer(logger=KeepsakeLogger())` records the files
of Lightning's ModelCheckpoint. They work with Lightning 2 by both of its names, `lightning` and `pytorch_lightning`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from keepsake.exceptions import MissingExtra, ValidationError
from keepsake.integrations.recordable import flat
from keepsake.integrations.recorder import HasExperiment, Primary, Recorder
from keepsake.util.console import warn
from keepsake.util.values import mapping_of

_KEY = "keepsake"  # in Lightning's checkpoints
_PATIENCE_SECONDS = 2.0  # without a trainer, as with Fabric, nothing tells that a step is complete


def _bases(module: str, name: str) -> tuple[type, ...]:
    """Return a class of the installed packages. Each package's trainer accepts only its own.

    The callback works without a package's loggers.
    """
    found = []
    for package in ("lightning.pytorch", "pytorch_lightning"):
        try:
            found.append(getattr(importlib.import_module(f"{package}{module}"), name))
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] not in ("lightning", "pytorch_lightning"):
                raise  # a package that Lightning needs is missing
    if not found and not module:
        raise MissingExtra("keepsake.lightning needs Lightning. Install it with:\n    pip install lightning")
    return tuple(found) or (object,)


class KeepsakeCallback(HasExperiment, *_bases("", "Callback")):  # type: ignore[misc]
    """Begins an experiment when training begins, and records a checkpoint with the model every few epochs.

    The metrics are those that the model logs, and `global_step`; the step is the epoch, from 0. A validation in the
    middle of an epoch (`val_check_interval`) makes a checkpoint of its own. The checkpoint of an epoch without
    validation lacks the validation's metrics, and the primary metric if it is among them.

    Args:
        filepath: the file for the model, relative to the project directory, which must be the working directory;
            None: metrics only.
        params: hyperparameters to record, with those that the model has saved (`save_hyperparameters()`).
        primary_metric: one of the metrics and its goal, such as `("val_loss", "minimize")`.
        period: the number of epochs between checkpoints.
        save_weights_only: save the weights without the state of the training.
        save_best_only: record the file only if the primary metric is better than in all earlier checkpoints.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

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
        save_best_only: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        given: object = period
        if not isinstance(given, int) or given < 1:
            raise ValidationError(f"The period {given!r} is invalid. Give a number of epochs, 1 or more.")
        self.filepath = None if filepath is None else os.fspath(filepath)
        self.period = period
        self.save_weights_only = save_weights_only
        self._recorder = Recorder(params, primary_metric, save_best_only, options)
        self._saved_epoch: int | None = None  # the epoch with a saved model and no checkpoint yet
        self._saved_file: str | None = None  # the file of the model that was saved last, if that worked
        self._before_validation: dict[str, Any] = {}
        self._of_validation: set[str] = set()  # the metrics that a validation logs
        self._is_validated = False  # whether a validation has run since the last checkpoint
        self._resumed: str | None = None  # the experiment of the training that is resumed

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Put the experiment's ID into Lightning's checkpoint, where a training that is resumed finds it."""
        if self.experiment is not None:
            checkpoint[_KEY] = self.experiment.id

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Take the experiment's ID from Lightning's checkpoint."""
        self._resumed = checkpoint.get(_KEY)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin an experiment, and save the project directory. An earlier training's experiment ends."""
        self._recorder.stop()
        self._saved_epoch, self._is_validated = None, False
        self._of_validation.clear()
        resumed, self._resumed = self._resumed, None
        if trainer.is_global_zero and not trainer.fast_dev_run:
            self._recorder.begin(flat(mapping_of(getattr(pl_module, "hparams", {}), "params")), resume=resumed)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Keep the current metrics, to see which ones the validation logs."""
        self._before_validation = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Record a checkpoint in the middle of an epoch. The end of the epoch has its own."""
        before, self._before_validation = self._before_validation, {}
        metrics = trainer.callback_metrics
        self._of_validation |= {name for name in metrics if name not in before or before[name] is not metrics[name]}
        self._is_validated = not trainer.sanity_checking
        is_training = trainer.state.fn == "fit" and not trainer.sanity_checking  # validate() alone changes no model
        if is_training and self._is_due(trainer) and not trainer.is_last_batch:
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
        self._recorder.end_of_training()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Record the last finished epoch, and the exception that ends the run, because Lightning hides a Ctrl-C."""
        self._record_epoch(trainer)
        self._recorder.blame(exception)
        self._recorder.may_end()

    def _is_due(self, trainer: Any) -> bool:
        return not trainer.fast_dev_run and (trainer.current_epoch + 1) % self.period == 0

    def _save(self, trainer: Any) -> None:
        path = self._saved_file = self.filepath
        if path is None:
            return

        def save() -> None:
            trainer.save_checkpoint(path, weights_only=self.save_weights_only)

        if not self._recorder.attempt("The model was not saved", save):
            self._saved_file = None
            # Only the first process writes, and the others wait for it after that.
            trainer.strategy.barrier("Trainer.save_checkpoint")

    def _record_epoch(self, trainer: Any) -> None:
        epoch, self._saved_epoch = self._saved_epoch, None
        if epoch is not None:
            self._record(trainer, epoch)

    def _record(self, trainer: Any, epoch: int) -> None:
        # Lightning still shows the metrics of an earlier validation. They would be wrong for this checkpoint.
        stale = set() if self._is_validated else self._of_validation
        logged = {name: value for name, value in trainer.callback_metrics.items() if name not in stale}
        self._is_validated = False
        self._recorder.record({"global_step": trainer.global_step, **logged}, epoch, self._saved_file)


class KeepsakeLogger(HasExperiment, *_bases(".loggers", "Logger")):  # type: ignore[misc]
    """Records all that a training logs: the metrics of a step are a checkpoint, with the file that is saved at it.

    The params are the hyperparameters that the model and the data module have saved (`save_hyperparameters()`). The
    step is Lightning's, from 0. The first process records.

    Args:
        params: further hyperparameters.
        primary_metric: one of the metrics and its goal, such as `("val_loss", "minimize")`; None: the one that
            ModelCheckpoint monitors.
        save_files: whether to save the files that ModelCheckpoint and OnExceptionCheckpoint write. They decide which
            ones: with `ModelCheckpoint(monitor="val_loss")`, only the best.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

    Attributes:
        experiment: the Experiment, once training has begun, in the first process; None in the others. It goes on with
            the next `fit()` or `test()`. In a notebook, call `experiment.stop()` at the end.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        primary_metric: Primary | None = None,
        save_files: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        self._recorder = Recorder(params, primary_metric, options=options, patience=_PATIENCE_SECONDS)
        self._save_files = save_files
        self._hyperparameters: dict[str, Any] = {}
        self._stamps: dict[str, int] = {}  # the files that ModelCheckpoint has written, and when
        self._trainer: Any = None
        self._version = os.urandom(4).hex()[:7]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_trainer": None}  # a copy belongs to another training

    @property
    def name(self) -> str:
        """The name of the directory that Lightning saves in. `init(path=".")` leaves it out."""
        return "lightning_logs"

    @property
    def version(self) -> str:
        """The name of the directory below, for this training."""
        return self._version

    def log_hyperparams(self, params: Any, *args: Any, **others: Any) -> None:
        """Keep hyperparameters for the beginning of the experiment."""
        found = flat(mapping_of(params, "params"))
        if self.experiment is not None and (late := sorted(found.keys() - self._hyperparameters.keys())):
            warn(
                f"Hyperparameters that are logged after the beginning of a run are not recorded: {', '.join(late)}. "
                "Give them to KeepsakeLogger(params=…)."
            )
        self._hyperparameters |= found

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Begin the experiment. Lightning calls this when a training begins, with the model."""
        self._trainer = trainer = model.trainer
        if trainer.state.fn == "fit":
            trainer.callbacks.append(_Steps(self._recorder, self._save_files))
            self._recorder.patience = None
            self._recorder.forgive()
            self._begin()

    def _begin(self) -> None:
        trainer = self._trainer
        if self.experiment is not None or not _is_first_process():
            return
        monitors = [each for each in getattr(trainer, "checkpoint_callbacks", []) if getattr(each, "monitor", None)]
        primary = [(each.monitor, "maximize" if each.mode == "max" else "minimize") for each in monitors]
        # Lightning shows its checkpoint to callbacks alone, and too early for one that is added here.
        loaded = getattr(getattr(trainer, "_checkpoint_connector", None), "_loaded_checkpoint", {})
        self._recorder.begin(self._hyperparameters, primary[0] if primary else None, resume=loaded.get(_KEY))

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics with the others of the step."""
        self._begin()
        if self.experiment is not None:
            if step is None:
                self._recorder.record(metrics)
            else:
                self._recorder.log(metrics, step)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Record the file that ModelCheckpoint has just saved, and its score, with the step's metrics."""
        saver = checkpoint_callback
        # Of a file that is saved because of an exception, only the private attribute tells.
        last = getattr(saver, "_last_checkpoint_saved", "")
        found = [*saver.best_k_models, saver.best_model_path, saver.last_model_path, last]
        stamps = {path: os.stat(path).st_mtime_ns for path in found if path and os.path.exists(path)}
        new = [path for path, stamp in stamps.items() if self._stamps.get(path) != stamp]
        self._stamps |= stamps
        if new and self._save_files and self.experiment is not None:
            path = max(new, key=stamps.__getitem__)
            score = saver.best_k_models.get(path)
            metrics = {} if score is None else {saver.monitor: score}
            self._recorder.attach(path, metrics, self._trainer.global_step - 1)

    def finalize(self, status: str) -> None:
        """Record what is held back. The run goes on: Lightning calls this before it queues a job again, too."""
        self._recorder.flush()


def _is_first_process() -> bool:
    from lightning_utilities.core.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


class _Steps(*_bases("", "Callback")):  # type: ignore[misc]
    """Tells a logger's recorder when a step is complete, and the ID of its experiment to Lightning's checkpoints."""

    def __init__(self, recorder: Recorder, save_files: bool) -> None:
        super().__init__()
        self._recorder = recorder
        self._save_files = save_files

    def on_train_batch_start(self, trainer: Any, *others: Any) -> None:
        self._recorder.flush()

    def on_train_end(self, trainer: Any, *others: Any) -> None:
        self._recorder.end_of_training()

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if self._recorder.experiment is not None:
            checkpoint[_KEY] = self._recorder.experiment.id

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        for each in trainer.callbacks:  # OnExceptionCheckpoint has just saved a file, and tells no logger
            path = getattr(each, "ckpt_path", None)
            if self._save_files and isinstance(path, str) and os.path.exists(path):
                self._recorder.attach(path, {}, trainer.global_step - 1)
        self._recorder.flush()
        self._recorder.blame(exception)
        self._recorder.may_end()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Leave the trainer: its next training adds another one."""
        trainer.callbacks = [each for each in trainer.callbacks if each is not self]


class AutoCallback(*_bases("", "Callback")):  # type: ignore[misc]
    """Records a training whose script says nothing of Keepsake (KEEPSAKE_AUTO=1)."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Give the trainer a logger, unless it records already."""
        recording = (KeepsakeCallback, KeepsakeLogger)
        has_one = any(isinstance(each, recording) for each in (*trainer.callbacks, *trainer.loggers))
        if stage == "fit" and not trainer.fast_dev_run and not has_one:
            trainer.loggers = [*trainer.loggers, _AutoLogger()]


class _AutoLogger(KeepsakeLogger):
    """A logger that changes nothing else: neither where Lightning saves, nor whether the training begins."""

    name = version = ""
    _has_failed = False

    def _begin(self) -> None:
        if not self._has_failed:
            self._has_failed = not self._recorder.attempt("The training is not recorded", super()._begin)
