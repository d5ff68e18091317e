"""Mounts that cache what they have seen, as the clients of a network disk do: one for each machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.histories.world import CACHING_SECONDS, World

CACHES = ",".join(f"{what}_timeout={CACHING_SECONDS}" for what in ("entry", "attr", "negative"))  # as NFS has them
_PATIENCE_SECONDS = 20.0


@contextmanager
def network_disks(world: World) -> Iterator[None]:
    """Let each machine see the world through a mount of its own, if that belongs to the set-up."""
    owner, mounted = os.getpid(), list[tuple[Path, "subprocess.Popen[bytes]"]]()
    try:
        for machine in world.machines.values() if world.setup.get("caches") else ():
            mounted.append((machine.view, _mount(world.base, machine.view, world.setup["caches"])))
        yield
    finally:
        for place, server in mounted if os.getpid() == owner else ():  # a child ends through here, too
            subprocess.run(["umount", "-l", place], check=False)
            server.terminate()
            server.wait()


def _mount(directory: Path, place: Path, options: str) -> subprocess.Popen[bytes]:
    place.mkdir(exist_ok=True)
    server = subprocess.Popen(["bindfs", "-f", "-o", options, directory, place])
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not os.path.ismount(place):
        assert server.poll() is None, f"bindfs does not mount {place}"
        assert time.monotonic() < deadline, f"bindfs does not mount {place}"
        time.sleep(0.01)
    return server
