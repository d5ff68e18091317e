"""Errors of the system, told from those that a script raises into our calls."""

from __future__ import annotations

import contextlib
import signal
from types import TracebackType
from typing import Any

# No timeout is one of these, and looking for a handler takes 0.1 ms.
_OF_FILES = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


def is_the_scripts(error: BaseException) -> bool:
    """Whether a script raised an error, such as `TimeoutError("too slow")` in its own handler of a signal.

    It may hit at any line, also right after a call of the system that did its work. So nobody may take it for that
    call's answer. Errors of the system have a number. A script's may have one too, but the handler is in its trace.
    """
    return (isinstance(error, OSError) and error.errno is None) or comes_from_handler(error)


def comes_from_handler(error: BaseException) -> bool:
    """Whether a handler of a signal raised an error."""
    called, trace = [], error.__traceback__
    while trace is not None:
        called.append(trace.tb_frame.f_code)
        trace = trace.tb_next
    if len(called) < 2 or isinstance(error, _OF_FILES):  # no handler: a call of the system failed
        return False
    return any(_code(signal.getsignal(number)) in called for number in signal.valid_signals())


def of_handler(error: BaseException | None) -> BaseException | None:
    """Return the error of a signal's handler that is an error, or caused it; None if there is none."""
    while error is not None and not comes_from_handler(error):
        error = error.__cause__
    return error


class suppress(contextlib.suppress):  # noqa: N801 - as in the standard library
    """As in the standard library, but what a script's handler of a signal raises gets through."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        is_suppressed = bool(super().__exit__(kind, error, trace))
        if error is None or not is_suppressed:
            return is_suppressed
        return not is_the_scripts(error) and of_handler(error) is None


def _code(handler: Any) -> object:
    """Return the code that a handler runs; None if it is not one in Python."""
    function = getattr(handler, "func", handler)  # of a partial
    return getattr(function, "__code__", None) or getattr(vars(type(function)).get("__call__"), "__code__", None)


def no_thread_can_start(error: BaseException) -> bool:
    """Whether a limit of threads is reached, or the interpreter exits. A script may raise a RuntimeError, too."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error).startswith("can't "))
