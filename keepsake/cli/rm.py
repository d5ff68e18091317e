"""`keepsake rm`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from keepsake.checkpoint import Checkpoint
from keepsake.cli.opening import confirm, open_project
from keepsake.cli.options import IdCommand, id_argument
from keepsake.cli.rendering import short_id, write
from keepsake.experiment import Experiment
from keepsake.project import Target
from keepsake.repository.finding import is_word
from keepsake.util import console

EXAMPLES = """
Delete an experiment and its checkpoints
(where a1b2c3d4 is an experiment ID):
$ keepsake rm a1b2c3d4

Delete all experiments where the metric "val_accuracy" is less
than 0.2 at the best checkpoints:
$ keepsake rm $(keepsake ls -q --filter "val_accuracy < 0.2")

Also available as: keepsake delete, keepsake remove
"""


@click.command("rm", cls=IdCommand, epilog=EXAMPLES)
@id_argument("ids", "ID...", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Do not ask")
@click.pass_context
def rm(ctx: click.Context, /, ids: Sequence[str], force: bool) -> None:
    """Remove experiments or checkpoints.

    To remove experiments or checkpoints, pass any number of IDs, or their first characters. An experiment is removed
    with all its checkpoints and files. For a checkpoint, only the files are removed, and its metrics stay. For a word
    such as `latest` or `best`, the question says which experiment it stands for. Nothing brings back what was removed,
    except a copy in another repository: `keepsake pull URL ID`.
    """
    project = open_project(ctx.obj)
    found = [project.target(id) for id in ids]
    targets, words = _without_repeats(found), _words(ids, found)
    for experiment, checkpoint in targets:
        if checkpoint is None and experiment.status == "running":
            console.warn(f"Experiment {short_id(experiment.id)} is still running.")
    if not force:
        write("You are about to delete the following:")
        write("".join(f"* {_describe(*target, words.get(target, ''))}\n" for target in targets))
        if not confirm():
            ctx.exit(1)
    for experiment, checkpoint in targets:
        whole = f"experiment {short_id(experiment.id)} and its checkpoints"
        what = f"checkpoint {short_id(checkpoint.id)}" if checkpoint else whole
        word = words.get((experiment, checkpoint))
        console.say(f"Removing {what}{f' ({word})' if word else ''}...")
    project.delete(targets)


def _words(ids: Sequence[str], found: Sequence[Target]) -> dict[Target, str]:
    """Return, for each target that was named by a word such as `best`, a note that says so."""
    return {target: f"named by {id!r}" for id, target in zip(ids, found, strict=True) if is_word(id)}


def _without_repeats(targets: list[Target]) -> list[Target]:
    """Return each target once, without checkpoints of experiments that are removed anyway."""
    whole = {experiment.id for experiment, checkpoint in targets if checkpoint is None}
    unique = {(checkpoint or experiment).id: (experiment, checkpoint) for experiment, checkpoint in targets}
    return [target for target in unique.values() if target[1] is None or target[0].id not in whole]


def _describe(experiment: Experiment, checkpoint: Checkpoint | None, word: str) -> str:
    name = f"Checkpoint {short_id(checkpoint.id)}" if checkpoint else f"Experiment {short_id(experiment.id)}"
    count = "" if checkpoint else console.plural(len(experiment.checkpoints), "checkpoint")
    facts = ", ".join(filter(None, [word, count]))
    return f"{name} ({facts})" if facts else name
