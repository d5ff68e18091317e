"""`keepsake show`."""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import click

from keepsake.checkpoint import Checkpoint
from keepsake.cli.opening import Settings, open_project
from keepsake.cli.options import IdCommand, id_argument
from keepsake.cli.rendering import ago, bold, faint, short_id, table, when, write, write_json
from keepsake.exceptions import KeepsakeError
from keepsake.experiment import Experiment
from keepsake.listing.subjects import flatten
from keepsake.recording.machine import facts
from keepsake.util import console
from keepsake.util.console import format_size, plural
from keepsake.util.values import escape_controls, full_text, short_text
from keepsake.util.width import pad, text_width

METRIC_WIDTH = 10  # characters of a value in the table of checkpoints
TRACEBACK_LINES = 4  # of the end of a traceback that are shown by default
MAX_PACKAGES = 5  # with more, only the well-known ones are shown by default
WELL_KNOWN = (
    " accelerate catboost cntk datasets diffusers flax jax jaxlib keras lightgbm lightning mxnet numpy onnx optax"
    " pandas polars pytorch-lightning pytorch_lightning scikit-learn scikit_learn scipy sklearn tensorflow tokenizers"
    " torch torchaudio torchvision transformers xgboost "
)

EXAMPLES = """
Show an experiment and its checkpoints
(the first characters of an ID are enough):
$ keepsake show 5ffb0f6

Show the experiment with the best primary metric, and the latest one:
$ keepsake show best
$ keepsake show latest

Show one checkpoint, with all Python packages:
$ keepsake show 9f02c7d --all

Show the record as it is stored:
$ keepsake show 5ffb0f6 --json
"""

_ALWAYS = ("Created", "Status", "Host", "User", "Command")  # rows that are shown even if they are empty
_WHY_RESTARTED = {"killed": "preempted", "terminated": "preempted", "interrupted": "interrupted"}

Group = tuple[str, dict[str, str], str]  # title, label → text, a line below


@click.command("show", cls=IdCommand, epilog=EXAMPLES)
@id_argument()
@click.option("--all", "everything", is_flag=True, help="Show all information")
@click.option("--json", "as_json", is_flag=True, help="Print output in JSON format")
@click.pass_obj
def show(settings: Settings, /, id: str, everything: bool, as_json: bool) -> None:
    """View information about an experiment or checkpoint.

    ID is an experiment's or checkpoint's ID, or its first characters. Wherever an ID is expected, `latest` stands for
    the experiment that was created last, -1 for the same, -2 for the one before, `best` for the experiment with the
    best primary metric, and 5ffb0f6:best or -1:latest for the best or latest checkpoint of an experiment.
    """
    experiment, checkpoint = open_project(settings).target(id)
    if as_json:
        write_json((checkpoint or experiment).to_json())
    elif checkpoint:
        write(_show_checkpoint(experiment, checkpoint, everything))
    else:
        write(_show_experiment(experiment, everything))


def _show_experiment(experiment: Experiment, everything: bool) -> str:
    about = _about(experiment) | _children(experiment)
    groups = [("", about, ""), *_details(experiment, everything)]
    parts = [_sheet(f"Experiment: {experiment.id}", groups), "", *_traceback(experiment, everything)]
    parts += [bold("Checkpoints"), _checkpoint_table(experiment), ""]
    return "\n".join([*parts, "To see more details about a checkpoint, run:", "  keepsake show <checkpoint ID>"])


def _traceback(experiment: Experiment, everything: bool) -> list[str]:
    """Return the lines of the traceback of the exception that ended a run, by default the last ones."""
    lines = (experiment.traceback or "").rstrip().split("\n")
    if not experiment.traceback or experiment.status == "running":
        return []
    hidden = 0 if everything or len(lines) <= TRACEBACK_LINES + 1 else len(lines) - TRACEBACK_LINES
    note = [faint(f"... {hidden} lines before these. Use --all to view.")] if hidden else []
    return [bold("Traceback"), *note, *map(escape_controls, lines[hidden:]), ""]


