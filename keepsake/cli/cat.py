"""`keepsake cat`."""

from __future__ import annotations

import shutil
import sys

import click

from keepsake.cli.opening import Settings, complete_paths, open_project, pick
from keepsake.cli.options import IdCommand, id_argument
from keepsake.exceptions import KeepsakeError

_BEGINNING = 8192  # bytes in which a binary file has a zero, as git takes it

EXAMPLES = """
Read the code of the best run:
$ keepsake cat best train.py

Copy the weights of a checkpoint:
$ keepsake cat 9f02c7d model.pth > model.pth
"""


@click.command("cat", cls=IdCommand, epilog=EXAMPLES)
@id_argument()
@click.argument("path", metavar="PATH", shell_complete=complete_paths)
@click.pass_obj
def cat(settings: Settings, /, id: str, path: str) -> None:
    """Write a file of an experiment or checkpoint to stdout.

    It is written as it was saved. A checkpoint's file is looked for in the checkpoint, then in its experiment. An
    experiment's ID stands for its best checkpoint, or its latest if there is no primary metric. Only this file is
    fetched, from a bucket too.
    """
    project = open_project(settings)
    experiment, checkpoint = project.target(id)
    with project.open((experiment, checkpoint or pick(experiment)[0]), path) as file:
        if sys.stdout.isatty() and b"\0" in file.read(_BEGINNING):
            raise KeepsakeError(f"{path!r} is binary. Redirect it into a file: keepsake cat {id} {path} > FILE")
        file.seek(0)
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
