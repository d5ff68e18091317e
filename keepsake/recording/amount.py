"""The warning of init() if its files are large: their size, the largest groups, and how to leave these out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keepsake.util.console import format_size, plural, warn
from keepsake.util.ignore import IGNORE_FILES, ignore_file

if TYPE_CHECKING:
    from keepsake.archive.pack import FileEntry

LARGE_BYTES = 50_000_000
MANY_FILES = 5_000
_SHOWN = 4  # with the lines for the ignore file, that makes ten lines on a terminal
_SHARE = 0.01  # of the total size; a smaller group gets no line
_LINK_BYTES = 10_000_000  # only larger files are checked for being links
_SPECIAL = re.compile(r"([\\*?\[])")  # special characters of gitignore
_said = False


class _Group:
    """A file or a directory, and its saved files."""

    def __init__(self, name: str, is_earlier: bool) -> None:
        self.name = name
        self.is_earlier = is_earlier  # whether an earlier run saved it as a checkpoint
        self.size = 0
        self.files = 0
        self.link = ""  # the target of a large file that is a link out of the project

    @property
    def line(self) -> str:
        """The line in the ignore file that leaves it out."""
        line = "/" + _SPECIAL.sub(r"\\\1", self.name)
        return line[:-1] + "\\ " if line.endswith(" ") else line


def tell_if_large(
    project_dir: Path, path: str, files: Sequence[FileEntry], earlier: Callable[[], Iterable[str]]
) -> None:
    """Report the saved files, once per process, if they are large.

    Args:
        project_dir: the project directory.
        path: what init() was told to save.
        files: what it saved.
        earlier: returns the paths that earlier runs saved as checkpoints; it is called only if that matters.
    """
    global _said
    size = sum(file.size for file in files)
    if _said or (size <= LARGE_BYTES and len(files) <= MANY_FILES):
        return
    _said = True
    text = f"init(path={path!r}) saves {format_size(size)} in {plural(len(files), 'file')}."
    if [file.name for file in files] == [os.path.normpath(path).replace(os.sep, "/")]:
        warn(f"{text} To save less, name another path.")
        return
    groups = _largest(_groups(project_dir, path, files, earlier()), size, len(files))
    name = (ignore_file(project_dir) or Path(IGNORE_FILES[0])).name
    shown = [_shown(group) for group in groups]
    lines = [group.line for group in groups]
    warn("\n".join([f"{text[:-1]}:", *shown, f"To leave them out, add these lines to {name}:", *lines]))


def _groups(project_dir: Path, path: str, files: Sequence[FileEntry], earlier: Iterable[str]) -> list[_Group]:
    """Group files by the entries of `path`. Checkpoints that an earlier run saved get groups of their own."""
    start = os.path.normpath(path).replace(os.sep, "/")
    prefix = "" if start == "." else f"{start}/"
    apart = {os.path.normpath(each).replace(os.sep, "/") for each in earlier} - {".", start}
    groups: dict[str, _Group] = {}
    for file in files:
        checkpoint = _first_above(file.name, apart) if apart else None
        name = checkpoint or prefix + file.name[len(prefix) :].partition("/")[0]
        shown = name if name == file.name else f"{name}/"
        if shown not in groups:
            groups[shown] = _Group(shown, checkpoint is not None)
        group = groups[shown]
        group.size += file.size
        group.files += 1
        if file.size >= _LINK_BYTES and not group.link:
            group.link = _target_outside(project_dir, file.name)
    return list(groups.values())


def _first_above(name: str, paths: set[str]) -> str | None:
    """Return the outermost of `paths` that is a file or contains it."""
    parts = name.split("/")
    above = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return next((path for path in above if path in paths), None)


def _target_outside(project_dir: Path, name: str) -> str:
    """Return the target of a file that is a link out of the project; "" for others."""
    target = os.path.realpath(project_dir / name)
    return "" if target.startswith(os.path.join(os.path.realpath(project_dir), "")) else target


def _largest(groups: list[_Group], size: int, files: int) -> list[_Group]:
    """Return the groups that matter most, largest first."""

    def share(group: _Group) -> float:
        by_size = group.size / size if size > LARGE_BYTES else 0
        return max(by_size, group.files / files if files > MANY_FILES else 0)

    groups = sorted(groups, key=share, reverse=True)
    chosen = [group for group in groups if group.is_earlier][: _SHOWN - 1]
    others = [group for group in groups if group not in chosen and share(group) >= _SHARE]
    return sorted(chosen + others[: _SHOWN - len(chosen)], key=share, reverse=True) or groups[:1]


def _shown(group: _Group) -> str:
    note = ""
    if group.is_earlier:
        note = " (a checkpoint of an earlier run)"
    elif group.link:
        note = f" (a link to {group.link})" if not group.name.endswith("/") else f" (with a link to {group.link})"
    return f"{format_size(group.size):>9}  {group.name}{note}" + (
        f", {plural(group.files, 'file')}" if group.name.endswith("/") else ""
    )
