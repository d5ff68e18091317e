"""The beginning of an experiment: what init() does in the caller's thread, and what it leaves for later."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError, MissingRepository, WriteError
from keepsake.metadata import Record
from keepsake.packages import get_imported_packages
from keepsake.recording import ending
from keepsake.recording.entry import Entry
from keepsake.recording.environment import warn_of_secret_files
from keepsake.recording.journal import Changes
from keepsake.recording.saver import saver
from keepsake.recording.spool import known_identity, remember_identity, spool_root
from keepsake.util.console import warn
from keepsake.util.fork import importing

if TYPE_CHECKING:
    from keepsake.project import Project
    from keepsake.repository.repository import Repository

_DEADLINE_SECONDS = 15.0
_GRACE_SECONDS = 0.05  # in which init() returns, undisturbed by threads that take turns with it


def begin_experiment(project: Project, record: Record, modules: list[str], *, disable_heartbeat: bool) -> Entry:
    """Record a new experiment and return its entry in the spool; if that fails, nothing of it is left anywhere.

    `modules` are those that were imported at the beginning, whenever their versions are looked up.
    """
    repository, directory = project._repository, project._directory
    root = spool_root(directory)
    before = known_identity(root, repository.url)
    entry = Entry.create(root, record, repository.url, in_repository=False, identity=before)
    try:
        if record["path"]:
            from keepsake.archive.pack import check_room
            from keepsake.archive.writer import freeze

            check_room(entry.directory)
            frozen = freeze(directory, record["path"], entry.directory, record["id"])
            warn_of_secret_files(entry.name for entry in frozen.entries)
        if not ending.is_offline():
            _publish_first(repository, entry, beat=not disable_heartbeat)
            if disable_heartbeat:  # a listing would go by the spool, and show it as running
                entry.write_record(durable=False)
    except BaseException:
        entry.discard()
        raise
    ending.begin(entry, repository)
    saver().beat(entry, repository, visible=not (disable_heartbeat or ending.is_offline()))
    _gather_later(project, entry, repository, modules, files=bool(record["path"]))
    return entry


def _publish_first(repository: Repository, entry: Entry, *, beat: bool) -> None:
    """Publish a new experiment, unless the disk of the repository that was used before is not mounted."""
    root, before = entry.directory.parent, entry.identity
    try:
        _publish_within_deadline(repository, entry, beat=beat)
    except MissingRepository as error:
        warn(
            f"{error} This project has used one there before, so no new one is made. Experiment {entry.id[:7]} is kept "
            f"in {entry.directory} until that is back; then `keepsake sync`, or the next run, sends it. "
            f"To begin a new repository there, delete {root / 'repositories.json'}."
        )
        return
    entry.in_repository = True  # the spool need not know it before init() has returned
    if entry.identity is not None:
        remember_identity(root, repository.url, entry.identity)
    if before not in (None, entry.identity):
        warn(f"The repository at {repository.url} is another one than this project used before.")


def _publish(repository: Repository, entry: Entry, *, beat: bool) -> None:
    """Put the experiment into the repository, so that a wrong bucket or a missing right shows here and now."""
    record = entry.record
    entry.identity = repository.ensure(entry.identity)
    repository.merge(record, Changes(), create=True)
    if beat:
        try:
            repository.beat(record["id"])
        except BaseException:
            repository.withdraw(record)
            raise


def _gather_later(project: Project, entry: Entry, repository: Repository, modules: list[str], *, files: bool) -> None:
    def gather() -> None:
        entry.write_record(durable=False)
        with importing:
            packages = get_imported_packages(modules)
            from keepsake.archive import reader as _archive  # noqa: F401 - the first checkpoint() need not wait for these
            from keepsake.archive import writer  # noqa: F401 - the first checkpoint() need not wait for these
        entry.append({"experiment": {"python_packages": packages}})
        saver().notify(entry, repository, files=True)

    if ending.is_offline():
        entry.append({"experiment": {"python_packages": get_imported_packages(modules)}})
    else:
        saver().notify(entry, repository, files=files, task=gather, after=_GRACE_SECONDS)
        ending.recover_in_background(entry, project._open_repository)


def _publish_within_deadline(repository: Repository, entry: Entry, *, beat: bool) -> None:
    """Publish in a thread: a server that hangs must not hang the training."""
    done: list[BaseException | None] = []
    finished, given_up = threading.Event(), threading.Event()

    def run() -> None:
        try:
            _publish(repository, entry, beat=beat)
            done.append(None)
        except BaseException as error:  # noqa: BLE001 - raised by the waiting thread
            done.append(error)
        finished.set()
        if given_up.is_set():
            undo()

    def undo() -> None:
        if done[0] is None:
            with suppress(KeepsakeError):  # why init() fails is said, not that this does
                repository.withdraw(entry.record)

    try:
        threading.Thread(target=run, name="keepsake-init", daemon=True).start()
    except RuntimeError:  # no thread can be started, so there is no deadline
        run()
    try:
        saver().prepare(repository)  # while the disk or the network is at work
        if not finished.wait(_DEADLINE_SECONDS):
            raise WriteError(
                f"{repository.url} does not answer (waited {_DEADLINE_SECONDS:.0f} s). Check the network and the URL; "
                "or set KEEPSAKE_OFFLINE=1 to record on this machine, and send it with `keepsake sync` later"
            )
    except BaseException:  # also Ctrl-C
        given_up.set()
        if finished.is_set():
            undo()
        raise
    error = done[0]
    if error is not None:
        if isinstance(error, KeepsakeError) and not repository.url.startswith("file:"):
            error.args = (f"{error}\nTo record on this machine and send it later, set KEEPSAKE_OFFLINE=1.",)
        raise error
