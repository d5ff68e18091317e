"""The runs of this process, and how each ends: `stop()`, the end of the program, an exception, Ctrl-C or a signal."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError
from keepsake.metadata import time_text, valid_id
from keepsake.recording import exit_status, signals
from keepsake.recording.job import HURRY_SECONDS
from keepsake.recording.recovery import Recovery
from keepsake.recording.saver import saver, say_pending
from keepsake.util.console import warn
from keepsake.util.fork import in_forked_child

if TYPE_CHECKING:
    from keepsake.recording.run import Run
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry

_RECOVERY_SECONDS = 10.0
_GRACE_SECONDS = 300.0  # a program that ends so soon after another handler heard SIGTERM was ended by that

_running: dict[str, Run] = {}
_reasons: dict[str, str] = {}  # why a run ends, if that is known before the program's end
_recoveries: dict[Path, Recovery] = {}  # by spool
_installed = False
_signalled = float("-inf")  # when another handler heard SIGTERM last, and called ours


def is_strict() -> bool:
    """Whether failures are to raise (KEEPSAKE_STRICT=1), as tests and pipelines want it."""
    return os.environ.get("KEEPSAKE_STRICT", "") not in ("", "0")


def is_offline() -> bool:
    """Whether to record on this machine only (KEEPSAKE_OFFLINE=1), until `keepsake sync`."""
    return os.environ.get("KEEPSAKE_OFFLINE", "") not in ("", "0")


def begin(run: Run) -> None:
    """Take note of a run, to end it with the program."""
    _running[run.entry.id] = run
    watch()


def running() -> list[str]:
    """Return the IDs of the experiments that this process has begun and not ended."""
    return list(_running)


def watch() -> None:
    """See to it that the end of the program saves what waits."""
    global _installed
    signals.listen(
        _end_by_signal, _save_for_other_handler
    )  # each time: the first may have come from a thread, which cannot
    if _installed:
        return
    _installed = True
    exit_status.watch()
    atexit.register(_at_exit)
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _at_child_exit, exitpriority=0)  # forked ones end without what is registered with atexit
        is_ours = signals.is_handled(signal.SIGTERM)
        if is_ours and processes.current_process().daemon and sys.platform != "win32":
            signals.hear_in_pool()


def recover_in_background(entry: Entry, open_repository: Callable[[str], Repository]) -> None:
    """Finish what others than `entry` left in its spool; the end of the program waits for that, but not for long."""
    root = entry.directory.parent
    with suppress(OSError):
        if not any(valid_id(name) and name != entry.id for name in os.listdir(root)):
            return
    recovery = _recoveries.get(root)
    if recovery is None or not recovery.is_under_way:
        with suppress(RuntimeError):  # no thread can be started: the next run recovers
            _recoveries[root] = Recovery(root, entry.repository, open_repository)


def blame(experiment_id: str, error: BaseException) -> None:
    """Take note that `error` ends a run: a trainer caught it, so that the end of the program may not show it."""
    name = type(error).__name__
    reason = "terminated" if name == "SIGTERMException" else f"exception: {name}"  # as Lightning calls it
    if isinstance(error, SystemExit):
        reason = exit_status.describe(error.code)
    _reasons[experiment_id] = "interrupted" if isinstance(error, KeyboardInterrupt) else reason


def end(run: Run, reason: str) -> KeepsakeError | None:
    """Save what waits of a run, and return what hindered that; end it, if this process began it.

    Its record says how it ended, and its heartbeat goes. An interrupted one does not wait long.
    """
    entry, error = run.entry, None
    reason = _reasons.get(entry.id, reason)
    if entry.id in _running:
        _say_goodbye(run, reason)
    if reason == "interrupted":
        say_pending(saver().finish_all(seconds=HURRY_SECONDS))
    elif not is_offline():
        error = saver().finish(entry)
    is_saved = _close(entry)
    run.say_end(is_saved=is_saved and error is None)
    return error


def _say_goodbye(run: Run, reason: str) -> None:
    entry = run.entry
    run.ending = {"ended": time_text(), "end_reason": reason}
    try:
        entry.append({"experiment": run.ending})
    except Exception as error:  # noqa: BLE001 - such as a full disk: what waits is saved all the same
        warn(str(error) or type(error).__name__)
    if not is_offline():
        saver().notify(entry, run.repository)
    saver().leave(entry.id)
    _running.pop(entry.id, None)  # not before: a signal's handler may come between, and say it then
    _reasons.pop(entry.id, None)


def _close(entry: Entry) -> bool:
    """Remove an entry in which nothing waits, and return whether that is so; if it fails, the next recovery does it."""
    with suppress(OSError, KeepsakeError):
        if entry.close():
            return True
        entry.rest()
    return False


def _end_all(reason: str, seconds: float | None) -> bool:
    """End all runs and save what waits, in all within `seconds` if given; return whether all is saved."""
    deadline = None if seconds is None else time.monotonic() + seconds
    runs = list(_running.values())
    for run in runs:
        is_own = reason.startswith(("exception", "interrupted", "terminated"))
        _say_goodbye(run, reason if is_own else _reasons.get(run.entry.id, reason))
    left = saver().finish_all(seconds=None if deadline is None else max(0.0, deadline - time.monotonic()))
    patience = time.monotonic() + _RECOVERY_SECONDS if deadline is None else deadline
    for recovery in list(_recoveries.values()):
        recovery.wait(max(0.0, patience - time.monotonic()))
    for run in runs:
        is_saved = _close(run.entry)
        run.say_end(is_saved=is_saved and all(job.entry is not run.entry for job in left))
    say_pending(left)
    return not left


def _at_exit() -> None:
    """End the runs with the program; in strict mode, what is not saved makes its exit status 1 if that was 0."""
    reason = _reason()
    saved = _end_with_program(reason)
    if not saved and is_strict() and reason in ("finished", "terminated", "exit"):
        exit_status.force(1)
    if reason == "interrupted":
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102 - so CPython ends by SIGINT; what was imported made it forget


def _at_child_exit() -> None:
    """Do the same for a child of multiprocessing, whose exit status an exception does change."""
    reason = _reason()
    if not _end_with_program(reason) and is_strict() and reason == "finished":
        raise SystemExit(1)


def _reason() -> str:
    reason = exit_status.reason()
    return "terminated" if time.monotonic() - _signalled < _GRACE_SECONDS else reason


def _end_with_program(reason: str) -> bool:
    """End all runs and return whether all is saved; nothing is raised."""
    atexit.unregister(_at_exit)  # a forked child may have inherited one
    is_interrupted = "interrupted" in (reason, *_reasons.values())
    try:
        return _end_all(reason, HURRY_SECONDS if is_interrupted else None)
    except KeyboardInterrupt:
        left = saver().finish_all(seconds=0)
        say_pending(left)
        return not left
    except Exception as error:  # noqa: BLE001 - such as one of the spool's disk
        warn(f"Not all may be saved: {error}. What waits is safe; `keepsake sync`, or the next run here, goes on.")
        return False


def _end_by_signal() -> None:
    _end_all("terminated", HURRY_SECONDS)


def _save_for_other_handler() -> None:
    """Save what waits: nobody knows whether the program goes on, as it does when a job is queued again, or how long."""
    global _signalled
    _signalled = time.monotonic()
    saver().finish_all(seconds=HURRY_SECONDS)


@in_forked_child
def _after_fork() -> None:
    global _installed, _signalled
    _running.clear()  # only the process that began a run ends it
    _reasons.clear()
    _recoveries.clear()
    _installed = False
    _signalled = float("-inf")
