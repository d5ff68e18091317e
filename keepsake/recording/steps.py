"""What is done for an experiment that is being saved, step by step, and whether anything moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from keepsake.recording import heartbeat
from keepsake.recording.job import Job, Step
from keepsake.recording.mover import publish, upload

if TYPE_CHECKING:
    from keepsake.util.console import Progress
    from keepsake.util.workers import Workers

_DUTY = 200  # the pause after publishing, in times that it computed: so it slows less than a hundredth of the calls
_LONGEST_PAUSE = 15.0  # seconds

Due = dict[Step, float]  # what is to be done after a step, and when in monotonic time


class Steps:
    """The steps. Each takes a job and returns what is due after it."""

    def __init__(self) -> None:
        self.last_move = time.monotonic()  # when something has got into a repository
        self.bars: list[Progress] = []  # of those who wait
        self._workers: Workers | None = None
        self.actions: dict[Step, Callable[[Job], Due]] = {
            "publish": self._publish,
            "upload": self._upload,
            "sync": self._sync,
            "heartbeat": self._beat,
        }

    def prepare_files(self) -> None:
        """Start the threads that compress, if they are not there: none can be started while the interpreter ends."""
        if self._workers is None:
            from keepsake.util.workers import Workers

            self._workers = Workers()

    def _publish(self, job: Job) -> Due:
        started = time.thread_time()  # waiting for a network slows nobody
        publish(job.entry, job.repository, others=job.others)
        now = self.last_move = time.monotonic()
        pause = min(_DUTY * (time.thread_time() - started), _LONGEST_PAUSE)
        job.resting = now + max(job.repository.storage.seconds_between_writes, pause)
        job.given_up = False
        return {"upload": now} if job.entry.packs() else {}

    def _upload(self, job: Job) -> Due:
        while job.tasks:
            job.tasks[0]()
            del job.tasks[:1]  # a run that was removed meanwhile has none left
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
        """Take note of bytes on their way. What an attempt before had sent already is no progress."""
        job.moved += count
        if job.moved > job.furthest:
            self.last_move = time.monotonic()
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
            return {"heartbeat": time.monotonic() + heartbeat.BEAT_SECONDS}
        if job.pulse is pulse:
            job.pulse = None
        return {}
