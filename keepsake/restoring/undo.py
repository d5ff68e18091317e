"""Taking back the last checkout."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from keepsake.exceptions import DoesNotExist
from keepsake.restoring.change import Change, stage_backup
from keepsake.restoring.configuration import Watch
from keepsake.restoring.manifest import Manifest, read_manifest
from keepsake.restoring.places import AREA, Places, stamp, workspace
from keepsake.util.console import warn

_NAMES_SHOWN = 5


@dataclass
class Undone:
    """What an undo did; names are POSIX and relative to the directory."""

    restored: list[str] = field(default_factory=list)  # files that hold again what they held before
    removed: list[str] = field(default_factory=list)  # files that the checkout had added
    modes: list[str] = field(default_factory=list)  # files that have their permissions of before
    edited: list[str] = field(
        default_factory=list
    )  # restored, though changed since the checkout; a second undo brings these back
    left: list[str] = field(default_factory=list)  # added, but changed since, so they stay


def undo(directory: Path) -> Undone:
    """Take back the last checkout into `directory` that changed anything, exactly; return what was done.

    What is overwritten or removed is kept in turn: a second undo takes the first one back. A file that was added and
    changed since stays; one that was overwritten and changed since is put back, and the change is kept. Both are named.
    Raises DoesNotExist if there is nothing to take back, ReadError if what is kept is damaged, was made by somebody
    else, or leads outside, WriteError as `checkout` does. Then nothing is changed.
    """
    root = str(directory.absolute())
    area = f"{root}/{AREA}/undo"
    if not os.path.isdir(root):
        raise DoesNotExist(f"There is nothing to undo: there is no directory {root}.")
    with workspace(root) as place:
        if not os.path.lexists(area):
            raise DoesNotExist(f"There is nothing to undo: no checkout into {root} has changed anything.")
        manifest = read_manifest(area, root, os.stat(place).st_uid)
        undone = _plan(manifest, root)
        _stage(manifest, undone, area, place)
        watch = Watch(directory.absolute())
        modes = {name: manifest.modes[name][0] for name in undone.modes}
        Change(root, place, undone.restored, undone.removed, modes).apply()
        for name in reversed(manifest.directories):
            with suppress(OSError):  # it holds something else
                os.rmdir(f"{root}/{name}")
    _tell(undone)
    watch.tell()
    return undone


def _plan(manifest: Manifest, root: str) -> Undone:
    """Compare what the checkout did with what is there now."""
    undone, places = Undone(restored=list(manifest.overwritten)), Places(root)
    for name, expected in manifest.added.items():
        if places.look(name) is not None:
            (undone.removed if stamp(f"{root}/{name}") == expected else undone.left).append(name)
    for name in manifest.overwritten:
        now = stamp(f"{root}/{name}") if places.look(name) is not None else None
        if now is not None and now != manifest.put.get(name):
            undone.edited.append(name)
    for name, (before, after) in manifest.modes.items():
        status = places.look(name)
        is_ours = status is not None and stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        if status is not None and is_ours and stat.S_IMODE(status.st_mode) == after != before:
            undone.modes.append(name)
    for name in manifest.directories:
        places.has_directory(name)
    return undone


def _stage(manifest: Manifest, undone: Undone, area: str, place: str) -> None:
    """Put what was kept into the workspace. What is not kept any more stays as it is."""
    backups, missing = Places(f"{area}/files"), set()
    os.mkdir(f"{place}/files")
    for name in undone.restored:
        if name in manifest.links:
            link = f"{place}/files/{name}"
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(manifest.links[name], link)
        elif (status := backups.look(name)) is None:
            missing.add(name)
        elif stat.S_ISLNK(status.st_mode):
            raise backups.in_the_way(name, name, status)
        else:
            if [status.st_size, status.st_mtime_ns] == stamp(f"{manifest.path}/{name}") and name in undone.edited:
                undone.edited.remove(name)
            stage_backup(f"{area}/files", name, place)
    undone.restored = [name for name in undone.restored if name not in missing]
    undone.edited = [name for name in undone.edited if name not in missing]


def _tell(undone: Undone) -> None:
    if undone.edited:
        warn(
            f"Changed since the checkout: {_some(undone.edited)}. What was there before the checkout is back; "
            "`keepsake checkout --undo` once more brings the change back."
        )
    if undone.left:
        warn(f"Added by the checkout and changed since, so left as it is: {_some(undone.left)}.")


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {len(names) - _NAMES_SHOWN} more" if names[_NAMES_SHOWN:] else "")
