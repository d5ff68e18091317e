"""`keepsake files`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from keepsake.cli.opening import Settings, open_project, pick
from keepsake.cli.options import IdCommand, id_argument
from keepsake.cli.rendering import bold, faint, page, short_id, table, write_json
from keepsake.util.console import format_size, plural
from keepsake.util.values import escape_controls

if TYPE_CHECKING:
    from keepsake.recording.preview import Preview

EXAMPLES = """
What would init(path=".") save now, and what would it leave out?
$ keepsake files

Which directories are large?
$ keepsake files --depth 1

What does the best run hold?
$ keepsake files best

What does one checkpoint hold?
$ keepsake files 9f02c7d
"""


_MANY = 50  # files that few want to see one by one


@click.command("files", cls=IdCommand, epilog=EXAMPLES)
@id_argument(metavar="[ID]", required=False)
@click.option("--path", metavar="PATH", help="Without an ID: what init(path=PATH) would save. Default: .")
@click.option("--depth", metavar="N", type=click.IntRange(min=1), help="Sum up each directory that lies N levels deep")
@click.option("--json", "as_json", is_flag=True, help="Print output in JSON format")
@click.pass_context
def files(ctx: click.Context, /, id: str | None, path: str | None, depth: int | None, as_json: bool) -> None:
    """List the saved files, or those that init() would save now.

    The largest come first. No file is fetched. An experiment's ID stands for its files and those of its best
    checkpoint, or its latest if there is no primary metric. Without an ID, list what init() would save in this project
    now, and what it would leave out.
    """
    settings: Settings = ctx.obj
    if id is None:
        preview = settings.project().preview(path or ".")
        write_json(preview.to_json()) if as_json else page(_would_save(preview, depth))
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
    page("\n\n".join(_group(title, group, depth) for title, group in groups.items() if group))


def _would_save(preview: Preview, depth: int | None) -> str:
    parts = [_group(f"init(path={preview.path!r}) would save", list(preview.files.items()), depth, ":")]
    if preview.left_out:
        rows = [(escape_controls(path), faint(escape_controls(why))) for path, why in preview.left_out.items()]
        parts.append("\n".join([bold("Left out"), table(rows)]))
    return "\n\n".join(parts)


def _group(title: str, sizes: Sequence[tuple[str, int]], depth: int | None, end: str = "") -> str:
    """Return a title with totals, and lines for files or for directories at a depth, the largest first."""
    total = sum(size for _, size in sizes)
    totals = f"{plural(len(sizes), 'file')}, {format_size(total)}"
    head = bold(f"{title}{'' if end else ':'} {totals}{end if sizes else '.'}")
    found: dict[str, list[int]] = {}
    for path, size in sizes:
        found.setdefault(_place(path, depth), []).append(size)
    rows = sorted(found.items(), key=lambda item: (-sum(item[1]), item[0]))
    hint = [faint("--depth 1 sums up directories.")] if depth is None and len(sizes) > _MANY else []
    return "\n".join([head, *hint, *(_line(place, each) for place, each in rows)])


def _place(path: str, depth: int | None) -> str:
    """Return the directory at this depth that a file lies in, with a slash, or else the file."""
    parts = path.split("/")
    return path if depth is None or len(parts) <= depth else "/".join(parts[:depth]) + "/"


def _line(place: str, sizes: Sequence[int]) -> str:
    count = faint(f" ({plural(len(sizes), 'file')})") if place.endswith("/") else ""
    return f"{format_size(sum(sizes)):>9}  {escape_controls(place)}{count}"
