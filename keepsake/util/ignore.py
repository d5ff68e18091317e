"""Which files of a project directory belong in a snapshot: the walk, the default exclusions, and `.keepsakeignore`."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from keepsake.exceptions import DoesNotExist, ReadError, ValidationError
from keepsake.util.console import warn
from keepsake.util.directories import below
from keepsake.util.errors import is_the_scripts
from keepsake.util.files import COPY, TEMPORARY, is_there
from keepsake.util.names import archive_name, is_safe_name

if TYPE_CHECKING:
    from pathspec import Pattern

SKIPPED_DIRECTORIES = frozenset({".keepsake", ".replicate", ".git"})
# Caches and the output of other tools. `!name` in the ignore file brings one back; so does naming a path inside of it.
LEFT_OUT_DIRECTORIES = frozenset({
    "__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".tox", "node_modules",
    "wandb", "mlruns", "lightning_logs", ".aim", ".dvc/cache", ".dvc/tmp",
})  # fmt: skip
IGNORE_FILES = (".keepsakeignore", ".replicateignore")  # the first that exists counts

Note = Callable[[str, str], object]

_ENDLESS = r"(?<=[^/])(/\*\*)+/\s*$"
_OPENING = r"!/?(\*\*?/)+\s*"
_MOST_NAMED = 20  # files that are not saved
_ID = r"[0-9a-f]{64}"
# A repository at `file://.` keeps these among the project's own files.
_REPOSITORY_FILE = (
    r"(repository|identity)\.json|(orphaned/)?((experiments|checkpoints)/[^/]+\.tar\.gz|logs/[0-9a-f]{64}-[^/]+\.txt\.gz)"
    r"|metadata/(experiments|heartbeats)/[^/]+\.json|removed/[0-9a-f]{16}\.json"
)


def walk_files(project_dir: Path, path: str, note: Note | None = None) -> Iterator[tuple[str, str]]:
    """Yield the files of `path`, a file or directory, in a fixed order: (POSIX name relative to `project_dir`, path).

    The walk leaves out `.git` and its like, Python and conda environments, repositories and spools, and the
    LEFT_OUT_DIRECTORIES below `path` that the project's ignore file does not bring back. It also leaves out files that
    match the ignore file, by gitignore's rules. If `path` is itself a file, no rule applies to it.
    As in Keepsake 0.4.2, the last rule that matches a file or a directory above it decides: `!logs/keep.log` keeps that
    file even below an ignored `logs/`, and `!src/` keeps all of `src/` after `*`. A link to a file stands for its
    content. Dangling links, links to directories and special files are left out. A process warns once of each.
    `note` is called with the name of whatever is left out (a directory's ends with a slash), and why. No warning is
    printed then.

    Raises ValidationError if `path` is absolute or leads out of the project, DoesNotExist if it does not exist.
    """
    name = _relative_name(path)
    if not is_there(project_dir / name):
        remedy = elsewhere(project_dir, path) or "Check the path."
        raise DoesNotExist(f"No such file or directory: {path!r} (looked for in {project_dir}). {remedy}")
    parts = name.split("/") if name else []
    parents = [Path(project_dir, *parts[:depth]) for depth in range(1, len(parts))]
    if above := next((parent for parent in parents if _is_skipped(parent)), None):
        if note:
            note(name, f"in {above.name}")
        return
    rules = _ignore_rules(project_dir) if (project_dir / name).is_dir() else None
    is_repository = _is_keepsakes(str(project_dir))
    for found, where in _walk(str(project_dir), name, rules, note):
        if not is_safe_name(found):
            _leave_out(found, where, "on other systems its name would mean another path", note)
        elif not (is_repository and re.fullmatch(_REPOSITORY_FILE, found)):
            yield found, where


def elsewhere(project_dir: Path, path: str) -> str:
    """Return what to say if the working directory has another file or directory of that name; "" otherwise."""
    try:
        here, there = os.path.abspath(path), os.path.abspath(project_dir / path)
        if here == there or not is_there(here) or os.path.realpath(here) == os.path.realpath(there):
            return ""
    except (OSError, ValueError) as error:  # the working directory was deleted
        if is_the_scripts(error):
            raise
        return ""
    if (relative := below(here, project_dir)) is not None:
        return f"For the one in the working directory, write {relative!r}."
    return f"The one in the working directory, {os.getcwd()}, is outside the project and cannot be saved."


def _relative_name(path: str) -> str:
    name = os.path.normpath(path).replace(os.sep, "/")
    if os.path.isabs(path) or os.path.splitdrive(path)[0] or name.startswith("/"):
        raise ValidationError(f"The path {path!r} is absolute. Give a path relative to the project directory.")
    if name.split("/")[0] == ".." or "\0" in path:
        raise ValidationError(f"The path {path!r} is outside the project directory. Give a path inside it.")
    return "" if name == "." else name


class _Rules:
    """The patterns of an ignore file. The last one that matches decides."""

    def __init__(self, lines: list[str], source: str) -> None:
        self.source = source  # the name of the file
        # `data/**/` matches the directories below data/. `!*/` lets git look into directories; the walk does so anyway.
        lines = [re.sub(_ENDLESS, "/*/", line) for line in lines if not re.fullmatch(_OPENING, line)]
        self._patterns = _patterns(lines)
        self.take_back = not all(pattern.include for pattern in self._patterns)
        negated = [line for line in lines if line.startswith("!")]
        self.brought_back = {name for name in LEFT_OUT_DIRECTORIES if any(_names(line, name) for line in negated)}
        # Only what names such a directory brings its files back: `!*.py` does not.
        naming = [line for line in negated if any(_names(line, name) for name in self.brought_back)]
        self._by_default = _patterns([f"**/{name}/" for name in sorted(self.brought_back)] + naming)

    def match(self, name: str) -> bool:
        """Whether a file is left out, or a directory, whose name ends with a slash."""
        return _match(self._patterns, name) or _match(self._by_default, name)


def _patterns(lines: list[str]) -> list[Pattern]:
    """Return the patterns of lines, the last one first."""
    from pathspec import GitIgnoreSpec

    return [
        pattern for pattern in reversed(list(GitIgnoreSpec.from_lines(lines).patterns)) if pattern.include is not None
    ]


def _match(patterns: list[Pattern], name: str) -> bool:
    for pattern in patterns:
        if pattern.match_file(name) is not None:
            return bool(pattern.include)
    return False


def _names(line: str, directory: str) -> bool:
    """Whether a line that begins with `!` names a directory, or a file in it, not only by a wildcard."""
    return f"/{directory}/" in f"/{line[1:].strip()}/"


def ignore_file(project_dir: Path) -> Path | None:
    """Return the project's ignore file; None if it has none."""
    return next((file for name in IGNORE_FILES if (file := project_dir / name).is_file()), None)


def _ignore_rules(project_dir: Path) -> _Rules | None:
    file = ignore_file(project_dir)
    if file is None:
        return None
    try:
        return _Rules(_text(file.read_bytes()).splitlines(), file.name)
    except OSError as error:
        raise ReadError(f"Cannot read {file}: {error.strerror}. Make it readable, or delete it.") from error
    except (ValueError, re.error) as error:
        raise ValidationError(
            f"Cannot understand {file}: {error}. Save it as UTF-8 with one gitignore pattern per line."
        ) from error


def _text(data: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 as PowerShell writes it. Other bytes become surrogates."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if b"\0" in data:
        raise ValueError("it has NUL bytes")
    return data.decode("utf-8-sig", "surrogateescape")


def _is_skipped(directory: Path) -> bool:
    is_environment = os.path.lexists(directory / "pyvenv.cfg") or os.path.isdir(directory / "conda-meta")
    return directory.name in SKIPPED_DIRECTORIES or is_environment or _is_keepsakes(str(directory))


def _is_keepsakes(directory: str) -> bool:
    """Whether a directory is a repository, or an experiment's entry in a spool."""
    if re.fullmatch(_ID, os.path.basename(directory)) and os.path.lexists(f"{directory}/record.json"):
        return True
    # One that another process is just making has no records yet.
    signs = os.path.isdir(f"{directory}/metadata/experiments") or os.path.lexists(f"{directory}/identity.json")
    return signs and os.path.lexists(f"{directory}/repository.json")


def _walk(root: str, start: str, rules: _Rules | None, note: Note | None) -> Iterator[tuple[str, str]]:
    # Below an ignored directory, only a pattern that takes files back (`!`) can make a difference.
    prune = rules is not None and not rules.take_back
    pending = [(archive_name(start), os.path.join(root, start), _kind(Path(root, start), follow=True))]
    while pending:
        name, path, kind = pending.pop()
        shown = name + "/" if kind.endswith("directory") else name
        decided = bool(name) and (prune or kind != "directory")
        if rules and decided and rules.match(shown):
            if note:
                note(shown, rules.source)
        elif kind == "file":
            yield name, path
        elif kind != "directory":
            _leave_out(name, path, kind, note)
        elif reason := _why_skipped(name, path, rules, is_start=name == archive_name(start)):
            if note:
                note(shown, reason)
        else:
            pending.extend(_entries(shown if name else "", path, note))


def _why_skipped(name: str, path: str, rules: _Rules | None, *, is_start: bool) -> str:
    """Return why a directory is left out; "" if it is not."""
    if os.path.basename(name) in SKIPPED_DIRECTORIES:
        return "never saved"
    if not is_start and _is_left_out(name, rules):
        return "a cache, or another tool's output"
    return "a repository, or runs that wait for one" if name and _is_keepsakes(path) else ""


def _is_left_out(name: str, rules: _Rules | None) -> bool:
    parts = name.rsplit("/", 2)
    found = LEFT_OUT_DIRECTORIES.intersection((parts[-1], "/".join(parts[-2:])))
    return bool(found) and not (rules and found & rules.brought_back)


def _entries(prefix: str, path: str, note: Note | None) -> Iterator[tuple[str, str, str]]:
    """Yield a directory's entries, last name first; none if it cannot be read or is an environment."""
    try:
        found = [entry for entry in os.scandir(path) if not (TEMPORARY in entry.name or entry.name.startswith(COPY))]
        entries = sorted(found, key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        if is_the_scripts(error):
            raise
        return _leave_out(prefix, path, f"a directory that cannot be read ({error.strerror})", note)
    if not any(entry.name == "pyvenv.cfg" or (entry.name == "conda-meta" and entry.is_dir()) for entry in entries):
        yield from ((prefix + archive_name(entry.name), entry.path, _kind(entry)) for entry in entries)
    elif note:
        note(prefix, "a virtual environment")


def _kind(entry: os.DirEntry[str] | Path, follow: bool = False) -> str:
    """Return `file`, `directory`, or a description of anything else."""
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "a link to a directory" if entry.is_symlink() and not follow else "directory"
        return "a dangling link" if entry.is_symlink() else "not a regular file"
    except OSError as error:
        if is_the_scripts(error):
            raise
        return error.strerror or str(error)


def _leave_out(name: str, path: str, why: str, note: Note | None) -> None:
    if note:
        note(name, why)
    else:
        leave_out(path, why)


@lru_cache(maxsize=4096)
def leave_out(path: str, why: str) -> None:
    """Warn, once per process, that a file is not saved. Of very many, only the first ones are named."""
    before = leave_out.cache_info().currsize
    if before < _MOST_NAMED:
        warn(f"Not saved: {path}: {why}.")
    elif before == _MOST_NAMED:
        warn("More files are not saved, and are not named here. `keepsake files` lists what init() would save.")
