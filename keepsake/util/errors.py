"""Errors of the system, told from those that a script raises into our calls."""

from __future__ import annotations


def is_the_scripts(error: BaseException) -> bool:
    """Whether a script raised an OSError, such as `TimeoutError("too slow")` in its own handler of a signal.

    It may hit at any line, also right after a call of the system that did its work. So nobody may take it for that
    call's answer. Errors of the system have a number.
    """
    return isinstance(error, OSError) and error.errno is None


def no_thread_can_start(error: BaseException) -> bool:
    """Whether a limit of threads is reached, or the interpreter exits. A script may raise a RuntimeError, too."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error).startswith("can't "))
