"""What environment variables say about recording."""

from __future__ import annotations

import os
from contextlib import suppress

from keepsake.util.console import once, warn

_OFF = ("", "0", "false", "no", "off")
_NAMES = {  # all of docs/reference/environment.md
    "AUTO", "CACHE", "CAPTURE_OUTPUT", "EXIT_SECONDS", "OFFLINE", "RANK", "REPOSITORY", "SPOOL", "STRICT", "VERBOSE",
}  # fmt: skip
_OF_OLD = ("NO_ANALYTICS",)  # a variable of 0.4.2, without a meaning now; looking for similar names takes 2 ms
_LIKENESS = 0.75
_EXIT_SECONDS = 20.0


def is_on(name: str) -> bool:
    """Whether a variable is set, and to something that does not mean no."""
    value = os.environ.get(name)
    return value is not None and value.strip().lower() not in _OFF


def is_strict() -> bool:
    """Whether failures raise errors (KEEPSAKE_STRICT=1), for tests and pipelines."""
    return is_on("KEEPSAKE_STRICT")


def is_offline() -> bool:
    """Whether to record only on this machine until `keepsake sync` (KEEPSAKE_OFFLINE=1)."""
    return is_on("KEEPSAKE_OFFLINE")


def is_verbose() -> bool:
    """Whether each checkpoint prints a line (KEEPSAKE_VERBOSE=1)."""
    return is_on("KEEPSAKE_VERBOSE")


def is_capturing() -> bool:
    """Whether what runs print is kept unless they say otherwise (KEEPSAKE_CAPTURE_OUTPUT=1)."""
    return is_on("KEEPSAKE_CAPTURE_OUTPUT")


def tell_misspelt() -> None:
    """Warn once of each variable that is probably meant to be one of Keepsake's."""
    for variable in os.environ:
        prefix, _, name = variable.partition("KEEPSAKE_")
        if name and not prefix and name not in _NAMES and name not in _OF_OLD:
            from difflib import get_close_matches

            begun = [known for known in sorted(_NAMES) if known.startswith(name)][:1]  # REPO
            for meant in begun or get_close_matches(name, _NAMES, n=1, cutoff=_LIKENESS):
                once(warn, f"{variable} is set, but is no variable of Keepsake. KEEPSAKE_{meant} is. Correct the name.")


def exit_seconds() -> float:
    """Return how long the end of a program waits without any progress (KEEPSAKE_EXIT_SECONDS)."""
    text = os.environ.get("KEEPSAKE_EXIT_SECONDS") or _EXIT_SECONDS
    with suppress(ValueError):
        if (seconds := float(text)) >= 0:
            return seconds
    once(warn, f"KEEPSAKE_EXIT_SECONDS={text} is no number of seconds, so {_EXIT_SECONDS:g} are used. Correct it.")
    return _EXIT_SECONDS
