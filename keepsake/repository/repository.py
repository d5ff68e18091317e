"""What lies at a repository's URL: its spec and identity, the records of experiments, their archives."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from keepsake.exceptions import (
    CorruptedRepositorySpec,
    DoesNotExist,
    IncompatibleRepositoryVersion,
    KeepsakeError,
    MissingBucket,
    MissingRecord,
    MissingRepository,
    OtherRepository,
    PreconditionFailed,
    ReadError,
    WriteError,
)
from keepsake.metadata import Record, parse_experiment, render_checkpoint, render_experiment
from keepsake.repository.heartbeats import Heartbeats
from keepsake.repository.keys import IDENTITY, SPEC, VERSION, archive_key, archive_keys, heartbeat_key, record_key
from keepsake.repository.removals import Removals
from keepsake.spool.journal import Changes
from keepsake.storage import Storage
from keepsake.util.console import warn
from keepsake.util.ids import short_id

_SPEC_CONTENT = b'{"version":%d}' % VERSION
_WRITE_ATTEMPTS = 20


@dataclass
class _Known:
    """A record as it was last read or written here, with what rewriting it quickly needs."""

    record: Record
    etag: str | None  # None: not written yet
    texts: list[str]
    ids: set[str]

    @classmethod
    def of(cls, record: Record, etag: str | None) -> _Known:
        checkpoints = record.get("checkpoints") or []
        return cls(record, etag, [render_checkpoint(c) for c in checkpoints], {c["id"] for c in checkpoints})


class Repository:
    """The experiments at one URL.

    Attributes:
        storage: where they are.
        url: the same as text, without secrets.
        heartbeats: which of them are running.
        removals: which a person removed.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.url = storage.url
        self.heartbeats = Heartbeats(storage)
        self.removals = Removals(storage)
        self._known: dict[str, _Known] = {}
        self._spec_found: bool | None = None  # None: not looked for yet

    # The spec

    def check(self) -> None:
        """Raise IncompatibleRepositoryVersion or CorruptedRepositorySpec if this is no repository we can use."""
        if self._spec_found:
            return
        try:
            data, _ = self.storage.get(SPEC)
        except DoesNotExist:
            self._spec_found = False
            return
        try:
            version = json.loads(data)["version"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorruptedRepositorySpec(
                f"{SPEC} in {self.url} is not a repository's. If nothing else uses that place, "
                f"`keepsake doctor --fix` writes it anew ({_SPEC_CONTENT.decode()})"
            ) from error
        if not isinstance(version, int) or version > VERSION:
            raise IncompatibleRepositoryVersion(
                f"the repository {self.url} has version {version}, and this Keepsake knows {VERSION}: "
                "upgrade it (`pip install -U keepsake`)"
            )
        self._spec_found = True

    @property
    def exists(self) -> bool:
        """Whether there is a repository, as far as `check` has seen."""
        return bool(self._spec_found)

    def write_spec(self) -> None:
        """Write what makes a place a repository, over whatever stands there."""
        self.storage.put(SPEC, _SPEC_CONTENT)
        self._spec_found = True

    def ensure(self, expected: str | None = None) -> str:
        """Make the repository if it is not there yet, and return its identity.

        `expected` is the identity of the repository that was there before. It is not made up for by a new one:
        MissingRepository is raised if there is none, as where a disk is not mounted. What was seen earlier does not
        count: a directory may have been deleted since, or the repository converted by a newer Keepsake.
        """
        self._spec_found = None
        try:
            self.check()
        except MissingBucket:
            self._spec_found = False
        if not self._spec_found:
            if expected is not None:
                raise self._missing()
            self.storage.ensure_writable()
            try:
                self.storage.put(SPEC, _SPEC_CONTENT, if_absent=True)
            except PreconditionFailed:
                self._spec_found = None
                self.check()  # somebody else was quicker
            self._spec_found = True
        return self.identity or self._write_identity()

    # The identity

    @property
    def identity(self) -> str | None:
        """What tells this repository from all others that are ever at its URL; None where nobody has written it yet.

        It is looked up each time: a disk may have been unmounted, or an endpoint changed, since the last time.
        """
        try:
            data, _ = self.storage.get(IDENTITY)
        except (DoesNotExist, MissingBucket):
            return None
        try:
            return str(json.loads(data)["id"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorruptedRepositorySpec(
                f"{IDENTITY} in {self.url} is damaged. Restore it from a backup, or delete it: the next run writes it "
                "anew, and what waits in a spool is then sent by `keepsake sync --force`."
            ) from error

    def _write_identity(self) -> str:
        identity = os.urandom(16).hex()
        try:
            self.storage.put(IDENTITY, json.dumps({"id": identity}).encode(), if_absent=True)
        except PreconditionFailed:
            return self.identity or identity  # somebody else was quicker
        return identity

    def expect(self, identity: str | None) -> None:
        """Raise MissingRepository or OtherRepository unless this is the repository with that identity.

        None stands for a repository that had none yet.
        """
        found = self.identity
        if found == identity or (identity is None and found is not None):
            return
        if found is None and not self._look_again():
            raise self._missing()
        raise OtherRepository(
            f"The repository at {self.url} is another one than before: it was replaced, restored from an old backup, "
            "or is at another server. What waits for the one before stays where it is. "
            "`keepsake sync --force` sends it to the one that is there now."
        )

    def require(self) -> None:
        """Raise MissingRepository unless there is a repository now."""
        if not self._look_again():
            raise self._missing()

    def _look_again(self) -> bool:
        """Whether there is a repository now, whatever was seen before."""
        self._spec_found = None
        self.check()
        return self.exists

    def _missing(self) -> MissingRepository:
        return MissingRepository(
            f"There is no repository at {self.url} any more. Is its disk mounted, or the bucket there?"
        )

    # Records

    def merge(self, base: Record, changes: Changes, *, create: bool, identity: str | None = None) -> Record:
        """Add changed fields and new checkpoints to an experiment, whoever else writes it; return it as it is then.

        `identity` is that of the repository that the experiment was begun in, to see that this is the one.

        Raises DoesNotExist if it is not there, is not to be created and was removed by a person, and MissingRecord,
        MissingRepository or OtherRepository if it is gone for another reason.
        """

        def change(known: _Known | None) -> _Known | None:
            if known is None:
                if not create:
                    raise self._gone(base["id"])
                known = _Known.of({**base, "checkpoints": None}, None)
            new = changes.new_to(known.ids)
            if known.etag is not None and not new and changes.fields.items() <= known.record.items():
                return None
            record = {**known.record, **changes.fields}
            record["checkpoints"] = [*(known.record.get("checkpoints") or []), *new]
            texts = known.texts + [render_checkpoint(checkpoint) for checkpoint in new]
            return _Known(record, known.etag, texts, known.ids | {checkpoint["id"] for checkpoint in new})

        return self._rewrite(base["id"], change, is_new=create and not changes.checkpoints, identity=identity)

    def _rewrite(
        self,
        experiment_id: str,
        change: Callable[[_Known | None], _Known | None],
        *,
        is_new: bool = False,
        identity: str | None = None,
    ) -> Record:
        """Write what `change` makes of an experiment (None: nothing to do), again if somebody else was quicker.

        `is_new`: at first, the experiment is taken to be new without a look.
        """
        for attempt in range(_WRITE_ATTEMPTS):
            known = self._known.pop(experiment_id, None)
            if known is None and (attempt or not is_new):
                if identity is not None:  # what was read before is proof enough: only the same record has its etag
                    self.expect(identity)
                known = self._read_known(experiment_id)
            changed = change(known)
            if changed is not None:
                data, key = render_experiment(changed.record, changed.texts), record_key(experiment_id)
                try:
                    changed.etag = self.storage.put(key, data, if_match=changed.etag, if_absent=changed.etag is None)
                except PreconditionFailed:
                    time.sleep(os.urandom(1)[0] / 255 * 0.02 * attempt)  # a script may have seeded `random`
                    continue
            latest = changed or known
            assert latest is not None  # noqa: S101 - change() raises where there is nothing
            if changed is None:
                self._known.setdefault(experiment_id, latest)  # another thread may have written a newer one
            else:
                self._known[experiment_id] = latest
            return latest.record
        raise WriteError(f"{record_key(experiment_id)} in {self.url} is being rewritten by others all the time")

    def _gone(self, experiment_id: str) -> KeepsakeError:
        """Return the error for an experiment that was there: DoesNotExist only if a person removed it."""
        if not self._look_again():
            return self._missing()
        if experiment_id in self.removals.ids():
            return DoesNotExist(f"There is no experiment {experiment_id} in {self.url}: it was removed.")
        name = short_id(experiment_id)
        return MissingRecord(
            f"Experiment {name} is not in {self.url} any more, and nothing says that somebody removed it. What waits "
            f"of it stays where it is. `keepsake rm {name}` gives it up; `keepsake sync --force` creates it again."
        )

    def forget(self, experiment_id: str) -> None:
        """Let go of what is kept in memory to rewrite an experiment quickly."""
        self._known.pop(experiment_id, None)

    def _read_known(self, experiment_id: str) -> _Known | None:
        try:
            data, etag = self.storage.get(record_key(experiment_id))
        except DoesNotExist:
            return None
        return _Known.of(parse_record(data, experiment_id, self.url), etag)

    # Archives

    def put_archive(self, experiment_id: str, archive_id: str, source: BinaryIO) -> None:
        """Store the archive that `source` is read to make.

        Raises DoesNotExist if the experiment is removed meanwhile, and what `merge` raises if it is gone otherwise.
        """
        self.storage.upload(archive_key(experiment_id, archive_id), source)
        self._see_arrival(experiment_id, archive_id)

    def adopt_archive(self, experiment_id: str, archive_id: str, file: Path) -> bool:
        """Store a finished archive by moving its file, or return False if it must be copied. Raises as `put_archive`.

        The file keeps another name until the repository is seen to hold it: a move into the mount point of a disk
        that has just been unmounted must not be the end of it. After a crash, that name is a frozen file like others.
        """
        kept = file.with_name(f"{archive_id}.kept-{os.urandom(4).hex()}.tar.gz")
        try:
            os.link(file, kept)
        except OSError:
            return False  # no hard links here: a copy does
        try:
            taken = self.storage.take(archive_key(experiment_id, archive_id), file)
            if taken:
                self._see_arrival(experiment_id, archive_id)
        except DoesNotExist:
            kept.unlink(missing_ok=True)
            raise
        except BaseException:
            if file.exists():
                kept.unlink(missing_ok=True)
            else:
                os.replace(kept, file)
            raise
        kept.unlink(missing_ok=True)
        return taken

    def _see_arrival(self, experiment_id: str, archive_id: str) -> None:
        """See that an archive is in the repository, and take it back if a person removed its experiment or its files.

        Raises WriteError if it is not there: the disk was not mounted while it was written, and is again. The answer
        of a bucket is proof enough.
        """
        key = archive_key(experiment_id, archive_id)
        if self.storage.directory is not None:
            try:
                with self.storage.open(key):
                    pass
            except DoesNotExist as missing:
                self.require()
                raise WriteError(f"{key} did not get into {self.url}. Its disk seems to have been away.") from missing
        record = self._latest(experiment_id)
        if record is None or experiment_id in self.removals.ids():
            error = self._gone(experiment_id)
            if isinstance(error, DoesNotExist):
                self.storage.delete([key])
            raise error
        # A record that does not know the checkpoint at all may be an old one, from a cache: it proves nothing
        if any(c["id"] == archive_id and not c.get("path") for c in record.get("checkpoints") or []):
            self.storage.delete([key])

    def _latest(self, experiment_id: str) -> Record | None:
        """Return a record as it is now; None if there is none, an empty one if it is broken."""
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
        """Take back an experiment whose init() failed: as if it had never been."""
        self.forget(record["id"])
        self.storage.delete([record_key(record["id"]), heartbeat_key(record["id"]), *archive_keys(record)])

    def empty_paths(self, experiment_id: str, checkpoint_ids: set[str]) -> None:
        """Say in an experiment's record that checkpoints have no files any more."""

        def change(known: _Known | None) -> _Known:
            if known is None:
                raise self._gone(experiment_id)
            checkpoints = known.record.get("checkpoints") or []
            emptied = [{**c, "path": ""} if c["id"] in checkpoint_ids else c for c in checkpoints]
            return _Known.of({**known.record, "checkpoints": emptied}, known.etag)

        self._rewrite(experiment_id, change)


def parse_record(data: bytes, experiment_id: str, url: str) -> Record:
    """Return an experiment's record. Raises ReadError, which names it, if it is broken."""
    try:
        return parse_experiment(data, experiment_id)
    except ReadError as error:
        raise ReadError(f"{record_key(experiment_id)} in {url} cannot be read: {error}") from error


def no_repository(url: str) -> str:
    """Say that a place that was named is no repository."""
    return f"There is no repository at {url}. Check the URL, and whether its disk is mounted."


def warn_broken(url: str, experiment_id: str, reason: str) -> None:
    """Say that a record is left out of a listing."""
    warn(f"{record_key(experiment_id)} in {url} cannot be read and is left out: {reason}")
