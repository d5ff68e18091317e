"""What a repository holds and under which keys: records, heartbeats, archives.

The layout is version 1 of docs/repository-format.md, shared with Keepsake 0.4.2.
"""

from __future__ import annotations

import json
import operator
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
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
from keepsake.listing.index import Index, Line, Summary, line_maker
from keepsake.metadata import (
    Record,
    leaves_word,
    parse_experiment,
    render_checkpoint,
    render_experiment,
    time_seconds,
    time_text,
)
from keepsake.recording import spool
from keepsake.recording.entry import Entry
from keepsake.recording.journal import Changes
from keepsake.storage import Storage
from keepsake.storage.base import UNREADABLE
from keepsake.util.console import Progress, warn

VERSION = 1
RUNNING_SECONDS = 30.0  # a heartbeat comes every 5 s; one that is older than this is stale
_SKEW_SECONDS = 600.0  # an object not written for this long holds no fresh heartbeat, whatever a writer's clock says
_SPEC = "repository.json"
_SPEC_CONTENT = b'{"version":%d}' % VERSION
_IDENTITY = "identity.json"
REMOVED = "removed"
EXPERIMENTS = "metadata/experiments"
HEARTBEATS = "metadata/heartbeats"
ARCHIVES = ("experiments", "checkpoints")
_WRITE_ATTEMPTS = 20
_INDEXED_AT_ONCE = 1000  # so a listing that is broken off has not fetched for nothing, and memory holds no more lines


def archive_key(experiment_id: str, archive_id: str) -> str:
    """Return the key of the archive of an experiment (both IDs the same) or of one of its checkpoints."""
    return f"{ARCHIVES[archive_id != experiment_id]}/{archive_id}.tar.gz"


def archive_keys(record: Record) -> list[str]:
    """Return the keys of the archives that an experiment's record names."""
    owners = [record, *(record.get("checkpoints") or [])]
    return [archive_key(record["id"], owner["id"]) for owner in owners if owner.get("path")]


def id_of(key: str) -> str:
    """Return the ID of the experiment whose record or heartbeat has that key."""
    return key.rpartition("/")[2].removesuffix(".json")


def _record_key(experiment_id: str) -> str:
    return f"{EXPERIMENTS}/{experiment_id}.json"


