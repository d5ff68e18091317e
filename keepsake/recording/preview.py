"""What init() would save now: the files, the largest first, and what it would leave out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepsake.util.ignore import walk_files


@dataclass(frozen=True)
class Preview:
    """What `init(path=…)` would save.

    Attributes:
        path: the file or directory, relative to the project directory.
        directory: the project directory.
        files: path → size in bytes, the largest first. Paths are relative to the project directory.
        left_out: path → why it would not be saved. The path of a directory ends with a slash and stands for all in it.
    """

    path: str
    directory: Path
    files: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(self.files.values())

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "path": self.path,
            "files": [{"path": path, "size": size} for path, size in self.files.items()],
            "left_out": [{"path": path, "why": why} for path, why in self.left_out.items()],
        }


def preview(directory: Path, path: str) -> Preview:
    """Return what init() would save in a project directory. It reads no file.

    Raises ValidationError if `path` is absolute or leads out of the project, DoesNotExist if it does not exist.
    """
    left_out: dict[str, str] = {}
    sizes = {}
    for name, place in walk_files(directory, path, left_out.__setitem__):
        try:
            sizes[name] = os.stat(place).st_size
        except OSError as error:  # it is gone already
            left_out[name] = error.strerror or str(error)
    ordered = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))
    return Preview(path, directory, dict(ordered), dict(sorted(left_out.items())))
