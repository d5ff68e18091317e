"""Signals that end runs, in forked children too."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.archive import writer
from keepsake.recording import saver
from keepsake.recording.saver import Saver
from keepsake.spool import entry, journal
from keepsake.spool.entry import Entry
from tests.recording.test_ending import PRELUDE, run
from tests.threads import in_this_thread

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork are POSIX")


def test_a_signal_that_comes_at_once_ends_a_forked_child(project_directory: Path) -> None:
    """It does not end the parent's run, and does not wait forever for a lock that the parent holds."""
    Path("train.py").write_text("code")
    first = "import os, signal\nos.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
    run(
        """
        child = os.fork()
        if child == 0:
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert keepsake.experiments.get(experiment.id).ended is None
        """,
        prelude=first + PRELUDE,
    )


class _Timeout:
    """A handler of a script's own, in each form that one can have."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or TimeoutError("mine")

    def plain(self, number: int, frame: object) -> None:
        raise self.error

    __call__ = plain


@pytest.mark.parametrize("handler", [_Timeout().plain, _Timeout(), functools.partial(_Timeout().plain)])
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (Entry, "append", lambda experiment: experiment.checkpoint(metrics={"loss": 1})),
        (writer, "freeze", lambda experiment: experiment.checkpoint(path="weights")),
        (Saver, "finish", lambda experiment: experiment.stop()),
        (Entry, "size", lambda experiment: experiment.stop()),
        (Entry, "close", lambda experiment: experiment.stop()),
        (Path, "rmdir", lambda experiment: experiment.stop()),
    ],
)
def test_a_timeout_of_the_scripts_own_gets_through(
    project_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    handler: Callable[..., None],
    owner: object,
    name: str,
    call: Callable[[keepsake.Experiment], object],
) -> None:
    """Its handler of a signal raises during one of our calls, which catches errors of its own."""
    monkeypatch.setenv("KEEPSAKE_STRICT", "")
    Path("weights").write_text("x")
    experiment = keepsake.init(quiet=True)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with monkeypatch.context() as patch:
            raise_here = in_this_thread(lambda *_, **__: signal.raise_signal(signal.SIGUSR1), getattr(owner, name))
            patch.setattr(owner, name, raise_here)  # the script's code and its handler run in this thread
            with pytest.raises(TimeoutError, match="mine"):
                call(experiment)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert experiment.checkpoint(path="weights") is not None
    experiment.stop()
    assert len(keepsake.experiments.get(experiment.id).checkpoints) == 1


@pytest.mark.parametrize(("owner", "name"), [(Entry, "append"), (journal, "fresh_status")])
def test_a_timeout_after_the_line_is_written_costs_no_files(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    """The record names the files, whether or not the call returned."""
    monkeypatch.setenv("KEEPSAKE_STRICT", "")
    Path("weights").write_text("x")
    experiment = keepsake.init(quiet=True)
    real = getattr(owner, name)

    def late(*arguments: Any) -> object:
        result = real(*arguments)
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGUSR1)
        return result

    before = signal.signal(signal.SIGUSR1, _Timeout())
    try:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, late)
            with pytest.raises(TimeoutError, match="mine"):
                experiment.checkpoint(path="weights")
    finally:
        signal.signal(signal.SIGUSR1, before)
    experiment.stop()
    with keepsake.experiments.get(experiment.id).checkpoints[0].open("weights") as file:
        assert file.read() == b"x"


_CALLS = ["open", "read", "write", "writev", "stat", "fstat", "lstat", "scandir", "replace", "fchown", "statvfs"]


class _AfterCall:
    """Lets the script's handler raise right after the `left`-th call that the main thread makes of the system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        for name in _CALLS:
            monkeypatch.setattr(os, name, self._around(getattr(os, name)))

    def _around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = real(*arguments, **options)
            if self.left and threading.current_thread() is threading.main_thread():
                self.left -= 1
                if not self.left:
                    signal.raise_signal(signal.SIGUSR1)
            return result

        return call


def test_a_timeout_of_the_scripts_own_gets_through_init(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for trouble with a disk, and nothing is left behind."""
    monkeypatch.setenv("KEEPSAKE_STRICT", "")
    before = signal.signal(signal.SIGUSR1, _Timeout())
    try:
        with monkeypatch.context() as patch:
            patch.setattr(entry, "replace_with", lambda *_, **__: signal.raise_signal(signal.SIGUSR1))
            with pytest.raises(TimeoutError, match="mine"):
                keepsake.init(quiet=True)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not Path(".keepsake").exists()
    assert len(keepsake.experiments.list()) == 0


def test_what_a_handler_raises_while_a_thread_starts_gets_through(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A RuntimeError is not taken for a limit of threads, and nothing is done twice."""
    monkeypatch.setenv("KEEPSAKE_STRICT", "")
    real, left = threading.Thread.start, [0]

    def handle(number: int, frame: object) -> None:
        raise RuntimeError("mine")

    def start(thread: threading.Thread) -> None:
        real(thread)
        left[0] -= 1
        if not left[0]:
            signal.raise_signal(signal.SIGUSR1)

    monkeypatch.setattr(threading.Thread, "start", in_this_thread(start, real))
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        step = 0
        while left[0] <= 0:
            left[0] = step = step + 1
            monkeypatch.setattr(saver, "_saver", saver.Saver())
            with suppress(RuntimeError):
                keepsake.init(quiet=True)
                assert left[0] > 0, f"swallowed at thread {step}"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert step > 1


@pytest.mark.parametrize(
    ("size", "error"),
    [
        *((size, TimeoutError("mine")) for size in (None, 10, 1 << 20)),
        (1 << 20, TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))),
    ],
)
def test_a_timeout_after_any_call_of_the_system_gets_through_and_damages_nothing(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, size: int | None, error: Exception
) -> None:
    """Nothing takes it for the answer of the system: what was written is not written again."""
    monkeypatch.setenv("KEEPSAKE_STRICT", "")
    weights = os.urandom(size or 0)
    Path("weights").write_bytes(weights)
    path = None if size is None else "weights"
    experiment = keepsake.init(quiet=True)
    before = signal.signal(signal.SIGUSR1, _Timeout(error))
    try:
        with monkeypatch.context() as patch:
            after, step = _AfterCall(patch), 0
            while not after.left:
                step += 1
                after.left = step
                with suppress(type(error)):
                    experiment.checkpoint(path=path, step=step, metrics={"loss": 1})
                    assert after.left, f"swallowed after call {step}"
            after.left = 0
    finally:
        signal.signal(signal.SIGUSR1, before)
    experiment.stop()
    assert step > 5
    for checkpoint in keepsake.experiments.get(experiment.id).checkpoints:
        if path:
            with checkpoint.open("weights") as file:
                assert file.read() == weights


def test_a_generator_that_is_closed_has_not_failed(project_directory: Path) -> None:
    def train() -> Generator[keepsake.Experiment, None, None]:
        with keepsake.init(quiet=True) as experiment:
            yield experiment

    training = train()
    experiment = next(training)
    training.close()
    assert keepsake.experiments.get(experiment.id).status == "stopped"
