"""Makes the references in docs/reference/ from the code: `make docs`. --check: only say if they are up to date."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["COLUMNS"] = "90"

import click

import keepsake
from keepsake.cli import cli

DIRECTORY = Path(__file__).parent / "reference"
NOTE = "<!-- Made by docs/generate.py from the code; do not edit. -->\n\n"
CLASSES = (
    keepsake.Project,
    keepsake.ExperimentCollection,
    keepsake.Experiment,
    keepsake.ExperimentList,
    keepsake.Checkpoint,
    keepsake.CheckpointList,
)


def command_line() -> str:
    """The help of every command."""
    with click.Context(cli, info_name="keepsake") as context:
        sections = [f"# The command line\n\n```text\n{cli.get_help(context)}\n```\n"]
        for name in cli.list_commands(context):
            command = cli.get_command(context, name)
            assert command is not None  # noqa: S101
            with click.Context(command, info_name=name, parent=context) as inner:
                sections.append(f"## keepsake {name}\n\n```text\n{command.get_help(inner)}\n```\n")
    exits = "\nExit status: 0 for success, 1 for failure, 2 for wrong usage, 130 for Ctrl-C.\n"
    return NOTE + "\n".join(sections) + exits


def python() -> str:
    """The docstrings of the public names."""
    about = (
        "`keepsake.experiments` is the ExperimentCollection, and `keepsake.default_project` the Project, of the "
        "project in which the program runs.\n"
    )
    sections = ["# The Python API\n", about, _section("keepsake.init", keepsake.init, "##")]
    for cls in CLASSES:
        sections.append(_section(cls.__name__, cls, "##"))
        sections += [_section(f"{cls.__name__}.{name}", member, "###") for name, member in _members(cls)]
    sections.append(f"## keepsake.exceptions\n\n```text\n{inspect.cleandoc(keepsake.exceptions.__doc__ or '')}\n```\n")
    return NOTE + "\n".join(sections)


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(cls).items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, (property, classmethod))):
            yield name, member


def _section(title: str, member: Any, level: str) -> str:
    function = member.__func__ if isinstance(member, classmethod) else member
    is_property = isinstance(member, property)
    if is_property or (dataclasses.is_dataclass(member) and isinstance(member, type)):
        signature = ""
    else:
        shown = inspect.signature(function)
        parameters = [p for name, p in shown.parameters.items() if name not in ("self", "cls")]
        signature = str(shown.replace(parameters=parameters)).replace("'", "")
    text = inspect.cleandoc(function.__doc__ or "")
    assert text, f"{title} has no docstring"  # noqa: S101
    return (
        f"{level} {title}\n\n"
        + (f"```python\n{title}{signature}\n```\n\n" if signature else "")
        + _markdown(text)
        + "\n"
    )


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