def _show_checkpoint(experiment: Experiment, checkpoint: Checkpoint, everything: bool) -> str:
    about = {"Created": when(checkpoint.created), "Path": _path(checkpoint), "Step": str(checkpoint.step or 0)}
    about |= _children(checkpoint)
    groups = [
        ("", about, ""),
        ("Experiment", {"ID": experiment.id, **_about(experiment)}, ""),
        *_details(experiment, everything),
        ("Metrics", _metrics(checkpoint), ""),
    ]
    return _sheet(f"Checkpoint: {checkpoint.id}", groups) + "\n"


def _about(experiment: Experiment) -> dict[str, str]:
    status, ended, reason = experiment.status, experiment.ended, experiment.end_reason
    has_ended = ended is not None and status != "running"
    end = when(ended) + (f" ({reason})" if reason else "") if ended and has_ended else ""
    error = experiment.error if has_ended else None
    rows = {
        "Name": experiment.name,
        "Tags": ", ".join(experiment.tags),
        "Created": when(experiment.created),
        "Status": status,
        "Ended": end,
        "Error": error,
        "Host": experiment.host,
        "User": experiment.user,
        "Command": experiment.command,
        **_job(experiment),
        "Parent": _parent(experiment.parent, experiment) if experiment.parent else None,
        "Keep": experiment.keep,
        **_output(experiment),
        "Notes": experiment.notes,
    }
    return {label: text or "" for label, text in rows.items() if text or label in _ALWAYS}


def _job(experiment: Experiment) -> dict[str, str]:
    """Return the rows about the scheduler's job, and about its restarts."""
    job, restarts = experiment.job, experiment.restarts
    rows = {"Job": f"{job.get('system')} {job.get('id')}"} if job else {}
    if restarts:
        reasons = [str(restart.get("reason")) for restart in restarts]
        kind = "failed" if reasons[-1].startswith(("exception", "exit")) else _WHY_RESTARTED.get(reasons[-1], "ended")
        rows["Restarts"] = f"{kind}, restarted {len(restarts)} ×"
    return rows


def _output(experiment: Experiment) -> dict[str, str]:
    """Return the row about what a run has printed, if that was kept."""
    if (output := experiment.output) is None:
        return {}
    lines = output["lines"]
    text = f"{plural(lines, 'line')}, {format_size(output['size'])}" if lines else "kept"
    return {"Output": f"{text} (keepsake logs {experiment.short_id()})"}


def _path(checkpoint: Checkpoint) -> str:
    return f"pruned ({checkpoint.pruned})" if checkpoint.pruned else checkpoint.path or ""


def _children(parent: Experiment | Checkpoint) -> dict[str, str]:
    """Return the row with the experiments that came from `parent`, if there are any."""
    listed = ", ".join(child.short_id() for child in parent.children())
    return {"Children": listed} if listed else {}


def _parent(id: str, experiment: Experiment) -> str:
    try:
        parent, checkpoint = experiment.project.target(id)
    except KeepsakeError:
        return f"{short_id(id)} (not in this repository)"
    if checkpoint is None:
        return f"experiment {parent.short_id()}"
    return f"checkpoint {checkpoint.short_id()} of experiment {parent.short_id()}"


def _details(experiment: Experiment, everything: bool) -> list[Group]:
    groups: list[Group] = [("Params", _texts(experiment.params), "")]
    python = {"Python version": experiment.python_version} if experiment.python_version else {}
    if system := {**python, **facts(experiment.environment)}:
        groups.append(("System", system, ""))
    packages = experiment.python_packages or {}
    shown = packages if everything else _main_packages(packages)
    hidden = len(packages) - len(shown)
    note = faint(f"... and {hidden} more. Use --all to view.") if hidden else ""
    return [*groups, ("Python packages", _texts(shown), note)]


