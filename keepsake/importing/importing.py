"""Bringing the runs of another tool into a repository. It can be repeated, and it goes on where it was interrupted."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from keepsake.archive.pack import freeze
from keepsake.archive.writer import open_archive
from keepsake.exceptions import KeepsakeError, ReadError, ValidationError
from keepsake.importing import mlflow_database, mlflow_folder, tensorboard, trackio, wandb
from keepsake.importing.runs import ForeignRun, Goal, last_checkpoint, record_of
from keepsake.metadata import Record
from keepsake.repository.keys import EXPERIMENTS, id_of
from keepsake.repository.repository import Repository
from keepsake.util.console import Progress
from keepsake.util.ids import short_id

SOURCES: dict[str, ModuleType] = {
    "mlflow": mlflow_folder,
    "mlflow-db": mlflow_database,
    "wandb": wandb,
    "trackio": trackio,
    "tensorboard": tensorboard,  # last, because folders of other tools may hold event files too
}
_OWN = {"name", "tags", "notes", "edited"}  # a person may have changed them here


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
        raise ReadError(f"There is nothing at {source}. Check the path.")
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
        f"There are no {looked_for} at {source}. Name a folder `mlruns`, a file `mlflow.db`, a folder with event "
        "files, a file `run-….wandb` or a folder of them, or a database of trackio."
    )


class Import:
    """One import into a repository.

    Args:
        repository: where the runs go. It is created if there is none.
        files: whether the files of runs are imported too.
        dry_run: only look.
        goal: the primary metric of the runs.
        again: also import runs that somebody removed from the repository.
    """

    def __init__(
        self, repository: Repository, *, files: bool, dry_run: bool, goal: Goal | None = None, again: bool = False
    ) -> None:
        self._repository = repository
        self._files = files
        self._dry_run = dry_run
        self._goal = goal
        self._again = again

    def run(self, source: Path, kind: str | None) -> Imported:
        """Import all runs of a source."""
        found = recognise(source, kind)
        repository = self._repository
        repository.check()
        if not self._dry_run:
            repository.ensure()
        there = {id_of(info.key) for info in repository.storage.list(EXPERIMENTS)} if repository.exists else set()
        removed = (repository.removals.ids() if repository.exists else set()) - there
        done = Imported(list(dict.fromkeys(module.TOOL for module, _ in found)), is_dry_run=self._dry_run)
        with Progress("Importing", None, unit="runs") as progress:
            for module, place in found:
                for run in self._each(module, place, done):
                    self._import(run, there, removed, done)
                    progress.advance(1)
        done.left_out = +done.left_out
        return done

    @staticmethod
    def _each(module: ModuleType, place: Path, done: Imported) -> Iterator[ForeignRun]:
        try:
            for run in module.runs(place, done.left_out):
                if isinstance(run, KeepsakeError):
                    done.errors.append(run)
                    continue
                done.left_out.update(run.left_out)
                done.warnings += run.warnings
                if not run.is_deleted:
                    yield run
        except KeepsakeError as error:
            done.errors.append(error)

    def _import(self, run: ForeignRun, there: set[str], removed: set[str], done: Imported) -> None:
        if run.id in removed and not self._again:
            done.removed.append(run.id)
            return
        try:
            record = record_of(run, self._repository.url, self._goal)
            self._merge(run, record, run.id in there, done)
        except KeepsakeError as error:
            error.args = (f"Run {run.key} in {run.place} is not imported. {error}",)
            done.errors.append(error)

    def _merge(self, run: ForeignRun, record: Record, is_there: bool, done: Imported) -> None:
        """Add a run to the repository. Its files go last, so each archive has a record that names it."""
        owner = last_checkpoint(record, run) if self._files and run.files else None
        if owner is not None:
            owner["path"] = run.folder
        known = self._repository.load(run.id) if is_there else None
        old = {checkpoint["id"]: checkpoint for checkpoint in (known or {}).get("checkpoints") or []}
        merged = _merged(record, known, old)
        done.checkpoints += sum(checkpoint["id"] not in old for checkpoint in merged["checkpoints"] or [])
        if known is None:
            done.new.append(run.id)
        else:
            (done.same if merged == known else done.grown).append(run.id)
        is_due = owner is not None and not old.get(owner["id"], {}).get("path") and not _pruned(old.get(owner["id"]))
        if is_due:
            done.files += len(run.files)
        if self._dry_run:
            return
        if not is_there:
            self._repository.removals.forget({run.id})
        if merged != known:
            self._repository.change(run.id, lambda latest: _merged(record, latest, _by_id(latest)), is_new=not is_there)
            self._repository.forget(run.id)
            if run.is_lost:
                self._repository.heartbeats.leave(run.id, run.last_time)
            elif is_there:
                self._repository.heartbeats.end(run.id)
        is_pruned = owner is not None and _pruned(old.get(owner["id"]))
        # An import that was interrupted may have written the record and not the files.
        if owner is not None and not is_pruned and not self._repository.has_archive(run.id, owner["id"]):
            self._put_files(run, owner["id"])

    def _put_files(self, run: ForeignRun, archive_id: str) -> None:
        named = [(f"{run.folder}/{name}", str(path)) for name, path in run.files]
        with tempfile.TemporaryDirectory(prefix="keepsake-import-") as temporary:
            pack = Path(temporary, f"{archive_id}.pack")
            freeze(run.place, run.folder, pack, named)
            with open_archive(pack) as archive:
                self._repository.put_archive(run.id, archive_id, archive)


def _by_id(record: Record | None) -> dict[str, Record]:
    return {checkpoint["id"]: checkpoint for checkpoint in (record or {}).get("checkpoints") or []}


def _merged(record: Record, known: Record | None, old: dict[str, Record]) -> Record:
    """Return the record of a run, brought up to date. What somebody has changed here stays."""
    if known is None:
        return record
    checkpoints = [_merged_checkpoint(new, old.get(new["id"])) for new in record["checkpoints"] or []]
    names = {checkpoint["id"] for checkpoint in checkpoints}
    others = [checkpoint for checkpoint in old.values() if checkpoint["id"] not in names]
    kept = {name: known[name] for name in _OWN if name in known}
    fields = {name: value for name, value in record.items() if name not in _OWN or not known.get("edited")}
    return {**known, **fields, **kept, "checkpoints": [*others, *checkpoints] or None}


def _merged_checkpoint(new: Record, old: Record | None) -> Record:
    """Return a checkpoint with the metrics of both. Files that were removed here stay removed."""
    if old is None:
        return new
    metrics = {**(new["metrics"] or {}), **(old.get("metrics") or {})} or None
    path = old.get("path") or ("" if _pruned(old) else new["path"])
    return {**old, "metrics": metrics, "path": path, "primary_metric": new["primary_metric"] or old["primary_metric"]}


def _pruned(checkpoint: Record | None) -> bool:
    return bool(checkpoint and checkpoint.get("pruned"))


def describe(done: Imported) -> list[str]:
    """Return what happened, a sentence per line, for people."""
    verb = "Would import" if done.is_dry_run else "Imported"
    runs, checkpoints, files = (
        f"{count:,} {what}{'' if count == 1 else 's'}"
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
