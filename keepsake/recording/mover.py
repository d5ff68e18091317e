"""Moving the content of the spool into the repository.

Saving in the background, draining at the end, recovery after a crash, offline work and `keepsake sync` all use
`publish` (records) and `upload` (archives). Any process may call them, repeatedly or at once: keys and bytes are the
same, and records are merged by ID.

An item leaves the spool only if the repository in which its experiment began is known to hold it, or if somebody
removed the experiment there. A missing record, another repository at the same URL, or no repository at all prove
nothing. An error then says so, and everything stays in the spool.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from keepsake.archive import owner_id
from keepsake.exceptions import (
    CorruptedArchive,
    KeepsakeError,
    NotRemoved,
    ReadError,
    Removed,
    RepositoryConfigurationError,
    WriteError,
)
from keepsake.metadata import Record
from keepsake.output import FIELD, counted
from keepsake.recording.merging import create, current, merge
from keepsake.recording.obsolete import delete_replaced, prune, seen
from keepsake.repository.keys import archive_key, log_key
from keepsake.repository.known import replaced, wanted_archives
from keepsake.spool.journal import Changes
from keepsake.spool.places import remember_repository
from keepsake.status import ends_heartbeats
from keepsake.util.console import warn
from keepsake.util.files import remove
from keepsake.util.fork import importing
from keepsake.util.ids import short_id

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry
    from keepsake.util.workers import Workers


def publish(entry: Entry, repository: Repository, *, others: bool = False) -> None:
    """Merge the journals into the experiment's record; with `others`, also those of other processes.

    Raises Removed if somebody removed the experiment, and other KeepsakeErrors if it cannot be saved now. A journal
    that cannot be read is a ReadError, and one that cannot be removed is NotRemoved, once everything else is published.
    """
    taken = entry.take(others=others)
    changes = taken.changes
    record: Record = {}
    if not entry.in_repository:
        record = create(entry, repository, changes)
    elif changes:
        record = merge(entry, repository, changes)
    if record and not entry.is_noted:  # a run that goes on elsewhere, or that began offline
        remember_repository(entry)
    if (ended := changes.fields.get("ended")) and ended == record.get("ended"):
        with suppress(WriteError):  # without the permission to delete, the record still says that it has ended
            repository.heartbeats.end(entry.id)  # the run's own process may not have done so
    taken.drop()
    entry.unsent.forget(changes.checkpoints)
    if not entry.deleted.issuperset(replaced(record)) and not entry.packs():
        delete_replaced(entry, repository)
    if taken.trouble:
        raise taken.trouble


def upload(
    entry: Entry,
    repository: Repository,
    workers: Workers | None = None,
    moved: Callable[[int], None] | None = None,
    *,
    check: bool = False,
) -> list[Path]:
    """Store the archives of all frozen files that the experiment's record names; return those that nothing names.

    Args:
        moved: called with numbers of bytes.
        check: first check that the files are as they were frozen, because a power cut may have damaged them.

    An archive that cannot be stored does not hold up the others. Its files stay in the spool, and its error is raised
    at the end. An experiment that is not in the repository yet is left to `publish`, which creates it.
    """
    if not entry.in_repository:
        return []
    failed: KeepsakeError | None = None
    tried: set[Path] = set()
    while True:
        named, unnamed = _sorted(entry, repository)
        if named.keys() <= tried:
            break
        # Another process may store a file meanwhile, or rename it. The next turn finds it again.
        for pack, is_wanted in named.items():
            tried.add(pack)
            try:
                is_done = not is_wanted or _is_stored(pack, entry, repository)
                if is_done or _store(pack, entry, repository, workers, moved, check):
                    _remove_stored(pack)
            except FileNotFoundError:
                continue
            except (CorruptedArchive, RepositoryConfigurationError, WriteError) as error:
                failed = error if failed is None or isinstance(failed, NotRemoved) else failed
                repository.expect(entry.identity)  # if it is gone, or shut to these credentials, the rest is not tried
    prune(entry, repository)
    try:
        send_output(entry, repository, moved)
    except WriteError as error:
        failed = error if failed is None or isinstance(failed, NotRemoved) else failed
    if failed is not None:
        raise failed
    if tried or check:  # the process that sent them may have been killed before this
        delete_replaced(entry, repository)
    return unnamed


def send_output(
    entry: Entry, repository: Repository, moved: Callable[[int], None] | None = None, *, live: bool = False
) -> None:
    """Send the output of the run; with `live`, also what is still being written. It replaces what was sent before."""
    for log in entry.logs(live=live):
        with importing:
            from keepsake.archive.gzip import member
            from keepsake.util.transcript import count
        try:
            data = log.read_bytes()
        except FileNotFoundError:  # another process has sent it, or it is finished now
            continue
        repository.expect(entry.identity)
        key, packed = log_key(entry.id, log.stem), b"".join(member(data))
        repository.storage.put(key, packed)
        if moved:
            moved(len(packed))
        try:
            merge(entry, repository, Changes({FIELD: {log.stem: counted(*count(data))}}))
        except Removed:
            repository.storage.delete([key])
            raise
        if log in entry.logs(live=False):
            _remove_stored(log)


def _sorted(entry: Entry, repository: Repository) -> tuple[dict[Path, bool], list[Path]]:
    """Return the frozen files that the record names, each with whether it is wanted, and those that nothing names.

    Files of interrupted checkpoint() calls of this process are removed.
    """
    # The order matters: files are frozen before their line is written, and the line is then in a journal or the record.
    abandoned, packs = set(entry.abandoned), entry.packs()
    if not packs:
        return {}, []
    unpublished = {checkpoint["id"] for checkpoint in entry.pending().checkpoints}
    wanted = wanted_archives(merge(entry, repository, Changes()))
    if not all(wanted.get(owner_id(pack)) for pack in packs):  # another process may have published their lines
        record = current(entry, repository)
        wanted = wanted_archives(record)
        gone = {pack for pack in packs if owner_id(pack) in replaced(record)}
        if gone and not repository.have_arrived(record, seen(entry, repository)):
            packs = [pack for pack in packs if pack not in gone]  # the files that replace them may never arrive
    packs.sort(key=lambda pack: wanted.get(owner_id(pack), False))  # files that are only removed come first
    named = {pack: wanted[owner_id(pack)] for pack in packs if owner_id(pack) in wanted}
    unnamed = [pack for pack in packs if owner_id(pack) not in wanted.keys() | unpublished]
    for pack in unnamed:
        if owner_id(pack) in abandoned:
            remove(pack)
    return named, unnamed


def _is_stored(pack: Path, entry: Entry, repository: Repository) -> bool:
    """Whether this process has stored the archive of frozen files that it could not remove."""
    return owner_id(pack) in entry.arrived and repository.has_archive(entry.id, owner_id(pack))


def _remove_stored(pack: Path) -> None:
    try:
        remove(pack)
    except OSError as error:
        raise NotRemoved(
            f"Cannot remove {pack}: {error.strerror}. The repository has its files, but they go on waiting there."
        ) from error


def _store(
    pack: Path,
    entry: Entry,
    repository: Repository,
    workers: Workers | None,
    moved: Callable[[int], None] | None,
    check: bool,
) -> bool:
    """Store the archive of frozen files, and return as `Repository.put_archive`. FileNotFoundError: they are gone."""
    with importing:
        from keepsake.archive.reader import is_archive
        from keepsake.archive.writer import open_archive, verify
    archive_id = owner_id(pack)
    try:
        if check:
            verify(pack)
        repository.expect(entry.identity)  # checked right before each archive, because a disk can be unmounted
        if is_archive(pack) and repository.adopt_archive(entry.id, archive_id, pack):
            is_done = repository.see_arrival(entry.id, archive_id)
        else:
            with open_archive(pack, workers, moved) as archive:
                is_done = repository.put_archive(entry.id, archive_id, archive)
        if is_done:
            entry.arrived.add(archive_id)
        return is_done
    except CorruptedArchive as error:
        raise CorruptedArchive(
            f"{error} It stays in the spool, and everything else is saved. Delete that file to give it up."
        ) from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and (error.filename in (pack, str(pack)) or not pack.exists()):
            raise  # where the file system caches names, it may still seem to be there
        raise WriteError(f"Cannot read {pack}: {error.strerror or error}. It stays in the spool.") from error


def finish(entry: Entry, repository: Repository, moved: Callable[[int], None] | None = None) -> None:
    """Move everything in an entry into the repository, and remove the entry if it is empty then."""
    is_fresh = entry.is_fresh()  # before anything is written to it here
    if not entry.has_begun():
        if not is_fresh:  # otherwise init() may be about to freeze its files
            entry.close()
        return
    failed: KeepsakeError | None = None
    try:
        if not is_fresh:
            entry.finish_logs()
        try:
            publish(entry, repository, others=True)
        except (NotRemoved, ReadError) as error:  # such as a journal that cannot be read; it does not hold up the files
            failed = error
        unnamed = upload(entry, repository, moved=moved, check=True)
        if failed is not None:
            raise failed
    except Removed:
        give_up(entry, repository)
        warn(f"Experiment {short_id(entry.id)} was removed from {repository.url}. Its unsent parts are dropped.")
        return
    if not is_fresh:
        _note_loss(entry, repository)
    for pack in unnamed:
        entry.set_aside(pack)
    if is_fresh or entry.close():  # the process of a fresh entry would have to begin it again
        return
    gone = replaced(merge(entry, repository, Changes()))
    if any(owner_id(pack) in gone for pack in entry.packs()):
        warn(
            f"Files of steps that another machine has recorded again wait in {entry.directory} until its files have "
            "arrived. If they never will, delete them there when you do not miss them."
        )


def _note_loss(entry: Entry, repository: Repository) -> None:
    """Leave a heartbeat if nothing says how the run ended: its process was killed before its heart had beaten there."""
    record = merge(entry, repository, Changes())
    if not record.get("end_reason") and ends_heartbeats(record.get("keepsake_version") or ""):
        with suppress(KeepsakeError):  # it has one, or these credentials may not write it
            repository.expect(entry.identity)
            repository.heartbeats.leave(entry.id, 0.0, if_absent=True)


def give_up(entry: Entry, repository: Repository) -> None:
    """Discard an entry whose experiment was removed from its repository.

    Its archives may have arrived after the removal, sent by a process that was killed before it looked. They go, too.
    """
    repository.expect(entry.identity)  # elsewhere a removal proves nothing
    keys = [archive_key(entry.id, owner_id(pack)) for pack in entry.packs()]
    if keys and repository.load(entry.id) is None:
        with suppress(WriteError):  # without the permission to delete, they stay
            repository.storage.delete(keys)
    entry.discard()


def try_to_finish(
    entry: Entry, open_repository: Callable[[str], Repository], moved: Callable[[int], None] | None = None
) -> KeepsakeError | None:
    """Finish an entry; return None, or the error."""
    try:
        finish(entry, open_repository(entry.repository), moved)
    except Exception as error:  # noqa: BLE001 - one entry must not keep the next from being finished
        return as_ours(error, entry)
    return None


def as_ours(error: BaseException, entry: Entry) -> KeepsakeError:
    """Return the error of this package for any error in saving an entry."""
    if isinstance(error, KeepsakeError):
        return error
    ours = KeepsakeError(f"Unexpected {type(error).__name__}: {error}.")
    if isinstance(error, OSError):
        ours = WriteError(f"{error.filename or entry.directory}: {error.strerror or error}.")
    ours.__cause__ = error
    return ours
