"""Remembering where the files of a directory came from, so that its next run can name its parent."""

from __future__ import annotations

import os
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from keepsake.config import find_config, find_place, load_config, redact_url, repository_of
from keepsake.exceptions import KeepsakeError
from keepsake.origin import Origin, forget_origin, origin_file, read_origin
from keepsake.storage import Storage, open_storage
from keepsake.util.console import warn
from keepsake.util.files import replace_with


@dataclass(frozen=True)
class Source:
    """What is checked out: an experiment, with its checkpoint or None, from a storage. The two are IDs."""

    storage: Storage
    experiment: str
    checkpoint: str | None


class Remembering:
    """Remembers the origin of a directory's files after a checkout. Create it before the checkout.

    In a directory that already is a project with this repository, the next run descends from the checkpoint. Another
    directory that gets all files becomes a copy of the project. One that gets some of them remembers nothing.

    Args:
        directory: where the files go.
        source: what they belong to.
        everything: whether they are all of its files.
    """

    def __init__(self, directory: Path, source: Source, *, everything: bool) -> None:
        self._directory = directory
        self._source = source
        self._everything = everything
        self._before = read_origin(directory)
        self._is_new = find_place(directory) is None  # in no project
        self._is_own = self._leads_to_source()

    @property
    def original(self) -> str | None:
        """The URL of the repository that the directory will use as a copy; None if it becomes no copy."""
        return self._source.storage.url if self._everything and not self._is_own else None

    def remember(self, restored: Container[str]) -> None:
        """Write down the origin. `restored` are the names of the files."""
        if not (self._everything or self._is_own):
            return
        was_copy = self._before is not None and self._before.is_copy
        source, directory = self._source, self._directory
        origin = Origin(
            source.experiment,
            source.checkpoint,
            source.storage.url,
            _relative(source.storage.directory, directory),
            os.path.abspath(directory),
            self._configured(restored),
            is_copy=was_copy if self._is_own else True,
        )
        try:
            origin.write(directory)
        except OSError as error:
            warn(f"Cannot write {origin_file(directory)}: {error.strerror}. Runs there will not know their parent.")

    def tell(self) -> None:
        """Warn if a configuration among the files makes a new project use another repository than the files' own."""
        place = find_place(self._directory, levels=1)
        if not self._is_new or place is None or self._leads_to_source():
            return
        with suppress(KeepsakeError):  # it is invalid, and a run would say so
            url = redact_url(repository_of(place).repository)
            warn(
                f"Runs in {self._directory} will be kept in {url}, because {place.name} among the files says so. The "
                f"files come from {self._source.storage.url}. To keep them there, edit {place}."
            )

    def _leads_to_source(self) -> bool:
        """Whether runs in the directory would go to the repository of the source anyway."""
        place = find_place(self._directory, levels=1)
        storage = self._source.storage
        with suppress(KeepsakeError):  # an invalid configuration leads nowhere
            if place is not None:
                config = repository_of(place)
                if config.repository.partition("://")[0].lower() == storage.url.partition("://")[0]:
                    return open_storage(config.repository, config.directory).url == storage.url
        return False

    def _configured(self, restored: Container[str]) -> str | None:
        """Return the repository in the configuration that came with this checkout, or with the one before."""
        path = find_config(self._directory)
        with suppress(KeepsakeError):  # it is invalid, and a run would say so
            url = load_config(path).repository if path else None
            is_known = self._before is not None and self._before.configured == url
            return url if path and (path.name in restored or is_known) else None
        return None


def put_back_origin(kept: bytes | None, directory: str) -> None:
    """Put back the origin that a directory had before a checkout; None if it had none."""
    path = origin_file(Path(directory))
    if kept is None:
        forget_origin(Path(directory))
    else:
        with suppress(OSError):  # such as a full disk: then the files are as before, and their origin is unknown
            replace_with(path, kept)


def _relative(repository: Path | None, directory: Path) -> str | None:
    """Return the URL of a repository on a disk relative to a directory."""
    with suppress(ValueError):  # they are on two drives
        if repository is not None:
            below = os.path.relpath(os.path.realpath(repository), os.path.realpath(directory))
            return "file://" + Path(below).as_posix().replace("%", "%25")
    return None
