"""Installing the real Keepsake 0.4.2 in an environment of its own, so that its old dependencies never touch ours."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSION = "0.4.2"
# Without the bounds it no longer imports; of grpcio it needs a release that has wheels up to Python 3.12
REQUIREMENTS = [
    f"keepsake=={VERSION}",
    "protobuf<3.21",
    "googleapis-common-protos<1.58",
    "grpcio<1.60",
    "setuptools<80",
    "numpy",  # only for tests of its values
]
OLDEST, NEWEST = (3, 8), (3, 12)
DIRECTORY = Path(__file__).parents[2] / ".cache" / f"keepsake-{VERSION}"
INSTALL_SECONDS = 250


class CannotInstall(Exception):
    """Keepsake 0.4.2 cannot be installed here; the text says why."""


def must_be_there() -> bool:
    """Whether a suite without it is a failure: in CI, on the platform for which 0.4.2 was released."""
    return os.environ.get("CI") == "true" and sys.platform == "linux" and platform.machine() == "x86_64"


def install(directory: Path = DIRECTORY) -> Path:
    """Install Keepsake 0.4.2, unless it is there, and return the directory of its programs. Raises CannotInstall."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.with_name(f"{directory.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go of when this process ends, however it does
        done, programs = directory / ".installed", directory / "bin"
        if not (done.exists() and done.read_text() == _marker() and _works(programs)):
            shutil.rmtree(directory, ignore_errors=True)
            _run([_find_python(), "-m", "venv", str(directory)])
            pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            _run([*pip, "--only-binary=:all:", *REQUIREMENTS])
            if not _works(programs):
                raise CannotInstall("it was installed, and does not run")
            done.write_text(_marker())
    return programs


def _marker() -> str:
    return "\n".join(REQUIREMENTS)


def _works(programs: Path) -> bool:
    environment = {**os.environ, "KEEPSAKE_NO_ANALYTICS": "1"}
    command = [str(programs / "python"), "-c", "import keepsake; print(keepsake.__version__)"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return bool(shown.stdout.strip() == VERSION)


def _find_python() -> str:
    for python in _candidates():
        try:
            _run([python, "-c", f"import ensurepip, sys, venv; assert {OLDEST} <= sys.version_info[:2] <= {NEWEST}"])
        except CannotInstall:
            continue
        return python
    raise CannotInstall(f"it needs Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}, and none was found")


def _candidates() -> Iterator[str]:
    yield sys.executable
    minors = (11, 12, 10, 9, 8)
    yield from filter(None, (shutil.which(f"python3.{minor}") for minor in minors))
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    for minor in minors:
        yield from map(str, sorted(pyenv.glob(f"versions/3.{minor}.*/bin/python")))


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        raise CannotInstall(f"{command[0]}: {error.stderr.strip().splitlines()[-1]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstall(str(error)) from error
