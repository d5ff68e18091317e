"""What every test gets: none of the user's settings, no connection to other machines, no memory of earlier tests."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from keepsake.util import console

if TYPE_CHECKING:
    from keepsake.experiment import Experiment
    from tests.storage.benches import Bench

# A noisy machine must not make a test fail
hypothesis.settings.register_profile(
    "keepsake", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("keepsake")

_PERSONAL = ("AWS_", "BOTO", "CLOUDSDK_", "GCLOUD_", "GOOGLE_", "KEEPSAKE_", "STORAGE_EMULATOR_HOST")
_OF_JOBS = ("FLUX_", "JSM_", "MV2_", "OMPI_", "PALS_", "PMI_", "PMIX_", "RANK", "SLURM_", "TORCHELASTIC_")
_OF_TERMINAL = ("CLICOLOR", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PAGER")
_LOOPBACK = ("127.", "localhost", "::1")

_outside: list[Any] = []  # addresses on other machines that the test has tried to reach


def _refuse_outside(event: str, arguments: tuple[Any, ...]) -> None:
    """Nothing of ours may connect to another machine, and a test must not depend on one."""
    if event != "socket.connect" or os.environ.get("KEEPSAKE_TEST_CLOUD"):
        return
    address = arguments[1]
    if isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK):
        _outside.append(address)
        raise ConnectionRefusedError(f"a test connects to {address}")


sys.addaudithook(_refuse_outside)


def pytest_sessionfinish() -> None:
    """End the servers here, because a worker of pytest-xdist can end without its handlers of atexit."""
    if servers := sys.modules.get("tests.storage.servers"):
        servers.stop()


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home directory after another, none of them made yet."""
    base = tmp_path_factory.mktemp("homes")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(scope="session")
def _temporary() -> Iterator[str]:
    """A directory for temporary files. Its path is short, because that of a socket must be."""
    with tempfile.TemporaryDirectory(prefix="ks-", ignore_cleanup_errors=True) as directory:
        yield directory


@pytest.fixture(autouse=True)
def _hermetic(
    request: pytest.FixtureRequest, _homes: Iterator[Path], _temporary: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    if request.node.get_closest_marker("cloud"):
        monkeypatch.setenv("KEEPSAKE_TEST_CLOUD", "1")
    else:
        for name in list(os.environ):
            if name.startswith((*_PERSONAL, *_OF_TERMINAL, *_OF_JOBS)):
                monkeypatch.delenv(name)
        home = next(_homes)
        for name, place in (("HOME", ""), ("XDG_CACHE_HOME", ".cache"), ("XDG_STATE_HOME", ".state")):
            monkeypatch.setenv(name, str(home / place))
        monkeypatch.setenv("TMPDIR", _temporary)
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("KEEPSAKE_STRICT", "1")
    monkeypatch.setenv("KEEPSAKE_EXIT_SECONDS", "6")  # no test need wait longer for a repository that stays away
    monkeypatch.setenv("TZ", "UTC")
    if hasattr(time, "tzset"):
        time.tzset()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    console.told.clear()
    _outside.clear()
    yield
    assert _outside == []


@pytest.fixture(params=["file", "s3", "gs"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Where the project's repository is, each in turn, seen and changed by another way than Keepsake's.

    A test, or a whole module by `usefixtures`, that asks for it proves the same over disk, S3 and Cloud Storage.
    """
    from tests.storage.places import make_place

    return make_place(request.param, tmp_path / "project" / "repo", monkeypatch)


@pytest.fixture
def project_directory(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the working directory; its repository is its folder `repo`, or at the `place`."""
    place = request.getfixturevalue("place") if "place" in request.fixturenames else None
    url = "file://repo" if place is None or place.url.startswith("file:") else place.url
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "keepsake.yaml").write_text(f"repository: {url}\n")
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def trained(project_directory: Path) -> Experiment:
    """A finished run with three checkpoints, of which the second is the best."""
    import keepsake

    (project_directory / "train.py").write_text("print('training')")
    experiment = keepsake.init(path="train.py", params={"learning_rate": 0.01})
    for loss in (0.5, 0.25, 0.75):
        (project_directory / "model.pth").write_text(f"weights of {loss}")
        experiment.checkpoint(path="model.pth", metrics={"loss": loss}, primary_metric=("loss", "minimize"))
    experiment.stop()
    return experiment


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Runs a program in a fresh interpreter and returns what it prints; fails if it does."""

    def run(program: str, *arguments: str) -> str:
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
