"""A record as this process last read or wrote it, and what it becomes with changes."""

from __future__ import annotations

from keepsake.labels import apply_edits, edited_fields
from keepsake.metadata import Record, checkpoints_of, render_checkpoint, valid_id, was_pruned_elsewhere
from keepsake.restarts import superseded
from keepsake.spool.journal import Changes


class Known:
    """A record as this process last read or wrote it, prepared for a quick rewrite."""

    def __init__(self, record: Record, etag: str | None, texts: list[str], ids: set[str]) -> None:
        self.record = record
        self.etag = etag  # None: not written yet
        self.texts = texts
        self.ids = ids

    @classmethod
    def of(cls, record: Record, etag: str | None) -> Known:
        """Return a record that was read."""
        checkpoints = checkpoints_of(record)
        return cls(record, etag, [render_checkpoint(c) for c in checkpoints], {c["id"] for c in checkpoints})

    def merged(self, changes: Changes) -> Known | None:
        """Return the record with changes; None if they are in it already.

        Checkpoints whose steps were recorded again after a restart are left out. The field `replaced` lists those with
        files, because a process may still be sending these files.
        """
        new = changes.new_to(self.ids)
        fields = changes.fields_for(self.record)
        record = {**self.record, **fields}
        if changes.edits:
            record = apply_edits(record, changes.edits)
        is_same = fields.items() <= self.record.items() and edited_fields(record) == edited_fields(self.record)
        if self.etag is not None and not new and is_same:
            return None
        checkpoints = [*checkpoints_of(self.record), *new]
        texts = self.texts + [render_checkpoint(checkpoint) for checkpoint in new]
        if gone := superseded(checkpoints):
            having = (each["id"] for each in checkpoints if each.get("path") or each.get("pruned"))
            record["replaced"] = sorted({*replaced(self.record), *gone.intersection(having)})
            texts = [text for text, each in zip(texts, checkpoints, strict=True) if each["id"] not in gone]
            checkpoints = [checkpoint for checkpoint in checkpoints if checkpoint["id"] not in gone]
        record["checkpoints"] = checkpoints
        return Known(record, self.etag, texts, {checkpoint["id"] for checkpoint in checkpoints})


def replaced(record: Record) -> list[str]:
    """Return the IDs of the replaced checkpoints whose archives are deleted."""
    ids = record.get("replaced")
    named = {checkpoint["id"] for checkpoint in checkpoints_of(record)}
    return [id for id in ids if valid_id(id) and id not in named] if isinstance(ids, list) else []


def claimed(record: Record) -> list[str]:
    """Return the IDs of all checkpoints whose archives a record decides about, replaced ones included."""
    return [*(checkpoint["id"] for checkpoint in checkpoints_of(record)), *replaced(record)]


def wanted_archives(record: Record) -> dict[str, bool]:
    """Return the ID of each archive that a record decides about, and whether it is to be there."""
    wanted = {
        owner["id"]: bool(owner.get("path") or was_pruned_elsewhere(owner))
        for owner in (record, *checkpoints_of(record))
    }
    return {**dict.fromkeys(replaced(record), False), **wanted}
