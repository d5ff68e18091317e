"""File names as text: always UTF-8 in archives, in the locale's encoding on this system.

A file is `modèle.pth` in an archive even if the locale is Latin-1 or ASCII. Bytes that are not valid UTF-8 become
surrogates in the text and come back unchanged.
"""

from __future__ import annotations

import os
import sys

_IS_UTF8 = sys.getfilesystemencoding().lower() in ("utf-8", "utf8")


def archive_name(path: str) -> str:
    """Return a path of this system as archives spell it."""
    return path if _IS_UTF8 else os.fsencode(path).decode("utf-8", "surrogateescape")


def local_path(name: str) -> str:
    """Return a name in an archive as a path of this system."""
    return name if _IS_UTF8 else os.fsdecode(name.encode("utf-8", "surrogateescape"))
