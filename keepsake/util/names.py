"""Names of files, which are bytes, as text: in archives always UTF-8, on this system as its locale has it.

A file is `modèle.pth` in an archive wherever it is saved, also where the locale is Latin-1 or ASCII. Bytes that are no
UTF-8 stand in the text as surrogates and come back as they were.
"""

from __future__ import annotations

import os
import sys

_IS_UTF8 = sys.getfilesystemencoding().lower() in ("utf-8", "utf8")


def archive_name(path: str) -> str:
    """Return a path of this system as it stands in archives."""
    return path if _IS_UTF8 else os.fsencode(path).decode("utf-8", "surrogateescape")


def local_path(name: str) -> str:
    """Return a name in an archive as a path of this system."""
    return name if _IS_UTF8 else os.fsdecode(name.encode("utf-8", "surrogateescape"))
