"""Places in a directory: their present content, the workspace beside them, and moves across file systems."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keepsake.exceptions import WriteError
from keepsake.restoring.manifest import FILE, Stamp
from keepsake.storage.writing import make_directories
from keepsake.util.directories import is_own, own_place, state_for
from keepsake.util.files import COPY, WINDOWS
from keepsake.util.processes import has_ended, process_name

AREA = ".keepsake"
_BLOCK = 256 << 10  # bytes
_WORKSPACE = "checkout-"
_STALE = 24 * 3600.0  # seconds; older temporary files are the remains of a crash, also of an unknown process


@contextmanager
def workspace(directory: str) -> Iterator[str]:
    """Make a private directory for a change of `directory`. It is removed in the end, and so are new empty directories.

    The undo area lies beside it.
    """
    area = _area(directory)
    made: list[Path] = []
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise WriteError(f"Cannot check out into {directory}: it is not a directory. Name another one.")
    try:
        made += [path for path in (Path(directory), *Path(directory).parents) if not path.exists()]
        os.makedirs(directory, exist_ok=True)
        make_directories(area)  # for the group of the directory, because the repository may lie in it, too
        _bring_back_undo(Path(area))
        _remove_stale(area, _WORKSPACE)
        path = new_directory(area, _WORKSPACE)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
    except OSError as error:
        target = str(error.filename2 or "")  # of a move
        file = f"{target} cannot be replaced: " if target.startswith(f"{directory}/") and area not in target else ""
        raise WriteError(
            f"Cannot check out into {directory}: {file}{error.strerror or error}. Nothing was changed. "
            "Check its permissions and its disk, or name another directory."
        ) from error
    finally:
        for empty in (Path(area), *made):
            with suppress(OSError):
                os.rmdir(empty)


def _area(directory: str) -> str:
    """Return where the workspaces for a directory lie: in `.keepsake` there, or else in the user's state directory.

    In the directory of a group, `.keepsake` may be another user's, or hold what only that user can undo. One that is a
    mount may serve containers that all have their project at the same path.
    """
    place, usual = f"{directory}/{AREA}", str(own_place(Path(directory)))
    if os.path.ismount(place):
        status = os.stat(directory)
        usual += f"-{status.st_dev:x}-{status.st_ino:x}"
    there = [path for path in (place, usual, f"{usual}/undo") if os.path.lexists(path)]
    if all(os.access(path, os.R_OK | os.W_OK | os.X_OK) for path in there):
        return usual
    return str(state_for("undo", Path(directory)) or usual)


def new_directory(parent: str, prefix: str = "") -> str:
    """Make a private directory, and return its path. On Windows, files that are moved out of one would stay private."""
    path = f"{parent}/{_new_name(prefix)}"
    os.mkdir(path, 0o777 if WINDOWS else 0o700)
    return path


def _new_name(prefix: str) -> str:
    """Return a free name that tells which process uses it."""
    number, start, place = process_name().split(" ", 2)
    return f"{prefix}{number}_{start}_{zlib.crc32(place.encode()):08x}_{secrets.token_hex(8)}"


def _is_dead(name: str, prefix: str) -> bool:
    """Whether the process that uses that name has ended, as far as can be told."""
    number, start, where, _ = [*name.removeprefix(prefix).split("_"), "", "", ""][:4]
    place = process_name().split(" ", 2)[2]
    return where == f"{zlib.crc32(place.encode()):08x}" and has_ended(f"{number} {start} {place}")


def _remove_stale(directory: str, prefix: str) -> None:
    """Remove what dead processes left."""
    for old in Path(directory).glob(f"{prefix}*"):
        with suppress(OSError):
            status = old.lstat()
            is_old = time.time() - status.st_mtime > _STALE
            if not is_old and not (is_own(status) and _is_dead(old.name, prefix)):
                continue
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.unlink()


def _bring_back_undo(area: Path) -> None:
    """Bring back the old undo area if a kill interrupted its replacement."""
    if not (area / "undo").exists():
        for previous in area.glob(f"{_WORKSPACE}*/previous"):
            is_ours = not (previous.is_symlink() or previous.parent.is_symlink())  # a link may lead anywhere
            if is_ours and os.path.lexists(previous / FILE):
                move_tree(str(previous), str(area / "undo"))
                break


class Places:
    """Examines the places for files, and refuses names that lead through a link."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._is_there = {"": True}  # directory, relative → whether it exists

    def look(self, name: str) -> os.stat_result | None:
        """Return the status of a name; None if it does not exist. Raises WriteError if no file can be put there."""
        if not self.has_directory(name.rpartition("/")[0]):
            return None
        try:
            status = os.lstat(f"{self._directory}/{name}")
        except FileNotFoundError:
            return None
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            raise self.in_the_way(name, name, status)
        return status

    def has_directory(self, name: str) -> bool:
        """Whether a directory exists. Raises WriteError if a link or a file is in its place."""
        if name in self._is_there:
            return self._is_there[name]
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            if path not in self._is_there:
                self._is_there[path] = self._is_there["/".join(parts[: depth - 1])] and self._is_directory(path, name)
        return self._is_there[name]

    def _is_directory(self, path: str, name: str) -> bool:
        try:
            status = os.lstat(f"{self._directory}/{path}")
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(status.st_mode):
            raise self.in_the_way(name, path, status)
        return True

    def in_the_way(self, name: str, path: str, status: os.stat_result) -> WriteError:
        """Return the error for an obstacle at `path` that keeps `name` from its place."""
        kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISLNK, "a link"), (stat.S_ISREG, "a file"))
        what = next((what for is_kind, what in kinds if is_kind(status.st_mode)), "a special file")
        where = f"{self._directory}/{path}"
        return WriteError(f"Cannot put {name} into {self._directory}: {where} is {what}. Move it away and try again.")


