"""`keepsake.yaml`: the repository that a project keeps its experiments in, and the project directory.

The file holds one key, `repository`, and its directory is the project directory. Names and places that older versions
used are still read, with a warning that says what to do. A project without the file is known by its repository in
`.keepsake`. The variable KEEPSAKE_REPOSITORY names another repository than either. A copy of a project, made by a
checkout, goes on using the project's repository.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from keepsake.exceptions import ConfigNotFound, RepositoryConfigurationError
from keepsake.origin import Origin, holds_repository, is_relative, origin_file, read_origin
from keepsake.util.console import once, say, warn
from keepsake.util.directories import absolute, cache_directory, is_own, owner_of
from keepsake.util.ids import short_id

if TYPE_CHECKING:
    import yaml

CONFIG_NAMES = ("keepsake.yaml", "keepsake.yml")
DEPRECATED_NAMES = ("replicate.yaml", "replicate.yml")
DEPRECATED_REPOSITORY = Path(".replicate", "storage")  # of projects older than the configuration file
MAX_LEVELS = 100  # how far up a configuration file is looked for
REPOSITORY_VARIABLE = "KEEPSAKE_REPOSITORY"
USUAL_REPOSITORY = "file://.keepsake"  # for a project without a configuration
USUAL_PLACE = ".keepsake"
EXAMPLE = f"repository: {USUAL_REPOSITORY}"
_INSTALLED = {"site-packages", "dist-packages"}
_USUAL = re.compile(rb"""(?:[ ]*(?:#[^\n]*)?\n)*repository:[ ]+(["']?)(\w+://[\w./@+=~-]+)\1[ ]*(?:\n[ \n]*)?""", re.A)
_USER = re.compile(r"^(?!file:)(\w+://)([^/]*:.*|[^/]*)@", re.IGNORECASE)


class Config(NamedTuple):
    """Where a project is and where it keeps its experiments."""

    repository: str  # the URL as written; it may be relative to `directory` and may hold a password
    directory: Path  # the project directory, absolute


def find_project(directory: Path | None = None, repository: str | None = None, *, begin: bool = False) -> Config:
    """Return a project's directory and repository.

    Args:
        directory: the project directory. None: that of the nearest keepsake.yaml at or above the working directory, or
            else of the nearest `.keepsake` with a repository. If there is neither, the same is tried above the script.
        repository: its URL. None: KEEPSAKE_REPOSITORY, or else the URL in the project's keepsake.yaml.
        begin: if no project is found, make the working directory one, and say so.

    Raises ConfigNotFound if there is none, RepositoryConfigurationError if the file cannot be read or understood.
    """
    start = absolute(directory or "")
    url = (repository or os.environ.get(REPOSITORY_VARIABLE, "")).strip()  # a file's may end in a line feed
    path = find_place(start, levels=MAX_LEVELS if directory is None else 1)
    if path is None and directory is None and repository is None:
        path = _find_above_script(start)
    elif begin and path is not None and path.name == USUAL_PLACE:
        _name_project(path, start)
    if url:
        return Config(url, project_directory(path) if path else start)
    if path is not None:
        config = load_config(path)
        if directory is None:
            _name_owner(path, config.repository)
        return _of_copy(config)
    if not begin or directory is not None:
        raise _not_found(start, above=directory is None)
    once(
        say,
        f"There is no {CONFIG_NAMES[0]}, so experiments are kept in {start / USUAL_PLACE}. To choose another place, "
        f"set {REPOSITORY_VARIABLE}, or write {CONFIG_NAMES[0]} with a line such as `repository: s3://BUCKET/FOLDER`.",
    )
    return Config(USUAL_REPOSITORY, start)


def _name_project(path: Path, start: Path) -> None:
    """Say which project a run in `start` belongs to if that is only known by experiments in a directory above.

    An early run in a home directory would otherwise make everything below it one project, without a word.
    """
    directory = project_directory(path)
    origin = read_origin(directory)
    if directory != start and (origin is None or not origin.is_copy):
        once(
            say,
            f"There is no {CONFIG_NAMES[0]} in {start}, so it belongs to the project {directory}, where experiments "
            f"were kept before. To make it a project of its own, write {CONFIG_NAMES[0]} with the line `{EXAMPLE}`.",
        )


def _not_found(start: Path, *, above: bool) -> ConfigNotFound:
    where = f"{start} or any directory above it" if above else start
    places = [directory / USUAL_PLACE for directory in ((start, *start.parents) if above else (start,))]
    closed = next((place for place in places if os.path.lexists(place) and not os.access(place, os.X_OK)), None)
    hint = f"{closed} cannot be read. If that is the project, ask its owner for permission.\n" if closed else ""
    return ConfigNotFound(
        f"There is no project: neither {CONFIG_NAMES[0]} nor {USUAL_PLACE}/repository.json is in {where}, and "
        f"{REPOSITORY_VARIABLE} is not set.\n{hint}"
        f"The first run creates {USUAL_PLACE} in its working directory. To choose another place, create "
        f"{CONFIG_NAMES[0]} in your project directory. One line says where its experiments are kept:\n\n"
        f"  {EXAMPLE}\n\n"
        "or s3://BUCKET/FOLDER, or gs://BUCKET/FOLDER. Or name the repository yourself: -R URL on the command "
        "line, keepsake.Project(repository=URL) in Python."
    )


def find_place(start: Path, levels: int = MAX_LEVELS) -> Path | None:
    """Return the path that makes a directory a project: a configuration file, or else `.keepsake`.

    The absolute directory `start` and the `levels - 1` above it are searched. `.keepsake` counts if it holds a
    repository, or if a checkout made the directory a copy of a project. A configuration file farther up comes before a
    nearer repository, because it may name that one, but not before a nearer copy.
    """
    nearest = None
    for directory in (start, *start.parents)[:levels]:
        if path := find_config(directory):
            return path
        place = directory / USUAL_PLACE
        if (origin := read_origin(directory)) is not None and origin.is_copy:
            return place
        if nearest is None and _holds_experiments(place):
            nearest = place
    return nearest


def repository_of(path: Path) -> Config:
    """Return the repository that a path found by `find_place` leads to. Raises as `load_config`."""
    config = load_config(path)
    origin = _origin_of_copy(config)
    return config if origin is None else config._replace(repository=origin.url(config.directory))


def _of_copy(config: Config) -> Config:
    """Return the configuration of a project, or of the original if it is a copy, and say so."""
    origin = _origin_of_copy(config)
    if origin is None:
        return config
    directory, url = config.directory, origin.url(config.directory)
    _name_owner(origin_file(directory), url)
    is_there = os.path.exists(origin.directory) and os.path.samefile(origin.directory, directory)
    moved = "" if is_there else f", which was made as {origin.directory} and came here,"
    once(
        say,
        f"{directory}{moved} is a checkout of {short_id(origin.id)} and uses its repository, {redact_url(url)}. For "
        f"another one, set {REPOSITORY_VARIABLE}, or delete {origin_file(directory)}.",
    )
    return Config(url, directory)


def _origin_of_copy(config: Config) -> Origin | None:
    """Return the origin of a directory that is a copy of a project; None if it has a repository of its own.

    A configuration that did not come with the checkout, or was changed since, is its owner's wish.
    """
    if not is_relative(config.repository) or holds_repository(config.repository, config.directory):
        return None
    origin = read_origin(config.directory)
    if origin is None or not origin.is_copy:
        return None
    has_file = find_config(config.directory) is not None
    return origin if origin.configured == (config.repository if has_file else None) else None


def _holds_experiments(place: Path) -> bool:
    """Whether a `.keepsake` holds a repository, or a run in its spool that waits for one, as far as can be seen."""
    with suppress(PermissionError):  # pathlib raises it before Python 3.13
        return os.path.isfile(place / "repository.json") or any(place.glob("spool/*/record.json"))
    return False


def project_directory(path: Path) -> Path:
    """Return the project directory of a path that `find_place` found."""
    return path.parents[1] if path.parts[-2:] == DEPRECATED_REPOSITORY.parts else path.parent


def _find_above_script(start: Path) -> Path | None:
    """Return the path that `find_place` finds above the running script, and say that this project is used."""
    script = _script()
    path = find_place(script.parent) if script else None
    if path is not None:
        once(
            say,
            f"There is no {CONFIG_NAMES[0]} in {start} or above it. "
            f"The project of the script is used instead: {project_directory(path)}.",
        )
    return path


def _script() -> Path | None:
    """Return the Python file that was started, unless it is an installed program such as pytest or `keepsake`."""
    files = (getattr(sys.modules.get("__main__"), "__file__", None), *(getattr(sys, "argv", None) or [])[:1])
    places = [Path(__file__).parent, Path(os.__file__).parent]
    if sys.prefix != sys.base_prefix:
        places.append(Path(sys.prefix))
    for file in filter(None, files):  # a program may have replaced its arguments by other objects
        path = Path(os.path.abspath(str(file)))
        is_ours = not _INSTALLED.isdisjoint(path.parts) or any(place in path.parents for place in places)
        if path.suffix == ".py" and not is_ours and os.path.isfile(path):
            return path
    return None


def find_config(directory: Path) -> Path | None:
    """Return the configuration file in an absolute directory; None if there is none.

    A project older than the configuration file has its repository instead, the directory `.replicate/storage`.
    """
    for name in (*CONFIG_NAMES, *DEPRECATED_NAMES):
        path = directory / name
        if os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path)):  # its disk may be away
            return path
    old = directory / DEPRECATED_REPOSITORY
    return old if os.path.isdir(old) else None


