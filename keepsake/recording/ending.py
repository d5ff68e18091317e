"""The runs of this process, and how each ends: `stop()`, the end of the program, an exception, Ctrl-C or SIGTERM."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError, WriteError
from keepsake.metadata import time_text
from keepsake.recording.heartbeat import heart
from keepsake.recording.recovery import Recovery
from keepsake.recording.saver import saver, say_pending
from keepsake.util.console import warn

if TYPE_CHECKING:
    from keepsake.recording.entry import Entry
    from keepsake.repository.repository import Repository

_HURRY_SECONDS = 2.0  # all that Ctrl-C and SIGTERM wait
_RECOVERY_SECONDS = 10.0

_running: dict[str, tuple[Entry, Repository]] = {}
_installed = False
_recovery: Recovery | None = None


def is_strict() -> bool:
    """Whether failures are to raise (KEEPSAKE_STRICT=1), as tests and pipelines want it."""
    return os.environ.get("KEEPSAKE_STRICT", "") not in ("", "0")


def is_offline() -> bool:
    """Whether to record on this machine only (KEEPSAKE_OFFLINE=1), until `keepsake sync`."""
    return os.environ.get("KEEPSAKE_OFFLINE", "") not in ("", "0")


def begin(entry: Entry, repository: Repository) -> None:
    """Take note of a run, to end it with the program."""
    _running[entry.id] = (entry, repository)
    watch()


def watch() -> None:
    """See to it that the end of the program saves what waits."""
    global _installed
    if _installed:
        return
    _installed = True
    atexit.register(_at_exit)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _at_exit, exitpriority=0)  # forked ones end without what is registered with atexit
        is_ours = signal.getsignal(signal.SIGTERM) is _on_sigterm
        if is_ours and processes.current_process().daemon and sys.platform != "win32":
            _hear_sigterm()


def _hear_sigterm() -> None:
    """Let SIGTERM end a worker of a Pool even if it comes just before the worker waits for its next task.

    That waits in C for a lock that is never given back, and a handler in Python would wait until that is over.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen() -> None:
        while os.read(reader, 1)[0] != signal.SIGTERM:
            pass
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    other = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if other == -1:
        threading.Thread(target=listen, name="keepsake-sigterm", daemon=True).start()
    else:  # somebody listens already, such as asyncio
        signal.set_wakeup_fd(other, warn_on_full_buffer=False)
        os.close(reader)
        os.close(writer)


def recover_in_background(entry: Entry, open_repository: Callable[[str], Repository]) -> None:
    """Finish what others than `entry` left in its spool; the end of the program waits for that, but not for long."""
    global _recovery
    root = entry.directory.parent
    with suppress(OSError):
        if os.listdir(root) == [entry.id]:
            return
    if _recovery is None or not _recovery.is_under_way:
        _recovery = Recovery(root, entry.repository, open_repository)


def end(entry: Entry, reason: str) -> KeepsakeError | None:
    """Save what waits of a run, and return what hindered that; end it, if this process began it.

    It says so in its record, and lets its heartbeat go.
    """
    if entry.id in _running:
        heart().stop([entry.id])
        _say_goodbye(entry.id, reason)
    error = None if is_offline() else saver().finish(entry)
    if not entry.close():
        entry.rest()
    return error


def _say_goodbye(experiment_id: str, reason: str) -> None:
    entry, repository = _running[experiment_id]
    try:
        entry.append({"experiment": {"ended": time_text(), "end_reason": reason}})
    except WriteError as error:  # a full disk: what waits is to be saved all the same
        warn(str(error))
    if not is_offline():
        saver().notify(entry, repository, task=lambda: repository.end_heartbeat(experiment_id))
    _running.pop(experiment_id, None)  # not before: a signal's handler may come between, and say it then


def _end_all(reason: str, seconds: float | None) -> bool:
    """End all runs and save what waits, in all within `seconds` if given; return whether all is saved."""
    deadline = None if seconds is None else time.monotonic() + seconds
    heart().stop(list(_running))
    entries = [entry for entry, _ in _running.values()]
    for experiment_id in list(_running):
        _say_goodbye(experiment_id, reason)
    left = saver().finish_all(seconds=None if deadline is None else max(0.0, deadline - time.monotonic()))
    if _recovery is not None:
        _recovery.wait(_RECOVERY_SECONDS if deadline is None else max(0.0, deadline - time.monotonic()))
    for entry in entries:
        if not entry.close():
            entry.rest()
    say_pending(left)
    return not left


def _at_exit() -> None:
    atexit.unregister(_at_exit)  # a forked child may have inherited one
    reason = _exit_reason()
    try:
        saved = _end_all(reason, _HURRY_SECONDS if reason == "interrupted" else None)
    except KeyboardInterrupt:
        say_pending(saver().finish_all(seconds=0))
        return
    except OSError as error:  # of the spool's disk
        warn(f"Not all may be saved: {error}. What waits is safe; `keepsake sync`, or the next run here, goes on.")
        saved = False
    if not saved and is_strict():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # nothing else can change the exit status of an interpreter that is ending
    if reason == "interrupted":
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102 - so CPython ends by SIGINT; what was imported made it forget


def _exit_reason() -> str:
    """What brought the program to its end; an interactive one outlives its exceptions."""
    last = getattr(sys, "last_type", None) or sys.exc_info()[0]  # of a child of multiprocessing
    if last in (None, SystemExit) or hasattr(sys, "ps1") or "ipykernel" in sys.modules:
        return "finished"
    return "interrupted" if issubclass(last, KeyboardInterrupt) else f"exception: {last.__name__}"


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # it is being done
    _end_all("terminated", _HURRY_SECONDS)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _after_fork() -> None:
    global _recovery, _installed
    _running.clear()  # only the process that began a run ends it
    _recovery = None
    _installed = False
    if signal.getsignal(signal.SIGTERM) is _on_sigterm:
        # A handler in Python waits for ever if the signal comes just before the child blocks in C, as the workers of
        # multiprocessing do that Pool.terminate() ends. What they recorded is in the spool
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
