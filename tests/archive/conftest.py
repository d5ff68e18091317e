"""Archives that many tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepsake.util.workers import Workers
from tests.archive.archives import FILES, SMALL, archive_bytes, freeze_files


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return freeze_files(tmp_path_factory.mktemp("pack"), FILES)


@pytest.fixture(scope="module")
def data(pack: Path) -> bytes:
    with Workers() as workers:
        return archive_bytes(pack, workers)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return archive_bytes(freeze_files(tmp_path_factory.mktemp("small"), SMALL))
