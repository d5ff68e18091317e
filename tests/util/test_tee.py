"""Waiting for descriptors, which macOS does by another call."""

from __future__ import annotations

import os
import sys

import pytest

from keepsake.util.tee import readable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows waits for sockets alone")


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_what_can_be_read_or_has_ended(kind: str, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    source, sink = os.pipe() if kind == "pipe" else os.openpty()
    other, writer = os.pipe()
    assert readable([source, other], 0) == []
    os.write(sink, b"text")
    assert readable([source, other], None) == [source]
    assert os.read(source, 100) == b"text"
    os.close(sink)
    os.close(writer)
    assert sorted(readable([source, other], 1)) == sorted([source, other])
    os.close(source)
    os.close(other)
