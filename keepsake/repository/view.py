"""A project's view of its repository: the records there, with the parts that are still in its spool."""

from __future__ import annotations

import json
import operator
import threading
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from keepsake.exceptions import DoesNotExist, KeepsakeError, MissingRepository, ReadError
from keepsake.labels import apply_edits
from keepsake.listing.index import Index, Line, json_reader, line_maker
from keepsake.listing.summary import Summary
from keepsake.metadata import Record, checkpoints_of, parse_experiment, parse_fetched
from keepsake.repository.keys import EXPERIMENTS, id_of, record_key
from keepsake.repository.repository import Repository, no_repository, parse_record, warn_broken
from keepsake.restarts import superseded
from keepsake.spool import places
from keepsake.spool.journal import Changes
from keepsake.spool.waiting import Waiting, waiting_in
from keepsake.status import ends_heartbeats, status_of
from keepsake.util.clock import monotonic
from keepsake.util.console import Progress, warn

if TYPE_CHECKING:
    from keepsake.listing.filters import Query

_RECENT = 20  # runs whose checkpoint files may still lie in the project
_SHARED_SECONDS = 1.0  # a run counts as running for 30 s after its last heartbeat
_INDEXED_AT_ONCE = 1000  # lines; limits the memory, and the loss if a listing is interrupted


