"""Warnings if a checkout changes the repository that a project uses."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from keepsake.config import CONFIG_NAMES, DEPRECATED_NAMES, Config, find_place, load_config, redact_url
from keepsake.exceptions import KeepsakeError
from keepsake.util.console import warn

NAMES = (*CONFIG_NAMES, *DEPRECATED_NAMES)  # the first that exists counts
_UNREADABLE = Config("one that cannot be read", Path())


class Watch:
    """Notices if a change of a directory makes its project use another repository.

    Args:
        directory: the directory that is changed.
        is_empty: whether it is empty before. If so, the change makes a copy of a project beside the original.
    """

    def __init__(self, directory: Path, is_empty: bool = False) -> None:
        self._directory = directory
        self._is_empty = is_empty
        self._before = _configured(directory)

    def announce(self, staged: dict[str, Path]) -> None:
        """Warn if the repository will change when the configuration files in `staged` (name → file) take effect."""
        name = next((name for name in NAMES if name in staged or (self._directory / name).is_file()), None)
        if name in staged:
            after = _loaded(staged[name])._replace(directory=self._directory)
            self._compare(after, f"The saved files include {name}. ", "will be")

    def tell(self) -> None:
        """Warn if the repository has changed."""
        self._compare(_configured(self._directory), "", "is now", " `keepsake checkout --undo` takes that back.")

    def _compare(self, after: Config | None, start: str, verb: str, end: str = "") -> None:
        before = self._before
        if before is None or before == _UNREADABLE or after is None:
            return
        is_elsewhere = before.directory != after.directory and _is_relative(after.repository) and not self._is_empty
        if before.repository != after.repository or is_elsewhere:
            old, new = (redact_url(url) for url in (before.repository, after.repository))
            where = f" (relative to {before.directory})" if old == new else ""
            warn(
                f"{start}The repository of the project in {self._directory} {verb} {new} instead of {old}{where}.{end}"
            )


def _configured(directory: Path) -> Config | None:
    path = find_place(directory)
    return None if path is None else _loaded(path)


def _loaded(path: Path) -> Config:
    with suppress(KeepsakeError):
        return load_config(path)
    return _UNREADABLE


def _is_relative(url: str) -> bool:
    return url.startswith("file://") and not url.startswith(("file:///", "file://~"))
