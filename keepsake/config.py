"""`keepsake.yaml`: the repository that a project keeps its experiments in, and the project directory.

The file holds one key, `repository`, and its directory is the project directory. Names and places from older versions
are still read, with a warning that says what to do.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from keepsake.exceptions import ConfigNotFound, RepositoryConfigurationError
from keepsake.util.console import warn
from keepsake.util.directories import absolute, cache_directory, is_own, owner_of

if TYPE_CHECKING:
    import yaml

CONFIG_NAMES = ("keepsake.yaml", "keepsake.yml")
DEPRECATED_NAMES = ("replicate.yaml", "replicate.yml")
DEPRECATED_REPOSITORY = Path(".replicate", "storage")  # for projects older than the configuration file
MAX_LEVELS = 100  # directories that are searched for a configuration file
EXAMPLE = "repository: file://.keepsake"
_USUAL = re.compile(rb"""(?:[ ]*(?:#[^\n]*)?\n)*repository:[ ]+(["']?)(\w+://[\w./@+=~-]+)\1[ ]*(?:\n[ \n]*)?""", re.A)
_USER = re.compile(r"^(?!file:)(\w+://)([^/]*:.*|[^/]*)@", re.IGNORECASE)


class Config(NamedTuple):
    """Where a project is and where it keeps its experiments."""

    repository: str  # the URL as written; it may be relative to `directory` and may hold a password
    directory: Path  # the project directory, absolute


def find_project(directory: Path | None = None) -> Config:
    """Return the configuration of the project in `directory`, or else of the nearest at or above the working directory.

    Raises ConfigNotFound if there is none, RepositoryConfigurationError if the file cannot be read or understood.
    """
    start = absolute(directory or "")
    path = find_config(start, levels=MAX_LEVELS if directory is None else 1)
    if path is None:
        where = f"{start} or any directory above it" if directory is None else start
        raise ConfigNotFound(
            f"There is no {CONFIG_NAMES[0]} in {where}.\n"
            "Create one in your project directory. One line says where its experiments are kept:\n\n"
            f"  {EXAMPLE}\n\n"
            "or s3://BUCKET/FOLDER, or gs://BUCKET/FOLDER. Or name the repository yourself: -R URL on the command "
            "line, keepsake.Project(repository=URL) in Python."
        )
    config = load_config(path)
    if directory is None:
        _name_owner(path, config.repository)
    return config


def find_config(start: Path, levels: int = MAX_LEVELS) -> Path | None:
    """Return the configuration file of the absolute directory `start`, or of the nearest of the `levels - 1` above it.

    A project older than the configuration file has its repository instead, the directory `.replicate/storage`.
    """
    for directory in (start, *start.parents)[:levels]:
        for name in (*CONFIG_NAMES, *DEPRECATED_NAMES):
            if os.path.isfile(directory / name):
                return directory / name
        if os.path.isdir(directory / DEPRECATED_REPOSITORY):
            return directory / DEPRECATED_REPOSITORY
    return None


def load_config(path: Path) -> Config:
    """Read what `find_config` found. Raises RepositoryConfigurationError with the line and the remedy."""
    if path.parts[-2:] == DEPRECATED_REPOSITORY.parts:
        url, directory = f"file://{DEPRECATED_REPOSITORY.as_posix()}", path.parents[1]
        _warn_once(f"There is no {CONFIG_NAMES[0]} in {directory}. Create one with this line:\n\nrepository: {url}")
        return Config(url, directory)
    if path.name in DEPRECATED_NAMES:
        _warn_once(f"{path}: This file name is deprecated. Rename the file to {CONFIG_NAMES[0]}.")
    values = _read(path)
    if "storage" in values:
        if "repository" in values:
            raise _error(path, "'repository' and 'storage' mean the same. Remove 'storage', which is deprecated.")
        _warn_once(f"{path}: The key 'storage' is deprecated. Rename it to 'repository'.")
    elif "repository" not in values:
        raise _error(path, f"The key 'repository' is missing. Add a line such as\n\n  {EXAMPLE}")
    return Config(values.get("repository") or values["storage"], path.parent)


def _name_owner(path: Path, repository: str) -> None:
    """Warn if a file that was found, not named, belongs to another user, who then decides where runs go.

    The cache directory remembers the warning for each file, owner and repository, because groups share projects. Root
    may do everything that users may, so root's files are accepted.
    """
    status = path.stat()
    owner = owner_of(status)
    if not owner:
        return
    import hashlib

    told = hashlib.sha256(os.fsencode(f"{path}\0{status.st_uid}\0{repository}")).hexdigest()
    cache = cache_directory()
    note = cache / "owners" / told if cache else None
    if note and note.exists() and is_own(note.stat()):
        return
    _warn_once(
        f"{path} belongs to {owner} and decides where experiments are kept: in {redact_url(repository)}. "
        f"If you do not trust its owner, put a {CONFIG_NAMES[0]} of your own into your project directory."
    )
    if note:
        with suppress(OSError):
            note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            note.touch(mode=0o600)


def redact_url(url: str) -> str:
    """Return `url` without user name and password, safe to print and store."""
    # In a file URL an @ is part of a file name. A secret may hold a slash, so after a colon the last @ counts.
    return _USER.sub(lambda match: match[1], url)


@cache
def _warn_once(message: str) -> None:
    warn(message)


def _error(path: Path, problem: str, mark: yaml.error.Mark | None = None) -> RepositoryConfigurationError:
    where = f", line {mark.line + 1}" if mark else ""
    return RepositoryConfigurationError(f"{path}{where}: {problem}")


def _read(path: Path) -> dict[str, str]:
    """Return the keys and values of a configuration file. Each known key appears once, and values are text."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _error(path, f"The file cannot be read: {error.strerror}. Make it readable.") from error
    if usual := _USUAL.fullmatch(content):
        return {"repository": usual[2].decode()}
    values: dict[str, str] = {}
    for key, value, mark in _parse(path, content):
        if key not in ("repository", "storage"):
            raise _error(path, f"The key {key!r} is unknown. The only key is 'repository'.", mark)
        if key in values:
            raise _error(path, f"The key {key!r} appears twice. Keep one of them.", mark)
        if not value:
            raise _error(path, f"The value of {key!r} must be a URL, such as file://.keepsake or s3://BUCKET.", mark)
        values[key] = value
    return values


def _parse(path: Path, content: bytes) -> list[tuple[str, str | None, yaml.error.Mark]]:
    """Return each key of a YAML mapping, its value if it is text, and its position.

    It only composes the nodes: they know their lines, and no object is built from a file that may be hostile.
    """
    import yaml

    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _error(path, f"Not valid YAML: {error.problem}. Write\n\n  {EXAMPLE}", error.problem_mark) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _error(path, f"Not valid YAML: {error}. Write\n\n  {EXAMPLE}") from error
    if root is None or root.tag == "tag:yaml.org,2002:null":
        return []
    if not isinstance(root, yaml.MappingNode):
        raise _error(path, f"There is no key with a value. Write\n\n  {EXAMPLE}", root.start_mark)
    return [(str(key.value), _text(value), key.start_mark) for key, value in root.value]


def _text(node: yaml.Node) -> str | None:
    return str(node.value) if node.tag == "tag:yaml.org,2002:str" else None
