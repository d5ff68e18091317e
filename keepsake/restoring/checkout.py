"""Putting the files of archives into a directory: all or nothing, and with undo."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from keepsake.archive.contents import hash_file
from keepsake.archive.reader import Archive, ArchiveEntry
from keepsake.exceptions import DoesNotExist, ValidationError
from keepsake.restoring.change import Change
from keepsake.restoring.configuration import NAMES, Watch
from keepsake.restoring.manifest import RESERVED
from keepsake.restoring.origins import Remembering, Source
from keepsake.restoring.places import AREA, Mover, Places, new_directory, workspace
from keepsake.util.console import Progress, warn
from keepsake.util.directories import anchor
from keepsake.util.files import WINDOWS
from keepsake.util.names import suggestion


@dataclass(frozen=True)
class Plan:
    """The effect of a checkout on a directory. Names are POSIX and relative to it."""

    directory: Path
    is_empty: bool  # whether the directory is empty or does not exist
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    modes: dict[str, int] = field(default_factory=dict)  # files with the same content, but with other permissions


@dataclass
class _File:
    archive: Archive
    entry: ArchiveEntry
    staged: str | None = None  # its path, if it is already unpacked


def checkout(
    archives: Iterable[Archive],
    directory: Path,
    path: str | None = None,
    *,
    source: Source | None = None,
    confirm: Callable[[Plan], bool] = lambda plan: True,
) -> bool:
    """Put the files of `archives` into `directory`. Files of later archives replace those of earlier ones.

    Args:
        path: only this file or directory.
        source: what the archives belong to. The directory then remembers it.
        confirm: asked before anything is changed. If it returns False, nothing is changed and False is returned.

    Files with the same content only get the permissions. After an error, everything is as before. Raises DoesNotExist
    if there is no such `path`, CorruptedArchive, and WriteError, for example if the disk is full, or if a link is in
    the place of a directory. Nothing is ever written through a link.
    """
    archives = list(archives)
    wanted = _selection(path)
    directory = anchor(directory)
    with workspace(str(directory)) as place:
        is_empty = set(os.listdir(directory)) <= {AREA}
        files = _collect(archives, wanted, place)
        if not files:
            raise _missing(path, archives)
        plan = _compare(files, Plan(directory, is_empty), _Permissions(place))
        remembering = Remembering(directory, source, everything=path is None) if source else None
        put = [*plan.new, *plan.changed]
        watches = {"": Watch(directory, is_empty, remembering.original if remembering else None)}
        inner = {name.rpartition("/")[0] for name in put if name.rpartition("/")[2] in NAMES} - {""}
        for folder in sorted(inner) if not is_empty else ():  # they may be projects of their own
            watches[f"{folder}/"] = Watch(directory / folder)
        _announce(watches, {name: files[name] for name in put}, place)
        if not confirm(plan):
            return False
        _stage({name: files[name] for name in put}, place)
        Change(str(directory), place, put, modes=plan.modes).apply()
        if remembering is not None:
            remembering.remember(files.keys())
            remembering.tell()
    for watch in watches.values():
        watch.tell()
    return True


# The plan


def _selection(path: str | None) -> Callable[[str], bool]:
    """Return a function that tells whether a file is wanted."""
    only = "." if path is None else posixpath.normpath(path.replace(os.sep, "/"))
    if only.startswith("/") or only.split("/")[0] == "..":
        raise ValidationError(f"The path {path!r} is absolute or outside the project directory. Give one inside it.")

    reserved = frozenset(RESERVED)

    def is_wanted(name: str) -> bool:
        if only != "." and name != only and not name.startswith(only + "/"):
            return False
        if not reserved.isdisjoint(name.casefold().split("/")):
            warn(f"{name} is left out. A checkout never writes into {' or '.join(RESERVED)}.")
            return False
        return True

    return is_wanted


def _collect(archives: list[Archive], is_wanted: Callable[[str], bool], place: str) -> dict[str, _File]:
    """Return the file for each name. Archives without hashes are unpacked for that."""
    files = {}
    for archive in archives:
        if archive.has_table:
            found = [_File(archive, entry) for entry in archive.entries() if is_wanted(entry.name)]
        else:
            stage = new_directory(place)
            with Progress("Reading the archive", None) as progress:
                entries = archive.extract(Path(stage), is_wanted, progress.advance)
            found = [_File(archive, entry, f"{stage}/{entry.name}") for entry in entries]
        files.update({file.entry.name: file for file in found})
    return files


def _missing(path: str | None, archives: list[Archive]) -> DoesNotExist:
    names = {entry.name for archive in archives for entry in archive.entries()}
    return DoesNotExist(f"There is no file or directory {path!r} in the saved files. {suggestion(path or '', names)}")


class _Permissions:
    """Compares permissions, ignoring differences that this file system cannot represent."""

    def __init__(self, place: str) -> None:
        self._probe = f"{place}/permissions"
        self._kept: dict[int, int] = {}

    def differ(self, status: os.stat_result, mode: int) -> bool:
        """Whether a file's permissions differ from those that a file with `mode` would get here."""
        found = stat.S_IMODE(status.st_mode) & 0o777
        if WINDOWS or found == mode:
            return False
        if mode not in self._kept:
            try:
                with open(self._probe, "ab"):
                    os.chmod(self._probe, mode)
                    self._kept[mode] = stat.S_IMODE(os.lstat(self._probe).st_mode)
            except OSError:
                self._kept[mode] = found
        return found != self._kept[mode]


