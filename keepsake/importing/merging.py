"""Importing a run again: what is new is added, and what somebody changed here stays."""

from __future__ import annotations

from pathlib import Path

from keepsake.archive.contents import ArchiveEntry, hash_file
from keepsake.archive.reader import Archive
from keepsake.importing.runs import ForeignRun
from keepsake.labels import EDITED
from keepsake.metadata import END_FIELDS, Record, checkpoints_of, end_key, time_key


def by_id(record: Record | None) -> dict[str, Record]:
    """Return the checkpoints of a record by their IDs."""
    return {checkpoint["id"]: checkpoint for checkpoint in checkpoints_of(record or {})}


def merge(record: Record, known: Record | None) -> Record:
    """Return the record of a run, brought up to date from `known`, which is in the repository.

    A source may hold a run in several parts, as of a run of W&B that was resumed. The result is the same in whatever
    order they are imported: where they differ, what was recorded last counts.
    """
    if known is None:
        return record
    is_newer = _last(record) >= _last(known)
    older, newer = (known, record) if is_newer else (record, known)
    labels = known if known.get("edited") else newer
    own, old = by_id(record), by_id(known)
    checkpoints = [_merged(own.get(id), old.get(id), is_newer=is_newer) for id in {**old, **own}]
    fields = {name: value for name, value in older.items() if name not in END_FIELDS} | newer
    fields |= {"created": min(older["created"], newer["created"], key=time_key)}
    fields |= {"params": {**(older.get("params") or {}), **(newer.get("params") or {})} or None}
    fields = {name: value for name, value in fields.items() if name not in EDITED}
    fields |= {name: labels[name] for name in EDITED if name in labels}
    return {**fields, "checkpoints": sorted(checkpoints, key=lambda each: time_key(each["created"])) or None}


def _last(record: Record) -> str:
    """Return the latest time in a record, as `time_key` does."""
    times = [record["created"], *(checkpoint["created"] for checkpoint in checkpoints_of(record))]
    return max(end_key(record), *map(time_key, times))


def _merged(own: Record | None, old: Record | None, *, is_newer: bool) -> Record:
    """Return a checkpoint with the metrics of both. Files that were removed here stay removed."""
    if own is None or old is None:
        return own or old or {}
    before, after = old.get("metrics") or {}, own["metrics"] or {}
    metrics = {**before, **after} if is_newer else {**after, **before}
    path = old.get("path") or ("" if is_pruned(old) else own["path"])
    primary = own["primary_metric"] or old["primary_metric"]
    return {**old, "metrics": metrics or None, "path": path, "primary_metric": primary}


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
