"""Whether a repository is there, and which one."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from keepsake.exceptions import (
    MissingRepository,
    OtherRepository,
    WriteError,
)
from keepsake.repository.repository import Repository
from keepsake.spool.journal import Changes
from keepsake.storage import open_storage
from tests.repository.records import CountingStorage, make_checkpoint, make_record
from tests.storage.memory import MemoryStorage


def test_a_repository_has_one_identity(storage: CountingStorage) -> None:
    identity = Repository(storage).ensure()
    assert Repository(storage).ensure() == Repository(storage).identity == identity
    Repository(storage).expect(identity)


def test_another_repository_in_the_same_place_is_recognised(storage: CountingStorage) -> None:
    identity = Repository(storage).ensure()
    storage.delete(["identity.json"])
    with pytest.raises(OtherRepository, match="sync --force"):
        Repository(storage).expect(identity)
    Repository(storage).ensure()
    with pytest.raises(OtherRepository):
        Repository(storage).expect(identity)


def test_a_missing_repository_is_not_replaced() -> None:
    """An empty mount point is not the place for a new one."""
    repository = Repository(MemoryStorage())
    with pytest.raises(MissingRepository, match="mounted"):
        repository.ensure("0" * 32)
    assert list(repository.storage.list("")) == []


def test_a_repository_whose_folder_is_renamed_during_a_write_is_said_to_be_gone(tmp_path: Path) -> None:
    repository = Repository(open_storage(f"file://{tmp_path}/repo"))
    repository.ensure()
    record = repository.merge(make_record(1), Changes(), create=True)
    (tmp_path / "repo").rename(tmp_path / "elsewhere")
    with pytest.raises(MissingRepository, match="is gone"):
        repository.merge(record, Changes(checkpoints=[make_checkpoint(1)]), create=False)


def test_a_repository_that_is_away_has_deleted_nothing() -> None:
    """A disk that is not mounted must not make the contents of the spool look unwanted."""
    with pytest.raises(WriteError, match="whether its disk is mounted"):
        Repository(MemoryStorage()).merge(make_record(1), Changes({}, [make_checkpoint(1)]), create=False)


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ENOSPC])
def test_a_place_that_cannot_be_examined_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Whether a URL leads to a file only matters for a better message. Operations there report their own errors."""
    place = tmp_path / "repo"
    real = os.stat

    def stat(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if str(path) == str(place):
            raise OSError(code, os.strerror(code), path)
        return real(path, *arguments, **options)

    repository = Repository(open_storage(f"file://{place}"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        repository.check()
        with pytest.raises(WriteError, match=os.strerror(code)):
            repository.ensure()
    assert repository.ensure()
