"""Two machines and two repositories, whose disks are unmounted, swapped, backed up and restored."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.histories.bucket import url_of
from tests.faults.sandbox import Sandbox

Step = dict[str, Any]  # what is done, as JSON; making.py makes them

MACHINES = ("A", "B")
REPOSITORIES = ("r0", "r1")
LONG_AGO_SECONDS = 7200.0
CACHING_SECONDS = 3


class Place(NamedTuple):
    """A disk of a repository. Disk 0 holds the one that the machines use, disk 1 an unrelated one."""

    name: str
    disk: int

    def __str__(self) -> str:
        return f"{self.name}-{self.disk}"


@lru_cache(maxsize=64)
def content(key: int) -> bytes:
    """What a file holds that belongs to a number: now and then so much that it is moved, not copied."""
    return random.Random(key).randbytes(150_000 if key % 7 == 0 else 300)


class Machine(Sandbox):
    """A machine with its project. What is said and what has returned goes to files of the world."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.base / name)
        self.name = name
        self.log, self.messages = world.log, world.messages
        # A client of a network disk sees the world through a mount of its own
        self.view = world.base.with_name(f"{world.base.name}-of-{name}") if world.setup.get("caches") else world.base
        self.repository = self.view / "repositories"  # where faults happen, too
        self.has_buckets = world.setup["storage"] == "buckets"
        self.use(self.url(world.repository_of(name)))

    def url(self, repository: str) -> str:
        """The URL of a repository on this machine."""
        folder = self.view / "repositories" / repository
        return url_of(folder) if self.has_buckets else f"file://{folder}"

    def use(self, url: str) -> None:
        """Let the project's repository be the one at this URL."""
        (self.project / "keepsake.yaml").write_text(f"repository: {url}\n")


class World:
    """Where everything lies. It is built once for each set-up, and copied."""

    def __init__(self, base: Path, setup: dict[str, Any]) -> None:
        self.base = base
        self.setup = setup
        self.log, self.messages = base / "log.jsonl", base / "stderr.txt"
        for name in ("disks", "backups", *(f"repositories/{name}" for name in REPOSITORIES)):
            (base / name).mkdir(parents=True)
        self.machines = {name: Machine(self, name) for name in MACHINES}
        self.mounted: dict[str, int | None] = dict.fromkeys(REPOSITORIES, 0)
        self.unmounted_under_a_process: set[str] = set()

    def repository_of(self, machine: str) -> str:
        """The repository that a machine's project names."""
        name: str = REPOSITORIES[0] if machine == MACHINES[0] else self.setup["repository of B"]
        return name

    def mount(self, name: str) -> Path:
        """The mount point of a repository."""
        return self.base / "repositories" / name

    def directory(self, place: Place) -> Path:
        """Where a disk is now."""
        return self.mount(place.name) if self.mounted[place.name] == place.disk else self._shelf(place)

    def place(self, name: str) -> Place | None:
        """What is mounted."""
        disk = self.mounted[name]
        return None if disk is None else Place(name, disk)

    def places(self) -> list[Place]:
        """All disks that there are."""
        return [place for name in REPOSITORIES for place in (Place(name, 0), Place(name, 1)) if self._is_there(place)]

    def is_mounted(self, place: Place) -> bool:
        """Whether a machine that uses the repository sees this disk."""
        return self.mounted[place.name] == place.disk

    def events(self, offset: int) -> tuple[list[dict[str, Any]], int]:
        """Return what the processes have written to the log since `offset`, and the next offset."""
        data = self.log.read_bytes() if self.log.exists() else b""
        return [json.loads(line) for line in data[offset:].splitlines()], len(data)

    # What happens to the disks

    def unmount(self, name: str, *, keeps_mount_point: bool = True, under_a_process: bool = False) -> None:
        """Take the disk away, and leave an empty mount point or none."""
        place = self.place(name)
        if place is None:
            return
        os.rename(self.mount(name), self._shelf(place))
        self.mounted[name] = None
        if keeps_mount_point:
            self.mount(name).mkdir()
        if under_a_process:
            self.unmounted_under_a_process.add(name)

    def remount(self, name: str, disk: int) -> list[str]:
        """Mount this disk instead of what is there; return what had been written into the empty mount point."""
        if self.mounted[name] == disk or not self._shelf(Place(name, disk)).exists():
            return []
        written: list[str] = []
        if (before := self.place(name)) is not None:
            os.rename(self.mount(name), self._shelf(before))
        elif self.mount(name).exists():
            files = [path for path in self.mount(name).rglob("*") if path.is_file()]
            if name not in self.unmounted_under_a_process:
                written = [str(path) for path in files if not path.name.endswith(".keepsake-tmp")]
            shutil.rmtree(self.mount(name))
        os.rename(self._shelf(Place(name, disk)), self.mount(name))
        self.mounted[name] = disk
        return written

    def mount_new(self, name: str) -> None:
        """Mount a disk without a repository instead of disk 0."""
        self.unmount(name)
        self.mounted[name] = 1

    def back_up(self, name: str) -> None:
        """Copy the disk that the machines use, if it is mounted."""
        if self.mounted[name] == 0:
            shutil.rmtree(self._backup(name), ignore_errors=True)
            shutil.copytree(self.mount(name), self._backup(name), symlinks=True)

    def restore(self, name: str) -> bool:
        """Put the backup in the place of the disk's content; return whether there is one."""
        if self.mounted[name] != 0 or not self._backup(name).exists():
            return False
        shutil.rmtree(self.mount(name))
        shutil.copytree(self._backup(name), self.mount(name), symlinks=True)
        return True

    def let_time_pass(self) -> None:
        """Make all files look old, so that no process seems to be using them. Caches forget what they remember."""
        past = time.time() - LONG_AGO_SECONDS
        spools = (machine.directory for machine in self.machines.values())
        for root in (self.base / "repositories", *spools):
            for path in root.rglob("*"):
                with suppress(OSError):
                    os.utime(path, (past, past), follow_symlinks=False)
        time.sleep(CACHING_SECONDS if self.setup.get("caches") else 0)

    def _is_there(self, place: Place) -> bool:
        return self.is_mounted(place) or self._shelf(place).exists()

    def _shelf(self, place: Place) -> Path:
        return self.base / "disks" / str(place)

    def _backup(self, name: str) -> Path:
        return self.base / "backups" / name
