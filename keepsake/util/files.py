"""Writing small files atomically, and replacing and removing files that another process may have open."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from keepsake.util.errors import is_the_scripts

WINDOWS = sys.platform == "win32"
_AT_ONCE = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
TEMPORARY = ".keepsake-tmp"  # part of the name of every unfinished object of a repository; no key may contain it
COPY = ".keepsake-checkout-"  # how the name of an unfinished file of a checkout begins
UNSUPPORTED = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOTTY}


def open_at_once(path: str | os.PathLike[str], flags: int = 0) -> int:
    """Open a file to read; return its descriptor. Opening a pipe does not wait for its writer.

    Some file systems do not know the flag for that, and some file servers first recall a lease of the file.
    """
    try:
        return os.open(path, _AT_ONCE | flags)
    except OSError as error:
        if not (error.errno in UNSUPPORTED or isinstance(error, BlockingIOError)) or not os.path.isfile(path):
            raise
        return os.open(path, (_AT_ONCE & ~getattr(os, "O_NONBLOCK", 0)) | flags)


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether something has that name, if only a dangling link."""
    try:
        os.lstat(path)
    except OSError as error:
        if is_the_scripts(error):
            raise
        return False
    return True


def sync(descriptor: int) -> None:
    """Wait until a file is on the disk, where the file system supports that."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise  # the disk or the server lost data that was written


def replace(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Rename a file, replacing the target."""
    for _ in range(50 if WINDOWS else 0):  # a reader or a virus scanner can hold the target for a moment
        with suppress(PermissionError):
            os.replace(source, target)
            return
        time.sleep(0.02)
    os.replace(source, target)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, if it is there. On Windows, one that somebody has open stays, for whoever looks next."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except PermissionError:
        if not WINDOWS:
            raise


def replace_with(target: Path, *data: bytes, durable: bool = False) -> None:
    """Make `data` the content of `target`; `durable`: it then survives a power cut.

    A reader sees the old content or the new content, never a part.

    Raises OSError and leaves no temporary file behind.
    """
    temporary = target.with_name(f".{target.name}-{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.writelines(data)
            file.flush()
            if durable:
                sync(file.fileno())
        replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_output(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that a person has named, whole or not at all. Raises OSError.

    What is no file, such as the device /dev/null or a pipe, is written to and not replaced. A link stays, too.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as device:
            device.write(data)
    else:
        replace_with(Path(os.path.realpath(path)), data)
