"""Changing a directory: all or nothing, and with undo for the last change.

DIRECTORY/.keepsake/checkout-…/     a workspace
                        files/      the new files, under their names
                        previous/   the undo area of an earlier change
                    undo/           the files that the last change overwrote, a list of its actions, and the
                                    origin of the directory's files before it

If these cannot be there, as in another user's `.keepsake`, they are in the user's state directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from keepsake.exceptions import WriteError
from keepsake.origin import origin_file
from keepsake.restoring.manifest import FILE, Manifest, parents_of
from keepsake.restoring.places import Mover, Places, copy, duplicate, move_tree, stamp

KEPT_ORIGIN = "origin.json"  # in the undo area
_PART = 1 << 20  # bytes that are compared at once


class Change:
    """One change of a directory.

    Args:
        directory: the directory to change.
        workspace: a private directory whose `files` go into `directory`. The undo area lies beside it.
        put: the names of these files.
        remove: the names of files to remove.
        modes: permissions for files that stay.
        only: the names of new files of which there is no other copy. If the change fails, they are in `files` again.
    """

    def __init__(
        self,
        directory: str,
        workspace: str,
        put: Iterable[str],
        remove: Iterable[str] = (),
        modes: Mapping[str, int] | None = None,
        only: Container[str] = (),
    ) -> None:
        self._directory = directory
        self._new = f"{workspace}/files"
        self._kept = f"{workspace}/undo"  # becomes the undo area
        self._previous = f"{workspace}/previous"
        self._undo = f"{os.path.dirname(workspace)}/undo"
        self._put, self._remove, self._modes = list(put), list(remove), dict(modes or {})
        self._only = only
        self._mover = Mover()
        self._begun: list[str] = []  # names of files and new directories that may have changed
        self._not_kept: set[str] = set()  # files that can be neither linked nor read; they are moved later
        self._is_kept = False

    def apply(self) -> None:
        """Make the change. If it raises, the directory is as it was before."""
        if not (self._put or self._remove or self._modes):
            return
        try:
            self._keep()
            for name, mode in self._modes.items():
                self._begun.append(name)
                with suppress(OSError):  # the content is right, even if this file system keeps no permissions
                    os.chmod(self._at(name), mode)
            self._put_files()
            for name in self._remove:
                self._begin(name)
                if name not in self._not_kept:
                    os.unlink(self._at(name))
        except BaseException:
            self._roll_back()
            raise

    def _at(self, name: str) -> str:
        return f"{self._directory}/{name}"

    # Before anything is changed

    def _keep(self) -> None:
        """Make a new undo area, with all files that will be overwritten."""
        os.mkdir(self._kept, 0o700)
        self._is_kept = True
        self._manifest = manifest = Manifest(self._directory, os.stat(self._directory).st_ino)
        places = Places(self._directory)
        if os.path.isfile(origin := origin_file(Path(self._directory))):
            duplicate(str(origin), f"{self._kept}/{KEPT_ORIGIN}")
        for name in (*self._put, *self._remove):
            if (status := places.look(name)) is None:
                continue
            manifest.overwritten.append(name)
            if stat.S_ISLNK(status.st_mode):
                manifest.links[name] = os.readlink(self._at(name))
            else:
                self._back_up(name)
        overwritten = set(manifest.overwritten)
        for name in self._put:
            stamps = manifest.put if name in overwritten else manifest.added
            stamps[name] = stamp(f"{self._new}/{name}") or [0, 0]
        for name, mode in self._modes.items():
            manifest.modes[name] = [stat.S_IMODE(os.lstat(self._at(name)).st_mode), mode]
        one_of_each = {name.rpartition("/")[0]: name for name in self._put}.values()
        parents = {parent for name in one_of_each for parent in parents_of(name)}
        manifest.directories = sorted(parent for parent in parents if not places.has_directory(parent))
        manifest.write(self._kept)
        self._replace_undo_area()

    def _back_up(self, name: str) -> None:
        try:
            duplicate(self._at(name), f"{self._kept}/files/{name}")
        except OSError:
            self._not_kept.add(name)

    def _replace_undo_area(self) -> None:
        if os.path.lexists(self._undo):
            if os.path.islink(self._undo) or not os.path.lexists(f"{self._undo}/{FILE}"):
                raise WriteError(f"{self._undo} does not come from a checkout. Move it away and try again.")
            move_tree(self._undo, self._previous)
        move_tree(self._kept, self._undo)

    # The change itself

    def _put_files(self) -> None:
        """Move the new files into place. A directory that did not exist before is moved in one step."""
        is_new = set(self._manifest.directories).__contains__
        copied = False
        pending = [""] if self._put else []
        while pending:
            prefix = pending.pop()
            for entry in sorted(os.scandir(f"{self._new}/{prefix}"), key=lambda entry: entry.name):
                name = prefix + entry.name
                if not entry.is_dir(follow_symlinks=False):
                    copied |= self._put_file(name)
                elif not (is_new(name) and self._put_directory(name)):
                    pending.append(f"{name}/")
        if copied:
            self._manifest.write(self._undo)

    def _put_file(self, name: str) -> bool:
        self._begin(name)
        copied = self._mover.move(f"{self._new}/{name}", self._at(name), f"{self._undo}/files/{name}")
        if copied:
            stamps = self._manifest.added if name in self._manifest.added else self._manifest.put
            stamps[name] = stamp(self._at(name)) or stamps[name]
        return copied

    def _put_directory(self, name: str) -> bool:
        """Move a new directory into place; return False if it could only be created empty."""
        self._begun.append(name)
        try:
            os.rename(f"{self._new}/{name}", self._at(name))
        except OSError:
            os.mkdir(self._at(name))
            return False
        return True

    def _begin(self, name: str) -> None:
        self._begun.append(name)
        if name in self._not_kept:
            os.makedirs(os.path.dirname(f"{self._undo}/files/{name}"), exist_ok=True)
            self._mover.move(self._at(name), f"{self._undo}/files/{name}")

    # If it fails

    def _roll_back(self) -> None:
        failed = []
        for name in reversed(self._begun):
            try:
                self._restore(name)
            except OSError:
                if not self._is_as_before(name):
                    failed.append(name)
        if failed:
            raise WriteError(
                f"Cannot put back {', '.join(failed[:5])} in {self._directory} after a failed checkout. The old files "
                f"are in {self._undo}. `keepsake checkout --undo` tries again."
            )
        if self._begun:
            self._remove_directories()
        if self._is_kept and not os.path.lexists(self._kept) and os.path.lexists(self._undo):
            move_tree(self._undo, self._kept)
        if os.path.lexists(self._previous) and not os.path.lexists(self._undo):
            move_tree(self._previous, self._undo)

    def _restore(self, name: str) -> None:
        target, backup = self._at(name), f"{self._undo}/files/{name}"
        if name in self._only and not os.path.lexists(f"{self._new}/{name}"):
            os.rename(target, f"{self._new}/{name}")
        if name in self._manifest.modes:
            with suppress(OSError):  # the file is gone, or its file system has no modes
                os.chmod(target, self._manifest.modes[name][0])
        elif name in self._manifest.links:
            link = f"{self._new}.link"
            os.symlink(self._manifest.links[name], link)
            self._mover.move(link, target)
        elif os.path.lexists(backup):
            if not (os.path.lexists(target) and os.path.samefile(backup, target)):
                self._mover.move(backup, target)
        elif name in self._manifest.added:
            with suppress(FileNotFoundError):
                os.unlink(target)
        elif name in self._manifest.directories:
            self._take_back(name)

    def _is_as_before(self, name: str) -> bool:
        """Whether a file has its old content: what may not be changed may not be put back either."""
        try:
            with open(self._at(name), "rb") as now, open(f"{self._undo}/files/{name}", "rb") as before:
                while (part := now.read(_PART)) == before.read(_PART):
                    if not part:
                        return True
        except OSError:
            pass
        return False

    def _take_back(self, directory: str) -> None:
        """Take back a new directory in one step, or else its files one by one."""
        try:
            os.rename(self._at(directory), f"{self._new}/{directory}")
        except OSError:
            for name in self._manifest.added:
                if name.startswith(f"{directory}/"):
                    with suppress(FileNotFoundError):
                        os.unlink(self._at(name))

    def _remove_directories(self) -> None:
        for name in reversed(self._manifest.directories):
            with suppress(OSError):  # something else has come into it
                os.rmdir(self._at(name))


def stage_backup(kept: str, name: str, workspace: str) -> bool:
    """Stage a kept file so that a change can put it back; return False if it can be neither linked nor read.

    A file with other hard links is copied.
    """
    source, target = f"{kept}/{name}", f"{workspace}/files/{name}"
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        (duplicate if os.lstat(source).st_nlink == 1 else copy)(source, target)
    except PermissionError:
        return False
    return True
