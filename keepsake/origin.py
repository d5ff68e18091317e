"""The origin of a directory's files: what the last checkout into it wrote down, usually in `.keepsake/origin.json`."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from keepsake.util.directories import own_place
from keepsake.util.files import open_at_once, replace_with

_MAX_BYTES = 1 << 16


class Origin(NamedTuple):
    """The experiment, or its checkpoint, whose files were put into a directory.

    Attributes:
        experiment, checkpoint: their IDs.
        repository: the URL of their repository, without secrets.
        relative: the same relative to the directory, for a repository on a disk; None if there is none.
        directory: the directory's path at the time of the checkout.
        configured: the repository that the restored keepsake.yaml names; None if none was restored.
        is_copy: whether the directory is a copy of a project, whose runs belong into that repository. Otherwise, it is
            the project itself, and only the next run descends from the checkpoint.
    """

    experiment: str
    checkpoint: str | None
    repository: str
    relative: str | None
    directory: str
    configured: str | None
    is_copy: bool

    @property
    def id(self) -> str:
        """The ID of the checkpoint, or else of the experiment."""
        return self.checkpoint or self.experiment

    def url(self, directory: Path) -> str:
        """Return the URL of its repository, seen from `directory`, which may have been moved with its surroundings."""
        if self.relative and not holds_repository(self.repository) and holds_repository(self.relative, directory):
            return self.relative
        return self.repository

    def write(self, directory: Path) -> None:
        """Make this the origin of a directory. Raises OSError."""
        path = origin_file(directory)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_with(path, json.dumps(self._asdict(), indent=1).encode())


def origin_file(directory: Path) -> Path:
    """Return the file that holds the origin of a directory."""
    return own_place(directory) / "origin.json"


def read_origin(directory: Path) -> Origin | None:
    """Return the origin of a directory; None if there is none, or if its file is damaged."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        with open(open_at_once(origin_file(directory)), "rb") as file:  # a stranger may have put a pipe above a project
            content = json.loads(file.read(_MAX_BYTES))
        origin = Origin(*[content[name] for name in Origin._fields])
        texts = (origin.experiment, origin.repository, origin.directory)
        optional = (origin.checkpoint, origin.relative, origin.configured)
        is_valid = all(isinstance(text, str) for text in texts)
        if is_valid and all(isinstance(text, (str, type(None))) for text in optional) and type(origin.is_copy) is bool:
            return origin
    return None


def forget_origin(directory: Path) -> None:
    """Remove the origin of a directory, if there is one."""
    with suppress(OSError):
        origin_file(directory).unlink()


def is_relative(url: str) -> bool:
    """Whether the URL of a repository is relative to the project directory."""
    return url.startswith("file://") and not url.startswith(("file:///", "file://~", "file://$"))


def holds_repository(url: str, base: Path | None = None) -> bool:
    """Whether a file URL, relative to `base`, leads to a repository that is there now."""
    path = unquote(url[len("file://") :])
    return url.startswith("file://") and os.path.isfile((base or Path()) / path / "repository.json")
