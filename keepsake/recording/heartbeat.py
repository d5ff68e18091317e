"""The heartbeat: one thread per process says every few seconds that its experiments are running."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError

if TYPE_CHECKING:
    from keepsake.recording.entry import Entry
    from keepsake.repository.repository import Repository

BEAT_SECONDS = 5.0
_PATIENCE_SECONDS = 0.5


class Heart:
    """Beats for the experiments of this process, and touches their entries in the spool."""

    def __init__(self) -> None:
        self._beating: dict[str, tuple[Repository, Entry, bool]] = {}
        self._changed = threading.Condition()
        self._beat = threading.Lock()  # held while a heartbeat is written
        self._thread: threading.Thread | None = None

    def start(self, repository: Repository, entry: Entry, *, visible: bool) -> None:
        """Beat for an experiment from now on; not `visible`: only for those who share its spool."""
        with self._changed:
            self._beating[entry.id] = (repository, entry, visible)
        self.prepare()

    def prepare(self) -> None:
        """Start the thread, which `start` does if it is not there."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="keepsake-heartbeat", daemon=True)
                self._thread.start()

    def stop(self, experiment_ids: Iterable[str]) -> None:
        """Beat no more for experiments; a beat that is being written is waited for, but not for long."""
        with self._changed:
            for experiment_id in experiment_ids:
                self._beating.pop(experiment_id, None)
        if self._beat.acquire(timeout=_PATIENCE_SECONDS):
            self._beat.release()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(BEAT_SECONDS)
                beating = list(self._beating.values())
            for repository, entry, visible in beating:
                entry.touch()
                with self._beat:
                    if visible and entry.id in self._beating:
                        self._try(repository, entry.id)

    @staticmethod
    def _try(repository: Repository, experiment_id: str) -> None:
        try:
            repository.beat(experiment_id)
        except KeepsakeError:
            pass  # the saver speaks up when the repository is away; the next beat comes soon


_heart = Heart()


def heart() -> Heart:
    """Return this process's heart."""
    return _heart


def _after_fork() -> None:
    global _heart
    _heart = Heart()  # only the process that began an experiment beats for it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
