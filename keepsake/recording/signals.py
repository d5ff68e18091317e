"""SIGTERM and SIGHUP: they end the runs, and leave to others what is theirs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from keepsake.util.fork import in_forked_child

_NUMBERS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]

_installed: set[int] = set()  # once each: who sets the default again means it
_end: Callable[[], object] = bool  # until `listen` is called
_save: Callable[[], object] = bool


def listen(end: Callable[[], object], save: Callable[[], object]) -> None:
    """Handle the signals that nobody handles or ignores yet; only the main thread can.

    Arguments:
        end: called before a signal ends the process.
        save: called if another handler calls this one, and decides itself how the program goes on.
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
    """Whether the handler of this module is the one that is installed."""
    return signal.getsignal(number) is _on_signal


def _on_signal(number: int, frame: FrameType | None) -> None:
    if not is_handled(number) or threading.current_thread() is not threading.main_thread():
        _save()  # called by the handler that is installed
        return
    for other in _NUMBERS:
        if is_handled(other):
            signal.signal(other, signal.SIG_IGN)  # it is being done
    try:
        _end()
    finally:  # also after a Ctrl-C meanwhile
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Only process 1 of a container comes here: its signals have no default. The runs have ended, so must it
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(128 + number)


def hear_in_pool() -> None:
    """Let SIGTERM end a worker of a Pool even if it comes just before the worker waits for its next task.

    The worker waits in C for a lock that is never given back, and a handler in Python would wait until that is over.
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
        with suppress(RuntimeError):  # no thread can be started
            threading.Thread(target=listen, name="keepsake-sigterm", daemon=True).start()
            return
    signal.set_wakeup_fd(other, warn_on_full_buffer=False)  # somebody listens already, such as asyncio
    os.close(reader)
    os.close(writer)


@in_forked_child
def _after_fork() -> None:
    _installed.clear()
    for number in _NUMBERS:
        if is_handled(number):
            # A handler in Python waits for ever if the signal comes just before the child blocks in C, as the workers
            # of multiprocessing do that Pool.terminate() ends. What they recorded is in the spool
            signal.signal(number, signal.SIG_DFL)