class Mover:
    """Moves files, even between file systems or where a rename is refused. It then renames a copy."""

    def __init__(self) -> None:
        self._far: set[str] = set()  # directories into which nothing can be renamed

    def move(self, source: str, target: str, backup: str = "") -> bool:
        """Move a file or link over `target`, in one step. Return whether it was copied.

        `backup`: maybe another name of `target`, which keeps the old content.
        """
        parent = os.path.dirname(target)
        if parent not in self._far:
            with suppress(OSError):
                os.replace(source, target)
                return False
            _remove_stale(parent, COPY)
            self._far.add(parent)
        step = f"{parent}/{_new_name(COPY)}"
        copy(source, step)
        try:
            os.replace(step, target)
        except OSError as error:
            if error.errno != errno.EBUSY or os.path.islink(step):
                raise
            if os.path.lexists(backup) and os.path.samefile(backup, target):
                copy(target, f"{step}-backup")
                os.replace(f"{step}-backup", backup)
            _write_over(step, target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(step)
        with suppress(OSError):
            os.unlink(source)
        return True


def _write_over(source: str, target: str) -> None:
    """Give a file that cannot be replaced the content of another one: a mount, as of one file into a container."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with open(source, "rb") as new, open(os.open(target, flags), "r+b") as old:
        shutil.copyfileobj(new, old, _BLOCK)
        old.truncate()
    _copy_attributes(os.lstat(source), target)


def move_tree(source: str, target: str) -> None:
    """Move a directory to a free name. If the file system cannot rename it, it is copied."""
    try:
        os.rename(source, target)
    except OSError:
        shutil.copytree(source, target, symlinks=True, copy_function=copy)
        shutil.rmtree(source, ignore_errors=True)


def copy(source: str, target: str) -> None:
    """Copy a file, or a link itself, to a free name. Its permissions and times are copied if that is possible.

    If it raises, nothing new is at `target`.
    """
    try:
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
        else:
            with open(source, "rb") as old:
                mode = os.fstat(old.fileno()).st_mode & 0o777 | 0o600  # perhaps nothing can change it later
                with open(target, "xb", opener=lambda path, flags: os.open(path, flags, mode)) as new:
                    shutil.copyfileobj(old, new, _BLOCK)
    except FileExistsError:  # the name is not free, and what has it is not ours
        raise
    except BaseException:
        with suppress(OSError):
            os.unlink(target)
        raise
    with suppress(OSError):
        shutil.copystat(source, target, follow_symlinks=False)  # stops at the first refusal, so the rest follows
    status = os.lstat(source)
    if stat.S_ISREG(status.st_mode):
        _copy_attributes(status, target)


def _copy_attributes(status: os.stat_result, target: str) -> None:
    with suppress(OSError):
        os.chmod(target, stat.S_IMODE(status.st_mode) & 0o777)
    with suppress(OSError):
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def duplicate(source: str, target: str) -> None:
    """Make `target` a hard link to `source`, or a copy if the file system has no hard links."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        copy(source, target)


def stamp(path: str) -> Stamp | None:
    """Return a file's stamp, which shows later changes; None if there is no file."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
