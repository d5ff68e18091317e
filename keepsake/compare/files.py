"""Which files differ between two runs, and the lines that differ in their texts.

Two tables of contents tell which files differ. Of files, only the differing ones are read. An archive without a table,
such as one of Keepsake 0.4.2, is read as a stream once.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from keepsake.archive.contents import ContentHash
from keepsake.archive.reader import Archive
from keepsake.compare.texts import MAX_TEXT, Patch, text_lines
from keepsake.exceptions import FileDoesNotExist
from keepsake.util.clock import monotonic
from keepsake.util.console import format_size
from keepsake.util.names import suggestion

MAX_TEXTS = 20_000_000  # bytes of text that are compared at once
_KEPT = 64_000_000  # bytes of small files of an archive without a table that are held in memory
_SECONDS = 3.0  # for finding the fewest lines that differ

Kind = Literal["added", "removed", "changed"]


@dataclass
class _Source:
    """An archive, and small files of it that had to be read."""

    archive: Archive
    kept: dict[str, bytes] = field(default_factory=dict)

    def contents(self, names: set[str]) -> dict[str, bytes]:
        """Return files as they were saved."""
        missing = names - self.kept.keys()
        read = self.archive.read(missing.__contains__) if missing else ()
        found = {entry.name: b"".join(part for parts in content for part in parts) for entry, content in read}
        return found | {name: self.kept[name] for name in names - missing}


@dataclass(frozen=True)
class ComparedFile:
    """A file of a run: its size in bytes, what tells its content from others, and its permissions.

    Of these, only whether its owner may execute it makes a difference. The others depend on who saved it and where.
    """

    size: int
    digest: str
    mode: int
    source: _Source = field(repr=False, compare=False)

    @property
    def state(self) -> tuple[str, bool]:
        """What differs if the file does."""
        return self.digest, bool(self.mode & stat.S_IXUSR)


Tree = Mapping[str, ComparedFile]  # by path, relative to the project directory


class TreeReader:
    """Reads the files of runs. An archive that runs share is read once."""

    def __init__(self) -> None:
        self._known: dict[str, Tree] = {}

    def read(self, archives: Iterable[Archive]) -> Tree:
        """Return the files of archives. Those of a later archive replace those of the same path."""
        tree: dict[str, ComparedFile] = {}
        for archive in archives:
            if archive.name not in self._known:
                self._known[archive.name] = _table(archive)
            tree.update(self._known[archive.name])
        return tree


def versions(trees: Sequence[Tree]) -> dict[str, tuple[int | None, ...]]:
    """Return the paths of files that are not the same in all trees, each with the number of the version in each tree.

    The first version is 1; None stands for no such file.
    """
    found = {}
    for path in sorted({path for tree in trees for path in tree}):
        states = [tree[path].state if path in tree else None for tree in trees]
        if len(set(states)) > 1:
            order = list(dict.fromkeys(state for state in states if state is not None))
            found[path] = tuple(None if state is None else order.index(state) + 1 for state in states)
    return found


def _table(archive: Archive) -> Tree:
    source = _Source(archive)
    if not archive.has_table:
        return _stream(source)
    return {entry.name: ComparedFile(entry.size, str(entry.xxh128), entry.mode, source) for entry in archive.entries()}


def _stream(source: _Source) -> Tree:
    """Read an archive without a table, and keep the small files in it, which may be asked for later."""
    tree, room = {}, _KEPT
    for entry, content in source.archive.read():
        digest, kept = ContentHash(), []
        keep = entry.size <= min(MAX_TEXT, room)
        for parts in content:
            for part in parts:
                digest.update(part)
                if keep:
                    kept.append(bytes(part))
        if keep:
            source.kept[entry.name] = b"".join(kept)
            room -= entry.size
        tree[entry.name] = ComparedFile(entry.size, digest.hexdigest(), entry.mode, source)
    return tree


@dataclass(frozen=True)
class FileDifference:
    """How one file differs.

    Attributes:
        path: relative to the project directory.
        kind: `added`, `removed` or `changed`, from the left to the right run.
        sizes: in bytes, of the left and the right file; None where there is none.
        lines: numbers of added and removed lines; None if they were not compared.
        note: why they were not: `binary`, that it is too large, or that only the mode differs: `mode 644 to 755`.
        text: the unified diff; "" if lines were not compared.
    """

    path: str
    kind: Kind
    sizes: tuple[int | None, int | None]
    lines: tuple[int, int] | None = None
    note: str = ""
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the difference as plain values."""
        return {
            "path": self.path,
            "kind": self.kind,
            "sizes": list(self.sizes),
            "lines": list(self.lines) if self.lines else None,
            "note": self.note,
            "text": self.text,
        }


