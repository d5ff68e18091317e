"""Makes the references in docs/reference/ from the code: `make docs`. --check: only say if they are up to date."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import textwrap
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ["COLUMNS"] = "90"

import click

import keepsake
from keepsake.analysis import Analysis
from keepsake.cli import cli
from keepsake.compare.files import FileComparison, FileDifference
from keepsake.compare.groups import Group, Spread
from keepsake.comparison import Comparison, ComparisonTable
from keepsake.recorded import Recorded
from keepsake.recording.preview import Preview
from keepsake.recording.recovery import Pending, Sent
from keepsake.report.report import Report
from keepsake.repository.copying import Copied, Outcome
from keepsake.repository.problems import Diagnosis, Problem
from keepsake.restoring.checkout import Plan
from keepsake.workplace import SavedFile

DIRECTORY = Path(__file__).parent / "reference"
WIDTH = 100
NOTE = "<!-- Made by docs/generate.py from the code; do not edit. -->\n\n"
CLASSES = (
    keepsake.Project,
    keepsake.ExperimentList,
    keepsake.ExperimentCollection,
    keepsake.Experiment,
    keepsake.CheckpointCollection,
    keepsake.Checkpoint,
    keepsake.CheckpointList,
    Comparison,
    ComparisonTable,
    FileComparison,
)
RESULTS = (
    FileDifference,
    SavedFile,
    Preview,
    Group,
    Spread,
    Plan,
    Pending,
    Sent,
    Copied,
    Outcome,
    Diagnosis,
    Problem,
    Report,
)  # what some methods return
# Public for the package's own modules only, or described with the attributes of its class
OMITTED = {
    "best_and_latest",
    "checkpoints",
    "created_text",
    "declared_metric",
    "from_json",
    "from_record",
    "resolved",
    "owner",
    "record",
    "time_to",
    "workplace",
}
# Each command, and what does the same in Python
TWINS = {
    "cat": ("Experiment.open", "Checkpoint.open", "Project.open"),
    "checkout": ("Experiment.checkout", "Checkpoint.checkout", "Project.checkout", "keepsake.undo_checkout"),
    "completion": (),
    "diff": (
        "Experiment.diff",
        "Checkpoint.diff",
        "Project.compare",
        "ExperimentList.compare",
        "ExperimentCollection.previous",
    ),
    "files": ("Experiment.files", "Checkpoint.files", "Project.files", "Project.preview"),
    "doctor": ("Project.doctor",),
    "du": ("Project.disk_usage",),
    "import": ("Project.import_runs",),
    "logs": ("Experiment.logs", "Experiment.follow_logs", "Experiment.output"),
    "ls": ("ExperimentCollection.list", "ExperimentList.group"),
    "note": ("Experiment.note", "Experiment.notes"),
    "plot": (
        "ExperimentList.draw",
        "ExperimentList.draw_importance",
        "ExperimentList.plot",
        "ExperimentList.importance",
        "ExperimentList.importances",
    ),
    "prune": ("Project.prune", "Project.plan_pruning"),
    "ps": ("Experiment.is_running",),
    "pull": ("Project.pull",),
    "push": ("Project.push",),
    "report": ("ExperimentList.report",),
    "rename": ("Experiment.rename", "Experiment.name"),
    "rerun": ("Experiment.rerun", "Project.rerun", "Project.plan_rerun"),
    "rm": ("Project.delete", "Experiment.delete", "ExperimentList.delete"),
    "show": ("Project.find", "ExperimentCollection.get", "CheckpointCollection.get"),
    "sync": ("Project.sync", "Project.pending"),
    "tag": ("Experiment.tag", "Experiment.untag", "Experiment.tags"),
}
ABOUT_COMMANDS = """\
Every command prints its results to stdout and all else to stderr, so that its output can be piped. Each one names the
part of [the Python API](python.md) that does the same.

Exit status: 0 for success, 1 for failure, 2 for wrong usage, 130 for Ctrl-C.
"""
ABOUT_PYTHON = """\
Whatever [the command line](command-line.md) does, the library does too. Each part names the command that does the
same.

