"""The manifest: the list of a change's actions. It is written before the change begins, and read to take it back."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field, fields
from typing import Any

from keepsake.exceptions import ReadError
from keepsake.util.names import is_safe_name

FILE = "manifest.json"
RESERVED = (".keepsake", ".git")  # files in these directories could run code; no snapshot holds them

Stamp = list[int]  # size and time of a file, to notice later changes


@dataclass
class Manifest:
    """The actions of a change. Names are POSIX and relative to the directory."""

    path: str  # of the directory
    inode: int  # of the directory, which may be moved
    overwritten: list[str] = field(default_factory=list)  # files changed or removed; their backups have these names
    links: dict[str, str] = field(default_factory=dict)  # those of them that were symbolic links → their targets
    put: dict[str, Stamp] = field(default_factory=dict)  # the files that are now in their place
    added: dict[str, Stamp] = field(default_factory=dict)  # files that did not exist before
    modes: dict[str, list[int]] = field(default_factory=dict)  # permissions before and after
    directories: list[str] = field(default_factory=list)  # new directories, outermost first

    def write(self, area: str) -> None:
        """Write the list into `area`, atomically."""
        temporary = f"{area}/{FILE}.new"
        with open(temporary, "w", encoding="utf-8", opener=open_private) as file:
            file.write(json.dumps(vars(self)))
        os.replace(temporary, f"{area}/{FILE}")


def read_manifest(area: str, directory: str, owner: int) -> Manifest:
    """Read the list in `area` of a change of `directory`; `owner` is the owner of files that this process makes there.

    Raises ReadError if it is damaged, was not made by this user in this place, or names anything outside.
    """
    kept = f"The overwritten files are in {area}/files."
    status = os.lstat(area)
    if not stat.S_ISDIR(status.st_mode):
        raise ReadError(f"{area} is not a directory, so nothing is undone. Move it away.")
    try:
        listed = os.lstat(f"{area}/{FILE}")
        if {status.st_uid, listed.st_uid} != {owner}:
            raise ReadError(f"{area} belongs to another user, so nothing is undone. {kept}")
        if not stat.S_ISREG(listed.st_mode):
            raise ValueError(f"{FILE} is not a regular file")
        if os.path.islink(f"{area}/files"):
            raise ValueError("its `files` is a link")
        with open(f"{area}/{FILE}", encoding="utf-8") as file:
            manifest = _parse(json.load(file))
    except OSError as error:
        raise ReadError(f"{area}/{FILE} cannot be read: {error.strerror}. Check its disk. {kept}") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ReadError(f"{area} is damaged: {error}. {kept}") from error
    if manifest.path != directory and manifest.inode != os.stat(directory).st_ino:
        raise ReadError(
            f"{area} was made elsewhere and came here with a copy or a clone, so nothing is undone. {kept} "
            "Look at them, and put back by hand those that you want."
        )
    return manifest


def _parse(values: dict[str, Any]) -> Manifest:
    """Return the manifest. Raises ValueError or the like for values that `Manifest.write` does not write."""
    manifest = Manifest(**{item.name: values[item.name] for item in fields(Manifest)})
    kinds = [(manifest.path, str), (manifest.inode, int)]
    kinds += [(names, list) for names in (manifest.overwritten, manifest.directories)]
    kinds += [(names, dict) for names in (manifest.links, manifest.put, manifest.added, manifest.modes)]
    kinds += [(text, str) for text in manifest.links.values()]
    for value, kind in kinds:
        if type(value) is not kind:
            raise ValueError(f"{value!s:.100} has the wrong type")
    for text in (manifest.path, *manifest.links.values()):
        if "\0" in text or os.fsencode(text) == b"":
            raise ValueError(f"{text!r:.100} is no path")
    for numbers in (*manifest.put.values(), *manifest.added.values(), *manifest.modes.values()):
        if [type(number) for number in numbers] != [int, int]:
            raise ValueError(f"{numbers!s:.100} is not a pair of numbers")
    if not all(0 <= mode <= 0o7777 for modes in manifest.modes.values() for mode in modes):
        raise ValueError("these are no permissions")
    files = {*manifest.overwritten, *manifest.links, *manifest.put, *manifest.added, *manifest.modes}
    for name in (*files, *manifest.directories):
        if not is_safe_name(name) or any(part.casefold() in RESERVED for part in name.split("/")):
            raise ValueError(f"the name {name!r} could lead out of the directory")
    # Nothing is below a file. If the file is a link, such a name would lead to its target.
    directories = {parent for name in files for parent in parents_of(name)}.union(manifest.directories)
    is_whole = {*manifest.links, *manifest.put} <= set(manifest.overwritten) and directories.isdisjoint(files)
    if not is_whole or len(set(manifest.overwritten)) < len(manifest.overwritten):
        raise ValueError("it contradicts itself")
    return manifest


def parents_of(name: str) -> list[str]:
    """Return the directories that a name leads through, outermost first."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def open_private(path: str, flags: int) -> int:
    """Open a new file that nobody else can read; for `open(opener=...)`."""
    return os.open(path, flags | os.O_EXCL, 0o600)
