"""Deleting archives that a run no longer wants: those of repeated steps, and those that its policy lets go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keepsake.archive import owner_id
from keepsake.exceptions import KeepsakeError, Removed, WriteError
from keepsake.recording.merging import current, merge
from keepsake.repository.keys import archive_key
from keepsake.repository.known import replaced
from keepsake.spool.journal import Changes
from keepsake.util.console import warn
from keepsake.util.fork import importing

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry


def delete_replaced(entry: Entry, repository: Repository) -> None:
    """Delete the archives of checkpoints that were replaced after a restart, once those that replace them are there.

    The record keeps their IDs, so the process that sends such an archive later deletes it again.
    """
    record = merge(entry, repository, Changes())
    if entry.deleted.issuperset(replaced(record)) or not repository.have_arrived(record, entry.arrived):
        return
    record = current(entry, repository)
    ids = set(replaced(record)) - entry.deleted
    if ids and repository.have_arrived(record, seen(entry, repository)):
        try:
            repository.storage.delete(sorted(archive_key(entry.id, id) for id in ids))
            entry.deleted |= ids
        except WriteError as error:
            _tell(entry, f"Files of steps that were recorded again could not be deleted: {error}")


def seen(entry: Entry, repository: Repository) -> set[str]:
    """Return the IDs of checkpoints whose archives need not be looked for again.

    On a disk they may be gone because a backup was restored, and looking costs little.
    """
    return entry.arrived if repository.storage.directory is None else set()


def prune(entry: Entry, repository: Repository) -> None:
    """Delete the files of checkpoints that the policy of the run does not keep."""
    if not entry.record.get("keep") or not entry.in_repository:
        return
    with importing:
        from keepsake.repository.pruning import keep_of, prune_saved
    if keep_of(entry.record) is None:
        return
    record = current(entry, repository)
    keep = keep_of(record)  # a process that went on with the experiment may have set another policy
    if keep is None:
        return
    try:
        prune_saved(repository, record, keep, {owner_id(pack) for pack in entry.packs()}, seen(entry, repository))
    except Removed:
        raise
    except KeepsakeError as error:
        _tell(entry, f"Files that keep={str(keep)!r} does not keep could not be deleted: {error}")


def _tell(entry: Entry, trouble: str) -> None:
    """Warn once that old files could not be deleted. The run is saved anyway."""
    if trouble != entry.trouble:
        entry.trouble = trouble
        warn(trouble)
