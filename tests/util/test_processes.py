"""What a process can tell of another one from its name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from keepsake.util.processes import has_ended, is_running, process_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_this_process_is_running() -> None:
    assert is_running(process_name())


def test_a_process_that_has_ended_is_told_from_one_with_its_number_and_from_a_zombie() -> None:
    """The first process of a restarted container has the number of the one before."""
    number, _, place = process_name().split(" ", 2)
    assert has_ended(f"{number} 12345 {place}")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = subprocess.check_output(
            [sys.executable, "-c", f"from keepsake.util.processes import _name; print(_name({process.pid}), end='')"],
            text=True,
        )
        assert is_running(name)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_ended(name)
    assert has_ended(name)


@pytest.mark.parametrize("change", ["host", "boot", "container", "nothing known"])
def test_nothing_is_known_of_another_place(change: str) -> None:
    """Two machines can have one host name, and two containers the same numbers."""
    number, start, host, boot, space = process_name().split(" ")
    names = {
        "host": f"{number} {start} other {boot} {space}",
        "boot": f"{number} {start} {host} other {space}",
        "container": f"{number} {start} {host} {boot} 1",
        "nothing known": f"{number} {start} ",
    }
    assert is_running(names[change]) is None


@pytest.mark.parametrize("name", ["", "1", "x y z", "1 host 4026531836"])
def test_nothing_is_known_of_an_invalid_name(name: str) -> None:
    assert is_running(name) is None
