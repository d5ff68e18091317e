"""The threads that bring what a program records into the repository, while it runs and at its end.

Three of them: metrics do not wait for gigabytes, and making what waits safe against a power cut waits for no network.
All are daemons that start early, because no thread can be started while the interpreter ends; safety rests on the
spool, never on a handler.
"""

from __future__ import annotations

import operator
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from keepsake.exceptions import DoesNotExist, KeepsakeError, WriteError
from keepsake.recording.mover import publish, upload
from keepsake.util.console import Progress, say, warn

if TYPE_CHECKING:
    from keepsake.recording.entry import Entry
    from keepsake.repository.repository import Repository
    from keepsake.util.workers import Workers

_RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
_STALL_SECONDS = 20.0  # the end of the program waits as long as bytes move
_LAST_TRIES = 3
_SYNC_SECONDS = 0.5  # a power cut costs no more than the last second
_DUTY = 200  # the pause after publishing, in times that it computed: so it slows less than a hundredth of the calls
_LONGEST_PAUSE = 15.0  # seconds


class _Job:
    """An experiment of this process that is being saved."""

    def __init__(self, entry: Entry, repository: Repository) -> None:
        self.entry = entry
        self.repository = repository
        self.due: dict[str, float] = {}  # step → monotonic time
        self.active: set[str] = set()
        self.failures: dict[str, int] = {}  # step → how often it has failed in a row
        self.errors: dict[str, KeepsakeError] = {}  # step → why it failed last
        self.resting = 0.0  # no publishing before this time
        self.draining = False  # somebody waits
        self.late = False  # something new came while somebody waited
        self.offline = False  # only made safe against a power cut
        self.others = False  # also what other processes left, at the end
        self.tasks: list[Callable[[], None]] = []

    def is_idle(self) -> bool:
        return not (self.due.keys() | self.active) - {"sync"}

    @property
    def error(self) -> KeepsakeError | None:
        """What hinders it now."""
        return next(iter(self.errors.values()), None)


