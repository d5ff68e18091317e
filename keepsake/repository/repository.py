"""The repository at a URL: the records of experiments, and their archives."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from keepsake.exceptions import (
    DoesNotExist,
    KeepsakeError,
    MissingRecord,
    PreconditionFailed,
    ReadError,
    Removed,
    WriteError,
)
from keepsake.metadata import (
    Record,
    checkpoints_of,
    parse_experiment,
    render_checkpoint,
    render_experiment,
    time_text,
    was_pruned_elsewhere,
)
from keepsake.repository.heartbeats import Heartbeats
from keepsake.repository.keys import EXPERIMENTS, archive_key, archive_keys, heartbeat_key, record_key
from keepsake.repository.known import Known, claimed, replaced
from keepsake.repository.presence import Presence
from keepsake.repository.removals import Removals
from keepsake.restarts import restarted_with_files
from keepsake.spool.journal import Changes
from keepsake.storage import Storage
from keepsake.util.console import warn
from keepsake.util.ids import short_id

_WRITE_ATTEMPTS = 20


class Repository(Presence):
    """The experiments at one URL.

    Attributes:
        heartbeats: show which experiments are running.
        removals: the experiments that somebody removed.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.heartbeats = Heartbeats(storage)
        self.removals = Removals(storage)
        self._known: dict[str, Known] = {}

    # Records

    def merge(self, base: Record, changes: Changes, *, create: bool, identity: str | None = None) -> Record:
        """Add changes and new checkpoints to an experiment, even if others write it too; return the result.

        `identity` is the identity of the repository in which the experiment began, to check that this is the one.

        If the record is missing and `create` is not set, raises Removed if somebody removed it, and MissingRecord,
        MissingRepository or OtherRepository if it is gone for another reason.
        """

        def change(known: Known | None) -> Known | None:
            if known is None:
                if not create:
                    raise self._gone(base["id"])
                known = Known.of({**base, "checkpoints": None}, None)
            return known.merged(changes)

        is_new, to_save = create and not changes.checkpoints, bool(changes)
        return self._rewrite(base["id"], change, is_new=is_new, as_proof=to_save, identity=identity)

    def _rewrite(
        self,
        experiment_id: str,
        change: Callable[[Known | None], Known | None],
        *,
        is_new: bool = False,
        as_proof: bool = False,
        identity: str | None = None,
    ) -> Record:
        """Write the record that `change` returns (None: nothing to do), again if another process was faster.

        Args:
            is_new: the first attempt assumes that there is no record, and does not read it.
            as_proof: whether nothing to do must be certain. A record that was read before may be gone, as after a
                backup was restored.
        """
        for attempt in range(_WRITE_ATTEMPTS):
            known = self._known.pop(experiment_id, None)
            was_known = known is not None
            if known is None and (attempt or not is_new):
                if identity is not None:  # a record that was read before needs no check: its etag proves it
                    self.expect(identity)
                known = self._read_known(experiment_id)
            changed = change(known)
            if changed is None and was_known and as_proof:
                continue
            if changed is not None:
                data, key = render_experiment(changed.record, changed.texts), record_key(experiment_id)
                creates = changed.etag is None
                try:
                    changed.etag = self.storage.put(key, data, if_match=changed.etag, if_absent=creates)
                except PreconditionFailed:
                    time.sleep(os.urandom(1)[0] / 255 * 0.02 * attempt)  # a script may have seeded `random`
                    continue
                except WriteError:
                    if self.storage.directory is not None:
                        self.require()  # its folder may have been renamed, or its disk unmounted, just now
                    raise
                if creates and identity is not None:
                    self.expect_still(identity, key)  # it may lie in the mount point of a disk that was just unmounted
            latest = changed or known
            assert latest is not None  # noqa: S101 - change() raises if there is no record
            if changed is None:
                self._known.setdefault(experiment_id, latest)  # another thread may have written a newer one
            else:
                self._known[experiment_id] = latest
            return latest.record
        raise WriteError(
            f"Other processes rewrite {record_key(experiment_id)} in {self.url} all the time. Try again later."
        )

    def _gone(self, experiment_id: str) -> KeepsakeError:
        """Return the error for a missing experiment: Removed only if somebody removed it, and it has not come back."""
        if not self.is_there():
            return self.missing()
        self.storage.refresh(EXPERIMENTS)  # a network disk remembers for a while that a file was missing
        if self.storage.has(record_key(experiment_id)):
            return WriteError(f"{record_key(experiment_id)} has just come back to {self.url}. Try again.")
        if experiment_id in self.removals.ids():
            return Removed(f"There is no experiment {experiment_id} in {self.url}. It was removed.")
        name = short_id(experiment_id)
        return MissingRecord(
            f"Experiment {name} is no longer in {self.url}, and nothing says that somebody removed it. Its unsent "
            f"parts stay in the spool. `keepsake rm {name}` gives it up. `keepsake sync --force` creates it again."
        )

    def load(self, experiment_id: str) -> Record | None:
        """Return the record of an experiment as it is in the repository; None if there is none."""
        return found[0] if (found := self._read(experiment_id)) else None

    def change(self, experiment_id: str, change: Callable[[Record], Record], new: Record | None = None) -> Record:
        """Write what `change` makes of an experiment's record, even if others write it too.

        `new` is written if there is no record, as the caller expects then. Without it, raises as `merge`.
        """

        def change_known(known: Known | None) -> Known:
            if known is None:
                if new is None:
                    raise self._gone(experiment_id)
                return Known.of(new, None)
            return Known.of(change(known.record), known.etag)

        return self._rewrite(experiment_id, change_known, is_new=new is not None)

    def remove_again(self, created: Iterable[Record]) -> dict[str, Removed]:
        """Delete records that this process has just created, if somebody removed their experiments meanwhile.

        Another process may have created them, too, since this one looked which are there. Returns an error for each
        experiment. A record with more checkpoints stays, because it was restored from a backup.
        """
        new = {record["id"]: record for record in created}
        removed = new.keys() & self.removals.ids() if new else set()
        errors = {}
        for experiment_id in removed:
            record = self.load(experiment_id)
            if record is None or set(claimed(record)) <= set(claimed(new[experiment_id])):
                self.storage.retire([record_key(experiment_id)])
                self.forget(experiment_id)
                name = short_id(experiment_id)
                errors[experiment_id] = Removed(f"Experiment {name} has just been removed from {self.url}.")
        return errors

    def forget(self, experiment_id: str) -> None:
        """Forget the record of an experiment as this process knows it."""
        self._known.pop(experiment_id, None)

    def _read_known(self, experiment_id: str) -> Known | None:
        return Known.of(*found) if (found := self._read(experiment_id)) else None

    def _read(self, experiment_id: str) -> tuple[Record, str] | None:
        """Return a record and its etag; None if there is none."""
        try:
            data, etag = self.storage.get(record_key(experiment_id))
        except DoesNotExist:
            return None
        return parse_record(data, experiment_id, self.url), etag

    # Archives

    def put_archive(self, experiment_id: str, archive_id: str, source: BinaryIO) -> bool:
        """Store the archive that `source` yields, and return as `see_arrival`, which raises."""
        self.storage.upload(archive_key(experiment_id, archive_id), source)
        return self.see_arrival(experiment_id, archive_id)

    def adopt_archive(self, experiment_id: str, archive_id: str, file: Path) -> bool:
        """Store a finished archive without copying it; return False if it must be copied. `see_arrival` must follow.

        The file keeps its name, so it is not lost in the mount point of a disk that was just unmounted.
        """
        return self.storage.link(archive_key(experiment_id, archive_id), file)

    def see_arrival(self, experiment_id: str, archive_id: str) -> bool:
        """Check that an archive is in the repository, and delete it if somebody removed its experiment or its files.

        Returns False if its step was recorded again and what replaces it has not arrived, so the files must wait.

        Raises Removed if the experiment was removed meanwhile, or as `merge` if it is gone for another reason, and
        WriteError if the archive is missing because the disk was unmounted during the write. A bucket's answer is proof
        enough.
        """
        key = archive_key(experiment_id, archive_id)
        is_missing = self.storage.directory is not None and not self.holds(key)
        under_way = self.removals.under_way()  # before the record is read, so a removal that ends just now shows
        record = self._latest(experiment_id)
        if record is None:
            error = self._gone(experiment_id)
            if isinstance(error, Removed):
                self.storage.delete([key])
            raise error
        if experiment_id in under_way:  # it may not know this archive
            self.storage.delete([key])
            name = short_id(experiment_id)
            raise WriteError(
                f"Experiment {name} is being removed from {self.url}. If the removal was interrupted, finish it with "
                f"`keepsake rm {name}`, or keep the experiment with `keepsake doctor --fix`."
            )
        # A record without the checkpoint proves nothing, because it may be an old version from a cache.
        pruned = (c["id"] for c in checkpoints_of(record) if not c.get("path") and not was_pruned_elsewhere(c))
        is_replaced = archive_id in replaced(record)
        if is_replaced or archive_id in pruned:
            self.storage.delete([key])
        elif is_missing:
            self.require()
            raise WriteError(
                f"{key} did not arrive in {self.url}. Its disk may have been unmounted. It is tried again."
            )
        elif any(c["id"] == archive_id and was_pruned_elsewhere(c) for c in checkpoints_of(record)):
            from keepsake.repository.elsewhere import with_files

            self.change(experiment_id, lambda known: with_files([archive_id], known))
        return not is_replaced or self.have_arrived(record, set())

    def have_arrived(self, record: Record, seen: set[str]) -> bool:
        """Whether the files of all checkpoints after a restart are there. Another machine may still be sending them.

        `seen` holds the IDs of checkpoints whose archives need not be looked for. More are added.
        """
        for checkpoint in restarted_with_files(record):
            if checkpoint["id"] not in seen:
                if not self.has_archive(record["id"], checkpoint["id"]):
                    return False
                seen.add(checkpoint["id"])
        return True

    def _latest(self, experiment_id: str) -> Record | None:
        """Return the current record; None if there is none, an empty record if it is broken."""
        try:
            data, etag = self.storage.get(record_key(experiment_id))
        except DoesNotExist:
            return None
        known = self._known.get(experiment_id)
        if known is not None and known.etag == etag:
            return known.record
        try:
            return parse_experiment(data, experiment_id)
        except ReadError:
            return {}

    def withdraw(self, record: Record) -> None:
        """Delete an experiment without a trace, because its init() failed."""
        self.forget(record["id"])
        self.storage.delete([record_key(record["id"]), heartbeat_key(record["id"]), *archive_keys(record)])

    def empty_paths(self, experiment_id: str, choose: Callable[[Record], Iterable[str]]) -> set[str]:
        """Record that the files of checkpoints were pruned, and when; return the IDs of these checkpoints.

        `choose` returns them. It is called with the experiment's record as it is then, because another process may have
        pruned it since it was read.

        Raises WriteError if the record does not name each of them.
        """
        now, chosen = time_text(), set[str]()

        def change(known: Known | None) -> Known:
            if known is None:
                raise self._gone(experiment_id)
            chosen.clear()
            chosen.update(choose(known.record))
            if unknown := chosen.difference(claimed(known.record)):
                raise WriteError(
                    f"{record_key(experiment_id)} in {self.url} does not name checkpoint {short_id(min(unknown))}. "
                    "It may be on its way there. Its files are not deleted. Try again."
                )
            checkpoints, texts = list(checkpoints_of(known.record)), list(known.texts)
            for index, checkpoint in enumerate(checkpoints):
                if checkpoint["id"] in chosen and (checkpoint.get("path") or was_pruned_elsewhere(checkpoint)):
                    pruned = {"path": checkpoint.get("path") or checkpoint["pruned"]["path"], "time": now}
                    checkpoints[index] = {**checkpoint, "path": "", "pruned": pruned}
                    texts[index] = render_checkpoint(checkpoints[index])
            return Known({**known.record, "checkpoints": checkpoints}, known.etag, texts, known.ids)

        self._rewrite(experiment_id, change)
        return chosen

    def has_archive(self, experiment_id: str, archive_id: str) -> bool:
        """Whether an archive is there."""
        return self.storage.has(archive_key(experiment_id, archive_id))


def parse_record(data: bytes, experiment_id: str, url: str) -> Record:
    """Return an experiment's record. Raises ReadError with the record's name if it is broken."""
    try:
        return parse_experiment(data, experiment_id)
    except ReadError as error:
        raise ReadError(
            f"{record_key(experiment_id)} in {url} cannot be read: {error}. `keepsake doctor` says what to do."
        ) from error


def no_repository(url: str) -> str:
    """Say that a place that was named is not a repository."""
    return f"There is no repository at {url}. Check the URL, and whether its disk is mounted."


def warn_broken(url: str, experiment_id: str, reason: str) -> None:
    """Warn that a record is left out of a listing."""
    warn(f"{record_key(experiment_id)} in {url} cannot be read and is left out: {reason.rstrip('.')}.")
