"""A project directory with its repository and its spools, opened once. The package's own modules use it."""

from __future__ import annotations

import os
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keepsake.config import REPOSITORY_VARIABLE, find_config, find_project
from keepsake.exceptions import DoesNotExist, FileDoesNotExist, RepositoryConfigurationError
from keepsake.labels import Edit, following
from keepsake.metadata import Record, checkpoints_of, from_local_datetime, local_datetime, pruned_of, time_text
from keepsake.repository.keys import archive_key
from keepsake.repository.repository import Repository
from keepsake.spool.entry import Entry
from keepsake.spool.journal import Changes
from keepsake.spool.places import damaged, note_roots, spool_root, spool_roots, unnamed_files
from keepsake.storage import open_storage
from keepsake.util.directories import absolute
from keepsake.util.fork import importing
from keepsake.util.ids import short_id
from keepsake.util.names import suggestion

if TYPE_CHECKING:
    from typing import BinaryIO

    from keepsake.archive.reader import Archive
    from keepsake.checkpoint import Checkpoint
    from keepsake.experiment import Experiment
    from keepsake.repository.view import View


_EARLIEST, _LATEST = -(2**55), 2**57  # microseconds since 1970: the years 828 and 6536


class SavedFile(NamedTuple):
    """A file of an experiment or checkpoint.

    Attributes:
        path: relative to the project directory.
        size: in bytes.
        modified: the time of its last change before it was saved, a naive local datetime.
        of: the ID of the experiment or checkpoint that it was saved with.
    """

    path: str
    size: int
    modified: datetime
    of: str

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain values, with the time in UTC."""
        return {**self._asdict(), "modified": from_local_datetime(self.modified)}


class Workplace:
    """A project's directory and repository.

    Attributes:
        directory: the project directory, absolute.
        repository: where its experiments are kept.
        is_named: whether a person named that repository; otherwise, the project says which it is.
    """

    def __init__(self, directory: Path, repository: Repository, is_named: bool = False) -> None:
        self.directory = directory
        self.repository = repository
        self.is_named = is_named

    @cached_property
    def view(self) -> View:
        """The repository's experiments, with those that wait in the project's spools."""
        from keepsake.repository.view import View

        return View(self.repository, self.spools, notes=note_roots(self.directory), is_named=self.is_named)

    @property
    def place(self) -> str:
        """Where the repository is, for a message: its path in the project directory if it lies there, else its URL."""
        directory = self.repository.storage.directory
        if directory is None or self.directory not in directory.parents:
            return self.repository.url
        return directory.relative_to(self.directory).as_posix()

    @property
    def spool(self) -> Path:
        """The directory that keeps new runs until they are in the repository."""
        return spool_root(self.directory)

    @property
    def spools(self) -> list[Path]:
        """All directories in which runs may be waiting."""
        return spool_roots(self.directory)

    def entries(self, experiment_id: str) -> list[Entry]:
        """Return the entries of an experiment in these directories."""
        found = (Entry.load(root / experiment_id) for root in self.spools)
        return [entry for entry in found if entry is not None]

    def unnamed_files(self) -> list[Path]:
        """Return the frozen files that were set aside because no checkpoint names them."""
        return [path for root in self.spools for path in unnamed_files(root)]

    def damaged_entries(self) -> list[Path]:
        """Return the directories in which something may wait that cannot be read, and so is not sent."""
        return [path for root in self.spools for path in damaged(root)]

    # Labels

    def edit(self, experiment_id: str, edit: Edit) -> Record:
        """Change the name, tags or notes of an experiment, even while it runs, and return its record.

        Raises DoesNotExist if it was removed, WriteError.
        """
        edit = following(edit, self.view.load(experiment_id))
        waiting = self.view.entries().get(experiment_id)
        if waiting is not None and not waiting.in_repository:
            waiting.entries[-1].append({"labels": edit})
            return self.view.load(experiment_id)
        return self.repository.merge({"id": experiment_id}, Changes(edits=[edit]), create=False)

    # Files

    def archives(self, experiment: Experiment, checkpoint: Checkpoint | None) -> list[Archive]:
        """Return the archives that hold the files of an experiment, then of its checkpoint.

        If the checkpoint's files were pruned, the experiment's files of the same path are left out. They are from
        before the run, and would be mistaken for the checkpoint's.
        """
        from keepsake.archive.reader import SHORT_TAIL, Archive

        owners = [owner for owner in (experiment, checkpoint) if owner is not None and owner.path]
        without = checkpoint.pruned_path if checkpoint is not None else None
        if not owners:
            if pruned := about_pruned(checkpoint):
                raise DoesNotExist(f"{pruned} Its experiment was recorded without a path.")
            if checkpoint is not None:
                raise DoesNotExist(
                    f"Neither checkpoint {short_id(checkpoint.id)} nor its experiment {short_id(experiment.id)} has "
                    "files. They were recorded without a path."
                )
            raise DoesNotExist(f"Experiment {short_id(experiment.id)} has no files. It was recorded without a path.")
        archives = []
        for owner in owners:
            key = archive_key(experiment.id, owner.id)
            tail = {} if owner is experiment else {"tail": SHORT_TAIL}  # a checkpoint seldom has many files
            frozen = self.view.frozen(experiment.id, owner.id)
            archive = Archive(self.repository.storage, key, frozen, **tail, without=without)
            try:
                _ = archive.has_table
            except DoesNotExist as error:
                raise DoesNotExist(self._missing_files(experiment, owner)) from error
            archives.append(archive)
        return archives

    def open_file(self, experiment: Experiment, checkpoint: Checkpoint | None, path: str) -> BinaryIO:
        """Return one file of a checkpoint, or else of its experiment, as a seekable binary stream."""
        for archive in reversed(self.archives(experiment, checkpoint)):
            try:
                return archive.open(path)
            except DoesNotExist:
                continue
        owner = f"experiment {short_id(experiment.id)}"
        if checkpoint is not None:
            owner = f"checkpoint {short_id(checkpoint.id)} or its experiment"
        names = [file.path for file in self.files(experiment, checkpoint)]
        if pruned := about_pruned(checkpoint):
            raise FileDoesNotExist(f"There is no file {path!r} in {owner}. {pruned}")
        raise FileDoesNotExist(f"There is no file {path!r} in {owner}. {suggestion(path, names)}")

    def files(self, experiment: Experiment, checkpoint: Checkpoint | None) -> list[SavedFile]:
        """Return the files of an experiment, and those of its checkpoint in their place, by path."""
        archives = self.archives(experiment, checkpoint)
        owners = [owner for owner in (experiment, checkpoint) if owner is not None and owner.path]
        found = {
            entry.name: SavedFile(entry.name, entry.size, _local_time(entry.mtime_ns), owner.id)
            for owner, archive in zip(owners, archives, strict=True)
            for entry in archive.entries()
        }
        return [found[name] for name in sorted(found)]

    def _missing_files(self, experiment: Experiment, owner: Experiment | Checkpoint) -> str:
        what = "experiment" if owner is experiment else "checkpoint"
        record = self.view.load(experiment.id)  # `owner` may be from before
        for checkpoint in checkpoints_of(record):
            if checkpoint["id"] == owner.id and (pruned := pruned_of(checkpoint)):
                return f"The files of checkpoint {short_id(owner.id)} ({pruned['path']}) were pruned. Its metrics stay."
        text = f"The files of {what} {short_id(owner.id)} ({owner.path}) are not in the repository"
        fresh = self.view.heartbeats().get(experiment.id)
        if fresh:
            return f"{text} yet. The run is still saving them. Try again later."
        return f"{text}. They were never sent, or were removed. `keepsake sync` on the run's machine may send them."


def _local_time(mtime_ns: int) -> datetime:
    """Return the time of a file. One that no clock shows, as of a damaged file system, is the nearest that one can."""
    microseconds = min(max(mtime_ns // 1000, _EARLIEST), _LATEST)
    return local_datetime(time_text(microseconds / 1e6))


def about_pruned(checkpoint: Checkpoint | None) -> str:
    """Say that the files of a checkpoint were pruned; "" if they were not."""
    if checkpoint is None or not checkpoint.pruned:
        return ""
    return f"The files of checkpoint {short_id(checkpoint.id)} were pruned ({checkpoint.pruned})."


def open_workplace(repository: str | None, directory: Path | None, *, begin: bool = False) -> Workplace:
    """Find a project and its repository, as `find_project` does.

    Raises ConfigNotFound if there is neither a repository nor a project, and RepositoryConfigurationError if one of
    them is wrong.
    """
    config = find_project(directory, repository, begin=begin)
    # A URL in the project's configuration is relative to the project. A URL from the caller is relative to the working
    # directory.
    base = config.directory if repository is None or directory else absolute()
    try:
        return Workplace(config.directory, open_repository(config.repository, base), is_named=repository is not None)
    except RepositoryConfigurationError as error:
        named = bool(os.environ.get(REPOSITORY_VARIABLE))
        source = REPOSITORY_VARIABLE if named else find_config(config.directory)
        if repository is None and source:
            error.args = (f"{source}: {error}",)
        raise


def open_repository(url: str, base: Path | None = None) -> Repository:
    """Return the repository at a URL, without contacting it. A relative URL is relative to `base`."""
    with importing:  # the SDK may be imported by recovery, in a background thread
        return Repository(open_storage(url, base))
