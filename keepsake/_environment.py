"""Who runs what and where, for the record of an experiment."""

from __future__ import annotations

import os
import re
import shlex
import sys

_PRIVATE = (
    r"[\w.-]*(?:password|passwd|passphrase|secret|token|credential|api[-_]?key|access[-_]?key|private[-_]?key)[\w.-]*"
)
_SECRET_OPTION = re.compile(rf"-{{0,2}}{_PRIVATE}", re.IGNORECASE)
_SECRET_VALUE = re.compile(rf"(-{{0,2}}{_PRIVATE}=).+", re.IGNORECASE | re.DOTALL)
_USER_IN_URL = re.compile(r"(\w+://)[^/@\s]+@")
_HIDDEN = "***"


def user_name() -> str:
    """Return the login name; "" if the system knows none, as in some containers."""
    import getpass

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


def _without_secrets(arguments: list[str]) -> list[str]:
    shown, hide_next = [], False
    for argument in arguments:
        if hide_next and not argument.startswith("-"):
            argument = _HIDDEN
        hide_next = argument.startswith("-") and bool(_SECRET_OPTION.fullmatch(argument))
        shown.append(_USER_IN_URL.sub(rf"\1{_HIDDEN}@", _SECRET_VALUE.sub(rf"\1{_HIDDEN}", os.fspath(argument))))
    return shown
