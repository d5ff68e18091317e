"""Taking back the last checkout."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from keepsake.exceptions import DoesNotExist
from keepsake.origin import forget_origin, origin_file
from keepsake.restoring.change import KEPT_ORIGIN, Change, stage_backup
from keepsake.restoring.configuration import Watch
from keepsake.restoring.manifest import Manifest, read_manifest
from keepsake.restoring.origins import put_back_origin
from keepsake.restoring.places import Places, stamp, workspace
from keepsake.util.console import some, warn
from keepsake.util.directories import anchor

_NAMES_SHOWN = 5


@dataclass
class Undone:
    """The result of an undo. Names are POSIX and relative to the directory."""

    restored: list[str] = field(default_factory=list)  # files with their old content again
    removed: list[str] = field(default_factory=list)  # files that the checkout had added
    modes: list[str] = field(default_factory=list)  # files with their old permissions again
    edited: list[str] = field(default_factory=list)  # restored, and changed since: a second undo brings that back
    left: list[str] = field(default_factory=list)  # added files with later changes, so they stay


def undo(directory: Path) -> Undone:
    """Take back exactly the last checkout into `directory` that changed anything; return the result.

    Overwritten and removed files are kept in turn, so a second undo takes the first one back. A file that was added and
    changed since stays. A file that was overwritten and changed since is put back, and the change is kept. A warning
    names both kinds. Raises DoesNotExist if there is nothing to take back, ReadError if the undo area is damaged, was
    made by another user, or leads outside, WriteError as `checkout` does. Nothing is changed then.
    """
    directory = anchor(directory)
    root = str(directory)
    if not os.path.isdir(root):
        raise DoesNotExist(f"There is nothing to undo. The directory {root} does not exist.")
    with workspace(root) as place:
        area = f"{os.path.dirname(place)}/undo"
        if not os.path.lexists(area):
            if not os.path.lexists(origin_file(directory)):
                raise DoesNotExist(f"There is nothing to undo. No checkout into {root} has changed anything.")
            forget_origin(directory)  # a checkout found all files as they are
            return Undone()
        manifest = read_manifest(area, root, os.stat(place).st_uid)
        undone = _plan(manifest, root)
        only = _stage(manifest, undone, area, place)
        watch = Watch(directory)
        origin = _kept_origin(area)
        modes = {name: manifest.modes[name][0] for name in undone.modes}
        with _moved(only, f"{area}/files", f"{place}/files"):
            Change(root, place, undone.restored, undone.removed, modes, only).apply()
        put_back_origin(origin, root)
        for name in reversed(manifest.directories):
            with suppress(OSError):  # it holds other files
                os.rmdir(f"{root}/{name}")
    _tell(undone)
    watch.tell()
    return undone


def _plan(manifest: Manifest, root: str) -> Undone:
    """Compare the result of the checkout with the present files."""
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


def _stage(manifest: Manifest, undone: Undone, area: str, place: str) -> set[str]:
    """Put the kept files into the workspace; return those that can only be moved there, such as another user's.

    Files without a backup stay as they are.
    """
    backups, missing, only = Places(f"{area}/files"), set(), set()
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
            if not stage_backup(f"{area}/files", name, place):
                only.add(name)
    undone.restored = [name for name in undone.restored if name not in missing]
    undone.edited = [name for name in undone.edited if name not in missing]
    return only


@contextmanager
def _moved(names: set[str], source: str, target: str) -> Iterator[None]:
    """Move files, and back if the block fails."""
    try:
        for name in names:
            os.rename(f"{source}/{name}", f"{target}/{name}")
        yield
    except BaseException:
        for name in names:
            with suppress(FileNotFoundError):
                os.rename(f"{target}/{name}", f"{source}/{name}")
        raise


def _kept_origin(area: str) -> bytes | None:
    path = f"{area}/{KEPT_ORIGIN}"
    with suppress(OSError):  # there is none
        if stat.S_ISREG(os.lstat(path).st_mode):
            with open(path, "rb") as file:
                return file.read()
    return None


def _tell(undone: Undone) -> None:
    if undone.edited:
        warn(
            f"Changed since the checkout: {some(undone.edited, _NAMES_SHOWN)}. "
            "The content from before the checkout is back. "
            "Another `keepsake checkout --undo` brings the change back."
        )
    if undone.left:
        warn(f"Added by the checkout and changed since, so not removed: {some(undone.left, _NAMES_SHOWN)}.")
