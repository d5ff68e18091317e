"""Bringing what the spool holds into the repository.

Saving in the background, draining at the end, recovering after a crash, offline work and `keepsake sync` are all
`publish` (records) and `upload` (archives). Anyone may do them, twice or at once: same keys, same bytes, merged by ID.

What is in the spool is let go only when the repository that the experiment was begun in is seen to hold it, or when a
person removed the experiment there. A record that is missing, another repository at the same URL, or none at all prove
nothing: then an error says so, and everything stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from keepsake.archive import owner_id
from keepsake.exceptions import CorruptedArchive, DoesNotExist, KeepsakeError, WriteError
from keepsake.spool.journal import Changes
from keepsake.spool.places import known_identity
from keepsake.util.console import warn
from keepsake.util.fork import importing
from keepsake.util.ids import short_id
from keepsake.util.streams import CountingReader

if TYPE_CHECKING:
    from keepsake.metadata import Record
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry
    from keepsake.util.workers import Workers


def publish(entry: Entry, repository: Repository, *, others: bool = False) -> None:
    """Merge what the journals say into the experiment's record; `others`: also those of other processes.

    Raises DoesNotExist if a person removed the experiment, and KeepsakeErrors for what hinders it now.
    """
    taken = entry.take(others=others)
    changes = taken.changes
    if not entry.in_repository:
        _create(entry, repository, changes)
    elif changes:
        _merge(entry, repository, changes)
    if "ended" in changes.fields:
        repository.heartbeats.end(entry.id)  # of a run whose process could not do so
    taken.drop()


def _create(entry: Entry, repository: Repository, changes: Changes) -> None:
    if entry.identity is None:  # a repository that was used from here before is not made up for by a new one
        entry.identity = repository.ensure(known_identity(entry.directory.parent, entry.repository))
    else:
        repository.expect(entry.identity)
    if (
        entry.id in repository.removals.ids()
    ):  # it had been published, and its process was killed before it wrote that down
        raise DoesNotExist(f"There is no experiment {entry.id} in {repository.url}: it was removed.")
    repository.merge(entry.record, changes, create=True)
    repository.forget(entry.id)
    repository.merge(entry.record, changes, create=False, identity=entry.identity)  # read back: that is the proof
    entry.in_repository = True
    entry.write_record()


def _merge(entry: Entry, repository: Repository, changes: Changes) -> Record:
    """Merge into the experiment's record and return it.

    If nobody wrote down which repository the experiment belongs to, it is the one that holds its record.
    """
    identity = entry.identity or repository.identity
    record = repository.merge(entry.record, changes, create=False, identity=identity)
    if entry.identity is None and identity is not None:
        entry.identity = identity
        entry.write_record()
    return record


def upload(
    entry: Entry,
    repository: Repository,
    workers: Workers | None = None,
    moved: Callable[[int], None] | None = None,
    *,
    check: bool = False,
) -> list[Path]:
    """Store the archives of all frozen files that the experiment's record names; return those that nobody names.

    Args:
        moved: told of numbers of bytes as they go.
        check: see first that the files are as they were frozen, which a power cut can prevent.

    One archive that cannot be stored does not hold up the others. Its files stay where they are, and its error is
    raised at the end.
    """
    failed: KeepsakeError | None = None
    tried: set[Path] = set()
    while True:
        named, unnamed = _sorted(entry, repository)
        if named.keys() <= tried:
            break
        # Another process may store a file meanwhile, or give it another name: then it is found again
        for pack, path in named.items():
            tried.add(pack)
            try:
                if path:  # without a path, its files were removed
                    _store(pack, entry, repository, workers, moved, check)
                pack.unlink(missing_ok=True)
            except FileNotFoundError:
                continue
            except (CorruptedArchive, WriteError) as error:
                failed = failed or error
                repository.expect(entry.identity)  # if all of it is away, there is no need to try the rest
    if failed is not None:
        raise failed
    return unnamed


def _sorted(entry: Entry, repository: Repository) -> tuple[dict[Path, str], list[Path]]:
    """Return the frozen files that the experiment's record names, with their paths, and those that nobody names.

    What an interrupted checkpoint() of this process left is removed.
    """
    # In this order: files are frozen before their line is written, which is then in a journal or in the record
    abandoned, packs = set(entry.abandoned), entry.packs()
    if not packs:
        return {}, []
    unpublished = {checkpoint["id"] for checkpoint in entry.pending().checkpoints}
    paths = _paths(entry, repository)
    if not paths.keys() >= {owner_id(pack) for pack in packs}:  # another process may have published their lines
        repository.forget(entry.id)
        paths = _paths(entry, repository)
    named = {pack: paths[owner_id(pack)] for pack in packs if owner_id(pack) in paths}
    unnamed = [pack for pack in packs if owner_id(pack) not in paths.keys() | unpublished]
    for pack in unnamed:
        if owner_id(pack) in abandoned:
            pack.unlink(missing_ok=True)
    return named, unnamed


def _paths(entry: Entry, repository: Repository) -> dict[str, str]:
    """Return the path of each experiment or checkpoint ID in the experiment's record; "" if it has no files."""
    record = _merge(entry, repository, Changes())
    return {owner["id"]: owner.get("path") or "" for owner in (record, *(record.get("checkpoints") or []))}


