"""Bringing the runs of another tool into a repository. It can be repeated, and it goes on where it was interrupted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType

from keepsake.archive.pack import freeze
from keepsake.archive.reader import Archive
from keepsake.archive.writer import open_archive
from keepsake.exceptions import CorruptedArchive, KeepsakeError, ReadError, Removed, ValidationError
from keepsake.importing import mlflow_database, mlflow_folder, tensorboard, trackio, wandb
from keepsake.importing.files import unreadable
from keepsake.importing.found import Found, fingerprint_of
from keepsake.importing.memory import Memory, Remembered
from keepsake.importing.merging import by_id, changed_files, is_pruned, merge
from keepsake.importing.runs import ForeignRun, Goal, last_checkpoint, record_of
from keepsake.importing.temporary import remove_leftovers, temporary_directory
from keepsake.metadata import Record, checkpoints_of
from keepsake.repository.keys import ARCHIVES, EXPERIMENTS, archive_key, id_of
from keepsake.repository.removals import is_being_removed
from keepsake.repository.view import View
from keepsake.util.console import Progress, plural
from keepsake.util.directories import absolute
from keepsake.util.ids import short_id
from keepsake.util.workers import Workers, in_order

SOURCES: dict[str, ModuleType] = {
    "mlflow": mlflow_folder,
    "mlflow-db": mlflow_database,
    "wandb": wandb,
    "trackio": trackio,
    "tensorboard": tensorboard,  # last, because folders of other tools may hold event files too
}


@dataclass
class Imported:
    """The result of `import_runs`.

    Attributes:
        tools: what made the source, such as "mlflow".
        new, grown, same: IDs of experiments that were added, that got something new, and that were there already.
        checkpoints: the number of new checkpoints.
        files: the number of new files.
        removed: IDs of experiments that were left out because somebody removed them here.
        left_out: what has no place here → how many.
        warnings: what could not be read.
        errors: what could not be imported, each with the reason.
        is_dry_run: whether nothing was written.
    """

    tools: list[str]
    new: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    checkpoints: int = 0
    files: int = 0
    removed: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    errors: list[KeepsakeError] = field(default_factory=list)
    is_dry_run: bool = False


def recognise(source: Path, kind: str | None = None) -> list[tuple[ModuleType, Path]]:
    """Return what reads the runs at a path, and where exactly they are. Raises ReadError or ValidationError.

    A folder may hold both a folder and a database of MLflow. Event files of TensorBoard count only if there is nothing
    else, because other tools keep some among the files of their runs.
    """
    if kind is not None and kind not in SOURCES:
        raise ValidationError(f"The kind {kind!r} is not known. Use one of {', '.join(SOURCES)}.")
    if not os.path.lexists(source):
        raise ReadError(f"There is nothing at {absolute(source)}. Check the path.")
    found: list[tuple[ModuleType, Path]] = []
    for name, module in SOURCES.items():
        if kind == name or (kind is None and not (found and module is tensorboard)):
            place = module.recognise(source)
            if place is not None:
                found.append((module, place))
    if found:
        return found
    looked_for = f"runs of kind {kind!r}" if kind else "runs of MLflow, W&B, trackio or TensorBoard"
    raise ReadError(
        f"There are no {looked_for} in {absolute(source)}. Name a folder `mlruns`, a file `mlflow.db`, "
        "a folder with event files, a file `run-….wandb` or a folder of them, or a database of trackio."
    )


class Import:
    """One import into a repository.

    Args:
        view: the view of the repository where the runs go. It is created if there never was one.
        files: whether the files of runs are imported too.
        dry_run: only look.
        goal: the primary metric of the runs.
        again: also import runs that somebody removed from the repository.
    """

    def __init__(
        self, view: View, *, files: bool, dry_run: bool, goal: Goal | None = None, again: bool = False
    ) -> None:
        self._view = view
        self._repository = repository = view.repository
        self._files = files
        self._dry_run = dry_run
        self._goal = goal
        self._again = again
        self._memory = Memory(repository.url, (files, goal))
        self._there: dict[str, str] = {}  # ID → etag of the record
        self._removed: set[str] = set()
        self._brought: set[str] = set()  # a run may have several parts

    def run(self, source: Path, kind: str | None) -> Imported:
        """Import all runs of a source."""
        found = recognise(source, kind)
        repository = self._repository
        repository.check()
        if not self._dry_run:
            remove_leftovers()
            self._view.ensure()
        if repository.exists:
            self._there = self._etags()
            self._removed = repository.removals.ids(only_look=self._dry_run) - self._there.keys()
        done = Imported(list(dict.fromkeys(module.TOOL for module, _ in found)), is_dry_run=self._dry_run)
        try:
            with Progress("Importing", None, unit="runs") as progress, Workers() as workers:
                for part in in_order(workers, self._jobs(found, done.left_out)):
                    _add(done, part)
                    progress.advance(1)
        finally:
            if not self._dry_run:
                self._memory.save(self._etags())
        done.left_out = +done.left_out
        done.warnings = list(dict.fromkeys(done.warnings))
        done.new = list(dict.fromkeys(done.new))
        done.grown = [id for id in dict.fromkeys(done.grown) if id not in done.new]
        done.same = [id for id in dict.fromkeys(done.same) if id not in {*done.new, *done.grown}]
        return done

    def _etags(self) -> dict[str, str]:
        return {id_of(info.key): info.etag for info in self._repository.storage.list(EXPERIMENTS)}

    @cached_property
    def _archives(self) -> set[str]:
        """The keys of all archives that were there at the beginning."""
        if not self._repository.exists:
            return set()
        return {info.key for prefix in ARCHIVES for info in self._repository.storage.list(prefix)}

    def _jobs(self, found: list[tuple[ModuleType, Path]], left_out: Counter[str]) -> Iterator[Callable[[], Imported]]:
        """Yield a job per run. Errors are results too."""
        for module, place in found:
            try:
                for run in module.runs(place, left_out):
                    yield partial(_failed, run) if isinstance(run, KeepsakeError) else partial(self._bring, run)
            except (KeepsakeError, OSError) as error:
                yield partial(_failed, error if isinstance(error, KeepsakeError) else unreadable(place, error))

    def _bring(self, found: Found) -> Imported:
        """Import a run, unless it is the same as after an earlier import."""
        done = Imported([])
        try:
            # Before it is read, so that what is written meanwhile is not missed
            fingerprint = self._memory.fingerprint(found)
            before = self._memory.recall(fingerprint)
            if before is not None and self._is_current(before):
                done.same.append(before.id)
                done.left_out.update(before.left_out)
                done.warnings += before.warnings
            elif (run := found.read()) is not None:
                self._import(run, fingerprint, done)
        except KeepsakeError as error:
            done.errors.append(error)
        except OSError as error:
            done.errors.append(unreadable(found.place, error))
        return done

    def _is_current(self, run: Remembered) -> bool:
        """Whether the repository still has a run as an earlier import left it."""
        has_files = not run.archive or archive_key(run.id, run.archive) in self._archives
        return self._there.get(run.id) == run.etag and has_files

    def _import(self, run: ForeignRun, fingerprint: str | None, done: Imported) -> None:
        if run.is_left_out:
            done.left_out.update(run.left_out)
            done.warnings += run.warnings
            return
        if run.id in self._removed and not self._again:
            done.removed.append(run.id)
            return
        elsewhere = [str(folder) for folder in run.elsewhere]
        elsewhere_fingerprint = fingerprint_of(elsewhere)
        try:
            archive = self._merge(run, done)
        except Removed:  # since the import began
            done.removed.append(run.id)
            return
        except KeepsakeError as error:
            error.args = (f"Run {run.key} in {run.place} is not imported. {error}",)
            raise
        finally:
            done.left_out.update(run.left_out)
            done.warnings += run.warnings
        if fingerprint and elsewhere_fingerprint:
            told = (dict(run.left_out), run.warnings)
            self._memory.remember(Remembered(run.id, fingerprint, elsewhere, elsewhere_fingerprint, archive, *told))

    def _merge(self, run: ForeignRun, done: Imported) -> str:
        """Add a run to the repository; return the ID of the archive with its files, "" if there is none.

        The files go last, so each archive has a record that names it.
        """
        repository, was_there = self._repository, run.id in self._there
        record = record_of(run, repository.url, self._goal)
        owner = last_checkpoint(record, run) if self._files and run.files else None
        if owner is not None:
            owner["path"] = run.folder
        known = repository.load(run.id) if was_there or run.id in self._brought else None
        self._brought.add(run.id)
        merged, old = merge(record, known), by_id(known)
        if merged != known and not self._dry_run:
            self._write(run, record, was_there or known is not None)
        done.checkpoints += sum(checkpoint["id"] not in old for checkpoint in checkpoints_of(merged))
        archive = "" if owner is None or is_pruned(old.get(owner["id"])) else str(owner["id"])
        if archive:
            done.files += self._bring_files(run, archive)
        kind = done.new if known is None else done.same if merged == known and not done.files else done.grown
        kind.append(run.id)
        return archive

    def _write(self, run: ForeignRun, record: Record, is_there: bool) -> None:
        repository = self._repository
        if run.id in self._removed and repository.removals.come_back({run.id}):
            raise is_being_removed(repository.url)
        merged = repository.change(run.id, partial(merge, record), new=None if is_there else record)
        repository.forget(run.id)
        if not (is_there or self._again) and (error := repository.remove_again([record]).get(run.id)):
            raise error
        if run.is_lost and not merged.get("end_reason"):
            repository.heartbeats.leave(run.id, run.last_time)
        elif is_there:
            repository.heartbeats.end(run.id)

    def _bring_files(self, run: ForeignRun, archive_id: str) -> int:
        """Store the files of a run, and return how many are new. What is gone at the source stays here."""
        repository, key = self._repository, archive_key(run.id, archive_id)
        kept = Archive(repository.storage, key) if key in self._archives else None
        try:
            new = run.files if kept is None else changed_files(run, kept)
        except CorruptedArchive:
            new, kept = run.files, None
        if not new or self._dry_run:
            return len(new)
        with temporary_directory() as temporary:
            files = {f"{run.folder}/{name}": str(path) for name, path in run.files}
            if kept is not None:
                old = kept.extract(temporary / "kept", lambda name: name not in files)
                files |= {entry.name: str(temporary / "kept" / entry.name) for entry in old}
            pack = temporary / f"{archive_id}.pack"
            freeze(run.place, run.folder, pack, files.items())
            with open_archive(pack) as archive:
                repository.put_archive(run.id, archive_id, archive)
        return len(new)


def _failed(error: KeepsakeError) -> Imported:
    return Imported([], errors=[error])


def _add(done: Imported, part: Imported) -> None:
    for name in ("new", "grown", "same", "removed", "warnings", "errors"):
        getattr(done, name).extend(getattr(part, name))
    done.checkpoints += part.checkpoints
    done.files += part.files
    done.left_out.update(part.left_out)


def describe(done: Imported) -> list[str]:
    """Return what happened, a sentence per line, for people."""
    verb = "Would import" if done.is_dry_run else "Imported"
    runs, checkpoints, files = (
        plural(count, what)
        for count, what in ((len(done.new), "run"), (done.checkpoints, "checkpoint"), (done.files, "file"))
    )
    more = f" and what is new of {len(done.grown):,} others" if done.grown else ""
    same = f" Unchanged: {len(done.same):,}." if done.same else ""
    lines = [f"{verb} {runs} of {' and '.join(done.tools)}{more} ({checkpoints}, {files}).{same}"]
    if done.removed:
        named = ", ".join(map(short_id, done.removed[:5])) + (", …" if done.removed[5:] else "")
        lines.append(
            f"Left out: {len(done.removed):,} runs that somebody removed here ({named}). --again imports them."
        )
    if done.left_out:
        listed = ", ".join(f"{what} ({count:,})" for what, count in sorted(done.left_out.items()))
        lines.append(f"Without a place here, so left where they are: {listed}.")
    return lines
