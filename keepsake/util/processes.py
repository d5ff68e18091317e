"""Names of processes. From a name, another process on the same machine can tell that the process has ended."""

from __future__ import annotations

import os
import sys


def process_name() -> str:
    """Return this process's name: its number, its machine, and the container in which the number is valid."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return f"{os.getpid()} {host} {space}"


def has_ended(name: str) -> bool:
    """Whether the process of that name has ended, as far as this process can tell."""
    number, _, place = name.partition(" ")
    if place != process_name().partition(" ")[2] or sys.platform == "win32":
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return False