def _compare(files: dict[str, _File], plan: Plan, permissions: _Permissions) -> Plan:
    places = Places(str(plan.directory))
    for name, file in sorted(files.items()):
        status = places.look(name)
        if status is None:
            plan.new.append(name)
        elif not _is_same(f"{plan.directory}/{name}", status, file):
            plan.changed.append(name)
        elif not permissions.differ(status, file.entry.mode):
            plan.same.append(name)
        elif status.st_nlink == 1:
            plan.modes[name] = file.entry.mode
        else:  # a chmod would also change its other hard links
            plan.changed.append(name)
    return plan


def _is_same(path: str, status: os.stat_result, file: _File) -> bool:
    if not stat.S_ISREG(status.st_mode) or status.st_size != file.entry.size:
        return False
    try:
        found = hash_file(path)
    except OSError:
        return False  # the file cannot be read, but perhaps it can be replaced
    return found == (hash_file(file.staged) if file.staged else file.entry.xxh128)


def _announce(watches: dict[str, Watch], put: dict[str, _File], place: str) -> None:
    """Warn before anything is changed if the project, or one inside it, will use another repository."""
    for folder, watch in watches.items():
        staged = {}
        for name in NAMES:
            if file := put.get(folder + name):
                stage = new_directory(place)
                if file.staged is None:
                    file.archive.extract(Path(stage), (folder + name).__eq__)
                staged[name] = Path(file.staged or f"{stage}/{folder}{name}")
        watch.announce(staged)


def _stage(put: dict[str, _File], place: str) -> None:
    """Unpack and verify the remaining files, and collect all files in the workspace's `files`."""
    new = f"{place}/files"
    waiting = {name: file for name, file in put.items() if file.staged is None}
    with Progress("Checking out", sum(file.entry.size for file in waiting.values())) as progress:
        for archive in {id(file.archive): file.archive for file in waiting.values()}.values():
            names = {name for name, file in waiting.items() if file.archive is archive}
            archive.extract(Path(new), names.__contains__, progress.advance)
    mover = Mover()
    for name, file in put.items():
        if file.staged is not None:
            os.makedirs(os.path.dirname(f"{new}/{name}"), exist_ok=True)
            mover.move(file.staged, f"{new}/{name}")
