"""Who runs what and where, for the record of an experiment."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import sys
from collections.abc import Iterable

from keepsake.util.console import warn

# In ML, `--tokenizer` and `--max-tokens` are no secrets: only a name that ends in the word `token` is
_PRIVATE = re.compile(
    r"-{0,2}(?:.+[-_.])?"
    r"(?:(?:password|passwd|passphrase|secret|credentials?|apikey|(?:api|access|private|secret)[-_]?key)(?:[-_.].+)?|token)",
    re.IGNORECASE,
)
_USER_IN_URL = re.compile(r"(\w+://)[^/@\s]+@")
_HIDDEN = "***"
_SECRET_FILE = re.compile(
    r"\.env(\..+)?|\.netrc|\.pypirc|\.git-credentials|credentials(\.json)?|id_(rsa|dsa|ecdsa|ed25519)|.+\.(pem|p12|pfx)"
)
_warned = False


def user_name() -> str:
    """Return the login name; "" if the system knows none, as in some containers."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""


def host_name() -> str:
    """Return the machine's name."""
    if hasattr(os, "uname"):
        return os.uname().nodename
    return os.environ.get("COMPUTERNAME", "")


def command() -> str:
    """Return `sys.argv` as one would type it, with what looks like a secret replaced by `***`."""
    return shlex.join(_without_secrets(getattr(sys, "argv", [])))


def python_version() -> str:
    """Return the interpreter's version, such as "3.11.7"."""
    return ".".join(map(str, sys.version_info[:3]))


def warn_of_secret_files(names: Iterable[str]) -> None:
    """Warn, once per process, if files that usually hold secrets are being saved."""
    global _warned
    found = [name for name in names if not _warned and _SECRET_FILE.fullmatch(name.rpartition("/")[2])]
    if found:
        _warned = True
        shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
        warn(f"Saved among the files: {shown}. If that holds secrets, name it in .keepsakeignore.")


def _without_secrets(arguments: list[str]) -> list[str]:
    shown, hide_next = [], False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if hide_next and not argument.startswith("-"):
            argument = _HIDDEN
        elif value and _PRIVATE.fullmatch(name):
            argument = name + equals + _HIDDEN
        hide_next = argument.startswith("-") and bool(_PRIVATE.fullmatch(argument))
        shown.append(_USER_IN_URL.sub(lambda match: f"{match[1]}{_HIDDEN}@", argument))
    return shown
