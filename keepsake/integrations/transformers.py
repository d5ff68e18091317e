"""A callback for Hugging Face's Trainer, and those of TRL: `Trainer(…, callbacks=[KeepsakeCallback()])`."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Mapping
from typing import Any

from keepsake.integrations.recordable import flat
from keepsake.integrations.recorder import HasExperiment, Primary, Recorder, needing

with needing("transformers", "Hugging Face Transformers", "transformers"):
    from transformers import TrainerCallback

_KEY = "keepsake"  # in trainer_state.json
# Arguments that say how a training is watched and stored, not what it is
_NOT_PARAMS = (
    "log", "save", "hub", "push_to", "report_to", "disable_tqdm", "project", "trackio", "output_dir", "run_name",
    "local_rank", "ddp", "do_", "skip_memory", "restore_", "resume_", "ignore_data_skip", "dataloader", "accelerator",
    "eval_use", "eval_do", "batch_eval", "include_", "prediction_loss", "remove_unused", "length_column", "debug", "_",
)  # fmt: skip
_SUMMARY = "train_runtime"  # the Trainer logs its summary, which belongs to no step, with this


class KeepsakeCallback(HasExperiment, TrainerCallback):  # type: ignore[misc]
    """Begins an experiment when training begins, and records a checkpoint for each step that logs, evaluates or saves.

    The params are the training arguments and, as `model.…`, the model's configuration. A checkpoint has all that is
    logged at its step; if the Trainer saves there, also its directory `checkpoint-…`. The first process records.

    Args:
        params: further hyperparameters.
        primary_metric: one of the metrics and its goal, such as `("eval_loss", "minimize")`; None: the
            `metric_for_best_model`, or else the loss, of the evaluation if there is one.
        save_best_only: save the files only if the primary metric is better than at all earlier evaluations.
        save_files: whether to save the files at all.
        **options: further arguments of `keepsake.init()`, such as `path` (default: ".").

    Attributes:
        experiment: the Experiment, once training has begun. The next `train()` ends it. In a notebook, call
            `experiment.stop()` at the end.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        primary_metric: Primary | None = None,
        save_best_only: bool = False,
        save_files: bool = True,
        **options: Any,
    ) -> None:
        self._recorder = Recorder(params, primary_metric, save_best_only, options)
        self._save_files = save_files
        self._is_training = False
        self._saved_step: int | None = None  # the last one whose files are recorded, or that is resumed
        self._metric_names: set[str] = set()

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        """Begin an experiment, and save the project directory. An earlier training's experiment ends."""
        if not state.is_world_process_zero:
            return
        self._metric_names.clear()
        self._is_training, self._saved_step = True, state.global_step
        earlier = state.stateful_callbacks.get(_KEY, {}).get("attributes", {}).get("experiment")
        self._recorder.begin(
            {**_params(args, model), **(state.trial_params or {})},
            _primary_metric(args),
            resume=earlier if state.global_step else None,
        )
        if self.experiment is not None:
            # The Trainer saves this with its own state, where a resumed training finds it.
            state.stateful_callbacks[_KEY] = {"args": {}, "attributes": {"experiment": self.experiment.id}}

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Record the step before."""
        self._look_for_files(args, state)
        self._recorder.flush()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Record files that the Trainer has saved because of a SIGTERM (`enable_jit_checkpoint`)."""
        self._look_for_files(args, state)

    on_step_end = on_epoch_end = on_pre_optimizer_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **others: Any) -> None:
        """Keep the metrics, of the training or an evaluation, for the step's checkpoint."""
        if not logs or _SUMMARY in logs:
            return
        names = logs.keys() - {"epoch"}
        if self._is_training:
            self._metric_names |= names
            self._recorder.log(logs, state.global_step)
        elif not names <= self._metric_names:
            # The model that is evaluated after the training may be an earlier one (load_best_model_at_end). What the
            # training measured stays as it is.
            new = {name: value for name, value in logs.items() if name not in self._metric_names}
            self._recorder.record(new, state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Record the step's checkpoint with the files that the Trainer has saved."""
        directory = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        if state.is_hyper_param_search and not os.path.isdir(directory):
            pattern = os.path.join(glob.escape(args.output_dir), "*", os.path.basename(directory))
            directory = next(filter(self._is_mine, glob.iglob(pattern)), directory)
        self._record_files(directory, state)
        self._recorder.flush()  # before the Trainer removes the files of old checkpoints

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Record the last step. Warn if no checkpoint had the primary metric."""
        self._is_training = False
        self._recorder.end_of_training()

    def _look_for_files(self, args: Any, state: Any) -> None:
        """Record the files of the step if the Trainer has saved them without a call of `on_save`: it was told to end.

        Its own callback, which has saved them, comes before those of users.
        """
        if getattr(args, "enable_jit_checkpoint", False) and self._saved_step != state.global_step:
            directory = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
            if os.path.isdir(directory) and self._is_mine(directory):
                self._record_files(directory, state)
                self._recorder.terminate()

    def _record_files(self, directory: str, state: Any) -> None:
        self._saved_step = state.global_step
        if self._save_files and os.path.isdir(directory):
            self._recorder.log({}, state.global_step, directory)

    def _is_mine(self, directory: str) -> bool:
        """Whether the Trainer has saved this directory while it was recorded as this experiment."""
        try:
            with open(os.path.join(directory, "trainer_state.json"), encoding="utf-8") as file:
                found = json.load(file)["stateful_callbacks"][_KEY]["attributes"]["experiment"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return self.experiment is not None and bool(found == self.experiment.id)


def _params(args: Any, model: Any) -> dict[str, Any]:
    arguments = {
        name: value
        for name, value in args.to_dict().items()
        if value is not None and not name.startswith(_NOT_PARAMS) and value != f"<{name.upper()}>"
    }
    config: Any = getattr(model, "config", None)
    described = config.to_diff_dict() if hasattr(config, "to_diff_dict") else {}
    known = {name: value for name, value in described.items() if value is not None and name != "transformers_version"}
    return flat({**arguments, "model": known})


def _primary_metric(args: Any) -> Primary:
    name = args.metric_for_best_model
    if name is not None:
        name = name if name.startswith("eval_") else f"eval_{name}"
        return name, "maximize" if args.greater_is_better else "minimize"
    return ("loss" if args.eval_strategy == "no" else "eval_loss"), "minimize"
