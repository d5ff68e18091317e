"""Putting the files of archives into a directory: all or nothing, and what is overwritten can be brought back.

DIRECTORY/.keepsake/checkout-…/     files on their way; gone in the end
                    undo/           what the last checkout overwrote, and a list of what it added
"""

from __future__ import annotations

import difflib
import json
import os
import posixpath
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from keepsake.archive.contents import ContentHash
from keepsake.archive.reader import Archive, ArchiveEntry
from keepsake.config import CONFIG_NAMES, load_config, redact_url
from keepsake.exceptions import DoesNotExist, KeepsakeError, ReadError, ValidationError, WriteError
from keepsake.util.console import Progress, warn

_STALE = 24 * 3600.0  # seconds after which files on their way were left by a crash
_BLOCK = 256 << 10  # bytes
_AREA = ".keepsake"
_RESERVED = (".keepsake", ".git")  # directories whose files could act by themselves; no snapshot holds them


@dataclass(frozen=True)
class Plan:
    """What a checkout would do to a directory; names are POSIX and relative to it."""

    directory: Path
    is_empty: bool  # whether the directory has nothing in it yet, or is not there
    new: list[str]
    changed: list[str]
    same: list[str]


@dataclass
class _File:
    archive: Archive
    entry: ArchiveEntry
    staged: Path | None = None  # where it is already unpacked


def checkout(
    archives: Iterable[Archive],
    directory: Path,
    path: str | None = None,
    *,
    confirm: Callable[[Plan], bool] = lambda plan: True,
) -> bool:
    """Put the files of `archives` into `directory`, those of later ones over those of earlier ones.

    Args:
        path: only this file or directory.
        confirm: asked before anything is changed. If it says no, the directory stays as it was, and False is returned.

    Files that are the same already are left alone. If it raises, everything is as before.
    Raises DoesNotExist if there is no such `path`, CorruptedArchive, and WriteError, e.g. for a full disk, or for a
    link that stands where a directory belongs: nothing is ever written through one.
    """
    archives = list(archives)
    wanted = _selection(path)
    directory = directory.absolute()
    with _workspace(directory) as workspace:
        is_empty = set(os.listdir(directory)) <= {_AREA}
        files = _collect(archives, wanted, workspace)
        if not files:
            raise _missing(path, archives)
        plan = _compare(files, directory, is_empty)
        if not confirm(plan):
            return False
        put = _stage({name: files[name] for name in (*plan.new, *plan.changed)}, workspace)
        _warn_of_other_repository(put, directory)
        _apply(directory, workspace, put)
    return True


def undo(directory: Path) -> list[str]:
    """Bring back what the last checkout into `directory` overwrote, and return the names of those files.

    What it added goes, unless it was changed since. What is overwritten now is kept in turn: a second undo takes the
    first one back. Raises DoesNotExist if there is nothing to bring back, WriteError as `checkout` does.
    """
    directory = directory.absolute()
    kept = directory / _AREA / "undo"
    if not kept.is_dir():
        raise DoesNotExist(f"There is nothing to undo: no checkout into {directory} has overwritten anything.")
    try:
        manifest = json.loads((kept / "manifest.json").read_text(encoding="utf-8"))
        names = [name for name in manifest["overwritten"] if os.path.lexists(kept / "files" / name)]
        remove = [name for name, stamp in manifest["added"].items() if _stamp(directory / name) == stamp]
        made = list(manifest["directories"])
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ReadError(f"{kept} is damaged: {error}. What was overwritten is in {kept / 'files'}.") from error
    with _workspace(directory) as workspace:
        put = {name: workspace / "files" / name for name in names}
        for name in names:
            _link(kept / "files" / name, put[name])
        _apply(directory, workspace, put, remove)
        for name in reversed(made):
            with suppress(OSError):  # it holds something else
                (directory / name).rmdir()
    return names


# What is to be done


