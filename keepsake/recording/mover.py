"""Bringing what the spool holds into the repository.

Saving in the background, draining at the end, recovering after a crash, offline work and `keepsake sync` are all
`publish` (records) and `upload` (archives), which anyone may do, twice or at once: same keys, same bytes, merged by ID.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from keepsake.archive import owner_id
from keepsake.exceptions import CorruptedArchive, DoesNotExist, KeepsakeError, WriteError
from keepsake.recording import spool as _spool
from keepsake.util.console import warn
from keepsake.util.fork import importing

if TYPE_CHECKING:
    from keepsake.recording.spool import Entry
    from keepsake.repository.repository import Repository
    from keepsake.util.workers import Workers


def publish(entry: Entry, repository: Repository, *, others: bool = False) -> None:
    """Merge what the journals say into the experiment's record; `others`: also those of other processes."""
    changes, taken = entry.take(others=others)
    if changes or not entry.in_repository:
        if not entry.in_repository:
            repository.ensure()
        repository.merge(entry.record, changes, create=not entry.in_repository)
        if "ended" in changes.fields:
            repository.end_heartbeat(entry.id)  # of a run whose process could not do so
        if not entry.in_repository:
            entry.in_repository = True
            entry.write_record()
    entry.drop(taken)


def upload(
    entry: Entry,
    repository: Repository,
    workers: Workers | None = None,
    moved: Callable[[int], None] | None = None,
    *,
    check: bool = False,
) -> None:
    """Store the archives of all packs that the experiment's record names.

    Args:
        moved: told of numbers of bytes as they go.
        check: see first that packs are as they were written, which a power cut can prevent.

    A damaged pack stays where it is; that CorruptedArchive is raised when all others are stored.
    """
    packs = entry.packs()
    if not packs:
        return
    record = repository.merge(entry.record, _spool.Changes(), create=False)
    named = {owner["id"]: owner.get("path") for owner in (record, *(record.get("checkpoints") or []))}
    damaged: CorruptedArchive | None = None
    for pack in packs:
        try:
            if named.get(owner_id(pack)):
                _store(pack, entry, repository, workers, moved, check)
        except FileNotFoundError:
            continue  # another recovery has stored it
        except CorruptedArchive as error:
            damaged = error
            continue
        if owner_id(pack) in named:  # without a path: its files were removed
            pack.unlink(missing_ok=True)
    if damaged is not None:
        raise CorruptedArchive(f"{damaged}. All else is saved. Delete that file to give it up.") from damaged


def _store(
    pack: Path,
    entry: Entry,
    repository: Repository,
    workers: Workers | None,
    moved: Callable[[int], None] | None,
    check: bool,
) -> None:
    """Store the archive of one pack. Raises FileNotFoundError if the pack is gone."""
    with importing:
        from keepsake.archive.reader import is_archive
        from keepsake.archive.writer import open_archive, verify
    if check:
        verify(pack)
    if not (is_archive(pack) and repository.take_archive(entry.id, pack)):
        with open_archive(pack, workers) as archive:
            repository.put_archive(entry.id, owner_id(pack), cast(BinaryIO, Watched(archive, moved)))


def finish(entry: Entry, repository: Repository, moved: Callable[[int], None] | None = None) -> None:
    """Bring all that an entry holds into the repository, and remove it unless its owner is at work."""
    try:
        publish(entry, repository, others=True)
        upload(entry, repository, moved=moved, check=True)
    except DoesNotExist:
        warn(f"Experiment {entry.id[:7]} was deleted from {repository.url}: what was left to save of it is dropped")
        entry.discard()
        return
    if not entry.is_alive():
        entry.drop_old_packs()  # no record names them: the checkpoint() that froze them never returned
        entry.close()


class Pending(NamedTuple):
    """What an entry of a spool holds that is not in its repository yet."""

    entry: Entry
    checkpoints: int  # not yet in the record
    size: int  # bytes of files


def pending(root: Path, *, of_others: bool = True) -> list[Pending]:
    """Return what waits in a spool; without `of_others`, only what no running process seems to be at work on."""
    found = []
    for entry in _spool.entries(root):
        if of_others or not entry.is_alive():
            changes, size = entry.pending(), entry.size()
            if changes or size or not entry.in_repository:
                found.append(Pending(entry, len(changes.checkpoints), size))
    return found


def recover(root: Path, open_repository: Callable[[str], Repository]) -> Iterator[tuple[Entry, KeepsakeError | None]]:
    """Finish what earlier runs left in a spool; yield each entry, and what went wrong: then it is still there."""
    _spool.sweep(root)
    for entry in _spool.entries(root):
        if not entry.is_alive():
            yield entry, try_to_finish(entry, open_repository)


def try_to_finish(
    entry: Entry, open_repository: Callable[[str], Repository], moved: Callable[[int], None] | None = None
) -> KeepsakeError | None:
    """Finish an entry and return None, or what went wrong."""
    try:
        finish(entry, open_repository(entry.repository), moved)
    except KeepsakeError as error:
        return error
    except OSError as error:
        return WriteError(f"{error.filename or entry.directory}: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - one entry must not keep the next from being finished
        return KeepsakeError(f"unexpected {type(error).__name__}: {error}")
    return None


class Watched:
    """A stream that tells how much was read of it."""

    def __init__(self, source: BinaryIO, moved: Callable[[int], None] | None) -> None:
        self._source = source
        self._moved = moved

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        data = self._source.read(size)
        if self._moved:
            self._moved(len(data))
        return data
