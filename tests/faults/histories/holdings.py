"""What lies in repositories and spools, read by other means than Keepsake's."""

from __future__ import annotations

import hashlib
import json
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.faults.histories.world import World
from tests.faults.inspect_repository import by_tarfile

T = TypeVar("T")
Digests = dict[str, str]  # of the files in an archive, by name

_read_before: dict[tuple[str, int, int, int], Any] = {}
_UNREADABLE = (OSError, ValueError, EOFError, tarfile.TarError, struct.error)


class Holding:
    """A repository's records and archives."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records: dict[str, dict[str, Any] | None] = {}  # None: cannot be read
        for path in directory.glob("metadata/experiments/*.json"):
            self.records[path.stem] = _once(path, _json)
        archives = (path for kind in ("experiments", "checkpoints") for path in directory.glob(f"{kind}/*.tar.gz"))
        self.archives = {path.name[: -len(".tar.gz")] for path in archives}
        spec = _once(directory / "identity.json", _json)
        self.identity: str | None = spec["id"] if spec else None

    def checkpoints(self, experiment: str) -> dict[str, dict[str, Any]]:
        """The checkpoints in the record of an experiment, by ID."""
        return {each["id"]: each for each in (self.records.get(experiment) or {}).get("checkpoints") or []}

    def named(self, experiment: str) -> set[str]:
        """The archives that the record of an experiment says are there."""
        ids = {id for id, checkpoint in self.checkpoints(experiment).items() if checkpoint.get("path")}
        return ids | ({experiment} if (self.records.get(experiment) or {}).get("path") else set())

    def files(self, experiment: str, archive: str) -> Digests:
        """What is in an archive."""
        kind = "experiments" if archive == experiment else "checkpoints"
        return _once(self.directory / kind / f"{archive}.tar.gz", _archive) or {}

    def is_aside(self, archive: str) -> bool:
        """Whether `doctor --fix` has moved it to `orphaned/`."""
        return any(archive in path.name for path in (self.directory / "orphaned").rglob("*.gz"))


class Waiting:
    """What waits of an experiment in a spool."""

    def __init__(self, directory: Path) -> None:
        self.experiment = directory.name
        self.checkpoints: set[str] = set()
        self.archives: dict[str, Path] = {}
        for path in directory.iterdir():
            if path.name.endswith(".jsonl"):
                self.checkpoints |= set(_once(path, _journal) or ())
            elif path.name.endswith((".pack", ".tar.gz")) and not path.name.startswith("."):
                self.archives[path.name.partition(".")[0]] = path

    def files(self, archive: str) -> Digests:
        """What is in an archive that waits."""
        path = self.archives.get(archive)
        return {} if path is None else _once(path, _archive) or {}


def waiting(world: World) -> list[Waiting]:
    """Return what waits on all machines."""
    roots = (root for machine in world.machines.values() for root in _spools(machine.directory))
    return [Waiting(entry) for root in roots for entry in root.iterdir() if entry.is_dir() and _holds_something(entry)]


def _holds_something(entry: Path) -> bool:
    """Whether more is there than the temporary files of a process that was killed."""
    return any(not path.name.startswith(".") for path in entry.iterdir())


def _spools(machine: Path) -> Iterator[Path]:
    for pattern in ("project/.keepsake/spool", "home/spool", "home/.local/state/**/spool/*"):
        yield from (path for path in machine.glob(pattern) if path.is_dir())


def _once(path: Path, read: Callable[[Path], T]) -> T | None:
    """Read a file unless it has been read and not changed since; None: it is not there, or is damaged."""
    try:
        now = path.stat()
    except OSError:
        return None
    version = (str(path), now.st_ino, now.st_mtime_ns, now.st_size)
    if version not in _read_before:
        try:
            _read_before[version] = read(path)
        except _UNREADABLE:
            _read_before[version] = None
    found: T | None = _read_before[version]
    return found


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def _journal(path: Path) -> set[str]:
    """The checkpoints in a journal's whole lines."""
    found = set()
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a kill has torn it
        if "checkpoint" in entry:
            found.add(entry["checkpoint"]["id"])
    return found


def _archive(path: Path) -> Digests:
    contents = by_tarfile(path) if path.name.endswith(".tar.gz") else _pack(path)
    return {name: digest(data) for name, data in contents.items()}


def _pack(path: Path) -> dict[str, bytes]:
    """The files in a pack: their contents, then a table, then a footer that says where the table is."""
    data = path.read_bytes()
    start, length, _, magic = struct.unpack("<QQI8s", data[-28:])
    if magic != b"KSPACK1\n":
        raise ValueError(f"{path} has no footer")
    table = json.loads(data[start : start + length])
    return {name: data[offset : offset + size] for name, size, _, _, offset, _ in table}


def digest(data: bytes) -> str:
    """What stands for the content of a file."""
    return hashlib.md5(data).hexdigest()
