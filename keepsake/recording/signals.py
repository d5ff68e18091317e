"""SIGTERM and SIGHUP: handlers that end the runs without replacing other handlers."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from keepsake.recording.switches import is_strict
from keepsake.util.errors import of_handler
from keepsake.util.fork import in_forked_child

_NUMBERS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]

_installed: set[int] = set()  # each signal is installed once, so a program can restore the default
_end: Callable[[], object] = bool  # a stand-in until `listen` is called
_save: Callable[[], object] = bool
_fork = threading.local()  # its `mask` is that of the signals before a fork in this thread


def listen(end: Callable[[], object], save: Callable[[], object]) -> None:
    """Install handlers for signals that have the default one. Only the main thread can do this.

    Arguments:
        end: called before a signal ends the process.
        save: called if another handler calls this one. That handler decides how the program goes on.
    """
    global _end, _save
    _end, _save = end, save
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _NUMBERS:
        if number not in _installed and signal.getsignal(number) is signal.SIG_DFL:
            with suppress(ValueError):  # in a subinterpreter
                signal.signal(number, _on_signal)
                _installed.add(number)


def is_handled(number: int) -> bool:
    """Whether this module's handler is installed for a signal."""
    return signal.getsignal(number) is _on_signal


def let_through(error: Exception) -> None:
    """Raise what a script is to get: any error in strict mode, else a timeout that its handler of a signal raised."""
    if is_strict():
        raise error
    if (cause := of_handler(error)) is not None:
        raise cause


def _on_signal(number: int, frame: FrameType | None) -> None:
    if not is_handled(number) or threading.current_thread() is not threading.main_thread():
        _save()  # another handler has called this one
        return
    for other in _NUMBERS:
        if is_handled(other):
            signal.signal(other, signal.SIG_IGN)  # the end is under way
    try:
        _end()
    finally:  # even after a Ctrl-C
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Only process 1 of a container survives this, because its signals have no default action. It exits here.
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(128 + number)


def hear_in_pool() -> None:
    """Let SIGTERM end a worker of a Pool even if it arrives just before the worker waits for its next task.

    The worker waits in C for a lock that is never released, and a Python handler would wait for the end of that call.
    """
    if sys.platform == "win32":
        return  # there, it ends a process at once
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen() -> None:
        while os.read(reader, 1)[0] != signal.SIGTERM:
            pass
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    other = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if other == -1:
        with suppress(RuntimeError):  # no thread can be started
            threading.Thread(target=listen, name="keepsake-sigterm", daemon=True).start()
            return
    signal.set_wakeup_fd(other, warn_on_full_buffer=False)  # another library, such as asyncio, already listens
    os.close(reader)
    os.close(writer)


@in_forked_child
def _after_fork() -> None:
    _installed.clear()
    for number in _NUMBERS:
        if is_handled(number):
            # A Python handler waits forever if the signal arrives just before the child blocks in C. Workers of
            # multiprocessing do that when Pool.terminate() ends them. Their records are safe in the spool.
            signal.signal(number, signal.SIG_DFL)
    _let_signals_through()


def _hold_signals_back() -> None:
    """Hold signals back during a fork. One that came to the child before its default is back would be lost."""
    if sys.platform != "win32":
        _fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS) if any(map(is_handled, _NUMBERS)) else None


def _let_signals_through() -> None:
    if sys.platform != "win32" and (mask := getattr(_fork, "mask", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_signals_back, after_in_parent=_let_signals_through)