def _store(
    pack: Path,
    entry: Entry,
    repository: Repository,
    workers: Workers | None,
    moved: Callable[[int], None] | None,
    check: bool,
) -> None:
    """Store the archive of frozen files. Raises FileNotFoundError if they are gone."""
    with importing:
        from keepsake.archive.reader import is_archive
        from keepsake.archive.writer import open_archive, verify
    archive_id = owner_id(pack)
    try:
        if check:
            verify(pack)
        repository.expect(entry.identity)  # nothing goes to a place that has not just been seen to be the repository
        if not (is_archive(pack) and repository.adopt_archive(entry.id, archive_id, pack)):
            with open_archive(pack, workers) as archive:
                repository.put_archive(entry.id, archive_id, cast(BinaryIO, CountingReader(archive, moved)))
    except CorruptedArchive as error:
        raise CorruptedArchive(
            f"{error} It stays where it is, and all else is saved. Delete that file to give it up."
        ) from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not pack.exists():
            raise
        raise WriteError(f"Cannot read {pack}: {error.strerror or error}. It stays where it is.") from error


def finish(entry: Entry, repository: Repository, moved: Callable[[int], None] | None = None) -> None:
    """Bring all that an entry holds into the repository, and remove it if nothing waits in it any more."""
    try:
        publish(entry, repository, others=True)
        unnamed = upload(entry, repository, moved=moved, check=True)
    except DoesNotExist:
        warn(f"Experiment {short_id(entry.id)} was removed from {repository.url}. What waited of it is dropped.")
        entry.discard()
        return
    for pack in unnamed:
        entry.set_aside(pack)
    if not entry.is_fresh():  # otherwise its process would only have to begin it again
        entry.close()


def try_to_finish(
    entry: Entry, open_repository: Callable[[str], Repository], moved: Callable[[int], None] | None = None
) -> KeepsakeError | None:
    """Finish an entry and return None, or what went wrong."""
    try:
        finish(entry, open_repository(entry.repository), moved)
    except Exception as error:  # noqa: BLE001 - one entry must not keep the next from being finished
        return as_ours(error, entry)
    return None


def as_ours(error: BaseException, entry: Entry) -> KeepsakeError:
    """Return the error of this package that says why an entry could not be saved."""
    if isinstance(error, KeepsakeError):
        return error
    ours = KeepsakeError(f"Unexpected {type(error).__name__}: {error}.")
    if isinstance(error, OSError):
        ours = WriteError(f"{error.filename or entry.directory}: {error.strerror or error}.")
    ours.__cause__ = error
    return ours
