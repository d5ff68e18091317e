"""Where the spool is: the directory for runs that are not yet in a repository, with an entry per experiment.

SPOOL/<experiment id>/      an entry (entry.py)
      repositories.json     the repositories that were used from this spool: URL → identity; also repositories-UID.json
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from keepsake.metadata import valid_id
from keepsake.spool.damage import damage_of
from keepsake.spool.entry import Entry, is_entry
from keepsake.spool.journal import UNNAMED
from keepsake.spool.leftovers import UNFINISHED, make_spool, prune, remove_unfinished
from keepsake.storage.reading import read_whole
from keepsake.util.console import once, warn
from keepsake.util.directories import (
    absolute,
    expand,
    is_own,
    name_for,
    state_directories,
    state_directory,
    state_for,
    temporary_directory,
)
from keepsake.util.errors import is_the_scripts, suppress
from keepsake.util.files import replace_with

_REPOSITORIES = "repositories.json"


class Pending(NamedTuple):
    """The parts of an entry that are not in its repository yet."""

    entry: Entry
    checkpoints: int  # the number of those that are not yet in the record
    size: int  # bytes of files


def spool_root(directory: Path) -> Path:
    """Return the directory that keeps new runs of a project until they are in the repository.

    It is KEEPSAKE_SPOOL, or else `.keepsake/spool` in the project directory. If that cannot be written, it is a
    directory in the user's state directory, if there is one.
    """
    if chosen := _chosen():
        return absolute(expand(chosen))
    usual = directory / ".keepsake" / "spool"
    if _can_write(usual):
        return usual
    return state_for("spool", directory) or usual  # some file systems only say that it cannot be written


def spool_roots(directory: Path) -> list[Path]:
    """Return all directories in which runs of a project may be waiting, the usual one first."""
    root, usual = spool_root(directory), directory / ".keepsake" / "spool"
    states = [state for state in state_directories() if _holds_something(state / "spool")]
    elsewhere = [state / "spool" / name_for(directory) for state in states]
    return list(dict.fromkeys([root if _chosen() else usual, root, *elsewhere]))


def _holds_something(directory: Path) -> bool:
    with suppress(OSError):
        return bool(os.listdir(directory))
    return False


def further_roots(directory: Path, root: Path) -> Iterator[Path]:
    """Yield the directories that keep runs of a project if the disk of `root`, its present one, refuses to."""
    yielded = {root}
    for state in (state_directory, temporary_directory):
        if (found := state()) and (further := found / "spool" / name_for(directory)) not in yielded:
            yielded.add(further)
            yield further
    if not _chosen() and (usual := directory / ".keepsake" / "spool") not in yielded:
        yield usual  # it could not be written when the run began


def note_roots(directory: Path) -> list[Path]:
    """Return the directories that may say which repositories a project has used: its spool, and then its usual one."""
    root, usual = spool_root(directory), directory / ".keepsake" / "spool"
    return [root] if root == usual else [root, usual]


def _chosen() -> str:
    return os.environ.get("KEEPSAKE_SPOOL", "").strip()


def _can_write(path: Path) -> bool:
    """Whether a directory can be written, or can be created in the nearest existing directory above it."""
    while not os.path.lexists(path) and path != path.parent:  # a disk error shows when something is written
        path = path.parent
    return os.access(path, os.W_OK | os.X_OK)


def entries(root: Path) -> Iterator[Entry]:
    """Yield the entries of a spool."""
    for directory in _directories(root):
        entry = Entry.load(directory)
        if problem := damage_of(directory, entry):
            once(warn, problem)
        elif entry is not None:
            yield entry


def damaged(root: Path) -> dict[Path, str]:
    """Return the directories of a spool in which something may wait that cannot be sent, each with the reason.

    The spool itself is one of them if it cannot be read.
    """
    found = {root: damage_of(root, None)}
    found |= {directory: damage_of(directory, Entry.load(directory)) for directory in _directories(root)}
    return {directory: problem for directory, problem in found.items() if problem}


def pending(root: Path, *, of_others: bool = True) -> list[Pending]:
    """Return the unsent parts in a spool; without `of_others`, only those that no running process seems to handle."""
    found = []
    for entry in entries(root):
        if of_others or not entry.is_fresh():
            changes = entry.pending()
            if changes or entry.has_files() or not entry.in_repository:
                found.append(Pending(entry, len(changes.checkpoints), entry.size()))
    return found


def unnamed_files(root: Path) -> list[Path]:
    """Return the frozen files in a spool that were set aside, including those in directories without an entry."""
    found: list[Path] = []
    for directory in _directories(root):
        with suppress(OSError):  # `damaged` names a directory that cannot be read
            found += sorted(directory.glob(f"*{UNNAMED}*"))
    return found


def sweep(root: Path) -> None:
    """Remove what crashes left half made, and directories in which they left no entry."""
    for directory in _directories(root):
        if is_entry(directory):
            remove_unfinished(directory, UNFINISHED)
        else:
            remove_unfinished(directory)
            prune(directory)
    remove_unfinished(root, ".repositories*.tmp")


def _directories(root: Path) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(root))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        if problem := damage_of(root, None):
            once(warn, problem)
        return
    for name in names:
        if valid_id(name) and os.path.isdir(root / name) and not os.path.islink(root / name):
            yield root / name


def known_identity(root: Path, url: str, *, at_once: bool = False) -> str | None:
    """Return the identity of the repository that this spool last used at `url`; None if it used none.

    It is "" if that cannot be read. A repository may have been used then, so no new one is created.

    `at_once`: without reading each entry, for runs that were killed right after they had begun.
    """
    own = _own_note(root)
    known = _read_notes(own)
    if known is None:
        return ""
    for note in _all_notes(root) if url not in known else ():  # init() waits for this
        known = {**(_read_notes(note) or {}), **known}
    if url in known or at_once:
        return known.get(url)
    first = (entry.identity for entry in entries(root) if entry.is_first and entry.repository == url)
    return next(filter(None, first), None)


def remember_repository(entry: Entry) -> None:
    """Remember which repository an entry uses. A full disk is no error: the entry says it until the next call."""
    if entry.identity is not None and remember_identity(entry.directory.parent, entry.repository, entry.identity):
        entry.is_first, entry.is_noted = False, True


def remember_identity(root: Path, url: str, identity: str) -> bool:
    """Remember which repository is used at `url`, to notice later that it is missing or replaced; False if it fails."""
    own = _own_note(root)
    known = _read_notes(own) or {}
    with suppress(OSError):
        if known.get(url) != identity:
            make_spool(root)  # of a project whose runs have other spools, each a new one
            replace_with(own, json.dumps({**known, url: identity}).encode())
        return True
    return False


def notes_about(roots: Sequence[Path], url: str) -> str:
    """Return the files that say that a repository was used at `url`, or that cannot be read, for a message."""
    notes = {note: _read_notes(note) for root in roots for note in _all_notes(root)}
    found = [note for note, known in notes.items() if known is None or url in known]
    return " and ".join(map(str, found or [_own_note(roots[0])]))


def _own_note(root: Path) -> Path:
    """Return the file in which this user's runs say which repositories are used. In a shared spool, each has one."""
    usual = root / _REPOSITORIES
    with suppress(OSError):
        if sys.platform != "win32" and not is_own(usual.lstat()):
            return root / f"repositories-{os.geteuid()}.json"
    return usual


def _all_notes(root: Path) -> list[Path]:
    with suppress(OSError):
        # A pattern would have to be compiled, and init() waits for this
        names = [name for name in os.listdir(root) if name.startswith("repositories") and name.endswith(".json")]
        return [root / name for name in sorted(names)]
    return []


def _read_notes(path: Path) -> dict[str, str] | None:
    try:
        content = json.loads(read_whole(str(path))[0])
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        if is_the_scripts(error):
            raise
        return {}  # a note that is closed to this user is about the runs of another one
    except (OSError, ValueError, RecursionError) as error:
        if is_the_scripts(error):
            raise
        return None
    return content if isinstance(content, dict) else None
