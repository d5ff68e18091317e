"""The system, the processors and the state of Git that a run begins with.

They are looked up in the background, because some need another program. Each has a time limit, and what cannot be found
is left out.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from keepsake.metadata import Record
from keepsake.recording import secrets

_GIT_SECONDS = 2.0
_GPU_SECONDS = 3.0
_CREDENTIALS = re.compile(r"^([A-Za-z][\w+.-]*://)[^/@]*@")
_SHORT_COMMIT = 10


def environment(directory: Path, *, quick: bool) -> Record:
    """Return what can be found out about this machine, and about the Git repository of a project directory.

    `quick`: start no other program.
    """
    parts: dict[str, Callable[[], Any]] = {"python": _python, "os": _system, "cpu": _cpu, "cpus": os.cpu_count}
    if not quick:
        parts |= {"gpus": _gpus, "git": lambda: _git(directory)}
    found = {}
    for name, part in parts.items():
        with suppress(Exception):  # nothing of this is worth an error
            if value := part():
                found[name] = value
    if found.get("gpus") and (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        found["visible_gpus"] = visible
    return found


def facts(environment: object) -> dict[str, str]:
    """Return what a record's environment says, by name, as people read it."""
    if not isinstance(environment, dict):
        return {}
    cpu, count = environment.get("cpu"), environment.get("cpus")
    git, gpus = environment.get("git"), environment.get("gpus")
    git = git if isinstance(git, dict) else {}
    names = list(map(str, gpus)) if isinstance(gpus, list) else []
    shown = {
        "OS": environment.get("os"),
        "CPU": f"{cpu or 'unknown'} ({count} cores)" if isinstance(count, int) else cpu,
        "GPU": ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names)),
        "Git commit": _commit(git),
        "Git branch": git.get("branch"),
        "Git remote": git.get("remote"),
    }
    return {name: value for name, value in shown.items() if isinstance(value, str) and value}


def _commit(git: Record) -> str:
    commit = str(git.get("commit") or "")[:_SHORT_COMMIT]
    return f"{commit} with changes" if commit and git.get("dirty") else commit


def _python() -> str:
    import platform

    return f"{platform.python_implementation()} {platform.python_version()}"


def _system() -> str:
    import platform

    return f"{platform.system()} {platform.release()} {platform.machine()}"


def _cpu() -> str:
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string", seconds=_GIT_SECONDS)
    if sys.platform == "win32":
        return os.environ.get("PROCESSOR_IDENTIFIER", "")
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")


def _gpus() -> list[str]:
    """Return the names of the GPUs, without making a framework look for them."""
    with suppress(OSError, ValueError):
        listed = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader", seconds=_GPU_SECONDS)
        return [line.strip() for line in listed.splitlines() if line.strip()]
    cuda = sys.modules.get("torch.cuda")
    if cuda is not None and cuda.is_initialized():
        return [str(cuda.get_device_name(number)) for number in range(cuda.device_count())]
    return []


def _git(directory: Path) -> Record:
    """Return the commit, the branch, whether files have changed since, and the remote without credentials."""

    def ask(*arguments: str) -> str:
        with suppress(OSError, ValueError):
            # A repository's own settings must not start a program.
            return _output("git", "-C", str(directory), "-c", "core.fsmonitor=false", *arguments, seconds=_GIT_SECONDS)
        return ""

    if not any((place / ".git").exists() for place in (directory, *directory.parents)):
        return {}
    commit = ask("rev-parse", "--verify", "HEAD")
    if not commit:
        return {}
    branch, remote = ask("symbolic-ref", "--short", "HEAD"), ask("config", "--get", "remote.origin.url")
    changes = ask("status", "--porcelain", "--untracked-files=no")
    shown = secrets.hide_in_text(_CREDENTIALS.sub(r"\1", remote))
    return {"commit": commit, "branch": branch, "dirty": bool(changes), "remote": shown}


def _output(*command: str, seconds: float) -> str:
    """Return what a program prints. Raises OSError or ValueError if it is missing, fails or takes too long."""
    import shutil
    import subprocess

    if shutil.which(command[0]) is None:
        raise FileNotFoundError(command[0])
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.SubprocessError as error:
        raise ValueError(command[0]) from error
    return done.stdout.decode("utf-8", "replace").strip()
