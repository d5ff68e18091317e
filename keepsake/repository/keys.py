"""The keys in a repository. The layout is version 1 of docs/repository-format.md, shared with 0.4.2."""

from __future__ import annotations

from keepsake.archive import ARCHIVE
from keepsake.metadata import Record, checkpoints_of
from keepsake.output import parts_of

VERSION = 1
SPEC = "repository.json"
IDENTITY = "identity.json"
REMOVED = "removed"
ORPHANED = "orphaned"  # archives that a repair moved aside; their old keys follow
EXPERIMENTS = "metadata/experiments"
HEARTBEATS = "metadata/heartbeats"
LOGS = "logs"
ARCHIVES = ("experiments", "checkpoints", LOGS)


def archive_key(experiment_id: str, archive_id: str) -> str:
    """Return the key of the archive of an experiment (both IDs are the same) or of one of its checkpoints."""
    return f"{ARCHIVES[archive_id != experiment_id]}/{archive_id}{ARCHIVE}"


def archive_id_of(key: str) -> str:
    """Return the ID of the experiment or checkpoint from the key of its archive."""
    return key.rpartition("/")[2].removesuffix(ARCHIVE)


def archive_keys(record: Record) -> list[str]:
    """Return the keys of the archives that an experiment's record names, and of its output."""
    owners = [record, *checkpoints_of(record)]
    return [archive_key(record["id"], owner["id"]) for owner in owners if owner.get("path")] + log_keys(record)


def log_key(experiment_id: str, part: str) -> str:
    """Return the key of a part of an experiment's output."""
    return f"{LOGS}/{experiment_id}-{part}.txt.gz"


def log_keys(record: Record) -> list[str]:
    """Return the keys of all parts of the output that a record lists."""
    return [log_key(record["id"], part) for part in parts_of(record)]


def log_owner(key: str) -> str:
    """Return the ID of the experiment whose output is under a key; "" if it is the key of something else."""
    prefix, _, name = key.partition("/")
    return name.rsplit("-", 2)[0] if prefix == LOGS else ""


def part_of(key: str) -> str:
    """Return the name of the part of an output that is under a key."""
    return "-".join(key.removesuffix(".txt.gz").rsplit("-", 2)[1:])


def id_of(key: str) -> str:
    """Return the ID of the experiment from the key of its record or heartbeat."""
    return key.rpartition("/")[2].removesuffix(".json")


def record_key(experiment_id: str) -> str:
    """Return the key of an experiment's record."""
    return f"{EXPERIMENTS}/{experiment_id}.json"


def heartbeat_key(experiment_id: str) -> str:
    """Return the key of an experiment's heartbeat."""
    return f"{HEARTBEATS}/{experiment_id}.json"
