"""Importing a run again: what is new is added, and what somebody changed here stays."""

from __future__ import annotations

from pathlib import Path

from keepsake.archive.contents import ArchiveEntry, hash_file
from keepsake.archive.reader import Archive
from keepsake.importing.runs import ForeignRun
from keepsake.labels import EDITED
from keepsake.metadata import Record, checkpoints_of


def by_id(record: Record | None) -> dict[str, Record]:
    """Return the checkpoints of a record by their IDs."""
    return {checkpoint["id"]: checkpoint for checkpoint in checkpoints_of(record or {})}


def merge(record: Record, known: Record | None) -> Record:
    """Return the record of a run, brought up to date from `known`, which is in the repository."""
    if known is None:
        return record
    old = by_id(known)
    checkpoints = [_merged(new, old.get(new["id"])) for new in checkpoints_of(record)]
    names = {checkpoint["id"] for checkpoint in checkpoints}
    others = [checkpoint for checkpoint in old.values() if checkpoint["id"] not in names]
    labels = known if known.get("edited") else record
    fields = {name: value for name, value in {**known, **record}.items() if name not in EDITED}
    fields |= {name: labels[name] for name in EDITED if name in labels}
    return {**fields, "checkpoints": [*others, *checkpoints] or None}


def _merged(new: Record, old: Record | None) -> Record:
    """Return a checkpoint with the metrics of both; the new ones count. Files that were removed here stay removed."""
    if old is None:
        return new
    metrics = {**(old.get("metrics") or {}), **(new["metrics"] or {})} or None
    path = old.get("path") or ("" if is_pruned(old) else new["path"])
    return {**old, "metrics": metrics, "path": path, "primary_metric": new["primary_metric"] or old["primary_metric"]}


def is_pruned(checkpoint: Record | None) -> bool:
    """Whether somebody removed the files of a checkpoint here."""
    return bool(checkpoint and checkpoint.get("pruned"))


def changed_files(run: ForeignRun, archive: Archive) -> list[tuple[str, Path]]:
    """Return the files of a run that an archive lacks or has with another content. Raises CorruptedArchive."""
    kept = {entry.name: entry for entry in archive.entries()}
    return [(name, path) for name, path in run.files if not _is_kept(path, kept.get(f"{run.folder}/{name}"))]


def _is_kept(path: Path, entry: ArchiveEntry | None) -> bool:
    status = path.stat()
    if entry is None or entry.size != status.st_size:
        return False
    if entry.mtime_ns == status.st_mtime_ns:
        return True
    return entry.xxh128 == hash_file(path)
