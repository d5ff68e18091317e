"""The threads that send a program's records to the repository, while it runs and at its end.

Each repository has four threads, one per step. So metrics do not wait for gigabytes, syncing the spool to the disk does
not wait for a network, and a repository that hangs holds up no other one. All are daemons and start early, because no
thread can start while the interpreter exits. Safety rests on the spool, never on a handler.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError, WriteError
from keepsake.recording import heartbeat
from keepsake.recording.background import Background
from keepsake.recording.job import HURRY_SECONDS, STEPS, Job
from keepsake.recording.switches import exit_seconds
from keepsake.util.clock import monotonic
from keepsake.util.console import Progress, say
from keepsake.util.errors import suppress
from keepsake.util.fork import hold_forks, in_forked_child
from keepsake.util.ids import short_id

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry

hold_forks()

_SYNC_SECONDS = 0.5  # a power cut costs no more than the last second
_TICK_SECONDS = 0.5
_SILENCE_SECONDS = 3.0  # after this time without progress, a message explains the wait


class Saver(Background):
    """The threads of one process that save, as a script and its end see them."""

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

    def move(self, left: Entry, entry: Entry) -> None:
        """Send what waits in an entry that its run has left, while the run goes on in another one."""
        with self._lock:
            before = self._jobs.get(left.directory)
            if before is None:
                return
            before.is_left = True
            if before.pulse is not None:
                self.beat(entry, before.repository, visible=before.pulse.is_visible)
                before.pulse = None
            self.notify(left, before.repository, files=bool(left.packs()), offline=before.offline)

    def finish(self, experiment_id: str) -> KeepsakeError | None:
        """Wait until all that waits of an experiment is saved, as long as there is progress; return any error."""
        jobs = self._of(experiment_id)
        self._wait(jobs, None)
        return next(filter(None, [self._finished(job) for job in jobs]), None)

    def _finished(self, job: Job) -> KeepsakeError | None:
        """Close an entry if it is saved; return the error if not."""
        if job.is_idle() and not job.error and _close(job.entry):
            with self._lock:
                if job.is_idle():  # nothing new has come meanwhile
                    self._jobs.pop(job.entry.directory, None)
                    job.repository.forget(job.entry.id)
        if job.error is None and job.given_up:
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

    # Waiting for the end

    def _wait(self, jobs: list[Job], seconds: float | None) -> None:
        started = self._steps.last_move = monotonic()
        patience = exit_seconds()
        if jobs and all(job.given_up or job.is_idle() for job in jobs):
            patience = min(patience, HURRY_SECONDS)  # an earlier wait had no success
        was_told, busy = False, jobs
        with Progress("Saving", _pending(jobs)) as progress:
            self._steps.bars.append(progress)
            try:
                self._hurry(jobs, start=seconds is None)
                while True:
                    now = monotonic()
                    left = self._steps.last_move + patience - now if seconds is None else started + seconds - now
                    with self._lock:
                        busy = [job for job in jobs if not job.is_idle()]
                        if left <= 0 or not busy:
                            break
                        self._changed.wait(min(left, _TICK_SECONDS))
                    if seconds is None:
                        progress.advance(0)  # draws the bar even while nothing moves
                        was_told = was_told or self._explain(jobs, patience)
                        self._help(jobs)
            finally:
                self._steps.bars.remove(progress)
                self._relax(jobs, busy)

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

    def _relax(self, jobs: list[Job], busy: list[Job]) -> None:
        """Continue in the background, because the caller no longer waits. It has waited in vain for `busy`."""
        with self._lock:
            now = monotonic()
            for job in jobs:
                job.waiting = max(0, job.waiting - 1)
                job.given_up = job in busy
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
