"""`keepsake diff`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from keepsake.checkpoint import Checkpoint
from keepsake.cli.differences import MAX_FILES, changed_files, comparison_table, patch, sheet
from keepsake.cli.opening import Settings, open_project, pick
from keepsake.cli.options import IdCommand, id_argument
from keepsake.cli.rendering import page, short_id, write_json
from keepsake.cli.wide import output_width
from keepsake.comparison import Comparison
from keepsake.exceptions import DoesNotExist
from keepsake.experiment import Experiment
from keepsake.project import Project, Target
from keepsake.util import console

if TYPE_CHECKING:
    from keepsake.compare.files import FileDifference

EXAMPLES = """
Compare the best checkpoints of two experiments, and their code:
$ keepsake diff 5ffb0f6 a1b2c3d

Compare the latest experiment with the one before it:
$ keepsake diff latest

What did the best run change in one file?
$ keepsake diff latest best --path train.py

Only the numbers of changed lines:
$ keepsake diff 5ffb0f6 a1b2c3d --stat

A table of all that differs between more of them:
$ keepsake diff best -1 -2 -3
"""

_PICKED = {
    "best": "matches an experiment, picking the best checkpoint",
    "latest": "matches an experiment, picking the latest checkpoint",
    "": "matches an experiment without checkpoints, comparing the experiment itself",
}


@click.command("diff", cls=IdCommand, epilog=EXAMPLES)
@id_argument("ids", "ID [ID]...", nargs=-1, required=True)
@click.option("--path", metavar="PATH", help="Only the differences in this file or directory")
@click.option("--stat", is_flag=True, help="Which files differ and by how many lines, but not the lines")
@click.option("--no-code", is_flag=True, help="Do not compare files")
@click.option("--json", "as_json", is_flag=True, help="Print output in JSON format")
@click.pass_context
def diff(ctx: click.Context, /, ids: Sequence[str], path: str | None, stat: bool, no_code: bool, as_json: bool) -> None:
    """Compare experiments or checkpoints: values, packages and files.

    An experiment's ID stands for its best checkpoint, or its latest if there is no primary metric. One ID alone is
    compared with the experiment that was created before it. For more than two, a table shows all that differs.

    The values are params, metrics and what else is recorded, such as the command.

    The files are those of the experiment, and those of the checkpoint. Text files are compared by lines. On a terminal,
    a long output goes through the pager that PAGER names.
    """
    if no_code and (path is not None or stat):
        raise click.UsageError("--no-code compares no files, so it excludes --path and --stat.", ctx)
    settings: Settings = ctx.obj
    project = open_project(settings)
    if len(ids) > 2:
        if path is not None or stat:
            raise click.UsageError("--path and --stat compare the files of two, not more.", ctx)
        _many(project, ids, as_json=as_json, files=not no_code)
        return
    comparison = _pair(project, ids)
    files = None if no_code else _files(comparison, path)
    if as_json:
        write_json(comparison.to_json() | ({} if files is None else {"files": [each.to_json() for each in files]}))
        return
    parts = [] if path is not None else [sheet(comparison)]
    if files is not None:
        shown = [] if stat else [patch(each) for each in files if each.text]
        parts += [changed_files(files, None if stat else MAX_FILES), *shown]
    page("\n".join(parts))


def _many(project: Project, ids: Sequence[str], *, as_json: bool, files: bool) -> None:
    comparison = project.compare(ids)
    if files and _has_files(comparison.sides) and _could_read(lambda: comparison.files):
        shown = {"files": comparison.files}
    else:
        shown = {}
    if as_json:
        write_json(comparison.to_json() | shown)
    else:
        page(comparison_table(comparison, output_width(), files=bool(shown)))


def _pair(project: Project, ids: Sequence[str]) -> Comparison:
    if len(ids) == 2:
        targets = [project.target(id) for id in ids]
    else:
        target = project.target(ids[0])
        before = _before(project, target[0])
        targets, ids = [(before, None), target], [short_id(before.id), *ids]
    left, right = map(_picked, targets, ids)
    return left.diff(right)


def _before(project: Project, experiment: Experiment) -> Experiment:
    previous = project.experiments.previous(experiment)
    if previous is None:
        raise DoesNotExist(
            f"{short_id(experiment.id)} is the first experiment, so there is no earlier one to compare it with.\n"
            "Name two: keepsake diff ID ID"
        )
    console.say(f"Comparing with {short_id(previous.id)}, the experiment before {short_id(experiment.id)}.")
    return previous


def _picked(target: Target, name: str) -> Experiment | Checkpoint:
    """Return what is compared: a checkpoint, or an experiment that has none. Say which one was picked."""
    experiment, checkpoint = target
    if checkpoint is not None:
        return checkpoint
    checkpoint, kind = pick(experiment)
    console.say(f'"{name}" {_PICKED[kind]}')
    return checkpoint or experiment


def _files(comparison: Comparison, path: str | None) -> list[FileDifference] | None:
    """Return the files that differ; None if the two have no files, or not in the repository, which is a warning."""
    if path is not None:
        return comparison.files.within(path)
    if _has_files([comparison.left, comparison.right]) and _could_read(lambda: comparison.files):
        return comparison.files.differences
    return None


def _has_files(sides: Sequence[Target]) -> bool:
    return any(each.path for side in sides for each in side if each)


def _could_read(read: Callable[[], object]) -> bool:
    """Whether files can be read. If some are not in the repository, the rest is compared, with a warning."""
    try:
        read()
    except DoesNotExist as error:
        console.warn(f"The files are not compared: {error}")
        return False
    return True