def _selection(path: str | None) -> Callable[[str], bool]:
    """Return what tells whether a file is wanted."""
    only = "." if path is None else posixpath.normpath(path.replace(os.sep, "/"))
    if only.startswith("/") or only.split("/")[0] == "..":
        raise ValidationError(f"path must be relative to the project directory and inside it: {path!r}")

    def is_wanted(name: str) -> bool:
        if only != "." and name != only and not name.startswith(only + "/"):
            return False
        if any(part.casefold() in _RESERVED for part in name.split("/")):
            warn(f"{name} is left out: nothing is ever checked out into {' or '.join(_RESERVED)}.")
            return False
        return True

    return is_wanted


def _collect(archives: list[Archive], is_wanted: Callable[[str], bool], workspace: Path) -> dict[str, _File]:
    """Find the file to be put under each name. Archives that do not know their hashes are unpacked for that."""
    files = {}
    for archive in archives:
        if archive.has_table:
            found = [_File(archive, entry) for entry in archive.entries() if is_wanted(entry.name)]
        else:
            stage = Path(tempfile.mkdtemp(dir=workspace))
            with Progress("Reading the archive", None) as progress:
                entries = archive.extract(stage, is_wanted, progress.advance)
            found = [_File(archive, entry, stage / entry.name) for entry in entries]
        files.update({file.entry.name: file for file in found})
    return files


def _missing(path: str | None, archives: list[Archive]) -> DoesNotExist:
    names = {entry.name for archive in archives for entry in archive.entries()}
    there = sorted({parent for name in names for parent in (name, *map(str, PurePosixPath(name).parents))} - {"."})
    close = difflib.get_close_matches(path or "", there, n=3)
    listing = (
        f"Did you mean {' or '.join(map(repr, close))}?" if close else f"There is: {', '.join(there[:10]) or 'nothing'}"
    )
    return DoesNotExist(f"There is no file or directory {path!r} in what was saved. {listing}")


def _compare(files: dict[str, _File], directory: Path, is_empty: bool) -> Plan:
    plan = Plan(directory, is_empty, [], [], [])
    for name, file in sorted(files.items()):
        status = _look(directory, name)
        if status is None:
            plan.new.append(name)
        elif _is_same(directory / name, status, file):
            plan.same.append(name)
        else:
            plan.changed.append(name)
    return plan


def _look(directory: Path, name: str) -> os.stat_result | None:
    """Return what is at a name; None if nothing is. Raises WriteError if no file can safely be put there."""
    for ancestor in [*reversed(PurePosixPath(name).parents), PurePosixPath(name)][1:]:
        path = directory / ancestor
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        is_directory, is_last = stat.S_ISDIR(status.st_mode), str(ancestor) == name
        if is_directory == is_last:
            what = "a directory" if is_directory else "a link" if stat.S_ISLNK(status.st_mode) else "a file"
            raise WriteError(f"Cannot put {name} into {directory}: {path} is {what}. Move it away and try again.")
    return status


def _is_same(path: Path, status: os.stat_result, file: _File) -> bool:
    if not stat.S_ISREG(status.st_mode) or status.st_size != file.entry.size:
        return False
    return _hash(path) == (_hash(file.staged) if file.staged else file.entry.xxh128)


def _hash(path: Path) -> str:
    content = ContentHash()
    with open(path, "rb", buffering=0) as file:
        while part := file.read(_BLOCK):
            content.update(part)
    return content.hexdigest()


def _warn_of_other_repository(put: dict[str, Path], directory: Path) -> None:
    for name in CONFIG_NAMES:
        if name in put and (directory / name).is_file():
            with suppress(KeepsakeError):
                ours, theirs = load_config(directory / name).repository, load_config(put[name]).repository
                if ours != theirs:
                    warn(
                        f"{name} is put back, too: the project's repository is now {redact_url(theirs)} instead of "
                        f"{redact_url(ours)}. `keepsake checkout --undo` takes that back."
                    )


