"""Directories that belong to the user rather than to a project: a cache, and state that must be kept.

A container may have no home directory, an unwritable one, or one that belongs to another user. A private directory
among the temporary files is used then. No directory that another user controls is ever returned.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

from keepsake.exceptions import ConfigNotFound, RepositoryConfigurationError

_TEMPORARY_VARIABLES = ("TMPDIR", "TEMP", "TMP")
_VARIABLE = r"\$\w+|\$\{[^}]*\}"


def cache_directory() -> Path | None:
    """Return the directory for files that can be deleted at any time; None if there is no usable one.

    KEEPSAKE_CACHE names another directory. If that cannot be used, nothing is cached.
    """
    chosen = os.environ.get("KEEPSAKE_CACHE")
    if not chosen:
        return _usable("XDG_CACHE_HOME", "Library/Caches" if sys.platform == "darwin" else ".cache")
    path = os.path.expanduser(chosen)
    try:
        return None if path.startswith("~") else _own(Path(path).absolute())
    except OSError:  # the path is relative, and the working directory is gone
        return None


def state_directory() -> Path | None:
    """Return the directory for files that must not be lost; None if there is no usable one."""
    return _usable("XDG_STATE_HOME", ".local/state")


def state_directories() -> list[Path]:
    """Return the directories that may hold such files: which one is used changes while a home cannot be written."""
    place = next(filter(None, map(os.environ.get, _TEMPORARY_VARIABLES)), "/tmp")  # noqa: S108
    temporary = [Path(place, name) for name in _private_names()]
    found = [state_directory(), *filter(_is_private_directory, temporary)]
    return [path for path in dict.fromkeys(found) if path is not None]


def state_for(what: str, directory: Path) -> Path | None:
    """Return the directory for files that must not be lost of a project directory; None if there is no usable one.

    Each kind of files, named by `what`, has its own.
    """
    state = state_directory()
    return state / what / name_for(directory) if state else None


def name_for(directory: str | os.PathLike[str]) -> str:
    """Return a file name for what belongs to a directory, which links may lead to."""
    import hashlib  # here, because it loads OpenSSL

    return hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:16]


def own_place(directory: Path) -> Path:
    """Return where `.keepsake` keeps what is a project directory's own: several may share one by a link or a mount."""
    place = directory / ".keepsake"
    is_shared = os.path.islink(place) or os.path.ismount(place)
    return place / name_for(directory) if is_shared else place


def absolute(path: str | os.PathLike[str] = "") -> Path:
    """Return `path` as an absolute path; without it, the working directory.

    Raises ConfigNotFound if the working directory is needed but was deleted or cannot be read.
    """
    try:
        return Path(os.path.abspath(path))
    except OSError as error:
        raise ConfigNotFound(
            f"The working directory no longer exists, or cannot be read ({error.strerror}). Change to another one, "
            "or name the project: -D DIR on the command line, keepsake.Project(directory=DIR) in Python."
        ) from error


def anchor(path: Path) -> Path:
    """Return `path` below the working directory unless it is absolute. `..` stays, because it may follow a link.

    Raises as `absolute`.
    """
    return path if path.is_absolute() else absolute() / path


def below(path: str | os.PathLike[str], directory: str | os.PathLike[str]) -> str | None:
    """Return a path relative to `directory` if it lies there, perhaps by way of links; None otherwise."""
    try:
        for one, other in ((os.path.abspath(path), directory), (os.path.realpath(path), os.path.realpath(directory))):
            relative = os.path.relpath(one, other)
            if relative.split(os.sep)[0] != os.pardir:
                return relative
    except (OSError, ValueError):  # the working directory was deleted; another drive of Windows; a NUL
        pass
    return None


