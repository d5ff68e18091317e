"""Writing small files atomically: a reader sees the old content or the new content, never a part."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

UNSUPPORTED = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOTTY}


def sync(descriptor: int) -> None:
    """Wait until a file is on the disk, where the file system supports that."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise  # the disk or the server lost data that was written


def replace_with(target: Path, *data: bytes, durable: bool = False) -> None:
    """Make `data` the content of `target`, whole or not at all; `durable`: it then survives a power cut.

    Raises OSError and leaves no temporary file behind.
    """
    temporary = target.with_name(f".{target.name}-{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.writelines(data)
            file.flush()
            if durable:
                sync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
