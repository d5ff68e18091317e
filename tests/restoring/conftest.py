"""Archives to check out, and what a checkout warns of."""

from __future__ import annotations

import pytest

from keepsake.archive.reader import Archive
from keepsake.restoring import checkout, configuration, origins, undo
from tests.archive.archives import KEY, archive_bytes, freeze_files, member, plain_archive, stored
from tests.restoring.projects import Make
from tests.storage.memory import MemoryStorage


@pytest.fixture(params=["table", "plain", "pack"])
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes an archive of files: with a table of contents, without one, or one that is still to be made."""

    def make(files: dict[str, bytes]) -> Archive:
        if request.param == "plain":
            return stored(
                plain_archive(*(member(f"id/{name}", content, mode=0o644) for name, content in files.items()))
            )
        pack = freeze_files(tmp_path_factory.mktemp("pack"), files)
        return Archive(MemoryStorage(), KEY, pack) if request.param == "pack" else stored(archive_bytes(pack))

    return make


@pytest.fixture
def make_one(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes an archive with a table of contents."""
    return lambda files: stored(archive_bytes(freeze_files(tmp_path_factory.mktemp("pack"), files)))


@pytest.fixture
def warnings_said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings of checkouts, which are not printed."""
    said: list[str] = []
    for module in (checkout, configuration, origins, undo):
        monkeypatch.setattr(module, "warn", said.append)
    return said