def expand(path: str) -> str:
    """Return `path` with a leading `~` or `~user` and each `$VARIABLE` replaced, as a shell does.

    Raises RepositoryConfigurationError if one cannot be replaced, because nobody wants a directory named `~`.
    """
    expanded = os.path.expanduser(os.path.expandvars(path))
    if expanded.startswith("~"):
        user = expanded.split("/")[0]
        raise RepositoryConfigurationError(
            f"There is no home directory for {user!r} in {path!r}. Write the whole path, or './{expanded}' for a "
            "directory of that name."
        )
    if missing := re.search(_VARIABLE, expanded):
        raise RepositoryConfigurationError(f"The variable {missing[0]} in {path!r} is not set. Set it and try again.")
    return expanded


def owner_of(status: os.stat_result) -> str:
    """Return the name of a file's owner if it is another user than this process's or root; "" otherwise."""
    if sys.platform == "win32" or status.st_uid in (os.geteuid(), 0):
        return ""
    import pwd

    try:
        return pwd.getpwuid(status.st_uid).pw_name
    except (KeyError, OSError):
        return f"user {status.st_uid}"


def is_own(status: os.stat_result) -> bool:
    """Whether this process's user owns a file. On Windows the directories of users are private anyway."""
    return sys.platform == "win32" or status.st_uid == os.geteuid()


def _usable(variable: str, below_home: str) -> Path | None:
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else variable, "")
    home = os.path.expanduser("~")
    usual = None
    # The XDG standard says that relative paths in these variables are ignored.
    if os.path.isabs(named):
        usual = _own(Path(named, "keepsake"))
    elif os.path.isabs(home):
        usual = _own(Path(home, below_home, "keepsake"))
    return usual or temporary_directory()


def temporary_directory() -> Path | None:
    """Return a private directory among the temporary files; None if there is no usable one."""
    import tempfile

    try:
        directory = tempfile.gettempdir()
        # Where there is no directory for temporary files, Python takes the working directory, which may be a project's.
        if directory not in _known_for_temporary_files() and directory == os.getcwd():
            return None
    except OSError:
        return None
    return next(filter(None, (_make_private(Path(directory, name)) for name in _private_names())), None)


def _private_names() -> list[str]:
    # The first names may be another user's: one of a container with the same number, or one who wants to be in the way
    return [f"keepsake-{_user()}{suffix}" for suffix in ("", "-2", "-3")]


def _known_for_temporary_files() -> set[str]:
    named = (os.environ.get(name) for name in _TEMPORARY_VARIABLES)
    return {os.path.abspath(path) for path in (*named, "/tmp", "/var/tmp", "/usr/tmp") if path}  # noqa: S108


def _user() -> object:
    if sys.platform == "win32":
        return os.environ.get("USERNAME", "user")
    return os.geteuid()


def _own(directory: Path) -> Path | None:
    """Return `directory` if it belongs to this user, or else a private directory in it; None if that fails too."""
    try:
        status = os.stat(directory)
    except FileNotFoundError:
        return directory if _can_be_made(directory) else None
    except OSError:
        return None
    if _is_private(status):
        return directory if os.access(directory, os.W_OK | os.X_OK) else None
    return _make_private(directory / f"user-{_user()}")


def _make_private(directory: Path) -> Path | None:
    """Return `directory`, creating it if needed; None if it is not for this user alone."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory if _is_private(os.lstat(directory)) and os.access(directory, os.W_OK | os.X_OK) else None
    except OSError:
        return None


def _is_private(status: os.stat_result) -> bool:
    is_closed = sys.platform == "win32" or not status.st_mode & stat.S_IWOTH
    return stat.S_ISDIR(status.st_mode) and is_own(status) and is_closed


def _is_private_directory(path: Path) -> bool:
    try:
        return _is_private(os.lstat(path))
    except OSError:
        return False


def _can_be_made(directory: Path) -> bool:
    """Whether the nearest existing directory above can be written."""
    above = next((parent for parent in directory.parents if os.path.lexists(parent)), None)
    return above is not None and os.path.isdir(above) and os.access(above, os.W_OK | os.X_OK)
