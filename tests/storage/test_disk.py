"""The disk keeps the contract, and what only a disk can get wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepsake.storage import open_storage
from tests.storage.contract import StorageContract


class DiskBench:
    """Sees the folder through pathlib."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.storage = open_storage(f"file://{root}")

    def seed(self, objects: dict[str, bytes]) -> None:
        for key, data in objects.items():
            path = self.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def contents(self) -> dict[str, bytes]:
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in files}


class TestDisk(StorageContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> DiskBench:
        return DiskBench(tmp_path / "repo")
