"""An import path of Keepsake 0.4.2, for scripts that use it."""

from __future__ import annotations

import os

from keepsake import checks


def check_path(thing: str, path: object) -> list[str]:
    """Return the problems with the path of a thing ("experiment" or "checkpoint"), one text each."""
    problems = checks.check_path(path)
    if isinstance(path, str) and not os.path.exists(path):
        problems.append(f"There is no file or directory {path!r}.")
    return [f"The path of the {thing} is wrong. {problem}" for problem in problems]
