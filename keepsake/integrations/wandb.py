"""A module in the shape of W&B's, for scripts that were written for it: `import keepsake.wandb as wandb`.

A run's values, config, summary and files are recorded as those of an experiment, in the project's repository. Nothing
is sent anywhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from keepsake.exceptions import KeepsakeError
from keepsake.integrations.recorder import Primary, Recorder
from keepsake.integrations.wandb_run import Run
from keepsake.integrations.wandb_values import (
    Artifact,
    Audio,
    Charts,
    Graph,
    Histogram,
    Html,
    Image,
    Media,
    Molecule,
    Object3D,
    Plotly,
    Table,
    Video,
    say_once,
)
from keepsake.project import default_project
from keepsake.util.console import say, warn
from keepsake.util.values import mapping_of

__all__ = [
    "AlertLevel",
    "Api",
    "Artifact",
    "Audio",
    "Error",
    "Graph",
    "Histogram",
    "Html",
    "Image",
    "Media",
    "Molecule",
    "Object3D",
    "Plotly",
    "Run",
    "Settings",
    "Table",
    "Video",
    "agent",
    "alert",
    "controller",
    "define_metric",
    "errors",
    "finish",
    "init",
    "log",
    "log_artifact",
    "log_model",
    "login",
    "mark_preempting",
    "plot",
    "restore",
    "save",
    "setup",
    "sweep",
    "termlog",
    "termwarn",
    "unwatch",
    "use_artifact",
    "util",
    "watch",
]

Error = KeepsakeError
errors = SimpleNamespace(Error=Error, UsageError=Error, CommError=Error)
AlertLevel = SimpleNamespace(INFO="INFO", WARN="WARN", ERROR="ERROR")
Settings = SimpleNamespace  # accepted, and without effect
plot = Charts()
util = SimpleNamespace(generate_id=lambda length=8: os.urandom(length).hex()[:length])

_current: Run | None = None
_latest: Run | None = None  # the last one, which may have ended


def init(
    *,
    project: str | None = None,
    name: str | None = None,
    config: object = None,
    tags: str | Iterable[str] | None = None,
    notes: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    id: str | None = None,
    entity: str | None = None,
    config_exclude_keys: Iterable[str] = (),
    config_include_keys: Iterable[str] | None = None,
    path: str | None = ".",
    primary_metric: Primary | None = None,
    **others: Any,
) -> Run:
    """Begin a run. What a variable such as `WANDB_NAME` says counts where the argument is missing.

    Args:
        project, group, job_type: become tags, such as `group=seeds`.
        name, tags, notes: those of the run.
        config: the hyperparameters: a dict, an argparse.Namespace or the path of a YAML file.
        mode: "disabled": nothing is recorded; others have no effect.
        reinit: whether to end a run that is open. Otherwise, it is returned.
        resume: with an `id`: "allow" goes on with the run that has it, if there is one, "must" raises if there is none,
            and "never" if there is one. Without: True or "auto" goes on with the unfinished run of this job.
        id: its name for `resume`. It becomes the tag `id=…`.
        config_exclude_keys, config_include_keys: params to leave out, or all to keep.
        path: what to save when the run begins, as for `keepsake.init()`.
        primary_metric: one of the metrics and its goal; `define_metric` does the same.
        entity, **others: have no effect.

    Raises what `keepsake.init()` raises, if the run cannot be recorded.
    """
    global _current, _latest
    if _current is not None:
        if reinit in (None, False, "default", "return_previous"):
            warn("A run is open, so wandb.init() returns it. Call wandb.finish() before it, or give reinit=True.")
            return _current
        if reinit != "create_new":
            _current.finish()
    if others.get("sync_tensorboard"):
        say_once("sync", "sync_tensorboard has no effect. Use SummaryWriter of keepsake.tensorboard.")
    given = {"project": project, "name": name, "tags": tags, "notes": notes, "group": group, "job_type": job_type}
    facts = _facts({**given, "id": id, "resume": resume, "mode": mode, "entity": entity})
    values = _config(config, set(config_exclude_keys), config_include_keys)
    options: dict[str, Any] = {"path": path, "name": facts["name"], "notes": facts["notes"], "tags": _tags(facts)}
    earlier = _earlier(facts["id"], facts["resume"])
    recorder = Recorder(None, primary_metric, options={**options, **({"resume": earlier} if earlier else {})})
    if str(facts["mode"]).lower() != "disabled":
        recorder.begin({} if earlier else values)
    experiment = recorder.experiment
    facts["resumed"] = experiment is not None and bool(experiment.restarts)
    _current = _latest = _Run(recorder, values, facts)
    return _current


class _Run(Run):
    """The run that the functions of this module use."""

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run."""
        global _current
        super().finish(exit_code, quiet)
        if _current is self:
            _current = None


