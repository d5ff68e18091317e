"""An experiment of this process that is being saved: its due steps and its errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

from keepsake.exceptions import (
    CorruptedArchive,
    CorruptedRepositorySpec,
    IncompatibleRepositoryVersion,
    KeepsakeError,
    MissingRecord,
    NotRemoved,
    OtherRepository,
    RepositoryConfigurationError,
)
from keepsake.recording import heartbeat
from keepsake.util.clock import monotonic

if TYPE_CHECKING:
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry

HURRY_SECONDS = 2.0  # how long Ctrl-C and SIGTERM wait
_RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
_SHORT_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0)  # while a caller waits
_FINAL_TRIES = 2  # attempts after an error that does not pass
_GOODBYES = 3  # attempts to remove a heartbeat

Step = Literal["publish", "upload", "sync", "heartbeat"]
STEPS: tuple[Step, ...] = get_args(Step)
_SAVING: frozenset[Step] = frozenset({"publish", "upload"})

# Errors that do not pass within seconds.
_FINAL = (
    *(RepositoryConfigurationError, IncompatibleRepositoryVersion, CorruptedRepositorySpec, CorruptedArchive),
    *(OtherRepository, MissingRecord, NotRemoved),
    *(PermissionError, NotADirectoryError, FileExistsError),
)


class Job:
    """An experiment of this process that is being saved. The saver's lock guards it."""

    def __init__(self, entry: Entry, repository: Repository) -> None:
        self.entry = entry
        self.repository = repository
        self.lane = repository.url  # jobs of one repository share their threads
        self.due: dict[Step, float] = {}  # monotonic time
        self.active: set[Step] = set()
        self.failures: dict[Step, int] = {}  # how often a step has failed in a row
        self.errors: dict[Step, KeepsakeError] = {}  # the last error of a step
        self.resting = 0.0  # no publishing before this time
        self.waiting = 0  # the number of callers that wait for it
        self.late = False  # whether something new came during a wait
        self.given_up = False  # whether a wait for it ended without success
        self.offline = False  # whether it is only made safe against a power cut
        self.is_left = False  # whether the run goes on in another entry
        self.others = False  # whether journals of other processes are saved too, as at the end
        self.pulse: heartbeat.Pulse | None = None
        self.moved = self.furthest = 0  # bytes sent by this attempt to upload, and by the best of the earlier ones
        self.tasks: list[Callable[[], None]] = []
        self.local_task: Callable[[], None] | None = None  # the one of them that needs no repository

    def begin(self, step: Step) -> None:
        """Mark a step as being done."""
        del self.due[step]
        self.active.add(step)

    def succeed(self, step: Step) -> None:
        """Forget that a step has failed."""
        self.failures.pop(step, None)
        self.errors.pop(step, None)

    def fail(self, step: Step, error: KeepsakeError) -> bool:
        """Let a failed step be tried again, unless that is in vain; return whether its error is news."""
        is_news = str(error) not in map(str, self.errors.values())  # the steps often fail for one reason
        self.errors[step] = error
        failures = self.failures[step] = self.failures.get(step, 0) + 1
        if not (self.waiting and _is_final(error) and failures >= _FINAL_TRIES):
            pauses = _SHORT_RETRY_SECONDS if self.waiting else _RETRY_SECONDS
            self.due.setdefault(step, monotonic() + pauses[min(failures, len(pauses)) - 1])
        return is_news

    def try_again(self) -> None:
        """Let all steps that failed be tried again, though they failed too often for the caller that waited."""
        for step in (step for step, error in self.errors.items() if not isinstance(error, NotRemoved)):
            self.due.setdefault(step, monotonic() + _RETRY_SECONDS[0])

    def beat_again(self) -> None:
        """Try a heartbeat again that failed, and a goodbye a few times. The record says how the run ended anyway."""
        now = monotonic()
        if self.pulse is None or not self.pulse.is_leaving:
            self.due.setdefault("heartbeat", now + heartbeat.BEAT_SECONDS)
            return
        failures = self.failures["heartbeat"] = self.failures.get("heartbeat", 0) + 1
        if failures < _GOODBYES:
            self.due.setdefault("heartbeat", now + _SHORT_RETRY_SECONDS[0])
        else:
            self.pulse = None

    def forget(self) -> None:
        """Drop all steps, because the experiment was deleted."""
        for things in (self.due, self.failures, self.errors, self.tasks):
            things.clear()

    def is_idle(self) -> bool:
        """Whether nothing is left to wait for."""
        steps = self.due.keys() | self.active
        is_leaving = self.pulse is not None and self.pulse.is_leaving
        return steps.isdisjoint(_SAVING) and not (is_leaving and "heartbeat" in steps)

    def is_saved(self) -> bool:
        """Whether everything recorded is in the repository, as far as this process knows."""
        failed = {step for step, error in self.errors.items() if not isinstance(error, NotRemoved)}
        return not (self.due.keys() | self.active | failed) & _SAVING

    def is_local(self) -> bool:
        """Whether it does not wait for its repository now, but for programs of this machine, such as nvidia-smi."""
        return bool(self.tasks) and self.tasks[0] is self.local_task

    @property
    def error(self) -> KeepsakeError | None:
        """The error that hinders sending now; None if there is none. A sync only guards against a power cut."""
        errors = (error for step, error in self.errors.items() if step != "sync")
        return next((error for error in errors if not isinstance(error, NotRemoved)), None)


def _is_final(error: BaseException) -> bool:
    """Whether an error will not pass within seconds."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _FINAL):
            return True
        cause = cause.__cause__
    return False
