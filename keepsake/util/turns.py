"""The turns that the threads of a Python process take.

One thread at a time runs Python code. It gives its turn away at each call of the system, and gets it back as soon as
another thread has used up its own, which takes a thread that computes `sys.getswitchinterval()`: 5 ms, if nobody has
changed it. A checkpoint of 1 GB makes thousands of such calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SHORT = 5e-5  # seconds; even shorter turns save nothing more


def in_short_turns(function: Callable[P, T]) -> Callable[P, T]:
    """Let all threads take short turns while the decorated function runs, so that it waits for none of them for long.

    It is for what makes many calls of the system. Others would be slowed by the background, which gets more turns, too.

    Calls in several threads may overlap. Then the turns are as long as before once the first of the calls has ended.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        usual = sys.getswitchinterval()
        if usual <= SHORT:
            return function(*args, **kwargs)
        sys.setswitchinterval(SHORT)
        try:
            return function(*args, **kwargs)
        finally:
            if sys.getswitchinterval() <= SHORT:  # otherwise, the script has set it meanwhile
                sys.setswitchinterval(usual)

    return call
