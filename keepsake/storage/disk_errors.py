"""What errors of file systems mean, and what to do about them."""

from __future__ import annotations

import errno

from keepsake.exceptions import DoesNotExist, KeepsakeError, ReadError, WriteError
from keepsake.storage.reading import ABSENT
from keepsake.util.console import plural

DATA = ".json"  # no folder of a repository has such a name, so one that has is an object that cannot be read
# Errors that concern one file while the others are fine.
_OF_ONE_FILE = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.EINVAL, errno.EIO, errno.ENXIO, errno.ENAMETOOLONG}
_OF_ONE_FILE.add(errno.EISDIR)
# The same of damaged file systems and of file servers. Not every system has them.
_OF_ONE_FILE |= {getattr(errno, name, errno.EIO) for name in ("EUCLEAN", "EBADMSG", "ESTALE", "EREMOTEIO", "EOVERFLOW")}


class Errors:
    """A context that raises our error for an OSError. contextlib's takes longer than most calls in it.

    Args:
        verb: what is done to the object: "read", "write" or "list".
        name: its URL.
    """

    def __init__(self, verb: str, name: str) -> None:
        self._verb, self._name = verb, name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise error_of(self._verb, self._name, error) from error


def error_of(verb: str, name: str, error: OSError) -> KeepsakeError:
    """Return our error for an operation on the object of that name."""
    name = name.rstrip("/")
    kind = WriteError if verb == "write" else ReadError
    is_in_place = isinstance(error, IsADirectoryError) and name.endswith(DATA)
    if kind is ReadError and isinstance(error, ABSENT) and not is_in_place:
        return DoesNotExist(f"{name} does not exist.")
    hint = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = " Free some space and try again. Everything saved before is untouched."
    elif isinstance(error, FileNotFoundError):
        hint = " The repository's directory is missing. Check whether its disk is mounted."
    elif isinstance(error, PermissionError):
        hint = f" Check its owner and your permission to {verb} there."
    return kind(f"Could not {verb} {name}: {error.strerror or error}.{hint}")


def undeleted(url: str, failed: list[tuple[str, OSError]]) -> WriteError:
    """Return our error for keys that could not be deleted, each with the reason."""
    listing = "\n".join(f"{url}/{key}: {error.strerror}" for key, error in failed)
    return WriteError(f"Could not delete {plural(len(failed), 'file')}. Check the owners:\n{listing}")


def is_of_one_file(error: BaseException | None) -> bool:
    """Whether an error concerns one file while the others are fine."""
    return isinstance(error, OSError) and error.errno in _OF_ONE_FILE
