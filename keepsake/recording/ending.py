"""The runs of this process, and how each ends: `stop()`, the end of the program, an exception, Ctrl-C or a signal."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError
from keepsake.recording import exit_status, signals, switches
from keepsake.recording.failure import End, end_by
from keepsake.recording.job import HURRY_SECONDS
from keepsake.recording.recovery import Recovery
from keepsake.recording.saver import saver, say_pending
from keepsake.util.clock import monotonic
from keepsake.util.console import warn
from keepsake.util.errors import is_the_scripts, no_thread_can_start, suppress
from keepsake.util.fork import in_forked_child
from keepsake.util.ids import short_id

if TYPE_CHECKING:
    from keepsake.recording.run import Run
    from keepsake.repository.repository import Repository
    from keepsake.spool.entry import Entry

_RECOVERY_SECONDS = 10.0
_GRACE_SECONDS = 300.0  # a program that ends this soon after a SIGTERM was ended by it

_running: dict[str, Run] = {}
_ends: dict[str, End] = {}  # how a run ends, if known before the program's end
_held: dict[str, list[Callable[[], None]]] = {}  # by run, functions that record the values held back
_recoveries: dict[Path, Recovery] = {}  # by spool
_begun = 0
_installed = False
_is_over = False  # whether the end of the program has ended the runs
_signalled = float("-inf")  # when a signal last ended the runs, or another handler of SIGTERM called ours


def begin(run: Run) -> None:
    """Register a run, to end it with the program."""
    global _begun
    _begun += 1
    _running[run.entry.id] = run
    watch()


def begun() -> int:
    """Return how many runs this process has begun or gone on with."""
    return _begun


def running() -> list[str]:
    """Return the IDs of the experiments that this process has begun and not yet ended."""
    return list(_running)


def unattended() -> list[str]:
    """Return the IDs of running experiments that only the script ends, and no callback of a framework."""
    return [id for id in _running if id not in _held]


def watch() -> None:
    """Make sure that the end of the program saves everything that waits."""
    global _installed
    # Each call tries again, because a thread other than the main one cannot install a handler.
    signals.listen(_end_by_signal, _save_for_other_handler)
    if _installed:
        return
    _installed = True
    exit_status.watch()
    atexit.register(_at_exit)
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _at_child_exit, exitpriority=0)  # forked children skip the handlers of atexit
        is_ours = signals.is_handled(signal.SIGTERM)
        if is_ours and processes.current_process().daemon:
            signals.hear_in_pool()


def save_if_over() -> None:
    """Save what was just recorded if nothing else will: a handler of atexit may be called after the one here."""
    if _is_over:
        say_pending(saver().finish_all())


def others_wait(entry: Entry, roots: list[Path]) -> bool:
    """Whether other entries may be in the spools of a project."""
    return any(_is_waiting_in(root, entry.id) for root in roots)


def _is_waiting_in(root: Path, own: str) -> bool:
    try:
        return not set(os.listdir(root)) <= {own, "repositories.json"}
    except FileNotFoundError:
        return False
    except OSError as error:
        if is_the_scripts(error):
            raise
        return True


def recover_in_background(entry: Entry, roots: list[Path], open_repository: Callable[[str], Repository]) -> None:
    """Finish the other entries of these spools. The end of the program waits for that, but not long."""
    root = entry.directory.parent
    recovery = _recoveries.get(root)
    if recovery is None or not recovery.is_under_way:
        try:
            _recoveries[root] = Recovery(entry, roots, open_repository)
        except RuntimeError as error:
            if not no_thread_can_start(error):
                raise
            # The next run recovers


def blame(experiment_id: str, error: BaseException) -> None:
    """Record that `error` ends a run. A trainer may have caught it, and the end of the program would not show it."""
    if isinstance(error, SystemExit):
        _ends[experiment_id] = End(exit_status.describe(error.code))
    elif not isinstance(error, GeneratorExit):  # a generator that is closed has not failed
        _ends[experiment_id] = end_by(error)


def terminate(experiment_id: str) -> None:
    """Record that a signal ends a run, though its program goes on to its end."""
    _ends[experiment_id] = End("terminated")


def forgive(experiment_id: str) -> None:
    """Take back what `blame` recorded of a run: it goes on after that error. A signal still ends it."""
    if (how := _ends.get(experiment_id)) is not None and how.error:
        del _ends[experiment_id]


def before_end(experiment_id: str, action: Callable[[], None]) -> None:
    """Call `action` before a run of this process ends in any way. It records values that are held back until then.

    Actions are called in order. One may be called several times. After a signal, it must not wait for another thread.
    """
    _held.setdefault(experiment_id, []).append(action)


def _record_held(experiment_id: str) -> None:
    for action in _held.get(experiment_id, ()):
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the run ends anyway
            warn(
                f"The last values of experiment {short_id(experiment_id)} may be missing: "
                f"{(str(error) or type(error).__name__).rstrip('.')}. All before them is saved."
            )


def end(run: Run, reason: str) -> KeepsakeError | None:
    """Save the unsent parts of a run, and return any error. End the run if this process began it.

    Its record gets its end, and its heartbeat is removed. An interrupted run does not wait long.
    """
    entry, error = run.entry, None
    how = _ends.get(entry.id, End(reason))
    if entry.id in _running:
        _say_goodbye(run, how)
    if how.reason == "interrupted":
        say_pending(saver().finish_all(seconds=HURRY_SECONDS))
    elif not switches.is_offline():
        error = saver().finish(entry.id)
    is_saved = _close(entry)
    run.say_end(is_saved=is_saved and error is None)
    return error


def _say_goodbye(run: Run, how: End) -> None:
    entry = run.entry
    _record_held(entry.id)
    _held.pop(entry.id, None)
    if run.output is not None:
        run.output.end(hurry=how.reason in ("interrupted", "terminated"))
    run.ending = how.fields()
    try:
        run.change(run.ending)
    except Exception as error:  # noqa: BLE001 - such as a full disk; the other parts are saved anyway
        warn(str(error) or type(error).__name__)
    if not switches.is_offline():
        saver().notify(entry, run.repository)
    saver().leave(entry.id)
    _running.pop(entry.id, None)  # last, so a signal's handler that interrupts this ends the run again
    _ends.pop(entry.id, None)


def _close(entry: Entry) -> bool:
    """Remove an entry if nothing waits in it; return whether that was so. After an error, the next recovery does it."""
    with suppress(OSError, KeepsakeError):
        if entry.close():
            return True
        entry.rest()
    return False


def _end_all(how: End, seconds: float | None) -> bool:
    """End all runs and save their unsent parts, within `seconds` if given; return whether all is saved."""
    deadline = None if seconds is None else monotonic() + seconds
    runs = list(_running.values())
    for run in runs:
        is_certain = how.reason.startswith(("exception", "interrupted", "terminated"))
        _say_goodbye(run, how if is_certain else _ends.get(run.entry.id, how))
    left = saver().finish_all(seconds=None if deadline is None else max(0.0, deadline - monotonic()))
    patience = monotonic() + _RECOVERY_SECONDS if deadline is None else deadline
    for recovery in list(_recoveries.values()):
        recovery.wait(max(0.0, patience - monotonic()))
    for run in runs:
        is_saved = _close(run.entry)
        run.say_end(is_saved=is_saved and all(job.entry.id != run.entry.id for job in left))
    say_pending(left)
    return not left


def _at_exit() -> None:
    """End the runs with the program. In strict mode, unsaved parts turn the exit status 0 into 1."""
    how = _end_of_program()
    saved = _end_with_program(how)
    if not saved and switches.is_strict() and how.reason in ("finished", "terminated", "exit"):
        exit_status.force(1)
    if how.reason == "interrupted":
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102 - makes CPython end by SIGINT even after our imports


def _at_child_exit() -> None:
    """Do the same for a child of multiprocessing. Here an exception changes the exit status."""
    how = _end_of_program(sys.exc_info()[1])
    if not _end_with_program(how) and switches.is_strict() and how.reason == "finished":
        raise SystemExit(1)


def _end_of_program(handled: BaseException | None = None) -> End:
    how = exit_status.end(handled)
    return End("terminated") if is_signalled() else how


def is_signalled() -> bool:
    """Whether a signal is about to end the program. It may have interrupted whoever holds any lock."""
    return monotonic() - _signalled < _GRACE_SECONDS


def _end_with_program(how: End) -> bool:
    """End all runs and return whether all is saved. No error is raised."""
    global _installed, _is_over
    atexit.unregister(_at_exit)  # a forked child may have inherited one
    _installed, _is_over = False, not threading.main_thread().is_alive()  # a program may call the handlers itself
    is_interrupted = any(each.reason == "interrupted" for each in (how, *_ends.values()))
    try:
        try:
            return _end_all(how, HURRY_SECONDS if is_interrupted else None)
        except (KeyboardInterrupt, SystemExit):  # the latter of the script's own handler of a signal
            return _end_all(how, 0)
    except Exception as error:  # noqa: BLE001 - such as an error of the spool's disk
        reason = str(error).rstrip(".")
        warn(
            f"The end of the run failed: {reason}. What was recorded waits on this machine, but what was being written "
            "just then may be missing. `keepsake sync`, or the next run, sends the rest."
        )
        return False


def _end_by_signal() -> None:
    global _signalled
    _signalled = monotonic()
    _end_all(End("terminated"), HURRY_SECONDS)


def _save_for_other_handler() -> None:
    """Save all unsent parts, because nobody knows whether the program goes on, for example to be queued again."""
    global _signalled
    _signalled = monotonic()
    for experiment_id in list(_held):
        _record_held(experiment_id)
    saver().finish_all(seconds=HURRY_SECONDS)


@in_forked_child
def _after_fork() -> None:
    global _begun, _installed, _is_over, _signalled
    _begun = 0
    _running.clear()  # only the process that began a run ends it
    _ends.clear()
    _held.clear()
    _recoveries.clear()
    _installed = _is_over = False
    _signalled = float("-inf")
