"""A run in the shape of W&B's."""

from __future__ import annotations

import glob
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keepsake.experiment import Experiment
from keepsake.integrations.recordable import as_of_now, recordable
from keepsake.integrations.recorder import Recorder
from keepsake.integrations.wandb_artifacts import Artifact, gather, logged, logged_artifact
from keepsake.integrations.wandb_values import Values, plain_values
from keepsake.util.console import once, say, warn
from keepsake.util.values import same

_PATIENCE_SECONDS = 2.0  # a program that is killed loses no value that is older
_OPEN_SECONDS = 60.0  # unless the script says that more values of the step come
_NO_EFFECT = ("display", "finish_artifact", "link_artifact", "pin_config_keys", "status", "to_html", "write_logs")
_GOALS = {"max": "maximize", "maximize": "maximize", "min": "minimize", "minimize": "minimize"}


class Run:
    """A run, as `init()` returns it. It records what W&B's would upload: values as checkpoints, the config as params.

    After the beginning, nothing here raises into a training (except with KEEPSAKE_STRICT=1).

    Attributes:
        config: the hyperparameters. What is set later is recorded too.
        summary: the last value of each metric. What a script sets is recorded at the end, at the last step.
        experiment: the Experiment; None if the mode is "disabled".
        project, entity, group, job_type: as the arguments of `init()`.
        resumed: whether it goes on with an earlier run.
        step: the step of the next values.
        process: the ID of the process that began it.
    """

    url = project_url = sweep_url = None
    offline = True

    def __init__(self, recorder: Recorder, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self._recorder = recorder
        self.experiment: Experiment | None = recorder.experiment
        self.config = Values(self._config_changed, facts.get("chosen", ()))
        self.summary = Values(self._summary_changed)
        self.project, self.entity = facts.get("project"), facts.get("entity")
        self.group, self.job_type = facts.get("group"), facts.get("job_type")
        self.resumed = bool(facts.get("resumed"))
        self.disabled = self.experiment is None
        self.start_time = time.time()
        self.process = os.getpid()
        self.step = self.starting_step = 0
        self.settings = SimpleNamespace()
        self.sweep_id = facts.get("sweep")
        self._last = 0  # the step of the values that were logged last
        self._given_id = facts.get("id")
        self._set: dict[str, Any] = {}  # of the summary, by the script
        self._rules: dict[str, str] = {}  # metric → "min" or "max", for the summary
        self._saved: dict[str, tuple[float, ...]] = {}  # pattern → times of its files when they were saved
        self._start(config)
        recorder.at_end = self._complete

    def _start(self, config: Mapping[str, Any]) -> None:
        experiment = self.experiment
        earlier = (experiment.params or {}) if experiment is not None and self.resumed else {}
        self.config.note({**earlier, **config})
        if experiment is not None and self.resumed:
            last = max((checkpoint.step or 0 for checkpoint in experiment.checkpoints), default=-1)
            self.step = self.starting_step = last + 1
            self._last = max(last, 0)
            for checkpoint in experiment.checkpoints:
                self.summary.note(checkpoint.metrics or {})
        self._record_config()

    # What it is

    @property
    def id(self) -> str:
        """The ID that `init()` was given, or else that of the experiment."""
        return self._given_id or (self.experiment.id if self.experiment is not None else "disabled")

    @property
    def name(self) -> str:
        """Its name, or the first digits of its ID. Set it to rename the run."""
        return (self.experiment.name or self.experiment.short_id()) if self.experiment is not None else "disabled"

    @name.setter
    def name(self, name: str) -> None:
        if self.experiment is not None:
            self._attempt(partial(self.experiment.rename, name))

    @property
    def notes(self) -> str | None:
        """Its notes. Set them to replace them."""
        return None if self.experiment is None else self.experiment.notes

    @notes.setter
    def notes(self, text: str) -> None:
        if self.experiment is not None:
            self._attempt(partial(self.experiment.note, text))

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags. Set them to replace them: `run.tags += ("final",)`."""
        return () if self.experiment is None else tuple(self.experiment.tags)

    @tags.setter
    def tags(self, tags: Any) -> None:
        gone = [tag for tag in self.tags if tag not in tags]
        if self.experiment is not None:
            self._attempt(partial(self.experiment.tag, *tags, remove=gone))

    @property
    def dir(self) -> str:
        """A directory. What a script writes into it is saved at the end."""
        directory = self._directory("files")
        directory.mkdir(parents=True, exist_ok=True)
        return str(directory)

    @property
    def path(self) -> str:
        """The names of its entity and project, and its ID."""
        return "/".join(str(part) for part in (self.entity, self.project, self.id) if part)

    def project_name(self) -> str | None:
        """Return the project."""
        return self.project

    # Values

    def log(self, data: Mapping[str, Any], step: Any = None, commit: bool | None = None, **_: Any) -> None:
        """Record values. Those of one step are one checkpoint.

        Args:
            data: name → value. Nested names are joined by dots.
            step: the step; None: the next one.
            commit: whether the step is complete; None: if `step` is not given.
        """

        def record() -> None:
            with self._recorder.lock:  # each of several threads has the next step
                self._log(data, step, commit)

        self._attempt(record)

    def _log(self, data: Mapping[str, Any], step: Any, commit: bool | None) -> None:
        if self._has_ended():
            return
        values = as_of_now(plain_values(data))
        at = self.step if step is None else int(step)
        is_complete = step is None if commit is None else commit
        self._recorder.patience = _OPEN_SECONDS if commit is False else _PATIENCE_SECONDS
        held = self._recorder.held
        if values or (held is not None and held[0] == at):  # a step that has only images makes no checkpoint
            self._recorder.log(values, at)
        self.step, self._last = max(self.step, at + is_complete), at
        for name, value in values.items():
            self._set.pop(name, None)
            self.summary.note({name: self._summed(name, value)})

    def _summed(self, name: str, value: Any) -> Any:
        rule, before = self._rules.get(name), self.summary.get(name)
        if rule is None or not isinstance(before, (int, float)) or not isinstance(value, (int, float)):
            return value
        return min(before, value) if rule == "min" else max(before, value)

    def define_metric(
        self, name: str, step_metric: object = None, goal: str | None = None, summary: str | None = None, **_: Any
    ) -> None:
        """Make a metric the primary one, if it is the first with a `goal`, or a `summary` of "min" or "max"."""
        best = "max" if _GOALS.get(str(goal)) == "maximize" else "min"
        rules = [rule for rule in str(summary or "").replace("best", best).split(",") if rule in ("min", "max")]
        if rules:
            self._rules[name] = rules[0]
        meant = _GOALS.get(goal or next(iter(rules), ""))
        if meant and "*" not in name and self._recorder.primary_metric is None:
            self._recorder.primary_metric = (name, meant)

    def _config_changed(self, new: Mapping[str, Any]) -> None:
        if self.experiment is not None:
            self._attempt(partial(self.experiment.update_params, recordable(new)))

    def _summary_changed(self, new: Mapping[str, Any]) -> None:
        if not self._has_ended():
            self._set.update(new)

    # Files

    def save(self, glob_str: Any = None, base_path: object = None, policy: str = "live", **_: Any) -> list[str]:
        """Save the files that a pattern matches, as those of a checkpoint, and at the end again if they have changed.

        Args:
            glob_str: a path or a pattern.
            base_path: has no effect.
            policy: "end": at the end only.

        Returns their paths.
        """
        if glob_str is None:
            return []
        pattern = os.fspath(glob_str)
        self._saved.setdefault(pattern, ())
        if policy != "end":
            self._attempt(lambda: self._save(pattern))
        return sorted(glob.glob(pattern, recursive=True))

    def _save(self, pattern: str) -> None:
        found = sorted(glob.glob(pattern, recursive=True))
        times = tuple(os.stat(path).st_mtime for path in found)
        if found and times != self._saved[pattern]:
            self._saved[pattern] = times
            self._add([(os.path.relpath(path), Path(path)) for path in found])

    def log_artifact(
        self, artifact_or_path: Any, name: str | None = None, type: str | None = None, *_: Any, **__: Any
    ) -> Artifact:
        """Save the files of an artifact, or a file or directory, as those of a checkpoint."""
        artifact = artifact_or_path
        if not isinstance(artifact, Artifact):
            path = Path(artifact_or_path)
            artifact = Artifact(name or path.name, type or "")
            (artifact.add_dir if path.is_dir() else artifact.add_file)(path)
        self._attempt(lambda: self._add(artifact.sources(), artifact.name, artifact.copies))
        artifact.settle()
        logged[artifact.name] = artifact
        return artifact

    upsert_artifact = log_artifact

    def log_model(self, path: str | os.PathLike[str], name: str | None = None, **_: Any) -> None:
        """Save a file or directory as that of a checkpoint."""
        self.log_artifact(path, name)

    def link_model(
        self, path: str | os.PathLike[str], registered_model_name: str = "", name: str | None = None, *_: Any, **__: Any
    ) -> None:
        """Save a file or directory as `log_model` does. There is no registry."""
        self.log_artifact(path, name)

    def _add(self, files: list[tuple[str, Path]], name: str = "files", copies: Path | None = None) -> None:
        """Save files with the values that were logged last, or else in a checkpoint of their own."""
        if self.experiment is None or not files or self._has_ended():
            return
        project, (_, first) = Path(self.experiment.project.directory or "."), files[0]
        is_copy = copies is not None and copies in first.parents
        if len(files) == 1 and not is_copy and project.resolve() in first.resolve().parents and first.exists():
            self._attach(first)
            return
        directory = self._directory("artifacts") / name.replace(os.sep, "_").replace(":", "_")
        try:
            gather(files, directory)
            self._attach(directory)
        finally:
            shutil.rmtree(directory.parent, ignore_errors=True)
            with suppress(OSError):  # it holds the files of this run, or of others
                directory.parent.parent.rmdir()
                directory.parent.parent.parent.rmdir()

    def _attach(self, path: Path) -> None:
        self._recorder.attach(str(path), {}, self._last)
        self._recorder.flush()  # the next ones may be written in its place

    def _directory(self, kind: str) -> Path:
        experiment = self.experiment
        if experiment is None:
            return Path("wandb", "run-disabled", kind)
        return Path(experiment.project.directory or ".", "wandb", f"run-{experiment.short_id()}", kind)

    # The end

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """Record what is held back and what the summary was set to, and end the run: as failed with an exit code."""
        if exit_code:
            self._recorder.blame(SystemExit(exit_code))
        self._recorder.stop()

    def _complete(self) -> None:
        """Record what belongs to the end. An error in one part costs that part alone."""
        saved = [partial(self._save, pattern) for pattern in self._saved]
        for part in (self._record_summary, *saved, self._save_directory, self._record_config):
            self._attempt(part)

    def _record_summary(self) -> None:
        changed, self._set = plain_values(self._set), {}
        if changed:
            held = self._recorder.held
            if held is not None and held[1].keys() & changed.keys():
                self._recorder.flush()
            self._recorder.log(changed, self._last)

    def _save_directory(self) -> None:
        files = self._directory("files")
        if files.is_dir() and any(files.iterdir()):
            self._add([("", files)])

    def _record_config(self) -> None:
        """Record the config again, because something nested may have been set."""
        params = as_of_now(recordable(self.config))
        known = (None if self.experiment is None else self.experiment.params) or {}
        if any(name not in known or not same(known[name], value) for name, value in params.items()):
            self._config_changed(params)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._recorder.blame(error)
        self.finish()

    # What has no counterpart

    def watch(self, *_: Any, **__: Any) -> None:
        """Accept a model."""
        once(warn, "Keepsake records no gradients: watch() has no effect.")

    def alert(self, title: str, text: str = "", *_: Any, **__: Any) -> None:
        """Print an alert. It is sent to nobody."""
        say(f"{title}: {text}" if text else str(title))

    def log_code(self, *_: Any, **__: Any) -> None:
        """Do nothing: the code is saved when the run begins."""

    # There is no page, nothing is watched, and a job that is started again goes on with its run.
    get_url = unwatch = mark_preempting = log_code

    def use_artifact(self, artifact_or_name: Any, *_: Any, **__: Any) -> Artifact:
        """Return an artifact that this program has logged. Raises KeepsakeError for others: there is no server."""
        return logged_artifact(artifact_or_name)

    def __getattr__(self, name: str) -> Any:
        if name not in _NO_EFFECT:
            raise AttributeError(f"A run of Keepsake's has no attribute {name!r}.")
        return lambda *_, **__: once(warn, f"Keepsake has no counterpart of {name}() of a run: it has no effect.")

    def _has_ended(self) -> bool:
        """Whether the script has ended the run; say once that nothing is recorded then."""
        has_ended = self.experiment is not None and self._recorder.experiment is None
        if has_ended:
            once(warn, f"The run {self.name} has ended, so nothing more is recorded in it.")
        return has_ended

    def _attempt(self, action: Any) -> None:
        self._recorder.attempt("A call of a run had no effect", action)
