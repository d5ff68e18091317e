"""The steps of saving an experiment, and a watch on their progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from keepsake.exceptions import NotRemoved, ReadError
from keepsake.recording import heartbeat
from keepsake.recording.job import Job, Step
from keepsake.recording.mover import publish, upload
from keepsake.util.clock import monotonic

if TYPE_CHECKING:
    from keepsake.util.console import Progress
    from keepsake.util.workers import Workers

_DUTY = 200  # the pause after publishing, as a multiple of its CPU time, so it slows few calls of the training
_LONGEST_PAUSE = 15.0  # seconds

Due = dict[Step, float]  # the steps that follow a step, with their monotonic times


class Steps:
    """The steps. Each takes a job and returns the steps that follow."""

    def __init__(self) -> None:
        self.last_move = monotonic()  # the last time that data arrived in a repository, or a task was done
        self.bars: list[Progress] = []  # the progress bars of waiting callers
        self._workers: Workers | None = None
        self.actions: dict[Step, Callable[[Job], Due]] = {
            "publish": self._publish,
            "upload": self._upload,
            "sync": self._sync,
            "heartbeat": self._beat,
        }

    def prepare_files(self) -> None:
        """Start the threads that compress. It is done early, because none can start while the interpreter exits."""
        if self._workers is None:
            from keepsake.util.workers import Workers

            self._workers = Workers()

    def _publish(self, job: Job) -> Due:
        started = time.thread_time()  # counts CPU time only, because waiting for a network does not slow the training
        try:
            publish(job.entry, job.repository, others=job.others)
        except (NotRemoved, ReadError):  # such as a journal that cannot be removed; it does not hold up the files
            if job.entry.packs():
                job.due.setdefault("upload", monotonic())
            raise
        now = self.last_move = monotonic()
        pause = min(_DUTY * (time.thread_time() - started), _LONGEST_PAUSE)
        job.resting = now + max(job.repository.storage.seconds_between_writes, pause)
        job.given_up = False
        return {"upload": now} if job.entry.packs() or job.entry.logs(live=False) else {}

    def _upload(self, job: Job) -> Due:
        while job.tasks:
            job.tasks[0]()
            del job.tasks[:1]  # a run that was removed meanwhile has none left
            self.last_move = monotonic()
        size = job.entry.size()
        job.moved = 0
        try:
            upload(job.entry, job.repository, self._workers, partial(self._moved, job))
        except BaseException:
            is_less = job.entry.size() < size
            job.furthest = 0 if is_less else max(job.furthest, job.moved)
            raise
        job.furthest = 0
        job.given_up = False
        return {}

    def _moved(self, job: Job, count: int) -> None:
        """Count sent bytes. Bytes that an earlier attempt had already sent do not count as progress."""
        job.moved += count
        if job.moved > job.furthest:
            self.last_move = monotonic()
            for bar in list(self.bars):
                bar.advance(count)

    @staticmethod
    def _sync(job: Job) -> Due:
        job.entry.sync(packs=job.offline or job.repository.storage.directory is None)
        return {}

    @staticmethod
    def _beat(job: Job) -> Due:
        pulse = job.pulse
        if pulse is None:
            return {}
        if pulse.turn():
            return {"heartbeat": monotonic() + heartbeat.BEAT_SECONDS}
        if job.pulse is pulse:
            job.pulse = None
        return {}
