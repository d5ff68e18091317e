"""Names of processes. From a name, another process on the same machine can tell that the process has ended."""

from __future__ import annotations

import os
import sys
from functools import cache

from keepsake.util.errors import is_the_scripts, suppress


def process_name() -> str:
    """Return this process's name: its number and start, and the place in which the number is valid.

    The start tells it from a later process with the same number, as the first one of a restarted container.
    """
    return _name(os.getpid())


def is_running(name: str) -> bool | None:
    """Whether the process of that name is running; None if this process cannot tell."""
    number, _, rest = name.partition(" ")
    start, _, place = rest.partition(" ")
    if not place or place != process_name().split(" ", 2)[2]:
        return None
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    except (OSError, ValueError, OverflowError) as error:
        if is_the_scripts(error):
            raise
        return None
    return start == _start(number)


def has_ended(name: str) -> bool:
    """Whether the process of that name has ended, as far as this process can tell."""
    return is_running(name) is False


@cache
def _name(number: int) -> str:
    return f"{number} {_start(number)} {_place()}"


def _place() -> str:
    """Return the machine, since it was booted, and the container; "" if these are unknown.

    Host names alone are no proof: machines and containers can have the same one.
    """
    if sys.platform == "win32":
        return ""
    host = os.uname().nodename
    if sys.platform != "linux":
        return host
    with suppress(OSError):
        boot = _read("/proc/sys/kernel/random/boot_id").decode().strip()
        return f"{host} {boot} {os.stat('/proc/self/ns/pid').st_ino}"
    return ""


def _start(number: int | str) -> str:
    """Return when a process started, in ticks of this machine's clock; "-" if that is unknown, or if it has ended."""
    with suppress(OSError, IndexError):
        fields = _read(f"/proc/{number}/stat").rpartition(b")")[2].split()
        return "-" if fields[0] == b"Z" else fields[19].decode()  # nobody has asked yet how a zombie ended
    return "-"


def _read(path: str) -> bytes:
    """Return the content of a small file of the kernel. init() waits for it, and open() takes three times as long."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)
