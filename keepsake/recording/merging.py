"""The record of an experiment in the repository in which it began: created, merged with changes, read again."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from keepsake.exceptions import WriteError
from keepsake.metadata import Record
from keepsake.repository.keys import record_key
from keepsake.spool.journal import Changes
from keepsake.spool.places import known_identity

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry


def create(entry: Entry, repository: Repository, changes: Changes) -> Record:
    """Create the experiment's record, if nobody has removed it, and return it."""
    if entry.identity is None:  # if a repository was used from here before, no new one is created in its place
        entry.identity = repository.ensure(known_identity(entry.directory.parent, entry.repository))
    else:
        repository.expect(entry.identity)
    # Its process may have been killed after it had published it. Somebody may remove it before, during or after this.
    is_there = repository.load(entry.id) is not None
    creates = not is_there and entry.id not in repository.removals.ids()
    repository.merge(entry.record, changes, create=creates)
    if creates and entry.id in repository.removals.ids():
        repository.storage.retire([record_key(entry.id)])
    repository.forget(entry.id)
    record = repository.merge(entry.record, changes, create=False, identity=entry.identity)  # reads it back, as proof
    entry.in_repository = True
    with suppress(WriteError):  # the disk of the spool has become read-only; the next process finds the record there
        entry.write_record()
    return record


def merge(entry: Entry, repository: Repository, changes: Changes) -> Record:
    """Merge into the experiment's record and return it.

    If nobody wrote down which repository the experiment belongs to, it is the one that holds its record.
    """
    identity = entry.identity or repository.identity
    record = repository.merge(entry.record, changes, create=False, identity=identity)
    if entry.identity is None and identity is not None:
        entry.identity = identity
        entry.write_record()
    return record


def find_identity(entry: Entry, repository: Repository) -> None:
    """Note which repository an entry belongs to, before anything waits in it: the one that holds its record now."""
    if entry.identity is None:
        merge(entry, repository, Changes())


def current(entry: Entry, repository: Repository) -> Record:
    """Return the experiment's record as it is now. What is deleted depends on it, and a backup may just be restored."""
    repository.forget(entry.id)
    return merge(entry, repository, Changes())
