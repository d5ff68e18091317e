"""A module in the shape of W&B's, for scripts that were written for it: `import keepsake.wandb as wandb`.

A run's values, config, summary and files are recorded as those of an experiment, in the project's repository. Nothing
is sent anywhere else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, NoReturn

from keepsake.exceptions import KeepsakeError
from keepsake.integrations import wandb_sweeps
from keepsake.integrations.recorder import Primary, Recorder
from keepsake.integrations.wandb_arguments import config_of, earlier_run, facts_of, merged, tags_of
from keepsake.integrations.wandb_artifacts import Artifact, logged_artifact
from keepsake.integrations.wandb_run import Run
from keepsake.integrations.wandb_values import (
    Audio,
    Charts,
    Classes,
    EvalTable,
    Graph,
    Histogram,
    Html,
    Image,
    JoinedTable,
    Media,
    Molecule,
    Object3D,
    Plotly,
    Table,
    Video,
)
from keepsake.util.console import once, say, warn

__all__ = [
    "AlertLevel",
    "Api",
    "Artifact",
    "Audio",
    "Classes",
    "CommError",
    "Error",
    "EvalTable",
    "Graph",
    "Histogram",
    "Html",
    "Image",
    "JoinedTable",
    "Media",
    "Molecule",
    "Object3D",
    "Plotly",
    "Run",
    "Settings",
    "Table",
    "UsageError",
    "Video",
    "agent",
    "alert",
    "controller",
    "define_metric",
    "errors",
    "finish",
    "init",
    "join",
    "link_model",
    "log",
    "log_artifact",
    "log_model",
    "login",
    "mark_preempting",
    "plot",
    "plot_table",
    "require",
    "restore",
    "save",
    "setup",
    "sweep",
    "teardown",
    "termerror",
    "termlog",
    "termwarn",
    "unwatch",
    "use_artifact",
    "util",
    "watch",
]

Error = KeepsakeError
CommError = UsageError = Error
errors = SimpleNamespace(Error=Error, UsageError=Error, CommError=Error)
AlertLevel = SimpleNamespace(INFO="INFO", WARN="WARN", ERROR="ERROR")
Settings = SimpleNamespace  # accepted, and without effect
plot = Charts()
plot_table = plot.plot_table
__version__ = "0.31.0"  # the version of W&B that this module stands in for
data_types = sys.modules[__name__]
sdk = wandb_sdk = SimpleNamespace(wandb_run=SimpleNamespace(Run=Run), data_types=data_types)  # named by annotations
util = SimpleNamespace(generate_id=lambda length=8: os.urandom(length).hex()[:length])

_current: Run | None = None
_latest: Run | None = None  # the last one, which may have ended
_swept: tuple[str, dict[str, Any]] | None = None  # a sweep, and what its agent has chosen for the run that it starts


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: str | None = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: str | Iterable[str] | None = None,
    config: object = None,
    config_exclude_keys: Iterable[str] | None = None,
    config_include_keys: Iterable[str] | None = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    force: bool | None = None,
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    *,
    path: str | None = ".",
    primary_metric: Primary | None = None,
    **others: Any,
) -> Run:
    """Begin a run. Environment variables such as `WANDB_NAME` stand in for missing arguments.

    Args:
        project, group, job_type: become tags, such as `group=seeds`.
        name, tags, notes: those of the run.
        config: the hyperparameters: a dict, an argparse.Namespace or the path of a YAML file.
        mode: "disabled": nothing is recorded; others have no effect.
        reinit: whether to end a run that is open. Otherwise, it is returned. None: only in a notebook. "create_new": it
            stays open, and `wandb.run` stays what it is.
        resume: with an `id`: "allow" goes on with the run that has it, if there is one, "must" raises if there is none,
            and "never" if there is one. Without: True or "auto" goes on with the unfinished run of this job.
        id: its name for `resume`. It becomes the tag `id=…`.
        config_exclude_keys, config_include_keys: params to leave out, or all to keep.
        path: what to save when the run begins, as for `keepsake.init()`.
        primary_metric: one of the metrics and its goal; `define_metric` does the same.
        entity, dir, allow_val_change, force, **others: have no effect.

    Raises what `keepsake.init()` raises, if the run cannot be recorded.
    """
    global _current, _latest
    if (open_run := _reused(reinit)) is not None:
        return open_run
    for name in others.keys() & {"resume_from", "fork_from"}:
        once(warn, f"{name} has no effect. resume='allow' with an id goes on with a run.")
    if others.get("sync_tensorboard") or others.get("tensorboard"):
        once(warn, "sync_tensorboard has no effect. Use SummaryWriter of keepsake.tensorboard.")
    given = {"project": project, "name": name, "tags": tags, "notes": notes, "group": group, "job_type": job_type}
    sweep_id, chosen = _swept or (None, {})
    facts = {**facts_of({**given, "id": id, "resume": resume, "mode": mode, "entity": entity}), "sweep": sweep_id}
    values = merged(config_of(config, set(config_exclude_keys or ()), config_include_keys), chosen)
    facts["chosen"] = frozenset(chosen)
    options: dict[str, Any] = {"path": path, "name": facts["name"], "notes": facts["notes"], "tags": tags_of(facts)}
    if earlier := earlier_run(facts["id"], facts["resume"]):
        options["resume"] = earlier
    recorder = Recorder(None, primary_metric or wandb_sweeps.metric_of(sweep_id), options=options)
    if str(facts["mode"]).lower() != "disabled":
        recorder.begin({} if earlier else values)
    experiment = recorder.experiment
    facts["resumed"] = experiment is not None and bool(experiment.restarts)
    run = _Run(recorder, values, facts)
    if reinit != "create_new":
        _current = _latest = run
    return run


def _reused(reinit: bool | str | None) -> Run | None:
    """Return the open run if `init` returns it instead of beginning another. End it if `reinit` says so."""
    if _current is None or reinit == "create_new" or _current.process != os.getpid():  # a forked one has its own run
        return None
    if reinit in (None, "default"):
        reinit = _in_notebook()  # where a cell is often run again
    if reinit in (False, "return_previous"):
        warn("A run is open, so wandb.init() returns it. Call wandb.finish() before it, or give reinit=True.")
        return _current
    _current.finish()
    return None


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and "ipykernel" in sys.modules and ipython.get_ipython() is not None


class _Run(Run):
    """The run that the functions of this module use."""

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run."""
        global _current
        super().finish(exit_code, quiet)
        if _current is self:
            _current = None


