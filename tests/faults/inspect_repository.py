"""What must hold of a repository after whatever was done to it, looked at without Keepsake and with it."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from keepsake import Project
from keepsake.archive.reader import Archive
from keepsake.exceptions import KeepsakeError
from keepsake.storage import open_storage
from keepsake.util.files import TEMPORARY

_KEYS = re.compile(
    r"(repository|identity|removed/[0-9a-f]{16})\.json|metadata/(experiments|heartbeats)/[0-9a-f]{64}\.json|"
    r"(experiments|checkpoints)/[0-9a-f]{64}\.tar\.gz"
)
Contents = dict[str, bytes]  # name → content


def objects(repository: Path) -> dict[str, Path]:
    """Return the objects under final names."""
    files = (path for path in repository.rglob("*") if path.is_file() and TEMPORARY not in path.name)
    return {path.relative_to(repository).as_posix(): path for path in files}


def broken(repository: Path) -> list[str]:
    """Say what is unreadable under a final name, or should not be there."""
    return [
        f"{key}: {problem}" for key, path in objects(repository).items() for problem in _broken(repository, key, path)
    ]


def unfulfilled(repository: Path) -> list[str]:
    """Say which archives are missing though a record names them."""
    there = objects(repository)
    records = [json.loads(path.read_bytes()) for key, path in there.items() if key.startswith("metadata/experiments/")]
    named = [f"experiments/{record['id']}.tar.gz" for record in records if record["path"]]
    for record in records:
        named += [f"checkpoints/{each['id']}.tar.gz" for each in record["checkpoints"] or [] if each["path"]]
    return [f"{key}: named, but missing" for key in named if key not in there]


def _broken(repository: Path, key: str, path: Path) -> Iterator[str]:
    if not _KEYS.fullmatch(key):
        yield "no repository of Keepsake holds this"
    elif key.endswith(".json"):
        try:
            if not isinstance(json.loads(path.read_bytes()), dict):
                yield "not an object"
        except ValueError as error:
            yield f"not JSON: {error}"
    else:
        try:
            if by_tarfile(path) != by_keepsake(repository, key):
                yield "tarfile and Keepsake read different files in it"
        except (KeepsakeError, tarfile.TarError, OSError, EOFError) as error:
            yield f"unreadable: {error!r}"


def by_tarfile(path: Path) -> Contents:
    """Return what Python's own reader finds in an archive, the ID before the names removed."""
    with tarfile.open(path, "r:gz") as archive:
        found = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
        return {name: file.read() for name, file in found.items() if file is not None}


def by_keepsake(repository: Path, key: str) -> Contents:
    """Return what Keepsake finds in an archive."""
    archive = Archive(open_storage(f"file://{repository}"), key)
    found = {}
    for entry in archive.entries():
        with archive.open(entry.name) as file:
            found[entry.name] = file.read()
    return found


def missing(project: Path, returned: dict[str, Contents], experiment_id: str) -> list[str]:
    """Say which checkpoints are not in the repository with their files; `returned` maps their IDs to those.

    A checkpoint without files has none in `returned`.
    """
    repository = project / "repo"
    file = repository / f"metadata/experiments/{experiment_id}.json"
    if not file.exists():
        return [f"experiment {experiment_id} is missing"]
    record = json.loads(file.read_bytes())
    there = {checkpoint["id"]: checkpoint for checkpoint in record["checkpoints"] or []}
    problems = [f"checkpoint {checkpoint_id} is missing" for checkpoint_id in returned if checkpoint_id not in there]
    experiment = Project(directory=project).experiments.get(experiment_id)
    for checkpoint in experiment.checkpoints:
        wanted = returned.get(checkpoint.id)
        path = repository / f"checkpoints/{checkpoint.id}.tar.gz"
        if wanted is None:
            continue
        if wanted and (not path.exists() or by_tarfile(path) != wanted):
            problems.append(f"the files of checkpoint {checkpoint.id} are missing or wrong")
            continue
        for name, content in wanted.items():
            with checkpoint.open(name) as found:
                if found.read() != content:
                    problems.append(f"{name} of checkpoint {checkpoint.id} reads wrong")
    return problems