def _heartbeat_key(experiment_id: str) -> str:
    return f"{HEARTBEATS}/{experiment_id}.json"


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
    """Experiments at one URL, with what this project's spool still holds for it."""

    def __init__(self, storage: Storage, spools: Sequence[Path] = ()) -> None:
        self.storage = storage
        self.url = storage.url
        self.spools = spools
        self._known: dict[str, _Known] = {}
        self._spec_found: bool | None = None  # None: not looked for yet

    # The spec

    def check(self) -> None:
        """Raise IncompatibleRepositoryVersion or CorruptedRepositorySpec if this is no repository we can use."""
        if self._spec_found:
            return
        try:
            data, _ = self.storage.get(_SPEC)
        except DoesNotExist:
            self._spec_found = False
            return
        try:
            version = json.loads(data)["version"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorruptedRepositorySpec(
                f"{_SPEC} in {self.url} is not a repository's. If nothing else uses that place, "
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
        self.storage.put(_SPEC, _SPEC_CONTENT)
        self._spec_found = True

    def ensure(self, expected: str | None = None) -> str:
        """Make the repository if it is not there yet, and return its identity.

        `expected` is the identity of the repository that was there before. It is not made up for by a new one:
        MissingRepository is raised if there is none, as where a disk is not mounted.
        """
        try:
            self.check()
        except MissingBucket:
            self._spec_found = False
        if not self._spec_found:
            if expected is not None:
                raise self._missing()
            self.storage.ensure_writable()
            try:
                self.storage.put(_SPEC, _SPEC_CONTENT, if_absent=True)
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
            data, _ = self.storage.get(_IDENTITY)
        except (DoesNotExist, MissingBucket):
            return None
        try:
            return str(json.loads(data)["id"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorruptedRepositorySpec(
                f"{_IDENTITY} in {self.url} is damaged. Restore it from a backup, or delete it: the next run writes it "
                "anew, and what waits in a spool is then sent by `keepsake sync --force`."
            ) from error

    def _write_identity(self) -> str:
        identity = os.urandom(16).hex()
        try:
            self.storage.put(_IDENTITY, json.dumps({"id": identity}).encode(), if_absent=True)
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

    def load(self, experiment_id: str) -> Record:
        """Return a record with what the spool adds to it. Raises DoesNotExist, or ReadError if it is broken."""
        self.check()
        entry = self._entries().get(experiment_id)
        changes = entry.pending() if entry else Changes()  # first: what is published meanwhile is then in both
        try:
            data, _ = self.storage.get(_record_key(experiment_id))
            record = _parse(data, experiment_id, self.url)
        except DoesNotExist:
            if entry is None or not self._is_only_here(entry, changes):
                raise DoesNotExist(f"There is no experiment {experiment_id} in {self.url}.") from None
            record = dict(entry.record)
        return _overlaid(record, changes) if changes else record

    def records(self) -> Iterator[Record]:
        """Yield all records, in no order; a broken one is a warning."""
        self.check()
        entries = {entry.id: (entry, entry.pending()) for entry in self._entries().values()}
        for key, data, etag in self._fetch([_record_key(experiment_id) for experiment_id in self._etags()]):
            experiment_id = id_of(key)
            _, changes = entries.pop(experiment_id, (None, Changes()))
            try:
                if etag == UNREADABLE:
                    raise ReadError(data.decode("utf-8", "replace"))
                record = parse_experiment(data, experiment_id)
            except ReadError as error:
                _warn_broken(self.url, experiment_id, str(error))
                continue
            yield _overlaid(record, changes) if changes else record
        for entry, changes in entries.values():
            if self._is_only_here(entry, changes):
                yield _overlaid(dict(entry.record), changes)

    def _is_only_here(self, entry: Entry, changes: Changes) -> bool:
        """Whether the spool alone has an experiment, and nobody removed it."""
        return not entry.in_repository or (bool(changes or entry.size()) and not self.was_removed(entry.id))

    def summaries(self, tests: Sequence[Callable[[Summary], bool]] = ()) -> list[Summary]:
        """Return the experiments that pass all `tests`, the oldest first."""
        heartbeats: dict[str, bool] = {}
        lister = _Background(lambda: heartbeats.update(self.heartbeats()))
        lines = self._lines()
        found = []
        lister.result()
        for line in lines:
            if not line.created:
                _warn_broken(self.url, line.id, json.loads(line.rest))
                continue
            summary = Summary(line, heartbeats.get(line.id))
            for test in tests:
                if not test(summary):
                    break
            else:
                found.append(summary)
        return sorted(found, key=operator.attrgetter("created_key"))

    def find(self, prefix: str) -> list[tuple[Record, Record | None]]:
        """Return every experiment, and every checkpoint with its experiment, whose ID begins with `prefix`."""
        try:
            return [(self.load(prefix), None)]  # a whole ID
        except (DoesNotExist, ValueError):
            pass  # or only its beginning
        found: list[tuple[Record, Record | None]] = []
        for line in self._lines():
            is_experiment = line.id.startswith(prefix)
            if not is_experiment and not line.may_hold_checkpoint(prefix):
                continue
            try:
                record = self.load(line.id)
            except DoesNotExist:
                continue  # deleted meanwhile
            except ReadError:
                if is_experiment:
                    raise
                continue
            if is_experiment:
                found.append((record, None))
            found += [(record, c) for c in record.get("checkpoints") or [] if c["id"].startswith(prefix)]
        return found

    def holders(self, checkpoint_ids: Iterable[str]) -> dict[str, set[str]]:
        """Return which experiments name each of these checkpoints. More than one can: whoever made a record may lie."""
        holders: dict[str, set[str]] = {checkpoint_id: set() for checkpoint_id in checkpoint_ids}
        if not holders:
            return {}
        beginnings = Line.beginnings(holders)
        for line in self._lines():
            if beginnings.isdisjoint(line.checkpoint_ids.split()):
                continue
            with suppress(DoesNotExist, ReadError):  # deleted meanwhile, or unreadable
                for checkpoint in self.load(line.id).get("checkpoints") or []:
                    holders.get(checkpoint["id"], set()).add(line.id)
        return holders

    def _lines(self) -> Iterator[Line]:
        """Return the index's line of every experiment, fetching only what changed."""
        checking = _Background(self.check)
        pending = self._pending_records()
        live = self._etags()
        checking.result()
        saved = (line for line in self._indexed(live) if line.id not in pending)
        return chain(saved, (Line.make(record, "") for record in pending.values()))

    def _indexed(self, live: dict[str, str]) -> Iterator[Line]:
        """Yield the line of every experiment in `live`, which maps IDs to etags and is brought up to date."""
        index, etags = Index(self.url), dict(live)
        yield from index.current(etags)
        keys = [_record_key(experiment_id) for experiment_id in etags]
        make_line = line_maker(len(keys))
        fetched: list[Line] = []
        for key, data, etag in self._fetch(keys):
            line = make_line(data, id_of(key), etag)
            fetched.append(line)
            live[line.id] = etag
            yield line
            if len(fetched) == _INDEXED_AT_ONCE:
                index.add(fetched, live)
                fetched = []
        index.add(fetched, live)

    def _etags(self) -> dict[str, str]:
        listed = self.storage.list(EXPERIMENTS)
        return {id_of(info.key): info.etag for info in listed if info.key.endswith(".json")}

    def _fetch(self, keys: list[str]) -> Iterator[tuple[str, bytes, str]]:
        with Progress("Reading experiments", len(keys), unit="items") as progress:
            for item in self.storage.get_many(keys):
                progress.advance(1)
                yield item

    def _entries(self) -> dict[str, Entry]:
        return {
            entry.id: entry for root in self.spools for entry in spool.entries(root) if entry.repository == self.url
        }

    def _pending_records(self) -> dict[str, Record]:
        pending = {}
        for entry in self._entries().values():
            if entry.in_repository and not entry.pending():
                continue
            try:
                pending[entry.id] = self.load(entry.id)
            except (DoesNotExist, ReadError):
                pass  # deleted; or broken, which its line in the index says
        return pending

    # Writing records

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
            new = {c["id"]: c for c in changes.checkpoints if c["id"] not in known.ids}
            if known.etag is not None and not new and changes.fields.items() <= known.record.items():
                return None
            record = {**known.record, **changes.fields}
            record["checkpoints"] = [*(known.record.get("checkpoints") or []), *new.values()]
            texts = known.texts + [render_checkpoint(checkpoint) for checkpoint in new.values()]
            return _Known(record, known.etag, texts, known.ids | new.keys())

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
                data, key = render_experiment(changed.record, changed.texts), _record_key(experiment_id)
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
        raise WriteError(f"{_record_key(experiment_id)} in {self.url} is being rewritten by others all the time")

    def _gone(self, experiment_id: str) -> KeepsakeError:
        """Return the error for an experiment that was there: DoesNotExist only if a person removed it."""
        if not self._look_again():
            return self._missing()
        if self.was_removed(experiment_id):
            return DoesNotExist(f"There is no experiment {experiment_id} in {self.url}: it was removed.")
        return MissingRecord(
            f"Experiment {experiment_id[:7]} is not in {self.url} any more, and nothing says that somebody removed it. "
            f"What waits of it stays where it is. `keepsake rm {experiment_id[:7]}` gives it up; "
            "`keepsake sync --force` creates it again."
        )

    def forget(self, experiment_id: str) -> None:
        """Let go of what is kept in memory to rewrite an experiment quickly."""
        self._known.pop(experiment_id, None)

    def _read_known(self, experiment_id: str) -> _Known | None:
        try:
            data, etag = self.storage.get(_record_key(experiment_id))
        except DoesNotExist:
            return None
        return _Known.of(_parse(data, experiment_id, self.url), etag)

    # Archives

    def put_archive(self, experiment_id: str, archive_id: str, source: BinaryIO) -> None:
        """Store the archive that `source` is read to make.

        Raises DoesNotExist if the experiment is removed meanwhile, and what `merge` raises if it is gone otherwise.
        """
        self.storage.upload(archive_key(experiment_id, archive_id), source)
        self._remove_if_removed(experiment_id, archive_id)

    def adopt_archive(self, experiment_id: str, archive_id: str, file: Path) -> bool:
        """Store a finished archive by moving its file, or return False if it must be copied. Raises as `put_archive`.

        The file keeps another name until the repository is seen to hold it: a move into the mount point of a disk
        that has just been unmounted must not be the end of it.
        """
        kept = file.with_name(f"{archive_id}.kept.tar.gz")
        try:
            kept.unlink(missing_ok=True)  # of a move that a crash cut short
            os.link(file, kept)
        except OSError:
            return False  # no hard links here: a copy does
        try:
            if not self.storage.take(archive_key(experiment_id, archive_id), file):
                return False
            try:
                self._remove_if_removed(experiment_id, archive_id)
            except DoesNotExist:
                raise
            except BaseException:
                os.replace(kept, file)
                raise
        finally:
            kept.unlink(missing_ok=True)
        return True

    def _remove_if_removed(self, experiment_id: str, archive_id: str) -> None:
        """Take back an archive whose experiment, or whose files, a person removed while it was on its way."""
        record = self._latest(experiment_id)
        if record is None or self.was_removed(experiment_id):
            error = self._gone(experiment_id)
            if isinstance(error, DoesNotExist):
                self.storage.delete([archive_key(experiment_id, archive_id)])
            raise error
        # A record that does not know the checkpoint at all may be an old one, from a cache: it proves nothing
        if any(c["id"] == archive_id and not c.get("path") for c in record.get("checkpoints") or []):
            self.storage.delete([archive_key(experiment_id, archive_id)])

    def _latest(self, experiment_id: str) -> Record | None:
        """Return a record as it is now; None if there is none, an empty one if it is broken."""
        try:
            data, etag = self.storage.get(_record_key(experiment_id))
        except DoesNotExist:
            return None
        known = self._known.get(experiment_id)
        if known is not None and known.etag == etag:
            return known.record
        try:
            return parse_experiment(data, experiment_id)
        except ReadError:
            return {}

    # Heartbeats

    def beat(self, experiment_id: str) -> None:
        """Say that an experiment is running, by the storage's clock. Raises MissingRepository if there is none now."""
        if not self._look_again():
            raise self._missing()
        heartbeat = {"experiment_id": experiment_id, "last_heartbeat": time_text(self.storage.now())}
        self.storage.put_for_now(_heartbeat_key(experiment_id), json.dumps(heartbeat).encode())

    def end_heartbeat(self, experiment_id: str) -> None:
        """Say that an experiment is not running any more."""
        self.storage.delete([_heartbeat_key(experiment_id)])

    def heartbeats(self) -> dict[str, bool]:
        """Return the experiments that have a heartbeat, and whether it is fresh."""
        found, recent = {}, []
        listed = list(self.storage.list(HEARTBEATS))
        now = self.storage.now() if listed else 0.0
        for info in listed:
            found[id_of(info.key)] = False
            if now - info.modified < _SKEW_SECONDS:
                recent.append(info.key)
        for key, data, _ in self.storage.get_many(recent):
            found[id_of(key)] = self._is_fresh(data)
        for entry in self._entries().values():
            for experiment_id, fresh in _local_heartbeat(entry).items():
                found.setdefault(experiment_id, fresh)
        return found

    def heartbeat(self, experiment_id: str) -> dict[str, bool]:
        """Return the same as `heartbeats`, of one experiment."""
        try:
            return {experiment_id: self._is_fresh(self.storage.get(_heartbeat_key(experiment_id))[0])}
        except DoesNotExist:
            entry = self._entries().get(experiment_id)
            return _local_heartbeat(entry) if entry else {}

    def _is_fresh(self, data: bytes) -> bool:
        try:
            age = self.storage.now() - time_seconds(json.loads(data)["last_heartbeat"])
            return -_SKEW_SECONDS < age < RUNNING_SECONDS
        except (ValueError, KeyError, TypeError, RecursionError):
            return False

    @staticmethod
    def status(experiment_id: str, version: str, heartbeats: dict[str, bool]) -> str:
        """Return "running", "stopped" or "lost": went out without a goodbye, which 0.4.2 never says."""
        fresh = heartbeats.get(experiment_id)
        if fresh:
            return "running"
        return "lost" if fresh is False and leaves_word(version) else "stopped"

    # Deleting

    def delete(self, experiments: Iterable[Record], advance: Callable[[int], None] = lambda count: None) -> None:
        """Delete experiments with all that is theirs.

        Metadata goes first: a crash leaves garbage, never a false listing. Before that, it is written down that they
        are removed. Whoever is still saving one of them then knows that a person wanted it, and takes back what comes
        too late. Each record is read after that, so that the archives of its last checkpoints are known.
        """
        records = {record["id"]: record for record in experiments}
        if not records:
            return
        self._mark_removed(records)
        for key, data, _ in self.storage.get_many([_record_key(experiment_id) for experiment_id in records]):
            with suppress(ReadError):  # a broken one is deleted too
                records[id_of(key)] = parse_experiment(data, id_of(key))
        self.storage.delete([_record_key(experiment_id) for experiment_id in records])
        entries = self._entries()
        for experiment_id in records:
            self.forget(experiment_id)
            if experiment_id in entries:
                entries[experiment_id].discard()
        shared = self._shared(c["id"] for record in records.values() for c in record.get("checkpoints") or [])
        keys = [_heartbeat_key(experiment_id) for experiment_id in records]
        keys += [key for record in records.values() for key in archive_keys(record) if key not in shared]
        for start in range(0, len(keys), 1000):
            self.storage.delete(keys[start : start + 1000])
            advance(len(keys[start : start + 1000]))

    def _shared(self, checkpoint_ids: Iterable[str], besides: str = "") -> set[str]:
        """Return the keys of archives that an experiment still names: a copied record can name those of another one."""
        holders = self.holders(checkpoint_ids)
        return {archive_key("", checkpoint_id) for checkpoint_id, held_by in holders.items() if held_by - {besides}}

    def withdraw(self, record: Record) -> None:
        """Take back an experiment whose init() failed: as if it had never been."""
        self.forget(record["id"])
        self.storage.delete([_record_key(record["id"]), _heartbeat_key(record["id"]), *archive_keys(record)])

    def _mark_removed(self, experiment_ids: Iterable[str]) -> None:
        content = {"experiments": sorted(experiment_ids), "removed": time_text()}
        self.storage.put(f"{REMOVED}/{os.urandom(8).hex()}.json", json.dumps(content).encode())

    def was_removed(self, experiment_id: str) -> bool:
        """Whether a person removed an experiment here, which is what tells that from a loss."""
        return experiment_id in self.removed()

    def removed(self) -> set[str]:
        """Return the IDs of all experiments that a person removed here."""
        return {experiment_id for _, experiments in self._removals() for experiment_id in experiments}

    def bring_back(self, experiment_ids: Iterable[str]) -> None:
        """Forget that experiments were removed, before they are copied here again."""
        ids = set(experiment_ids)
        for key, experiments in self._removals():
            if ids & experiments:
                left = sorted(experiments - ids)
                self.storage.put(key, json.dumps({"experiments": left, "removed": time_text()}).encode())

    def _removals(self) -> Iterator[tuple[str, set[str]]]:
        keys = [info.key for info in self.storage.list(REMOVED)]
        for key, data, _ in self.storage.get_many(keys) if keys else ():
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                yield key, set(json.loads(data)["experiments"])

    def delete_checkpoint_files(self, experiment_id: str, checkpoint_ids: set[str]) -> None:
        """Delete checkpoints' archives; their metrics stay, their path becomes empty."""
        entry = self._entries().get(experiment_id)
        if entry is not None:
            self.merge(entry.record, entry.pending(), create=not entry.in_repository)
            for checkpoint_id in checkpoint_ids:
                if (frozen := entry.frozen(checkpoint_id)) is not None:
                    frozen.unlink(missing_ok=True)

        def change(known: _Known | None) -> _Known:
            if known is None:
                raise self._gone(experiment_id)
            checkpoints = known.record.get("checkpoints") or []
            emptied = [{**c, "path": ""} if c["id"] in checkpoint_ids else c for c in checkpoints]
            return _Known.of({**known.record, "checkpoints": emptied}, known.etag)

        self._rewrite(experiment_id, change)
        keys = {archive_key(experiment_id, checkpoint_id) for checkpoint_id in checkpoint_ids}
        self.storage.delete(sorted(keys - self._shared(checkpoint_ids, besides=experiment_id)))

    def frozen(self, experiment_id: str, archive_id: str) -> Path | None:
        """Return the pack that an archive will be made of, if this project's spool has it."""
        entry = self._entries().get(experiment_id)
        return entry.frozen(archive_id) if entry else None


class _Background:
    """A call made in a thread meanwhile."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - raised by result()
            self._error = error

    def result(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


def _local_heartbeat(entry: Entry) -> dict[str, bool]:
    """What an entry says of a run that only this machine knows of."""
    if entry.in_repository or "ended" in entry.pending().fields:
        return {}
    return {entry.id: entry.is_fresh()}


def _parse(data: bytes, experiment_id: str, url: str) -> Record:
    try:
        return parse_experiment(data, experiment_id)
    except ReadError as error:
        raise ReadError(f"{_record_key(experiment_id)} in {url} cannot be read: {error}") from error


def _warn_broken(url: str, experiment_id: str, reason: str) -> None:
    warn(f"{_record_key(experiment_id)} in {url} cannot be read and is left out: {reason}")


def _overlaid(record: Record, changes: Changes) -> Record:
    have = {c["id"] for c in record.get("checkpoints") or []}
    new = {c["id"]: c for c in changes.checkpoints if c["id"] not in have}
    return {**record, **changes.fields, "checkpoints": [*(record.get("checkpoints") or []), *new.values()]}
