"""The threads that send a program's records to the repository, while it runs and at its end.

Each repository has four threads, one per step. So metrics do not wait for gigabytes, syncing the spool to the disk does
not wait for a network, and a repository that hangs holds up no other one. All are daemons and start early, because no
thread can start while the interpreter exits. Safety rests on the spool, never on a handler.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError, Removed, WriteError
from keepsake.recording import heartbeat, lane
from keepsake.recording.job import HURRY_SECONDS, STEPS, Job, Step
from keepsake.recording.mover import as_ours, give_up
from keepsake.recording.steps import Due, Steps
from keepsake.recording.switches import exit_seconds
from keepsake.util.clock import monotonic
from keepsake.util.console import Progress, say, warn
from keepsake.util.errors import suppress
from keepsake.util.fork import hold_forks, in_forked_child
from keepsake.util.ids import short_id

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry

hold_forks()

_SYNC_SECONDS = 0.5  # a power cut costs no more than the last second
_IDLE_SECONDS = 60.0  # the threads of a repository without experiments end after this time
_TICK_SECONDS = 0.5
_SILENCE_SECONDS = 3.0  # after this time without progress, a message explains the wait


class Saver:
    """The threads of one process and their work."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        # Taken directly: an exception of a signal's handler in Condition's own methods would leave it locked
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._lanes: dict[str, lane.Lane] = {}  # by the repository's URL
        self._at_work: set[int] = set()  # threads that are doing a step
        self._steps = Steps()

    # From the training loop

    def start_with(self, repository: Repository, task: Callable[[], bool]) -> bool:
        """Start the threads for a repository, as `Lane.start_with` does. `beat` and `notify` start them otherwise."""
        with self._lock:
            return self._lane(repository.url).start_with(task)

    def replace_first(self, repository: Repository) -> None:
        """Replace the thread that `start_with` has started. Its task hangs, and will return False."""
        with self._lock:
            self._lane(repository.url).renew(STEPS[0])

    def notify(
        self,
        entry: Entry,
        repository: Repository,
        *,
        files: bool = False,
        task: Callable[[], None] | None = None,
        local: bool = False,
        offline: bool = False,
        after: float = 0.0,
    ) -> None:
        """Announce that an entry has something new.

        Arguments:
            files: whether a pack is among it.
            task: called in the background first, and again until it does not raise.
            local: whether the task needs no repository.
            offline: whether the entry is not sent.
            after: seconds to wait before any step.
        """
        now = monotonic() + after
        with self._lock:
            job = self._job(entry, repository)
            if task is not None:
                job.tasks.append(task)
                job.local_task = task if local else job.local_task
                job.due["upload"] = now
            if files:
                self._steps.prepare_files()
            self._start(job.lane)
            # Waking the threads costs the caller 0.1 ms, so they are only woken if something becomes due.
            is_news = task is not None or not job.due.keys() >= {"publish", "sync"}
            job.offline = offline
            if job.waiting and threading.get_ident() not in self._at_work:
                job.late = True  # the present wait does not include it, because a thread may checkpoint endlessly
            elif not offline:
                job.due.setdefault("publish", now if job.waiting else max(job.resting, now))
            job.due.setdefault("sync", now + _SYNC_SECONDS)
            if is_news:
                self._changed.notify_all()

    def beat(self, entry: Entry, repository: Repository, *, visible: bool) -> None:
        """Beat for an experiment until `leave`. If it beats already, nothing changes."""
        with self._lock:
            job = self._job(entry, repository)
            if job.pulse is None:
                job.pulse = heartbeat.Pulse(entry, repository, visible=visible)
                job.due["heartbeat"] = monotonic() + heartbeat.BEAT_SECONDS
                self._start(job.lane)
                self._changed.notify_all()

    def leave(self, experiment_id: str) -> None:
        """Stop beating for an experiment, and remove its heartbeat in the background."""
        with self._lock:
            job = self._jobs.get(experiment_id)
            if job is not None and job.pulse is not None:
                job.pulse.leave()
                job.due["heartbeat"] = 0.0
                self._changed.notify_all()

    def finish(self, entry: Entry) -> KeepsakeError | None:
        """Wait until an entry is saved, as long as there is progress; return any error."""
        job = self._jobs.get(entry.id)
        if job is None:
            return None
        self._wait([job], None)
        if job.is_idle() and not job.error and _close(job.entry):
            with self._lock:
                if job.is_idle():  # nothing new has come meanwhile
                    self._jobs.pop(entry.id, None)
                    job.repository.forget(entry.id)
        if job.error is None and not job.is_saved():
            if job.is_local():
                return WriteError("The disk that Python's packages are on does not answer. Check it.")
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
        started = self._steps.last_move = monotonic()
        patience = exit_seconds()
        if jobs and all(job.given_up or job.is_idle() for job in jobs):
            patience = min(patience, HURRY_SECONDS)  # an earlier wait had no success
        was_told = False
        with Progress("Saving", _pending(jobs)) as progress:
            self._steps.bars.append(progress)
            try:
                self._hurry(jobs, start=seconds is None)
                while True:
                    now = monotonic()
                    left = self._steps.last_move + patience - now if seconds is None else started + seconds - now
                    with self._lock:
                        if left <= 0 or all(job.is_idle() for job in jobs):
                            break
                        self._changed.wait(min(left, _TICK_SECONDS))
                    if seconds is None:
                        progress.advance(0)  # draws the bar even while nothing moves
                        was_told = was_told or self._explain(jobs, patience)
                        self._help(jobs)
            finally:
                self._steps.bars.remove(progress)
                self._relax(jobs)

    def _hurry(self, jobs: list[Job], *, start: bool) -> None:
        """Make all steps due now, because a caller waits.

        `start`: also start missing threads. A signal's handler must not do that, because it may have interrupted the
        start of a thread.
        """
        with self._lock:
            for job in jobs:
                job.waiting += 1
                job.others, job.resting = True, 0.0
                job.failures.clear()
                for step in STEPS:
                    if step == "publish" or (step in job.due and step != "heartbeat"):
                        job.due[step] = 0.0
                if start:
                    self._start(job.lane, at_once=True)
            self._changed.notify_all()

    def _relax(self, jobs: list[Job]) -> None:
        """Continue in the background, because the caller no longer waits."""
        with self._lock:
            now = monotonic()
            for job in jobs:
                job.waiting = max(0, job.waiting - 1)
                job.given_up = not job.is_saved()
                if job.late:
                    job.late = False
                    job.due.setdefault("publish", now)
                job.try_again()
            self._changed.notify_all()

    def _explain(self, jobs: list[Job], patience: float) -> bool:
        """Explain the wait in a message if nothing has moved for a while; return whether it was printed."""
        if monotonic() - self._steps.last_move < min(_SILENCE_SECONDS, patience / 2):
            return False
        job = next((job for job in jobs if not (job.is_idle() or job.given_up)), None)
        if job is None or job.is_local():
            return False
        reason = "The reason is given above." if job.error else "It does not answer."
        say(
            f"Waiting for {job.repository.url}, at most {patience:g} s without progress (KEEPSAKE_EXIT_SECONDS). "
            f"{reason}\n"
            f"Ctrl-C ends the wait. Unsent parts stay safe in {job.entry.directory}."
        )
        return True

    def _help(self, jobs: list[Job]) -> None:
        """Do the due steps of threads that the system refuses to start."""
        for job in jobs:
            for step, loop in self._lanes[job.lane].loops.items():
                with self._lock:
                    if loop.runs or job.due.get(step, float("inf")) > monotonic():
                        continue
                    job.begin(step)
                self._perform(job, step)

    # In the background

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
            job.entry.gone = True
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
        if is_news:
            warn(f"{error}\nThe run is kept in {job.entry.directory}, and sending is tried again.")
        error.is_told = True


def _pending(jobs: Iterable[Job]) -> int | None:
    """Return the number of bytes in waiting files, for the progress bar."""
    with suppress(OSError):
        return sum(job.entry.size() for job in jobs) or None
    return None


def _close(entry: Entry) -> bool:
    """Remove an entry if nothing waits in it. After an error, the next recovery does it."""
    with suppress(OSError, KeepsakeError):
        return entry.close()
    return False


_saver = Saver()


def saver() -> Saver:
    """Return this process's saver."""
    return _saver


@in_forked_child
def _after_fork() -> None:
    global _saver
    _saver = Saver()  # threads do not survive a fork, and the parent continues its own work


def say_pending(jobs: Iterable[Job]) -> None:
    """Report the experiments that are left in the spool at the end."""
    for job in jobs:
        if not job.entry.gone:
            say(
                f"Experiment {short_id(job.entry.id)} is not fully saved to {job.repository.url} yet. The rest is safe "
                f"in {job.entry.directory}. `keepsake sync`, or the next run here, sends it."
            )