def load_config(path: Path) -> Config:
    """Read the file that `find_place` found. Raises RepositoryConfigurationError with the line and the remedy."""
    directory = project_directory(path)
    if path.name == USUAL_PLACE:
        return Config(USUAL_REPOSITORY, directory)
    if path.parts[-2:] == DEPRECATED_REPOSITORY.parts:
        url = f"file://{DEPRECATED_REPOSITORY.as_posix()}"
        once(warn, f"There is no {CONFIG_NAMES[0]} in {directory}. Create one with this line:\n\nrepository: {url}")
        return Config(url, directory)
    if path.name in DEPRECATED_NAMES:
        once(warn, f"{path}: This file name is deprecated. Rename the file to {CONFIG_NAMES[0]}.")
    values = _read(path)
    if "storage" in values:
        if "repository" in values:
            raise _error(path, "'repository' and 'storage' mean the same. Remove 'storage', which is deprecated.")
        once(warn, f"{path}: The key 'storage' is deprecated. Rename it to 'repository'.")
    elif "repository" not in values:
        raise _error(path, f"The key 'repository' is missing. Add a line such as:\n\n  {EXAMPLE}")
    return Config(values.get("repository") or values["storage"], directory)


def _name_owner(path: Path, repository: str) -> None:
    """Warn if a file that was found, rather than named, belongs to another user. That user decides where runs go.

    The cache directory remembers the warning for each file, owner and repository, because groups share projects. Root
    may do everything that users may, so root's files are accepted.
    """
    owner = owner_of(path.lstat()) or owner_of(path.stat())  # a link may lead to a file of this user
    if not owner:
        return
    import hashlib

    told = hashlib.sha256(os.fsencode(f"{path}\0{owner}\0{repository}")).hexdigest()
    cache = cache_directory()
    note = cache / "owners" / told if cache else None
    with suppress(OSError):  # not told yet
        if note and is_own(note.stat()):
            return
    once(
        warn,
        f"{path} belongs to {owner} and decides where experiments are kept: in {redact_url(repository)}. "
        f"If you do not trust its owner, put a {CONFIG_NAMES[0]} of your own into your project directory.",
    )
    if note:
        with suppress(OSError):  # the next command warns again
            note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            note.touch(mode=0o600)


