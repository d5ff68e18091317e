"""Removing experiments, and the files of checkpoints, from a repository and the spools of a project."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from keepsake.archive import owner_id
from keepsake.exceptions import MissingRepository, ReadError
from keepsake.metadata import Record, checkpoints_of, parse_experiment, pruned_of
from keepsake.repository.keys import archive_key, archive_keys, heartbeat_key, id_of, record_key
from keepsake.repository.known import claimed, replaced
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.spool.entry import Entry
from keepsake.util.console import warn
from keepsake.util.files import remove
from keepsake.util.ids import short_id

_AT_ONCE = 1000


def delete_experiments(
    view: View, experiments: Iterable[Record], advance: Callable[[int], None] = lambda count: None
) -> None:
    """Delete experiments with their heartbeats and archives.

    The removal is recorded first. A process that is still saving such an experiment then knows that somebody removed
    it, and takes back archives that arrive too late. Each record is read after that, to know the archives of its last
    checkpoints, which are noted too. Metadata is deleted before archives, so a crash leaves archives that only this
    note names, but never a wrong listing. `doctor --fix` then finishes the removal.

    Raises MissingRepository if there is no repository, unless an experiment was never sent to one.
    """
    repository, storage, entries = view.repository, view.repository.storage, view.entries()
    records = {record["id"]: record for record in experiments}
    try:
        repository.require()
    except MissingRepository:  # nothing is written where its disk may only be unmounted
        for waiting in [entries[id] for id in entries.keys() & records.keys()]:
            if waiting.in_repository:
                raise
            for entry in waiting.entries:
                entry.discard()
            del records[waiting.id]
        if records:
            raise
        return
    if not records:
        return
    identity = repository.identity if entries.keys() & records.keys() else None
    note = _note(repository, records)
    found = set()
    for key, data, _ in storage.get_many([record_key(experiment_id) for experiment_id in records]):
        found.add(id_of(key))
        with suppress(ReadError):  # a broken record is deleted too
            records[id_of(key)] = parse_experiment(data, id_of(key))
    owners = {key: record["id"] for record in records.values() for key in (*archive_keys(record), *_left(record))}
    _note(repository, records, owners or None, note)
    storage.retire([record_key(experiment_id) for experiment_id in records])
    for experiment_id in records:
        repository.forget(experiment_id)
        if experiment_id in entries:
            packs = entries[experiment_id].packs()
            owners |= {archive_key(experiment_id, owner_id(pack)): experiment_id for pack in packs}
            for entry in entries[experiment_id].entries:
                _give_up(entry, identity if experiment_id in found else None)
    shared = _shared(view, (id for record in records.values() for id in claimed(record)))
    owners = {key: owner for key, owner in owners.items() if key not in shared}
    _delete_removed(repository, note, {heartbeat_key(id): id for id in records} | owners, advance)
    repository.require()  # if its disk was unmounted meanwhile, nothing was removed


def _note(
    repository: Repository, experiments: Iterable[str], archives: Iterable[str] | None = None, note: str = ""
) -> str:
    """Write the note of a removal, as `Removals.add` does.

    Its disk can be unmounted just before. A note in the mount point is taken back then, and MissingRepository raised.
    """
    note = repository.removals.add(experiments, archives, note)
    if repository.storage.directory is not None:
        try:
            repository.require()
        except MissingRepository:
            repository.storage.delete([note])
            raise
    return note


def _left(record: Record) -> list[str]:
    """Return the keys of archives that a record no longer names. Their deletion may have been interrupted."""
    pruned = [checkpoint["id"] for checkpoint in checkpoints_of(record) if pruned_of(checkpoint)]
    return [archive_key(record["id"], id) for id in (*pruned, *replaced(record))]


def _delete_removed(
    repository: Repository, note: str, owners: Mapping[str, str], advance: Callable[[int], None]
) -> None:
    """Delete heartbeats and archives, each with its experiment in `owners`, and note that the removal has ended.

    `doctor --fix` may have ended it meanwhile. Then a push can bring an experiment back, and its archives stay.
    """
    keys, removed = list(owners), set(owners.values())
    for start in range(0, len(keys) + 1, _AT_ONCE):
        if repository.removals.has_ended(note):
            removed = {id for id in removed if not repository.storage.has(record_key(id))}
        batch = keys[start : start + _AT_ONCE]
        repository.storage.delete([key for key in batch if owners[key] in removed])
        advance(len(batch))
    _note(repository, removed, (), note)


def _give_up(entry: Entry, identity: str | None) -> None:
    """Discard what waits of an experiment that was removed from the repository with that identity.

    Another repository may have been at the same URL before, as on two disks that are mounted in turn. What waits for
    that one stays. Without an identity, only the spool knew the experiment.
    """
    if identity is None or entry.identity in (None, identity):
        entry.discard()
        return
    warn(
        f"What waits in {entry.directory} is kept, because experiment {short_id(entry.id)} was begun in another "
        f"repository that was at {entry.repository} before."
    )


def delete_files(
    view: View,
    checkpoints: Mapping[str, set[str]],
    advance: Callable[[int], None] = lambda count: None,
    *,
    may_go: Callable[[Record], set[str]] | None = None,
) -> set[str]:
    """Delete the archives of checkpoints, and return their IDs. Metrics stay, and the record says what was pruned.

    The record must name the checkpoints. It changes first, so a crash leaves garbage, but never a wrong listing.

    Args:
        checkpoints: the IDs of experiments, each with those of its checkpoints.
        advance: called with the number of checkpoints that are done.
        may_go: returns which checkpoints of a record may lose their files now; None: all.
    """
    repository, entries = view.repository, view.entries()
    holders = view.holders(id for ids in checkpoints.values() for id in ids)
    deleted = set[str]()
    for experiment_id, planned in checkpoints.items():
        choose = lambda record, ids=planned: ids & may_go(record) if may_go else ids  # noqa: E731
        chosen = repository.empty_paths(experiment_id, choose)
        if (waiting := entries.get(experiment_id)) is not None:
            for checkpoint_id in chosen:
                if (frozen := waiting.frozen(checkpoint_id)) is not None:
                    remove(frozen)
        own = [id for id in chosen if not holders[id] - {experiment_id}]
        repository.storage.delete(sorted(archive_key(experiment_id, id) for id in own))
        deleted |= chosen
        advance(len(planned))
    return deleted


def _shared(view: View, checkpoint_ids: Iterable[str]) -> set[str]:
    """Return the keys of archives that another experiment names. A copied record can name the archives of another."""
    holders = view.holders(checkpoint_ids)
    return {archive_key("", checkpoint_id) for checkpoint_id, held_by in holders.items() if held_by}
