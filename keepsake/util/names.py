"""File names as text: always UTF-8 in archives, in the locale's encoding on this system.

A file is `modèle.pth` in an archive even if the locale is Latin-1 or ASCII. Bytes that are not valid UTF-8 become
surrogates in the text and come back unchanged.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import PurePosixPath

_SYSTEM = os.name
_IS_UTF8 = sys.getfilesystemencoding().lower() in ("utf-8", "utf8")
_UNSAFE_ON_WINDOWS = r"""(?ix)
        [:*?"<>|] | [ .](/|$)
      | (^|/) (con|conin\$|conout\$|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³]) ([ ]*[.][^/]*)? (/|$)
      | (^|/) (git|keepsa) ~\d+ (/|$)  # short names of .git and .keepsake
"""


def archive_name(path: str) -> str:
    """Return a path of this system as archives spell it."""
    return path if _IS_UTF8 else os.fsencode(path).decode("utf-8", "surrogateescape")


def local_path(name: str) -> str:
    """Return a name in an archive as a path of this system."""
    return name if _IS_UTF8 else os.fsdecode(name.encode("utf-8", "surrogateescape"))


def is_safe_name(name: str) -> bool:
    """Whether `name` is a relative POSIX path that cannot lead out of the directory it is put in, on this system."""
    if not str.isascii(name):  # a TypeError for a forged name that is no text
        try:
            os.fsencode(local_path(name))
        except UnicodeEncodeError:
            return False
    rooted = f"/{name}/"
    if "//" in rooted or "/./" in rooted or "/../" in rooted or "\\" in name or "\0" in name:
        return False
    is_on_drive = name[1:3] in (":", ":/") and name[0].isascii() and name[0].isalpha()
    return not (is_on_drive or (_SYSTEM == "nt" and re.search(_UNSAFE_ON_WINDOWS, name)))


def suggestion(path: str, names: Iterable[str]) -> str:
    """Return a sentence with those among the names of files, and of their directories, that `path` may have meant."""
    import difflib  # only here, because it takes a while

    there = {str(parent) for name in names for parent in (PurePosixPath(name), *PurePosixPath(name).parents)} - {"."}
    by_last = [name for name in sorted(there) if name.endswith(f"/{path.rpartition('/')[2]}")]
    close = list(dict.fromkeys([*by_last, *difflib.get_close_matches(path, sorted(there))]))[:3]
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    return f"The files are: {', '.join(sorted(there)[:10])}." if there else "There are no files."