def _main_packages(packages: dict[str, str]) -> dict[str, str]:
    """Return the well-known among many packages, or else the first few."""
    if len(packages) <= MAX_PACKAGES:
        return packages
    known = {name: version for name, version in packages.items() if f" {name.lower()} " in WELL_KNOWN}
    return known or dict(sorted(packages.items())[:MAX_PACKAGES])


def _metrics(checkpoint: Checkpoint) -> dict[str, str]:
    metrics = _texts(checkpoint.metrics)
    primary = checkpoint.primary_metric
    if primary and primary["name"] in metrics:
        metrics[primary["name"]] += f" (primary, {primary.get('goal')})"
    return metrics


def _texts(values: dict[str, Any] | None) -> dict[str, str]:
    return {name: full_text(value) for name, value in sorted(_flat(values or {}).items())}


def _flat(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return values with those in dicts under their paths, on a terminal. What is piped keeps the form of 0.4.2."""
    return flatten(values) if console.is_terminal(sys.stdout) else values


def _sheet(heading: str, groups: list[Group]) -> str:
    """Return a heading, then groups of aligned `label: value` rows with titles, each after an empty line."""
    width = max(text_width(text) for title, rows, _ in groups for text in (title, *(f"{label}:" for label in rows)))
    parts = [click.style(escape_controls(heading), bold=True, underline=True)]
    for title, rows, note in groups:
        body = [(pad(f"{escape_controls(label)}:", width), full_text(text)) for label, text in rows.items()]
        lines = ["", title and bold(title), table(body) or faint("(none)"), note]
        parts += lines[:1] + [line for line in lines[1:] if line]
    return "\n".join(parts)


def _checkpoint_table(experiment: Experiment) -> str:
    """Return the checkpoints with all metrics, or on a terminal with those that fit its width."""
    primary, best = experiment.primary_metric(), experiment.best()
    rows = [_flat(checkpoint.metrics or {}) for checkpoint in experiment.checkpoints]
    names = sorted({name for values in rows for name in values})
    if console.is_terminal(sys.stdout):
        return _wide_table(experiment, rows, names)
    table_rows = [["ID", "STEP", "CREATED", *(escape_controls(name).upper() for name in names)]]
    for checkpoint, values in zip(experiment.checkpoints, rows, strict=True):
        metrics = {name: short_text(value, METRIC_WIDTH) for name, value in values.items()}
        if checkpoint is best:
            metrics[primary or ""] += " (best)"
        head = [short_id(checkpoint.id), str(checkpoint.step or 0), ago(checkpoint.created.timestamp())]
        table_rows.append([*head, *(metrics.get(name, "") for name in names)])
    return table(table_rows)


def _wide_table(experiment: Experiment, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    from keepsake.cli.wide import wide_table  # only here, because it takes a while
    from keepsake.display.overview import BEST, brief_ago, ids_column, values_column
    from keepsake.display.table import Column

    checkpoints, primary, best = experiment.checkpoints, experiment.primary_metric(), experiment.best()
    columns = [
        ids_column([checkpoint.id for checkpoint in checkpoints]),
        Column("step", "STEP", lambda: [str(checkpoint.step or 0) for checkpoint in checkpoints], whole=True),
        Column("created", "CREATED", lambda: [brief_ago(c.created.timestamp()) for c in checkpoints], whole=True),
    ]
    for name in names:
        column = values_column(name, rows)
        column.rank = 1 if name == primary else 2
        if name == primary and best:
            marks = [BEST if checkpoint is best else "" for checkpoint in checkpoints]
            column.make = partial(list, map(operator.add, column.texts, marks))
            del column.texts
        columns.append(column)
    files = ["pruned" if checkpoint.pruned else escape_controls(checkpoint.path or "") for checkpoint in checkpoints]
    if len(set(files)) > 1:
        columns.append(Column("files", "FILES", lambda: files, rank=1))
    return "\n".join(wide_table(columns, {}, console.terminal_width(sys.stdout), "--json").within(None))