`keepsake.default_project` is the Project in which the program runs, `keepsake.experiments` its
ExperimentCollection, and `keepsake.checkpoints` its CheckpointCollection. A *target* is a pair: an experiment, and one
of its checkpoints or None.
"""


def command_line() -> str:
    """The help of every command."""
    with click.Context(cli, info_name="keepsake") as context:
        sections = [f"# The command line\n\n{ABOUT_COMMANDS}\n```text\n{cli.get_help(context)}\n```\n"]
        for name in cli.list_commands(context):
            command = cli.get_command(context, name)
            assert command is not None  # noqa: S101
            with click.Context(command, info_name=name, parent=context) as inner:
                sections.append(f"## keepsake {name}\n\n```text\n{command.get_help(inner)}\n```\n")
            twins = ", ".join(f"[`{twin}`](python.md#{_anchor(twin)})" for twin in TWINS[name])
            sections += [f"In Python: {twins}\n"] if twins else []
    return NOTE + "\n".join(sections)


def python() -> str:
    """The docstrings of the public names."""
    sections = [f"# The Python API\n\n{ABOUT_PYTHON}", _section("keepsake.init", keepsake.init, "##")]
    for cls in CLASSES:
        sections.append(_section(cls.__name__, cls, "##"))
        sections += [_section(f"{cls.__name__}.{name}", member, "###") for name, member in _members(cls)]
    sections.append(_section("keepsake.undo_checkout", keepsake.undo_checkout, "##"))
    sections.append("## Results\n\nWhat some of these methods return, or hand to a function of yours.\n")
    sections += [_result(cls) for cls in RESULTS]
    sections.append(f"## keepsake.exceptions\n\n```text\n{inspect.cleandoc(keepsake.exceptions.__doc__ or '')}\n```\n")
    return NOTE + "\n".join(sections)


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    bases = [base for base in cls.__mro__ if base.__module__.startswith("keepsake.")]
    if cls is keepsake.ExperimentCollection:
        bases.remove(Analysis)  # ExperimentList has it, too
    bases.sort(key=lambda base: base is not Recorded)  # checkpoint() and stop() come first
    for name, member in ((name, member) for base in bases for name, member in vars(base).items()):
        is_member = inspect.isfunction(member) or isinstance(member, (property, cached_property, classmethod))
        if (
            is_member
            and inspect.getattr_static(cls, name) is member
            and not name.startswith("_")
            and name not in OMITTED
        ):
            yield name, member


def _section(title: str, member: Any, level: str) -> str:
    function = member.__func__ if isinstance(member, classmethod) else member
    has_signature = not (
        isinstance(member, (property, cached_property))
        or (dataclasses.is_dataclass(member) and isinstance(member, type))
    )
    text = inspect.cleandoc(function.__doc__ or "")
    assert text, f"{title} has no docstring"  # noqa: S101
    return (
        f"{level} {title}\n\n"
        + (f"```python\n{_signature(title, function)}\n```\n\n" if has_signature else "")
        + _markdown(text)
        + "\n"
        + _commands(title)
    )


def _signature(title: str, function: Any) -> str:
    """A call with its parameters, each on a line of its own if they do not fit into one."""
    parts: list[str] = []
    shown = inspect.signature(function)
    for name, parameter in shown.parameters.items():
        if name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        default = "..." if callable(parameter.default) else repr(parameter.default)
        parts.append(
            ("**" if parameter.kind is parameter.VAR_KEYWORD else "")
            + f"{name}: {parameter.annotation}"
            + ("" if parameter.default is parameter.empty else f" = {default}")
        )
    returned = "" if inspect.isclass(function) else f" -> {shown.return_annotation}"
    line = f"{title}({', '.join(parts)}){returned}"
    if len(line) <= WIDTH:
        return line
    return f"{title}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returned}"


def _commands(title: str) -> str:
    """The commands that do the same as a part of the API."""
    found = [f"[`keepsake {name}`](command-line.md#keepsake-{name})" for name, twins in TWINS.items() if title in twins]
    return f"\nOn the command line: {', '.join(found)}\n" if found else ""


def _result(cls: type) -> str:
    fields = "\n".join(
        f"{name}: {getattr(kind, '__forward_arg__', kind)}" for name, kind in inspect.get_annotations(cls).items()
    )
    return f"### {cls.__name__}\n\n```text\n{fields}\n```\n\n{_markdown(inspect.cleandoc(cls.__doc__ or ''))}\n"


def _anchor(title: str) -> str:
    """What a link to a heading ends in, on GitHub."""
    return title.lower().replace(".", "").replace(" ", "-")


def _markdown(text: str) -> str:
    """Show the indented parts of a docstring (Args, Raises) as they stand."""
    paragraphs = []
    for paragraph in text.split("\n\n"):
        head, newline, body = paragraph.partition("\n")
        if head.endswith(":") and body.startswith(" "):
            paragraphs.append(f"{head}\n\n```text\n{textwrap.dedent(body)}\n```")
        else:
            paragraphs.append(head + newline + body)
    return "\n\n".join(paragraphs)


def main(check: bool) -> int:
    """Write the references, or compare them with what would be written."""
    stale = []
    DIRECTORY.mkdir(exist_ok=True)
    for name, content in (("command-line.md", command_line()), ("python.md", python())):
        path = DIRECTORY / name
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            stale.append(name)
            if not check:
                path.write_text(content, encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"docs/reference: {', '.join(stale)} is not what the code says. Run `make docs`.\n")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