class View:
    """The experiments of a repository, with those that wait for it in spools.

    Args:
        repository: where they are, or will be.
        spools: where what is not there yet may wait.
        notes: the directories that are to say which repositories were used. The spools may say it, too.
        is_named: whether a person named the repository. It must exist then. The project's own is created by the first
            run.
    """

    def __init__(
        self, repository: Repository, spools: Sequence[Path] = (), *, notes: Sequence[Path] = (), is_named: bool = False
    ) -> None:
        self.repository = repository
        self.spools = spools
        self._notes = list(dict.fromkeys([*spools, *notes]))
        self._noted_in = notes or spools[:1]
        self._is_named = is_named
        self._storage = repository.storage

    def require(self) -> None:
        """Raise DoesNotExist if a person named a repository that does not exist, for example by a mistyped URL."""
        self.repository.check()
        if not (self.repository.exists or self._etags()):
            raise self.missing() or DoesNotExist(no_repository(self.repository.url))

    def load(self, experiment_id: str) -> Record:
        """Return a record with the additions in the spool. Raises DoesNotExist, or ReadError if it is broken."""
        self.repository.check()
        entry = self.entries().get(experiment_id)
        changes = entry.pending() if entry else Changes()  # read first, so nothing that is sent meanwhile is missed
        try:
            data, _ = self._storage.get(record_key(experiment_id))
            record = parse_record(data, experiment_id, self.repository.url)
        except DoesNotExist:
            if entry is None or not self._is_only_here(entry, changes):
                raise DoesNotExist(f"There is no experiment {experiment_id} in {self.repository.url}.") from None
            record = dict(entry.record)
        return _overlaid(record, changes) if changes else record

    def records(self, ids: Collection[str] | None = None) -> Iterator[Record]:
        """Yield all records, in no order. A broken record is a warning, and so is a missing repository.

        A script may list what is in a new repository before it adds the first experiment.

        `ids`: only those of these experiments.
        """
        self.repository.check()
        waiting = self.entries().values()
        entries = {entry.id: (entry, entry.pending()) for entry in waiting if ids is None or entry.id in ids}
        live = self._etags() if ids is None else ids
        if ids is None and not live and (missing := self.missing(entries)):
            warn(str(missing))
        loads = json_reader(len(live))
        for key, data, etag in self._fetch([record_key(experiment_id) for experiment_id in live]):
            experiment_id = id_of(key)
            _, changes = entries.pop(experiment_id, (None, Changes()))
            try:
                record = parse_fetched(data, experiment_id, etag, loads)
            except ReadError as error:
                warn_broken(self.repository.url, experiment_id, str(error))
                continue
            yield _overlaid(record, changes) if changes else record
        for entry, changes in entries.values():
            if self._is_only_here(entry, changes):
                yield _overlaid(dict(entry.record), changes)

    def _is_only_here(self, entry: Waiting, changes: Changes) -> bool:
        """Whether only the spool has an experiment, and nobody removed it."""
        if not entry.in_repository:
            return entry.has_begun()
        return bool(changes or entry.has_files()) and entry.id not in self.repository.removals.ids(only_look=True)

    def summaries(self, query: Query | None = None) -> list[Summary]:
        """Return the experiments that match, oldest first; the caller applies the query's order.

        Raises UnknownName if no experiment has one of the names in `query`.
        """
        heartbeats: dict[str, bool] = {}
        lister = _Background(lambda: heartbeats.update(self.heartbeats()))
        lines = self.lines()
        lister.result()
        everything = (Summary(line, heartbeats.get(line.id)) for line in self._readable(lines))
        found = everything if query is None else query.select(everything)
        return sorted(found, key=operator.attrgetter("created_key"))

    def readable_lines(self) -> Iterator[Line]:
        """Return the index's line of every experiment whose record can be read. A warning names the others."""
        return self._readable(self.lines())

    def _readable(self, lines: Iterable[Line]) -> Iterator[Line]:
        for line in lines:
            if line.created:
                yield line
            else:
                self._warn_of(line)

    def _warn_of(self, line: Line) -> None:
        warn_broken(self.repository.url, line.id, json.loads(line.rest))

    def find(self, prefix: str) -> list[tuple[Record, Record | None]]:
        """Return every experiment, and every checkpoint with its experiment, whose ID begins with `prefix`."""
        try:
            return [(self.load(prefix), None)]  # the prefix may be a complete ID
        except (DoesNotExist, ValueError):
            pass
        found: list[tuple[Record, Record | None]] = []
        for line in self.lines():
            is_experiment = line.id.startswith(prefix)
            if not is_experiment and not line.may_hold_checkpoint(prefix):
                if not line.created:
                    self._warn_of(line)  # it may have held such a checkpoint
                continue
            try:
                record = self.load(line.id)
            except DoesNotExist:
                continue  # deleted meanwhile
            except ReadError as error:
                if is_experiment:
                    raise
                warn(str(error))
                continue
            if is_experiment:
                found.append((record, None))
            found += [(record, c) for c in checkpoints_of(record) if c["id"].startswith(prefix)]
        return found

    def holders(self, checkpoint_ids: Iterable[str]) -> dict[str, set[str]]:
        """Return the experiments that name each of these checkpoints. A forged record can make it more than one."""
        holders: dict[str, set[str]] = {checkpoint_id: set() for checkpoint_id in checkpoint_ids}
        if not holders:
            return {}
        beginnings = Line.beginnings(holders)
        for line in self.readable_lines():
            if beginnings.isdisjoint(line.checkpoint_ids.split()):
                continue
            with suppress(DoesNotExist, ReadError):  # deleted or damaged meanwhile
                for checkpoint in checkpoints_of(self.load(line.id)):
                    holders.get(checkpoint["id"], set()).add(line.id)
        return holders

    def children(self, ids: Container[str]) -> list[str]:
        """Return the IDs of the experiments whose parent is among `ids`, oldest first."""
        found = [(line.created, line.id) for line in self.lines() if line.parent in ids]
        return [id for _, id in sorted(found)]

    def recent_paths(self, *, look: bool) -> set[str]:
        """Return what recent runs saved as checkpoints, as far as this machine knows: no server is asked.

        `look`: also in a repository on a disk.
        """
        found = [entry.pending().checkpoints for entry in self.entries().values()]
        with suppress(KeepsakeError):
            if self._storage.directory is None:
                summaries = [Summary(line, None) for line in Index(self.repository.url).remembered()]
                found.append([each for one in summaries[-_RECENT:] for each in (one.best, one.latest) if each])
            elif look:
                listed = sorted(self._storage.list(EXPERIMENTS), key=operator.attrgetter("modified"))
                for info in listed[-_RECENT:]:
                    with suppress(ReadError, DoesNotExist):
                        record = parse_experiment(self._storage.get(info.key)[0], id_of(info.key))
                        found.append(checkpoints_of(record))
        return {checkpoint["path"] for checkpoints in found for checkpoint in checkpoints if checkpoint.get("path")}

    def lines(self) -> Iterator[Line]:
        """Return the index's line of every experiment, fetching only new and changed records."""
        checking = _Background(self.repository.check)
        pending = self._pending_records()
        live = self._etags()
        checking.result()
        if not live and (missing := self.missing(pending)):
            if not pending:
                raise missing
            warn(str(missing))
        saved = (line for line in self._indexed(live) if line.id not in pending)
        return chain(saved, (Line.make(record, "") for record in pending.values()))

    def _indexed(self, live: dict[str, str]) -> Iterator[Line]:
        """Yield the line of every experiment in `live`, which maps IDs to etags and is updated here."""
        index, etags = Index(self.repository.url), dict(live)
        yield from index.current(etags)
        keys = [record_key(experiment_id) for experiment_id in etags]
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
        listed = self._storage.list(EXPERIMENTS)
        return {id_of(info.key): info.etag for info in listed if info.key.endswith(".json")}

    def missing(self, waiting: Sized = ()) -> KeepsakeError | None:
        """Return the error if there is no repository where one is expected, as far as has been seen.

        Either a person named one, which may be mistyped, or a run of this project has used one there before.
        """
        if self.repository.exists:
            return None
        if self._known():
            return self.repository.missing()
        return DoesNotExist(no_repository(self.repository.url)) if self._is_named and not waiting else None

    def ensure(self) -> str:
        """Create the repository if there is none, remember that it is used, and return its identity.

        Raises MissingRepository if this project has used one there before, because its disk may not be mounted.
        """
        known, url = self._known(), self.repository.url
        try:
            identity = self.repository.ensure(known)
        except MissingRepository as error:
            raise MissingRepository(
                f"{error} This project has used one there before, so no new one is created. "
                f"To begin a new repository there, delete {places.notes_about(self._notes, url)}."
            ) from error
        if known is None:
            self._note(identity)
        return identity

    def note(self) -> None:
        """Remember that the repository is used, though nothing is written to it."""
        with suppress(KeepsakeError):  # the next request says what is wrong
            if self._known() is None and (identity := self.repository.identity):
                self._note(identity)

    def _note(self, identity: str) -> None:
        for root in self._noted_in:
            if root.is_dir() or not self._is_named:  # otherwise the directory may be no project
                places.remember_identity(root, self.repository.url, identity)

    def _known(self) -> str | None:
        """Return the identity of the repository that this project used at the URL; "" if it cannot be read."""
        known = (places.known_identity(root, self.repository.url) for root in self._notes)
        found = [identity for identity in known if identity is not None]
        return next(filter(None, found), "" if found else None)

    def _fetch(self, keys: list[str]) -> Iterator[tuple[str, bytes, str]]:
        with Progress("Reading experiments", len(keys), unit="items") as progress:
            for item in self._storage.get_many(keys):
                progress.advance(1)
                yield item

    def entries(self) -> dict[str, Waiting]:
        """Return what waits in the spools for this repository, by experiment ID."""
        return waiting_in(self.spools, self.repository.url)

    def waiting(self) -> list[Record]:
        """Return the experiments in the spools as far as the spools know them. The repository is not looked for."""
        return [
            _overlaid(dict(entry.record), entry.pending()) for entry in self.entries().values() if entry.has_begun()
        ]

    def _pending_records(self) -> dict[str, Record]:
        pending = {}
        for entry in self.entries().values():
            if entry.in_repository and not entry.pending():
                continue
            try:
                pending[entry.id] = self.load(entry.id)
            except (DoesNotExist, ReadError):
                pass  # deleted, or broken; its line in the index reports the latter
        return pending

    # Heartbeats

    def heartbeats(self) -> dict[str, bool]:
        """Return the experiments with a heartbeat, here or in a spool, and whether it is fresh."""
        local = (_local_heartbeat(entry) for entry in self.entries().values())
        return {**dict(pair for pair in local if pair), **self.repository.heartbeats.all()}

    def status(
        self,
        experiment_id: str,
        version: str,
        end_reason: str | None = None,
        heartbeats: Mapping[str, bool] | None = None,
    ) -> str:
        """Return "running", "stopped", "failed" or "lost" for an experiment recorded by that version of Keepsake.

        Args:
            end_reason: how it ended; None if that is not known yet.
            heartbeats: what `heartbeats` returned a moment ago; None: look at its own.
        """
        fresh = self._heartbeat(experiment_id) if heartbeats is None else heartbeats.get(experiment_id)
        if not fresh and end_reason is None and ends_heartbeats(version):  # others have no reason
            with suppress(DoesNotExist, ReadError):  # then the heartbeat alone tells
                end_reason = self.load(experiment_id).get("end_reason")
        return status_of(version, fresh, end_reason)

    def _heartbeat(self, experiment_id: str) -> bool | None:
        fresh = self.repository.heartbeats.of(experiment_id)
        if fresh is None and (entry := self.entries().get(experiment_id)):
            local = _local_heartbeat(entry)
            fresh = local[1] if local else None
        return fresh

    def frozen(self, experiment_id: str, archive_id: str) -> Path | None:
        """Return the frozen files of an archive, if they wait in a spool."""
        entry = self.entries().get(experiment_id)
        return entry.frozen(archive_id) if entry else None