# What the run does


def _verb(method: Callable[..., Any], otherwise: Callable[[], Any] = lambda: None) -> Callable[..., Any]:
    """Return a function that calls a method of the open run. Without one, it says so once, and returns `otherwise`."""

    def call(*arguments: Any, **named: Any) -> Any:
        if _current is None:
            name = method.__name__
            once(warn, f"No run is open, so wandb.{name}() has no effect. Call wandb.init() first.", "no run")
            return otherwise()
        return getattr(_current, method.__name__)(*arguments, **named)

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


log = _verb(Run.log)
save = _verb(Run.save, list)
log_artifact = _verb(Run.log_artifact)
log_model = _verb(Run.log_model)
link_model = _verb(Run.link_model)
define_metric = _verb(Run.define_metric)
alert = _verb(Run.alert)
watch = _verb(Run.watch)


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """End the run that is open, if there is one."""
    if _current is not None:
        _current.finish(exit_code, quiet)


join = teardown = finish


def setup(*_: Any, **__: Any) -> None:
    """Do nothing."""


mark_preempting = require = unwatch = setup


def login(*_: Any, **__: Any) -> bool:
    """Do nothing: there is no account. Returns True."""
    return True


def termlog(text: str = "", *_: Any, **__: Any) -> None:
    """Print a text."""
    say(text)


def termwarn(text: str = "", *_: Any, **__: Any) -> None:
    """Print a warning or an error."""
    warn(text)


termerror = termwarn


# Sweeps


def sweep(sweep: object, *_: Any, **__: Any) -> str:
    """Note the parameters that a sweep tries, and return an ID for `agent`. Other programs do not know it."""
    return wandb_sweeps.add(sweep() if callable(sweep) else sweep)


def agent(
    sweep_id: str,
    function: Callable[[], object] | None = None,
    entity: str | None = None,
    project: str | None = None,
    count: int | None = None,
    *_: Any,
    max_consecutive_failed_runs: int | None = None,
    **__: Any,
) -> None:
    """Call a function for each run of a sweep, here and one after another. What is chosen is in `wandb.config`.

    Args:
        function: calls `wandb.init()`. An exception of it ends its run as failed, and the next one begins.
        count: how many runs; None: all of a grid. A random search goes on until it is interrupted.
        max_consecutive_failed_runs: how many of them, one after another, end the sweep (default: 5).
        sweep_id, entity, project: as in W&B.

    Raises KeepsakeError if this program has not called `sweep()`.
    """
    if function is None:
        once(warn, "Keepsake starts no programs: wandb.agent() without a function has no effect.")
        return

    def attempt(values: dict[str, Any]) -> Exception | None:
        global _swept
        finish()
        _swept = (sweep_id, values)
        try:
            function()
        except BaseException as error:
            if _current is not None:
                _current.__exit__(type(error), error, None)
            if not isinstance(error, Exception):
                raise
            warn(f"A run of the sweep has failed: {type(error).__name__}: {error}")
            return error
        finally:
            _swept = None
            finish()
        return None

    wandb_sweeps.run(sweep_id, attempt, count, max_consecutive_failed_runs)


# What has no counterpart of this shape


def _refuse(what: str, instead: str) -> NoReturn:
    raise KeepsakeError(f"Keepsake has no {what}. {instead}")


def controller(*_: Any, **__: Any) -> NoReturn:
    """Raise KeepsakeError."""
    _refuse("controller of sweeps", "wandb.agent(sweep_id, function) runs them.")


def Api(*_: Any, **__: Any) -> NoReturn:  # noqa: N802 - the name in W&B
    """Raise KeepsakeError."""
    _refuse("server to ask", "keepsake.experiments.list() returns the runs.")


def use_artifact(artifact_or_name: Any, *_: Any, **__: Any) -> Artifact:
    """Return an artifact that this program has logged; see `Run.use_artifact`."""
    return logged_artifact(artifact_or_name)


def restore(name: object, *_: Any, **__: Any) -> NoReturn:
    """Raise KeepsakeError."""
    _refuse(f"server to fetch {name!r} from", "keepsake.experiments.get(ID).open(PATH) opens a file of an earlier run.")


def __getattr__(name: str) -> Any:
    """Return the run that is open, None without one; or its config or summary."""
    if name == "run":
        return _current
    if name in ("config", "summary"):
        if _latest is None:
            raise KeepsakeError(f"wandb.{name} belongs to a run. Call wandb.init() first.")
        return getattr(_latest, name)
    raise AttributeError(f"Keepsake's module in the shape of W&B's has no {name!r}")
