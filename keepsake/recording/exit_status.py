"""Why the interpreter ends, as far as Python shows it, and how a handler can still change the exit status.

CPython does not show the exit status to handlers of atexit. An uncaught exception leaves a trace (`sys.last_type`),
even with another `sys.excepthook`; SystemExit leaves none. So calls of `sys.exit`, `exit` and `quit` are recorded, and
the outermost frame shows whether the exception really got out. The status of a bare `raise SystemExit(…)` is unknown.
"""

from __future__ import annotations

import builtins
import os
import sys
import threading
from collections.abc import Callable
from functools import partial, wraps
from types import FrameType
from typing import Any

from keepsake.recording.failure import End, end_by
from keepsake.util.fork import in_forked_child
from keepsake.util.garbage import no_collection

_UNKNOWN = object()

_watched = False
_outermost: FrameType | None = None  # of the main thread
_code: object = _UNKNOWN  # the argument of the last sys.exit()


def watch() -> None:
    """Record calls of `sys.exit` and its like from now on."""
    global _watched, _outermost
    _outermost = _bottom(_frame_of_main_thread())
    if not _watched:
        _watched = True
        sys.exit = _noting(sys.exit)
        quitter = type(getattr(builtins, "exit", None))
        if quitter.__name__ == "Quitter":  # of the module `site`; IPython has others
            quitter.__call__ = _noting(quitter.__call__)  # type: ignore[method-assign]


def _noting(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def noting(*arguments: Any, **options: Any) -> Any:
        global _code
        if threading.current_thread() is threading.main_thread():  # in other threads it ends only the thread
            codes = [value for value in (*arguments, *options.values()) if type(value).__name__ != "Quitter"]
            _code = codes[0] if codes else None
        return function(*arguments, **options)

    return noting


def _frame_of_main_thread() -> FrameType | None:
    if threading.current_thread() is threading.main_thread():
        return sys._getframe()
    with no_collection():  # in Python 3.11, sys._current_frames() deadlocks if the garbage collector runs during it
        return sys._current_frames().get(threading.main_thread().ident or 0)


def _bottom(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def end(handled: BaseException | None = None) -> End:
    """Return how the program ends: "finished", "interrupted", "exception: …" with its texts, or "exit …".

    An interactive program survives its exceptions. Call this once, because it drops the outermost frame, which keeps
    the program's objects alive.

    Args:
        handled: the exception that ends a child of multiprocessing, which leaves no trace. At the end of other
            programs, an exception that is being handled means nothing: CatBoost leaves those of its callbacks so.
    """
    global _outermost
    frame, _outermost = _outermost, None
    if "ipykernel" in sys.modules or (hasattr(sys, "ps1") and not _exits_with_error(frame)):
        return End("finished")
    error = getattr(sys, "last_value", None) or handled
    if isinstance(error, BaseException) and not isinstance(error, SystemExit):
        return end_by(error)
    if isinstance(handled, SystemExit):
        return End(describe(handled.code))
    return End(describe(_code) if _has_left(frame) else "finished")


def _exits_with_error(frame: FrameType | None) -> bool:
    """Whether a program with a prompt ends by `sys.exit(1)` or its like.

    `ipython train.py` does that after an exception, and has a prompt all the same. `python -i` shows its prompt later.
    """
    return describe(_code) not in ("exit", "finished") and not sys.flags.inspect and _has_left(frame)


def describe(code: object) -> str:
    """Return how a program ends that exits with that code."""
    if code is _UNKNOWN:
        return "exit"
    status = int(code) & 0xFF if isinstance(code, int) else int(code is not None)  # a message means 1
    return f"exit status {status}" if status else "finished"


def _has_left(frame: FrameType | None) -> bool:
    """Whether an exception has left that frame, the outermost. Without a trace, that is a SystemExit."""
    if frame is None or _bottom(sys._getframe()) is frame:  # it still runs
        return False
    try:
        from opcode import opname
    except ImportError:  # Python was upgraded or removed while the program ran, before `gather` could import it
        return False

    code = frame.f_code.co_code
    return 0 <= frame.f_lasti < len(code) and not opname[code[frame.f_lasti]].startswith("RETURN")


def force(status: int) -> None:
    """Make the program end with that exit status, after the remaining handlers and the flushing of files.

    Nothing changes the status of an interpreter that is ending. So an object in `sys`, the last module to be cleared,
    ends the process when it is deleted. Its class refers to nothing that would keep the program's objects alive.
    """
    ending = type("ExitStatus", (), {"__del__": staticmethod(partial(os._exit, status))})
    sys.keepsake_exit_status = ending()  # type: ignore[attr-defined]


@in_forked_child
def _after_fork() -> None:
    global _outermost, _code
    _outermost, _code = None, _UNKNOWN
