"""The threads that bring what a program records into the repository, while it runs and at its end.

Each repository has four, one per step: metrics do not wait for gigabytes, making what waits safe against a power cut
waits for no network, and a repository that hangs holds up no other one. All are daemons that start early, because no
thread can be started while the interpreter ends; safety rests on the spool, never on a handler.
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from keepsake.exceptions import DoesNotExist, KeepsakeError, WriteError
from keepsake.recording import heartbeat
from keepsake.recording.job import HURRY_SECONDS, STEPS, Job, Step, exit_seconds, is_final
from keepsake.recording.mover import as_ours
from keepsake.recording.steps import Due, Steps
from keepsake.util.console import Progress, say, warn
from keepsake.util.fork import in_forked_child
from keepsake.util.ids import short_id
from keepsake.util.loop import Loop

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry

_RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
_SHORT_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0)  # while somebody waits
_FINAL_TRIES = 2  # of what cannot heal by waiting
_SYNC_SECONDS = 0.5  # a power cut costs no more than the last second
_IDLE_SECONDS = 60.0  # the threads of a repository without experiments end after this time
_REFUSED_SECONDS = 5.0  # the pause after the system refused a thread
_TICK_SECONDS = 0.5
_SILENCE_SECONDS = 3.0  # whoever waits is told why after this time without progress


class Saver:
    """The threads of one process and their work."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition()
        self._loops: dict[str, dict[Step, Loop]] = {}  # by the repository's URL
        self._refused = 0.0  # no threads are started before this time
        self._at_work: set[int] = set()  # the threads that are in the middle of a step
        self._steps = Steps()

    # From the training loop

    def prepare(self, repository: Repository) -> None:
        """Start the threads for a repository; `notify` does so too if they are not there."""
        with self._changed:
            self._start(repository.url)

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
            job = self._job(entry, repository)
            if task is not None:
                job.tasks.append(task)
                job.due["upload"] = now
            if files:
                self._steps.prepare_files()
            self._start(job.lane)
            # The threads know what is due already: waking them costs the caller 0.1 ms
            is_news = task is not None or not job.due.keys() >= {"publish", "sync"}
            job.offline = offline
            if job.waiting and threading.get_ident() not in self._at_work:
                job.late = True  # nobody waits for what comes now: a thread may checkpoint without end
            elif not offline:
                job.due.setdefault("publish", now if job.waiting else max(job.resting, now))
            job.due.setdefault("sync", now + _SYNC_SECONDS)
            if is_news:
                self._changed.notify_all()

    def beat(self, entry: Entry, repository: Repository, *, visible: bool) -> None:
        """Beat for an experiment from now on, until `leave`; if it beats already, it goes on as it does."""
        with self._changed:
            job = self._job(entry, repository)
            if job.pulse is None:
                job.pulse = heartbeat.Pulse(entry, repository, visible=visible)
                job.due["heartbeat"] = time.monotonic() + heartbeat.BEAT_SECONDS
                self._start(job.lane)
                self._changed.notify_all()

    def leave(self, experiment_id: str) -> None:
        """Beat no more for an experiment, and take its heartbeat away in the background."""
        with self._changed:
            job = self._jobs.get(experiment_id)
            if job is not None and job.pulse is not None:
                job.pulse.leave()
                job.due["heartbeat"] = 0.0
                self._changed.notify_all()

    def finish(self, entry: Entry) -> KeepsakeError | None:
        """Wait until an entry is saved, as long as there is progress; return what hindered it."""
        job = self._jobs.get(entry.id)
        if job is None:
            return None
        self._wait([job], None)
        if job.is_idle() and not job.error and _close(job.entry):
            with self._changed:
                if job.is_idle():  # nothing has come meanwhile
                    self._jobs.pop(entry.id, None)
                    job.repository.forget(entry.id)
        if job.error is None and not job.is_saved():
            return WriteError(f"{job.repository.url} does not answer. Check the network and the server.")
        return job.error

    def finish_all(self, *, seconds: float | None = None) -> list[Job]:
        """Wait for all entries, as long as there is progress or for `seconds`; return those that are not saved."""
        jobs = [job for job in list(self._jobs.values()) if not job.offline]
        self._wait(jobs, seconds)
        left = [job for job in jobs if not job.is_saved()]
        for job in jobs:
            if job not in left:
                _close(job.entry)
        return left

    def _job(self, entry: Entry, repository: Repository) -> Job:
        job = self._jobs.get(entry.id)
        if job is None:
            job = self._jobs[entry.id] = Job(entry, repository)
        return job

    # Waiting for the end

    def _wait(self, jobs: list[Job], seconds: float | None) -> None:
        started = self._steps.last_move = time.monotonic()
        patience = exit_seconds()
        if jobs and all(job.given_up or job.is_idle() for job in jobs):
            patience = min(patience, HURRY_SECONDS)  # it was waited for before
        was_told = False
        with Progress("Saving", _pending(jobs)) as progress:
            self._steps.bars.append(progress)
            try:
                self._hurry(jobs, start=seconds is None)
                while True:
                    now = time.monotonic()
                    left = self._steps.last_move + patience - now if seconds is None else started + seconds - now
                    with self._changed:
                        if left <= 0 or all(job.is_idle() for job in jobs):
                            break
                        self._changed.wait(min(left, _TICK_SECONDS))
                    if seconds is None:
                        progress.advance(0)  # so it is drawn also while nothing moves
                        was_told = was_told or self._explain(jobs, patience)
                        self._help(jobs)
            finally:
                self._steps.bars.remove(progress)
                self._relax(jobs)

    def _hurry(self, jobs: list[Job], *, start: bool) -> None:
        """Make all steps due now: somebody waits.

        `start`: also start threads that are missing. A signal's handler must not: it may have interrupted just that.
        """
        with self._changed:
            for job in jobs:
                job.waiting += 1
                job.others, job.resting = True, 0.0
                job.failures.clear()
                for step in STEPS:
                    if step == "publish" or (step in job.due and step != "heartbeat"):
                        job.due[step] = 0.0
                if start:
                    self._start(job.lane)
            self._changed.notify_all()

    def _relax(self, jobs: list[Job]) -> None:
        """Go on in the background with what is not saved: nobody waits any more."""
        with self._changed:
            now = time.monotonic()
            for job in jobs:
                job.waiting = max(0, job.waiting - 1)
                job.given_up = not job.is_saved()
                if job.late:
                    job.late = False
                    job.due.setdefault("publish", now)
                for step in job.errors:
                    job.due.setdefault(step, now + _RETRY_SECONDS[0])
            self._changed.notify_all()

    def _explain(self, jobs: list[Job], patience: float) -> bool:
        """Say once what is waited for, if nothing has moved for a while; return whether it is said."""
        if time.monotonic() - self._steps.last_move < min(_SILENCE_SECONDS, patience / 2):
            return False
        job = next((job for job in jobs if not job.is_idle()), None)
        if job is None:
            return False
        say(
            f"Waiting for {job.repository.url} until nothing has moved for {patience:g} s (KEEPSAKE_EXIT_SECONDS). "
            f"{job.error or 'It does not answer.'}\n"
            f"Ctrl-C ends the wait. What is left stays safe in {job.entry.directory}."
        )
        return True

    def _help(self, jobs: list[Job]) -> None:
        """Do here what is due in a thread that the system refuses to start."""
        for job in jobs:
            for step, loop in self._loops.get(job.lane, {}).items():
                with self._changed:
                    if loop.is_alive() or job.due.get(step, float("inf")) > time.monotonic():
                        continue
                    job.begin(step)
                self._perform(job, step)

    # In the background

    def _start(self, lane: str) -> bool:
        """Start the threads of a repository, those too that have died; return whether all run."""
        loops = self._loops.get(lane)
        if loops is None:
            loops = {step: Loop(f"keepsake-{step}", partial(self._turn, lane, step)) for step in STEPS}
            self._loops[lane] = loops
        if all(loop.is_alive() for loop in loops.values()):
            return True
        if time.monotonic() < self._refused:
            return False
        for loop in loops.values():
            if not loop.start():
                self._refused = time.monotonic() + _REFUSED_SECONDS
                return False
        return True

    def _turn(self, lane: str, step: Step) -> bool:
        """Do a step for the next experiment for which it is due; return False if there is none for long."""
        with self._changed:
            job = self._next(lane, step)
            if job is None:
                return False
            job.begin(step)
        self._perform(job, step)
        return True

    def _next(self, lane: str, step: Step) -> Job | None:
        idle_since = time.monotonic()
        while True:
            jobs = [job for job in self._jobs.values() if job.lane == lane]
            due = [(job.due[step], job) for job in jobs if step in job.due]
            now = time.monotonic()
            moment, job = min(due, key=operator.itemgetter(0), default=(float("inf"), None))
            if job is not None and moment <= now:
                return job
            timeout = moment - now
            if not jobs:
                timeout = idle_since + _IDLE_SECONDS - now
                if timeout <= 0:
                    loops = self._loops[lane]
                    loops[step] = Loop(f"keepsake-{step}", partial(self._turn, lane, step))  # for the next time
                    return None
            elif not self._start(lane):
                timeout = min(timeout, _REFUSED_SECONDS)
            self._changed.wait(None if timeout == float("inf") else timeout)

    def _perform(self, job: Job, step: Step) -> None:
        """Do a step. Whatever it raises, the step is done or tried again."""
        error: BaseException | None = None
        due: Due = {}
        self._at_work.add(threading.get_ident())
        try:
            due = self._steps.actions[step](job)
        except BaseException as caught:  # noqa: BLE001 - a bug of ours must not end the thread that saves
            error = caught
        self._at_work.discard(threading.get_ident())
        try:
            self._settle(job, step, error)
        finally:
            with self._changed:
                job.due = {**due, **job.due}
                job.active.discard(step)
                self._changed.notify_all()
        if isinstance(error, KeyboardInterrupt):  # of one who helps
            raise error

    def _settle(self, job: Job, step: Step, error: BaseException | None) -> None:
        if error is None:
            with self._changed:
                job.failures.pop(step, None)
                job.errors.pop(step, None)
        elif isinstance(error, DoesNotExist) and step in ("publish", "upload"):
            self._gone(job)
        elif step == "heartbeat" and not (job.pulse and job.pulse.is_leaving):
            with self._changed:  # the saver speaks up when the repository is away; the next beat comes soon
                job.due.setdefault(step, time.monotonic() + heartbeat.BEAT_SECONDS)
        else:
            self._failed(job, step, as_ours(error, job.entry))

    def _gone(self, job: Job) -> None:
        """Give up an experiment that the user has removed from the repository."""
        is_news = not job.entry.gone
        with self._changed:
            job.entry.gone = True
            job.forget()
            self.leave(job.entry.id)
        if is_news:
            warn(f"Experiment {short_id(job.entry.id)} was removed from {job.repository.url}: it is saved no more.")
        with suppress(OSError, KeepsakeError):  # what cannot be removed now, the next recovery removes
            job.entry.discard()

    def _failed(self, job: Job, step: Step, error: KeepsakeError) -> None:
        if job.entry.gone:
            return
        with self._changed:
            is_news = str(error) != str(job.errors.get(step))
            job.errors[step] = error
            failures = job.failures[step] = job.failures.get(step, 0) + 1
            if not (job.waiting and is_final(error) and failures >= _FINAL_TRIES):
                pauses = _SHORT_RETRY_SECONDS if job.waiting else _RETRY_SECONDS
                job.due.setdefault(step, time.monotonic() + pauses[min(failures, len(pauses)) - 1])
        if is_news:
            warn(f"{error}\nIt is kept in {job.entry.directory} and tried again.")


def _pending(jobs: Iterable[Job]) -> int | None:
    """Return how many bytes of files wait, for the progress bar."""
    try:
        return sum(job.entry.size() for job in jobs) or None
    except OSError:
        return None


def _close(entry: Entry) -> bool:
    """Remove an entry in which nothing waits; if that fails, the next recovery removes it."""
    try:
        return entry.close()
    except (OSError, KeepsakeError):
        return False


_saver = Saver()


def saver() -> Saver:
    """Return this process's saver."""
    return _saver


@in_forked_child
def _after_fork() -> None:
    global _saver
    _saver = Saver()  # threads do not survive a fork; the parent goes on with its own work


def say_pending(jobs: Iterable[Job]) -> None:
    """Say what is left in the spool at the end."""
    for job in jobs:
        if not job.entry.gone:
            say(
                f"Experiment {short_id(job.entry.id)} is not fully saved to {job.repository.url} yet. What is left is "
                f"safe in {job.entry.directory}. `keepsake sync`, or the next run here, sends it."
            )