def _facts(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments, with what the environment says in place of those that are missing."""
    variables = {"group": "RUN_GROUP", "id": "RUN_ID"}
    facts = {
        name: value if value is not None else os.environ.get(f"WANDB_{variables.get(name, name.upper())}") or None
        for name, value in given.items()
    }
    if isinstance(facts["tags"], str):
        facts["tags"] = facts["tags"].split(",")
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        facts["mode"] = "disabled"
    return facts


def _tags(facts: Mapping[str, Any]) -> list[str]:
    named = [f"{name}={facts[name]}" for name in ("project", "group", "job_type", "id") if facts[name]]
    return [*(str(tag) for tag in facts["tags"] or ()), *(tag.replace(",", "_")[:100] for tag in named)]


def _config(config: object, without: set[str], only: Iterable[str] | None) -> dict[str, Any]:
    """Return the hyperparameters as a dict."""
    if isinstance(config, (str, Path)):
        config = _config_file(Path(config))
    values = {} if config is None else {str(name): value for name, value in mapping_of(config, "config").items()}
    kept = set(values) if only is None else set(only)
    return {name: value for name, value in values.items() if name in kept - without}


def _config_file(path: Path) -> dict[str, Any]:
    """Return what a YAML file says, in which a value may be written as `lr: {value: 0.1}`."""
    import yaml

    try:
        content = mapping_of(yaml.safe_load(path.read_text("utf-8")) or {}, str(path))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise KeepsakeError(
            f"The config {path} cannot be read: {error}. Give a YAML file of names and values."
        ) from error
    return {
        str(name): value["value"] if isinstance(value, dict) and "value" in value else value
        for name, value in content.items()
        if name != "wandb_version"
    }


def _earlier(run_id: str | None, resume: bool | str | None) -> str | None:
    """Return the run to go on with, in the words of `keepsake.init(resume=)`; None for a new one."""
    if run_id is None:
        return "auto" if resume in (True, "auto", "True", "true") else None
    if resume in (None, False):
        return None
    tag = f"id={run_id}".replace(",", "_")[:100]
    try:
        found = default_project.experiments.list(lambda each: tag in each.tags or each.id == run_id)
    except KeepsakeError:  # nothing is recorded yet
        found = []  # type: ignore[assignment]
    if resume == "must" and not found:
        raise KeepsakeError(f"There is no run with the ID {run_id!r} to go on with. Give resume='allow' to begin it.")
    if resume == "never" and found:
        raise KeepsakeError(f"There is a run with the ID {run_id!r}. Give another ID, or resume='allow'.")
    return found[-1].id if found else None


# What the run does


def _call(name: str, *arguments: Any, **named: Any) -> Any:
    """Call a method of the open run. Without one, say so once."""
    if _current is None:
        say_once("no run", f"No run is open, so wandb.{name}() has no effect. Call wandb.init() first.")
        return None
    return getattr(_current, name)(*arguments, **named)


def log(data: Mapping[str, Any], step: Any = None, commit: bool | None = None, **others: Any) -> None:
    """Record values; see `Run.log`."""
    _call("log", data, step, commit, **others)


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """End the run that is open, if there is one."""
    if _current is not None:
        _current.finish(exit_code, quiet)


def save(glob_str: Any = None, base_path: object = None, policy: str = "live", **others: Any) -> list[str]:
    """Save files; see `Run.save`."""
    return _call("save", glob_str, base_path, policy, **others) or []


def log_artifact(artifact_or_path: Any, *arguments: Any, **named: Any) -> Any:
    """Save files; see `Run.log_artifact`."""
    return _call("log_artifact", artifact_or_path, *arguments, **named)


def log_model(path: Any, name: str | None = None, **named: Any) -> None:
    """Save files; see `Run.log_model`."""
    _call("log_model", path, name, **named)


def define_metric(name: str, *arguments: Any, **named: Any) -> None:
    """Choose the primary metric; see `Run.define_metric`."""
    _call("define_metric", name, *arguments, **named)


def alert(title: str, text: str = "", *arguments: Any, **named: Any) -> None:
    """Print an alert."""
    _call("alert", title, text, *arguments, **named)


def watch(*arguments: Any, **named: Any) -> None:
    """Accept a model."""
    _call("watch", *arguments, **named)


def unwatch(*_: Any, **__: Any) -> None:
    """Accept a model."""


def mark_preempting() -> None:
    """Do nothing."""


def login(*_: Any, **__: Any) -> bool:
    """Do nothing: there is no account. Returns True."""
    return True


def setup(*_: Any, **__: Any) -> None:
    """Do nothing."""


def termlog(text: str = "", *_: Any, **__: Any) -> None:
    """Print a text."""
    say(text)


def termwarn(text: str = "", *_: Any, **__: Any) -> None:
    """Print a warning."""
    warn(text)


# What has no counterpart of this shape


def _refuse(what: str, instead: str) -> NoReturn:
    raise KeepsakeError(f"Keepsake has no {what}. {instead}")


def sweep(*_: Any, **__: Any) -> NoReturn:
    """Raise KeepsakeError."""
    _refuse("sweeps", "Search with Optuna and keepsake.optuna.KeepsakeCallback(), or begin a run for each value.")


def agent(*_: Any, **__: Any) -> NoReturn:
    """Raise KeepsakeError."""
    sweep()


def controller(*_: Any, **__: Any) -> NoReturn:
    """Raise KeepsakeError."""
    sweep()


def Api(*_: Any, **__: Any) -> NoReturn:  # noqa: N802 - the name in W&B
    """Raise KeepsakeError."""
    _refuse("server to ask", "keepsake.experiments.list() returns the runs.")


def use_artifact(name: object, *_: Any, **__: Any) -> NoReturn:
    """Raise KeepsakeError."""
    _refuse(f"server to fetch {name!r} from", "keepsake.experiments.get(ID).open(PATH) opens a file of an earlier run.")


def restore(name: object, *_: Any, **__: Any) -> NoReturn:
    """Raise KeepsakeError."""
    use_artifact(name)


def __getattr__(name: str) -> Any:
    """Return the run that is open, None without one; or its config or summary."""
    if name == "run":
        return _current
    if name in ("config", "summary"):
        if _latest is None:
            raise KeepsakeError(f"wandb.{name} belongs to a run. Call wandb.init() first.")
        return getattr(_latest, name)
    raise AttributeError(f"Keepsake's module in the shape of W&B's has no {name!r}.")