class SharedHeartbeats:
    """The heartbeats of a repository, listed when they are first asked for and again once they are a second old.

    Experiments that were listed together share them. Asking each for its status then takes one request for all.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._found: dict[str, bool] = {}
        self._until = 0.0

    def get(self) -> dict[str, bool]:
        """Return the experiments with a heartbeat, and whether it is fresh."""
        if monotonic() >= self._until:
            self._found = self._view.heartbeats()
            self._until = monotonic() + _SHARED_SECONDS
        return self._found


class _Background:
    """A call that runs in a thread."""

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


def _local_heartbeat(entry: Waiting) -> tuple[str, bool] | None:
    """Return the heartbeat of a run that only this machine knows; None for other runs."""
    if entry.in_repository or entry.pending().fields.get("ended"):
        return None
    return entry.id, entry.is_fresh()


def _overlaid(record: Record, changes: Changes) -> Record:
    checkpoints = checkpoints_of(record)
    new = changes.new_to({checkpoint["id"] for checkpoint in checkpoints})
    checkpoints = [*checkpoints, *new]
    gone = superseded(checkpoints)
    checkpoints = [checkpoint for checkpoint in checkpoints if checkpoint["id"] not in gone]
    return apply_edits({**record, **changes.fields_for(record), "checkpoints": checkpoints}, changes.edits)