class FileComparison:
    """Which files differ between two runs: those of the experiment, and those of its checkpoint in their place.

    Attributes:
        added, removed, changed: paths of the files that only the right run has, only the left, and both with other
            contents, or of which only one is executable. A renamed file is removed and added.
    """

    def __init__(self, left: Tree, right: Tree, names: tuple[str, str] = ("a", "b")) -> None:
        """`names`: what the runs are called in the heads of unified diffs."""
        self._left, self._right = left, right
        self._names = names
        self.added = sorted(right.keys() - left.keys())
        self.removed = sorted(left.keys() - right.keys())
        self.changed = sorted(path for path in left.keys() & right.keys() if left[path].state != right[path].state)

    def __bool__(self) -> bool:
        """Whether any file differs."""
        return bool(self.added or self.removed or self.changed)

    def __repr__(self) -> str:
        return f"<FileComparison: {self.summary() or 'no difference'}>"

    def summary(self) -> str:
        """Return how many files differ, such as `2 changed, 1 added`."""
        counts = {"changed": self.changed, "added": self.added, "removed": self.removed}
        return ", ".join(f"{len(paths):,} {kind}" for kind, paths in counts.items() if paths)

    @cached_property
    def differences(self) -> list[FileDifference]:
        """All files that differ, by path, with the lines that do. Files of more than 1 MB are not compared by lines."""
        return self._compare(self._kinds())

    def within(self, path: str) -> list[FileDifference]:
        """Return the differences in one file, or in the files of a directory.

        Raises FileDoesNotExist if neither run has such a file or directory.
        """
        wanted, there = _within(path), {*self._left, *self._right}
        if not any(map(wanted, there)):
            raise FileDoesNotExist(f"Neither has a file or directory {path!r}. {suggestion(path, there)}")
        if "differences" in self.__dict__:
            return [each for each in self.differences if wanted(each.path)]
        return self._compare({name: kind for name, kind in self._kinds().items() if wanted(name)})

    def text(self, path: str | None = None) -> str:
        """Return the unified diff of one file, of the files of a directory, or (None) of all; "" if none differs.

        Raises FileDoesNotExist if neither run has that path.
        """
        return "".join(each.text for each in (self.differences if path is None else self.within(path)))

    def to_json(self) -> dict[str, Any]:
        """Return the paths as plain values."""
        return {"added": self.added, "removed": self.removed, "changed": self.changed}

    def _kinds(self) -> dict[str, Kind]:
        kinds: dict[str, Kind] = dict.fromkeys(self.added, "added")
        kinds.update(dict.fromkeys(self.removed, "removed"))
        kinds.update(dict.fromkeys(self.changed, "changed"))
        return dict(sorted(kinds.items()))

    def _compare(self, kinds: Mapping[str, Kind]) -> list[FileDifference]:
        notes = self._too_large(kinds) | self._modes()
        wanted = kinds.keys() - notes.keys()
        texts = [_texts(tree, wanted & tree.keys()) for tree in (self._left, self._right)]
        deadline = monotonic() + _SECONDS
        return [self._difference(path, kind, notes.get(path), texts, deadline) for path, kind in kinds.items()]

    def _modes(self) -> dict[str, str]:
        """Return the changed paths with the same contents, and how their modes differ."""
        pairs = ((path, self._left[path], self._right[path]) for path in self.changed)
        return {path: f"mode {a.mode:o} to {b.mode:o}" for path, a, b in pairs if a.digest == b.digest}

    def _too_large(self, kinds: Mapping[str, Kind]) -> dict[str, str]:
        """Return the paths whose lines are not compared, with the reason. Changed files come first, small ones next."""
        sizes = {path: [tree[path].size for tree in (self._left, self._right) if path in tree] for path in kinds}
        notes, room = {}, MAX_TEXTS
        for path in sorted(kinds, key=lambda path: (kinds[path] != "changed", max(sizes[path]))):
            if max(sizes[path]) > MAX_TEXT:
                notes[path] = f"more than {format_size(MAX_TEXT)}"
            elif sum(sizes[path]) > room:
                notes[path] = f"not compared by lines, beyond {format_size(MAX_TEXTS)} of text"
            else:
                room -= sum(sizes[path])
        return notes

    def _difference(
        self, path: str, kind: Kind, note: str | None, texts: list[dict[str, bytes]], deadline: float
    ) -> FileDifference:
        sizes = tuple(tree[path].size if path in tree else None for tree in (self._left, self._right))
        about = (path, kind, (sizes[0], sizes[1]))
        if note is not None:
            return FileDifference(*about, note=note)
        left, right = (text_lines(side.get(path, b"")) for side in texts)
        if left is None or right is None:
            return FileDifference(*about, note="binary")
        patch = Patch(left, right, deadline)
        if not (patch.added or patch.removed) and kind == "changed":
            return FileDifference(*about, note="the same text in other bytes")
        heads = (f"{name}/{path}" for name in self._names)
        trees = (self._left, self._right)
        there = [head if path in tree else "/dev/null" for head, tree in zip(heads, trees, strict=True)]
        text = "".join(f"{line}\n" for line in patch.lines(*there))
        return FileDifference(*about, lines=(patch.added, patch.removed), text=text)


def _texts(tree: Tree, paths: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of files, reading each archive once."""
    wanted: dict[int, tuple[_Source, set[str]]] = {}
    for path in paths:
        source = tree[path].source
        wanted.setdefault(id(source), (source, set()))[1].add(path)
    return {path: data for source, names in wanted.values() for path, data in source.contents(names).items()}


def _within(path: str) -> Callable[[str], bool]:
    path = posixpath.normpath(path.replace(os.sep, "/"))
    return lambda name: path == "." or name == path or name.startswith(f"{path}/")
