"""A background thread that nothing ends."""

from __future__ import annotations

import threading

import pytest

from keepsake.util.loop import Loop
from tests.waiting import wait_until


@pytest.mark.parametrize("starts_first", [False, True])
def test_a_start_that_a_signal_interrupts_can_be_repeated(monkeypatch: pytest.MonkeyPatch, starts_first: bool) -> None:
    """The handler raises, as that of Ctrl-C does, just before or after the thread has begun."""
    ended, start = threading.Event(), threading.Thread.start
    turns: list[int] = []

    def turn() -> bool:
        turns.append(threading.get_ident())
        return not ended.wait(0.01)

    def interrupted(thread: threading.Thread) -> None:
        if starts_first:
            start(thread)
        raise KeyboardInterrupt

    loop = Loop("test", turn)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.start()
    assert loop.runs == starts_first
    assert loop.start()
    wait_until(lambda: len(turns) > 2)
    ended.set()
    wait_until(lambda: not loop.runs)
    assert len(set(turns)) == 1