# Doing it


@contextmanager
def _workspace(directory: Path) -> Iterator[Path]:
    """Make a private directory on the same file system as `directory`; it goes, and so does what is empty then."""
    area = directory / _AREA
    made: list[Path] = []
    try:
        made += [path for path in (area, directory, *directory.parents) if not path.exists()]
        area.mkdir(parents=True, exist_ok=True)
        if area.stat().st_dev != directory.stat().st_dev:
            raise WriteError(f"{area} is on another disk than {directory}. Check out into another directory with -o.")
        for old in area.glob("checkout-*"):
            if time.time() - old.stat().st_mtime > _STALE:
                shutil.rmtree(old, ignore_errors=True)
        workspace = Path(tempfile.mkdtemp(prefix="checkout-", dir=area))
        try:
            yield workspace
        finally:
            shutil.rmtree(workspace, ignore_errors=True)
    except OSError as error:
        raise WriteError(f"Cannot check out into {directory}: {error}. Nothing was changed.") from error
    finally:
        for path in (area, *made):
            with suppress(OSError):
                path.rmdir()


def _stage(put: dict[str, _File], workspace: Path) -> dict[str, Path]:
    """Unpack and verify what is not yet; return where each file is."""
    waiting = {name: file for name, file in put.items() if file.staged is None}
    with Progress("Checking out", sum(file.entry.size for file in waiting.values())) as progress:
        for archive in {id(file.archive): file.archive for file in waiting.values()}.values():
            names = {name for name, file in waiting.items() if file.archive is archive}
            stage = Path(tempfile.mkdtemp(dir=workspace))
            archive.extract(stage, names.__contains__, progress.advance)
            for name in names:
                put[name].staged = stage / name
    return {name: file.staged for name, file in put.items() if file.staged}


def _apply(directory: Path, workspace: Path, put: dict[str, Path], remove: Iterable[str] = ()) -> None:
    """Move files into place and others away: all or none, and what was there before is kept for `undo`."""
    existing = {name: None for name in (*put, *remove) if _look(directory, name) is not None}
    parents = sorted({parent for name in put for parent in map(str, PurePosixPath(name).parents)} - {"."})
    made = [name for name in parents if not (directory / name).exists()]
    added = {name: _stamp(staged) for name, staged in put.items() if name not in existing}
    with ExitStack() as rollback:
        if existing:
            _keep(directory, workspace, list(existing), {"added": added, "directories": made}, rollback)
        for name in made:
            (directory / name).mkdir()
            rollback.callback(os.rmdir, directory / name)
        for name, staged in put.items():
            os.replace(staged, directory / name)
            if name in added:
                rollback.callback(os.unlink, directory / name)
        for name in remove:
            os.unlink(directory / name)
        rollback.pop_all()


def _keep(
    directory: Path, workspace: Path, existing: list[str], manifest: dict[str, object], rollback: ExitStack
) -> None:
    """Make the undo area anew, with all that is going to be overwritten, before anything is."""
    kept, undo_area = workspace / "undo", directory / _AREA / "undo"
    kept.mkdir(mode=0o700)
    (kept / "manifest.json").write_text(json.dumps(manifest | {"overwritten": existing}), encoding="utf-8")
    for name in existing:
        _link(directory / name, kept / "files" / name)
    if undo_area.exists():
        previous = workspace / "previous"
        os.rename(undo_area, previous)
        rollback.callback(os.rename, previous, undo_area)
    os.rename(kept, undo_area)
    rollback.callback(os.rename, undo_area, kept)
    for name in existing:
        rollback.callback(os.replace, undo_area / "files" / name, directory / name)


def _link(source: Path, target: Path) -> None:
    """Let `target` be the same file as `source`, or a copy where there are no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.is_symlink():
            raise OSError("not every system makes hard links of links")
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _stamp(path: Path) -> list[int] | None:
    """Return what tells whether a file was changed since, or None if there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
