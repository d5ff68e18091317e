"""Servers for the storage tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.storage import servers


@pytest.fixture(scope="session", autouse=True)
def _servers() -> Iterator[None]:
    yield
    servers.stop_all()
