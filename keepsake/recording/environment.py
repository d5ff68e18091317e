"""The user, the command and the machine, for the record of an experiment."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from keepsake.recording import secrets
from keepsake.util.console import warn

_WITH_SECRETS = (
    r"\.env(\..+)?|\.netrc|\.pypirc|\.git-credentials|credentials(\.json)?|id_(rsa|dsa|ecdsa|ed25519)|.+\.(pem|p12|pfx)"
)
_warned = False


def user_name() -> str:
    """Return the login name; "" if the system has none, as in some containers."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""


def host_name() -> str:
    """Return the machine's name."""
    if sys.platform == "win32":
        return os.environ.get("COMPUTERNAME", "")
    return os.uname().nodename


def command() -> str:
    """Return `sys.argv` as one would type it, with likely secrets replaced by `***`; in a notebook, its file name."""
    notebook = _notebook()
    given = [notebook] if notebook else getattr(sys, "argv", None) or []
    arguments = secrets.hide_in_command([str(argument) for argument in given])  # a program may have put in a Path
    # A file name need not be valid text.
    return shlex.join(arguments).encode("utf-8", "backslashreplace").decode()


def launch(project_directory: Path) -> dict[str, str]:
    """Return what `command` lacks: the working `directory`, unless it is the project's, and the `module` of `-m`."""
    found = {}
    with suppress(OSError, ValueError):  # no working directory, or another drive
        here = os.getcwd()
        if here != str(project_directory):  # usually it is, and links take long to resolve
            directory = Path(os.path.relpath(os.path.realpath(here), os.path.realpath(project_directory))).as_posix()
            if directory != "." and not directory.startswith(".."):
                found["directory"] = directory
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and isinstance(spec.name, str):
        found["module"] = spec.name.removesuffix(".__main__")
    return found


def _notebook() -> str:
    """Return the path of the running notebook, from the working directory; "" if there is none, or it is unknown.

    VS Code and Jupyter's server tell a kernel the name. In a kernel, `sys.argv` belongs to the launcher.
    """
    if "ipykernel" not in sys.modules:
        return ""
    main = sys.modules.get("__main__")
    file = getattr(main, "__vsc_ipynb_file__", None) or os.environ.get("JPY_SESSION_NAME", "")
    if not isinstance(file, str) or not file.endswith(".ipynb"):  # a console has a session, too
        return ""
    try:
        below = os.path.relpath(file)
    except (OSError, ValueError):  # no working directory, or another drive
        below = os.pardir
    return os.path.basename(file) if below.startswith(os.pardir) else below


def python_version() -> str:
    """Return the interpreter's version, such as "3.11.7"."""
    return ".".join(map(str, sys.version_info[:3]))


def warn_of_secret_files(names: Iterable[str]) -> None:
    """Warn, once per process, if files that usually hold secrets are being saved."""
    global _warned
    has_secrets = re.compile(_WITH_SECRETS).fullmatch
    found = [name for name in names if not _warned and has_secrets(name.rpartition("/")[2])]
    if found:
        _warned = True
        shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
        warn(f"Saved among the files: {shown}. If these hold secrets, name them in .keepsakeignore.")


def without_secrets(params: dict[str, Any]) -> dict[str, Any]:
    """Return params, as they are stored, with likely secrets replaced by `***`, and warn about them."""
    shown, names = secrets.hide_in_params(params)
    if names:
        listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        warn(
            f"These params look like secrets and are recorded as ***: {listed}. "
            "If one is not a secret, give it another name."
        )
    return shown