def redact_url(url: str) -> str:
    """Return `url` without user name and password, safe to print and store."""
    # In a file URL an @ is part of a file name. A secret may hold a slash, so after a colon the last @ counts.
    return _USER.sub(lambda match: match[1], url)


def _error(path: Path, problem: str, mark: yaml.error.Mark | None = None) -> RepositoryConfigurationError:
    where = f", line {mark.line + 1}" if mark else ""
    return RepositoryConfigurationError(f"{path}{where}: {problem}")


def _read(path: Path) -> dict[str, str]:
    """Return the keys and values of a configuration file. Each known key appears once, and values are text."""
    try:
        content = path.read_bytes()
    except OSError as error:
        target = f" It is a link to {os.readlink(path)}." if os.path.islink(path) else ""
        raise _error(path, f"The file cannot be read: {error.strerror}. Make it readable.{target}") from error
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
        raise _error(path, f"Not valid YAML: {error.problem}. Write:\n\n  {EXAMPLE}", error.problem_mark) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _error(path, f"Not valid YAML: {error}. Write:\n\n  {EXAMPLE}") from error
    if root is None or root.tag == "tag:yaml.org,2002:null":
        return []
    if not isinstance(root, yaml.MappingNode):
        raise _error(path, f"There is no key with a value. Write:\n\n  {EXAMPLE}", root.start_mark)
    return [(str(key.value), _text(value), key.start_mark) for key, value in root.value]


def _text(node: yaml.Node) -> str | None:
    return str(node.value).strip() if node.tag == "tag:yaml.org,2002:str" else None
