"""What the threads that save do: the steps that are due, for one experiment after another, and what follows of each."""

from __future__ import annotations

import operator
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError, Removed
from keepsake.recording import lane
from keepsake.recording.job import Job, Step
from keepsake.recording.mover import as_ours, give_up
from keepsake.recording.steps import Due, Steps
from keepsake.util.clock import monotonic
from keepsake.util.console import warn
from keepsake.util.errors import suppress
from keepsake.util.ids import short_id

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry

_IDLE_SECONDS = 60.0  # the threads of a repository without experiments end after this time


class Background:
    """The threads of one process that save, and their work."""

    def __init__(self) -> None:
        self._jobs: dict[Path, Job] = {}  # by the directory of the entry
        # Taken directly: an exception of a signal's handler in Condition's own methods would leave it locked
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._lanes: dict[str, lane.Lane] = {}  # by the repository's URL
        self._at_work: set[int] = set()  # threads that are doing a step
        self._steps = Steps()

    def _job(self, entry: Entry, repository: Repository) -> Job:
        job = self._jobs.get(entry.directory)
        if job is None:
            job = self._jobs[entry.directory] = Job(entry, repository)
        return job

    def _of(self, experiment_id: str) -> list[Job]:
        return [job for job in list(self._jobs.values()) if job.entry.id == experiment_id]

    def leave(self, experiment_id: str) -> None:
        """Stop beating for an experiment, and remove its heartbeat in the background."""
        with self._lock:
            for job in self._of(experiment_id):
                if job.pulse is not None:
                    job.pulse.leave()
                    job.due["heartbeat"] = 0.0
                    self._changed.notify_all()

    def _start(self, url: str, *, at_once: bool = False) -> bool:
        """Start the threads of a repository, as `Lane.start` does."""
        return self._lane(url).start(at_once=at_once)

    def _lane(self, url: str) -> lane.Lane:
        if url not in self._lanes:
            self._lanes[url] = lane.Lane(partial(self._turn, url))
        return self._lanes[url]

    def _turn(self, url: str, step: Step) -> bool:
        """Do a step for the next experiment for which it is due; return False if none is due for a minute."""
        with self._lock:
            job = self._next(url, step)
            if job is None:
                return False
            job.begin(step)
        self._perform(job, step)
        return True

    def _next(self, url: str, step: Step) -> Job | None:
        idle_since = monotonic()
        while True:
            jobs = [job for job in self._jobs.values() if job.lane == url]
            due = [(job.due[step], job) for job in jobs if step in job.due]
            now = monotonic()
            moment, job = min(due, key=operator.itemgetter(0), default=(float("inf"), None))
            if job is not None and moment <= now:
                self._start(url, at_once=True)  # a step that hangs must not keep the others from starting
                return job
            timeout = moment - now
            if not jobs:
                timeout = idle_since + _IDLE_SECONDS - now
                if timeout <= 0:
                    self._lanes[url].renew(step)  # for the next time
                    return None
            elif not self._start(url):
                timeout = min(timeout, lane.REFUSED_SECONDS)
            elif now < (whole_from := self._lanes[url].whole_from):
                timeout = min(timeout, whole_from - now)
            self._changed.wait(None if timeout == float("inf") else timeout)

    def _perform(self, job: Job, step: Step) -> None:
        """Do a step. After any error, it is settled or tried again."""
        error: BaseException | None = None
        due: Due = {}
        self._at_work.add(threading.get_ident())
        try:
            due = self._steps.actions[step](job)
        except BaseException as caught:  # noqa: BLE001 - a bug here must not end the thread that saves
            error = caught
        self._at_work.discard(threading.get_ident())
        try:
            self._settle(job, step, error)
        finally:
            with self._lock:
                job.due = {**due, **job.due}
                job.active.discard(step)
                self._changed.notify_all()
        if isinstance(error, KeyboardInterrupt):  # only the main thread gets one, in `_help`
            raise error

    def _settle(self, job: Job, step: Step, error: BaseException | None) -> None:
        if error is None:
            with self._lock:
                job.succeed(step)
        elif isinstance(error, Removed) and step in ("publish", "upload"):
            self._gone(job)
        elif step == "heartbeat":  # the other steps report a missing repository
            with self._lock:
                job.beat_again()
        else:
            self._failed(job, step, as_ours(error, job.entry))

    def _gone(self, job: Job) -> None:
        """Give up an experiment that the user has removed from the repository."""
        is_news = not job.entry.gone
        with self._lock:
            for each in self._of(job.entry.id):
                each.entry.gone = True
            job.forget()
            self.leave(job.entry.id)
        if is_news:
            warn(f"Experiment {short_id(job.entry.id)} was removed from {job.repository.url}. It is no longer saved.")
        with suppress(OSError, KeepsakeError):  # the next recovery removes the rest
            give_up(job.entry, job.repository)

    def _failed(self, job: Job, step: Step, error: KeepsakeError) -> None:
        if job.entry.gone:
            return
        with self._lock:
            is_news = job.fail(step, error)
        if job.is_left:
            return  # a message has named it, and the end names what is left then
        if is_news:
            warn(f"{error}\nThe run is kept in {job.entry.directory}, and sending is tried again.")
        error.is_told = True