class Saver:
    """The threads of one process and their work."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._last_move = time.monotonic()
        self._progress: Progress | None = None
        self._workers: Workers | None = None

    # From the training loop

    def prepare(self) -> None:
        """Start the threads, which `notify` does if they are not there."""
        with self._changed:
            self._start(files=False)

    def notify(
        self,
        entry: Entry,
        repository: Repository,
        *,
        files: bool = False,
        task: Callable[[], None] | None = None,
        offline: bool = False,
        after: float = 0.0,
    ) -> None:
        """Say that an entry has something new: `files`, a pack among it.

        `task` is called in the background first, and again until it does not raise. `offline`: it is not to be sent.
        `after`: so many seconds may pass before anything is done.
        """
        now = time.monotonic() + after
        with self._changed:
            job = self._jobs.get(entry.id)
            if job is None:
                job = self._jobs[entry.id] = _Job(entry, repository)
            if task is not None:
                job.tasks.append(task)
                job.due["upload"] = now
            self._start(files=files)
            # What is due already, the threads know: waking them costs the caller 0.1 ms
            is_news = task is not None or not job.due.keys() >= {"publish", "sync"}
            job.offline = offline
            if job.draining and threading.current_thread() not in self._threads:
                job.late = True  # nobody waits for what comes now: a thread may checkpoint without end
            elif not offline:
                job.due.setdefault("publish", now if job.draining else max(job.resting, now))
            job.due.setdefault("sync", now + _SYNC_SECONDS)
            if is_news:
                self._changed.notify_all()

    def finish(self, entry: Entry, *, seconds: float | None = None) -> KeepsakeError | None:
        """Wait until an entry is saved, as long as bytes move or for `seconds`; return what hindered it."""
        job = self._jobs.get(entry.id)
        if job is None:
            return None
        self._wait([job], seconds)
        with self._changed:
            if job.is_idle() and not job.error and job.entry.close():
                self._jobs.pop(entry.id, None)
                job.repository.forget(entry.id)
        return job.error

    def finish_all(self, *, seconds: float | None = None) -> list[_Job]:
        """Wait for all entries; return those that still hold something."""
        jobs = [job for job in self._jobs.values() if not job.offline]
        self._wait(jobs, seconds)
        return [job for job in jobs if job.error or not job.is_idle() or not job.entry.close()]

    def _wait(self, jobs: list[_Job], seconds: float | None) -> None:
        started = self._last_move = time.monotonic()
        pending = sum(job.entry.size() for job in jobs)
        with Progress("Saving", pending or None) as progress, self._changed:
            self._progress = progress
            try:
                for job in jobs:
                    job.draining, job.others, job.resting = True, True, 0.0
                    job.failures.clear()
                    job.due = {"publish": 0.0, **dict.fromkeys(job.due, 0.0)}
                self._changed.notify_all()
                while not all(job.is_idle() for job in jobs):
                    now = time.monotonic()
                    left = started + seconds - now if seconds is not None else self._last_move + _STALL_SECONDS - now
                    if left <= 0:
                        break
                    self._changed.wait(min(left, 0.5))
            finally:
                self._progress = None
                for job in jobs:
                    job.draining = False
                    if job.late:
                        job.late = False
                        job.due.setdefault("publish", time.monotonic())
                self._changed.notify_all()

    # In the background

    def _start(self, *, files: bool) -> None:
        if files and self._workers is None:
            from keepsake.util.workers import Workers

            self._workers = Workers()
        if not self._threads:
            for step in (self._publish, self._upload, self._sync):
                thread = threading.Thread(target=self._run, args=(step,), name=f"keepsake{step.__name__}", daemon=True)
                thread.start()
                self._threads.append(thread)

    def _run(self, step: Callable[[_Job], None]) -> None:
        name = step.__name__.strip("_")
        while True:
            with self._changed:
                job = self._next(name)
                del job.due[name]
                job.active.add(name)
            try:
                step(job)
            except DoesNotExist:
                self._gone(job)
            except KeepsakeError as error:
                self._failed(job, name, error)
            except OSError as error:
                where = error.filename or job.entry.directory
                self._failed(job, name, WriteError(f"{where}: {error.strerror or error}"))
            except Exception as error:  # noqa: BLE001 - a bug of ours must not end the thread that saves
                self._failed(job, name, KeepsakeError(f"unexpected {type(error).__name__}: {error}"))
            else:
                job.failures.pop(name, None)
                job.errors.pop(name, None)
            with self._changed:
                job.active.discard(name)
                self._changed.notify_all()

    def _next(self, name: str) -> _Job:
        """Wait for the next job of that step."""
        while True:
            due = [(job.due[name], job) for job in self._jobs.values() if name in job.due]
            if not due:
                self._changed.wait()
                continue
            moment, job = min(due, key=operator.itemgetter(0))
            now = time.monotonic()
            if moment <= now:
                return job
            self._changed.wait(moment - now)

    def _publish(self, job: _Job) -> None:
        started = time.thread_time()  # waiting for a network slows nobody
        publish(job.entry, job.repository, others=job.others)
        now = self._last_move = time.monotonic()
        pause = min(_DUTY * (time.thread_time() - started), _LONGEST_PAUSE)
        job.resting = now + max(job.repository.storage.seconds_between_writes, pause)
        if job.entry.packs():
            with self._changed:
                job.due.setdefault("upload", now)
                self._changed.notify_all()

    @staticmethod
    def _sync(job: _Job) -> None:
        job.entry.sync(packs=job.offline or job.repository.storage.directory is None)

    def _upload(self, job: _Job) -> None:
        while job.tasks:
            job.tasks[0]()
            del job.tasks[0]
        upload(job.entry, job.repository, self._workers, self._moved)

    def _moved(self, count: int) -> None:
        self._last_move = time.monotonic()
        progress = self._progress
        if progress is not None:
            progress.advance(count)

    def _gone(self, job: _Job) -> None:
        if not job.entry.gone:
            warn(f"Experiment {job.entry.id[:7]} was deleted from {job.repository.url}: it is not saved any more")
        job.entry.gone = True
        job.entry.discard()

    def _failed(self, job: _Job, name: str, error: KeepsakeError) -> None:
        if str(error) != str(job.errors.get(name)):
            warn(f"{error}\nIt is kept in {job.entry.directory} and tried again.")
        with self._changed:
            job.errors[name] = error
            failures = job.failures[name] = job.failures.get(name, 0) + 1
            if job.draining and failures >= _LAST_TRIES:
                return
            pause = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS)) - 1]
            job.due.setdefault(name, time.monotonic() + pause)


_saver = Saver()


def saver() -> Saver:
    """Return this process's saver."""
    return _saver


def _after_fork() -> None:
    global _saver
    _saver = Saver()  # threads do not survive a fork; the parent goes on with its own work


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def say_pending(jobs: list[_Job]) -> None:
    """Say what is left in the spool at the end."""
    for job in jobs:
        if not job.entry.gone:
            say(
                f"Experiment {job.entry.id[:7]} is not wholly saved to {job.repository.url} yet. What is left is safe "
                f"in {job.entry.directory}; `keepsake sync`, or the next run here, sends it."
            )
