"""Files that another process may have open."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from keepsake.util import files


@pytest.mark.parametrize("is_windows", [False, True])
def test_a_file_that_somebody_has_open_stays_on_windows(
    is_windows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(path: str | Path) -> None:
        raise PermissionError(errno.EACCES, "The process cannot access the file")

    monkeypatch.setattr(files, "WINDOWS", is_windows)
    path = tmp_path / "file"
    path.write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        if is_windows:
            files.remove(path)
        else:
            with pytest.raises(PermissionError):
                files.remove(path)
    assert path.exists()
    files.remove(path)
    assert not path.exists()
    files.remove(path)  # it is gone already
