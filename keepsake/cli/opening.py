"""Opening the project that the options name, asking for confirmation, and completing words with the Tab key."""

from __future__ import annotations

import contextlib
import io
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from keepsake.exceptions import KeepsakeError
from keepsake.project import Project
from keepsake.util import console

if TYPE_CHECKING:
    from keepsake.checkpoint import Checkpoint
    from keepsake.experiment import Experiment
    from keepsake.listing.summary import Summary


class Settings:
    """The values of the global options. There is one instance per run, click's `obj`."""

    def __init__(self) -> None:
        self.repository: str | None = None
        self.project_directory: str | None = None
        self.verbose = False

    def project(self) -> Project:
        """Return the project of `-R` and `-D`, or else of the nearest keepsake.yaml."""
        return Project(repository=self.repository, directory=self.project_directory)


def open_project(settings: Settings) -> Project:
    """Return `settings.project()`, and report experiments that wait."""
    project = settings.project()
    waiting = project.pending(of_others=False)
    if waiting:
        count = console.plural(len(waiting), "experiment")
        them = "it" if len(waiting) == 1 else "them"
        console.say(f"Not fully in the repository yet: {count}. `keepsake sync` sends {them}.")
    return project


def pick(experiment: Experiment) -> tuple[Checkpoint | None, str]:
    """Return the checkpoint that stands for an experiment, and its kind: "best", "latest", or "" without any."""
    if (best := experiment.best()) is not None:
        return best, "best"
    latest = experiment.latest()
    return latest, "latest" if latest else ""


def confirm() -> bool:
    """Ask on stdout whether to continue, and read the answer from stdin.

    The default is no. An unclear answer is asked again. A closed stdin is an error.
    """
    while True:
        click.echo("Do you want to continue? (y/N) ", nl=False)
        line = sys.stdin.readline() if sys.stdin is not None else ""
        if not line:
            click.echo()
            raise KeepsakeError("stdin is closed, so you cannot be asked. In a script, pass the '-f' option.")
        answer = line.strip().lower()
        if answer in ("y", "yes"):
            return True
        if answer in ("", "n", "no"):
            console.error("Aborting.")
            return False
        console.warn("Please enter 'y' or 'n'")


def _summaries_quietly(ctx: click.Context) -> list[Summary]:
    """Return all experiments, or none after any error. A message would garble the line that the user is typing."""
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        return open_project(ctx.ensure_object(Settings)).workplace.view.summaries()
    return []


def complete_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return experiments, newest first, and their best and latest checkpoints, each with a description.

    IDs are short unless two of them begin alike. Words that stand for an experiment come first.
    """
    from keepsake.cli.rendering import ago, labels, short_id, value_lines
    from keepsake.repository.finding import WORDS

    summaries = _summaries_quietly(ctx)
    words = [CompletionItem(word, help=about) for word, about in WORDS.items() if word.startswith(incomplete)]
    found: dict[str, str] = {}
    for summary in reversed(summaries):
        if summary.id.startswith(incomplete):
            params = " ".join(value_lines(summary.params, labels(summary.params))[:3])
            about = f"{ago(summary.created)} {summary.status} {params}"
            found[summary.id] = " ".join(about.replace(",", " ").split())  # fish splits at commas
        for kind, checkpoint in (("best", summary.best), ("latest", summary.latest)):
            if checkpoint and checkpoint["id"].startswith(incomplete):
                about = f"{kind} checkpoint of {short_id(summary.id)} step {checkpoint['step']}"
                found.setdefault(checkpoint["id"], about)
    shared = Counter(map(short_id, found))
    brief = {id: short_id(id) for id in found if shared[short_id(id)] == 1 and len(incomplete) <= len(short_id(id))}
    items = [CompletionItem(brief.get(id, id), help=about) for id, about in found.items()]
    return [*words, *items] if summaries else []


def complete_sort_keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of fields, metrics and params."""
    from keepsake.listing.fields import known_names

    names = {each.name: each.kind for each in known_names(_summaries_quietly(ctx))}
    return [CompletionItem(name, help=kind) for name, kind in names.items() if name.startswith(incomplete)]


def complete_filter(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return a filter with each name that can come next: at its beginning, and after `and`, `or`, `not` and `(`."""
    import re

    found = re.match(r"(?is)(.*(?:\(|(?:and|or|not)\s)\s*)?(.*)", incomplete)
    before, name = found.groups("") if found else ("", incomplete)
    return [CompletionItem(before + item.value, help=item.help) for item in complete_sort_keys(ctx, param, name)]


def complete_paths(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the files of the experiment or checkpoint that is given before."""
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        project = open_project(ctx.ensure_object(Settings))
        experiment, checkpoint = project.target(ctx.params["id"])
        found = project.files((experiment, checkpoint or pick(experiment)[0]))
        paths = sorted({file.path for file in found if file.path.startswith(incomplete)})
        return [CompletionItem(path) for path in paths]
    return []


def complete_metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of metrics."""
    from keepsake.listing.fields import known_names

    names = [each.name for each in known_names(_summaries_quietly(ctx)) if each.kind == "metric"]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
