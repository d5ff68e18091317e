"""Warnings if a checkout changes the repository that a project uses."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from keepsake.config import CONFIG_NAMES, DEPRECATED_NAMES, Config, find_place, load_config, redact_url, repository_of
from keepsake.exceptions import KeepsakeError
from keepsake.origin import holds_repository, is_relative
from keepsake.util.console import warn

NAMES = (*CONFIG_NAMES, *DEPRECATED_NAMES)  # the first that exists counts
_UNREADABLE = Config("one that cannot be read", Path())


class Watch:
    """Notices if a change of a directory makes its project use another repository.

    Args:
        directory: the directory that is changed.
        is_empty: whether it was empty before the change, which then makes a copy of a project.
        original: the URL of the original's repository, if the copy goes on using it.
    """

    def __init__(self, directory: Path, is_empty: bool = False, original: str | None = None) -> None:
        self._directory = directory
        self._is_empty = is_empty
        self._original = original
        self._before = _configured(directory)

    def announce(self, staged: dict[str, Path]) -> None:
        """Warn if the repository will change when the configuration files in `staged` (name → file) take effect."""
        name = next((name for name in NAMES if name in staged or (self._directory / name).is_file()), None)
        if name in staged:
            after = _loaded(staged[name], load_config)._replace(directory=self._directory)
            if self._original and is_relative(after.repository) and not holds_repository(*after):
                after = after._replace(repository=self._original)
            self._compare(after, f"The saved files include {name}. ", "will be")

    def tell(self) -> None:
        """Warn if the repository has changed."""
        self._compare(_configured(self._directory), "", "is now", " `keepsake checkout --undo` takes that back.")

    def _compare(self, after: Config | None, start: str, verb: str, end: str = "") -> None:
        before = self._before
        if before is None or before == _UNREADABLE or after is None:
            return
        is_copy = before.repository == after.repository and self._is_empty
        if _place(before) != _place(after) and not is_copy:
            old, new = (redact_url(url) for url in (before.repository, after.repository))
            where = f" (relative to {before.directory})" if old == new else ""
            warn(
                f"{start}The repository of the project in {self._directory} {verb} {new} instead of {old}{where}.{end}"
            )


def _configured(directory: Path) -> Config | None:
    path = find_place(directory)
    return None if path is None else _loaded(path, repository_of)


def _loaded(path: Path, load: Callable[[Path], Config]) -> Config:
    with suppress(KeepsakeError):
        return load(path)
    return _UNREADABLE


def _place(config: Config) -> str:
    """Return where a repository is, whether or not its URL is relative."""
    scheme, _, path = config.repository.partition("://")
    return os.path.abspath(config.directory / unquote(path)) if scheme == "file" else config.repository
