"""`keepsake diff`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from keepsake.checkpoint import Checkpoint
from keepsake.cli.opening import Settings, open_project, pick
from keepsake.cli.options import IdCommand, id_argument
from keepsake.cli.rendering import bold, faint, short_id, table, when, write
from keepsake.compare.runs import Comparison, compare
from keepsake.compare.values import NOT_SET, Differences
from keepsake.exceptions import DoesNotExist
from keepsake.experiment import Experiment
from keepsake.project import Project
from keepsake.util import console
from keepsake.util.values import cut, escape_controls, full_text

VALUE_WIDTH = 50  # characters of a value
COLUMN_WIDTH = 24  # of the columns of names and of first values; two spaces follow
_NOT_SET = "(not set)"

EXAMPLES = """
Compare the best checkpoints of two experiments:
$ keepsake diff 5ffb0f6 a1b2c3d

Compare two checkpoints:
$ keepsake diff 9f02c7d 5d8f0b6

Compare an experiment with the one before it:
$ keepsake diff a1b2c3d
"""

Side = tuple[Experiment, "Checkpoint | None"]
_PICKED = {
    "best": "matches an experiment, picking the best checkpoint",
    "latest": "matches an experiment, picking the latest checkpoint",
    "": "matches an experiment without checkpoints, comparing the experiment itself",
}


@click.command("diff", cls=IdCommand, epilog=EXAMPLES)
@id_argument("one")
@id_argument("other", "[ID]", required=False)
@click.pass_obj
def diff(settings: Settings, /, one: str, other: str | None) -> None:
    """Compare two experiments or checkpoints.

    An experiment's ID stands for its best checkpoint, or its latest if there is no primary metric. One ID alone is
    compared with the experiment that was created before it.
    """
    project = open_project(settings)
    left = project.target(one)
    if other is None:
        right, other = left, one
        left, one = _before(project, right[0])
    else:
        right = project.target(other)
    write(table(_rows(compare(_picked(left, one), _picked(right, other)))))


def _before(project: Project, experiment: Experiment) -> tuple[Side, str]:
    previous = project.experiments.previous(experiment)
    if previous is None:
        raise DoesNotExist(
            f"{short_id(experiment.id)} is the first experiment, so there is none before it to compare it with.\n"
            "Name two: keepsake diff ID ID"
        )
    console.say(f"Comparing with {short_id(previous.id)}, the experiment before {short_id(experiment.id)}.")
    return (previous, None), short_id(previous.id)


def _picked(side: Side, id: str) -> Side:
    if side[1] is not None:
        return side
    checkpoint, kind = pick(side[0])
    console.say(f'"{id}" {_PICKED[kind]}')
    return side[0], checkpoint


def _rows(comparison: Comparison) -> list[tuple[str, ...]]:
    (one, one_checkpoint), (other, other_checkpoint) = comparison.left, comparison.right
    experiment_ids = [short_id(one.id), short_id(other.id)]
    ids = [short_id(each.id) if each else _NOT_SET for each in (one_checkpoint, other_checkpoint)]
    return [
        *_group("Experiment", comparison.experiment, experiment_ids, nothing=one.id != other.id),
        *_group("Params", comparison.params),
        *_group("Python Packages", comparison.python_packages),
        *_group("Checkpoint", comparison.checkpoint, ids if one_checkpoint or other_checkpoint else []),
        *_group("Metrics", comparison.metrics),
    ]


def _group(
    title: str, differences: Differences, ids: Sequence[str] = (), nothing: bool = True
) -> list[tuple[str, ...]]:
    """Return a title, any IDs, a row for each name whose values differ, and an empty row.

    `nothing`: add a row that says so if no values differ.
    """
    pairs = {name: _texts(*pair) for name, pair in differences.items()}
    rows = [(f"{escape_controls(name)}:", *texts) for name, texts in pairs.items() if texts is not None]
    head = [("ID:", *ids)] if ids else []
    none = [(faint("(no difference)"),)] if nothing else []
    return [(bold(title),), *head, *(rows or none), (" " * COLUMN_WIDTH, " " * COLUMN_WIDTH, "")]


def _texts(left: Any, right: Any) -> tuple[str, str] | None:
    """Return the texts of two values; None for times that are the same to the second."""
    texts = [_text(value) for value in (left, right)]
    if texts[0] == texts[1]:
        if isinstance(left, datetime):
            return None
        texts = [full_text([value])[1:-1] for value in (left, right)]  # quotes tell a string from a number
    return cut(texts[0], VALUE_WIDTH), cut(texts[1], VALUE_WIDTH)


def _text(value: Any) -> str:
    if value is NOT_SET:
        return _NOT_SET
    return when(value) if isinstance(value, datetime) else full_text(value)
