"""`keepsake files`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from keepsake.cli.opening import Settings, open_project, pick
from keepsake.cli.options import IdCommand, id_argument
from keepsake.cli.rendering import bold, counted, faint, page, short_id, table, write_json
from keepsake.project import Project
from keepsake.util.console import format_size
from keepsake.util.values import escape_controls

if TYPE_CHECKING:
    from keepsake.recording.preview import Preview

EXAMPLES = """
What would init(path=".") save now, and what would it leave out?
$ keepsake files

What does the best run hold?
$ keepsake files best

What does one checkpoint hold?
$ keepsake files 9f02c7d
"""


@click.command("files", cls=IdCommand, epilog=EXAMPLES)
@id_argument(metavar="[ID]", required=False)
@click.option("--path", metavar="PATH", help="Without an ID: what init(path=PATH) would save. Default: .")
@click.option("--json", "as_json", is_flag=True, help="Print output in JSON format")
@click.pass_context
def files(ctx: click.Context, /, id: str | None, path: str | None, as_json: bool) -> None:
    """List the saved files, or those that init() would save now.

    The largest come first. No file is fetched. An experiment's ID stands for its files and those of its best
    checkpoint, or its latest if there is no primary metric. Without an ID, list what init() would save in this project
    now, and what it would leave out.
    """
    settings: Settings = ctx.obj
    if id is None:
        preview = Project(settings.repository, settings.project_directory).preview(path or ".")
        write_json(preview.to_json()) if as_json else page(_would_save(preview))
        return
    if path is not None:
        raise click.UsageError("--path cannot be combined with an ID.", ctx)
    project = open_project(settings)
    experiment, checkpoint = project.target(id)
    kind = ""
    if checkpoint is None:
        checkpoint, kind = pick(experiment)
    found = project.files((experiment, checkpoint))
    if as_json:
        write_json([file.to_json() for file in found])
        return
    titles = {experiment.id: f"Experiment {short_id(experiment.id)}"}
    if checkpoint is not None:
        titles[checkpoint.id] = f"Checkpoint {short_id(checkpoint.id)}" + (f" ({kind})" if kind else "")
    groups = {title: [(file.path, file.size) for file in found if file.of == of] for of, title in titles.items()}
    page("\n\n".join(_group(title, group) for title, group in groups.items() if group))


def _would_save(preview: Preview) -> str:
    parts = [_group(f"init(path={preview.path!r}) would save", list(preview.files.items()), ":")]
    if preview.left_out:
        rows = [(escape_controls(path), faint(escape_controls(why))) for path, why in preview.left_out.items()]
        parts.append("\n".join([bold("Left out"), table(rows)]))
    return "\n\n".join(parts)


def _group(title: str, sizes: Sequence[tuple[str, int]], end: str = "") -> str:
    """Return a title with totals, and a line for each file."""
    total = sum(size for _, size in sizes)
    head = bold(f"{title}{'' if end else ':'} {counted(sizes, 'file')}, {format_size(total)}{end}")
    return "\n".join([head, *_lines(sorted(sizes, key=lambda item: (-item[1], item[0])))])


def _lines(sizes: Iterable[tuple[str, int]]) -> list[str]:
    return [f"{format_size(size):>9}  {escape_controls(path)}" for path, size in sizes]
