"""Files that another process may have open, and files that a person names."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from keepsake.util import files
from tests.threads import in_this_thread


def test_what_a_person_names_is_written_to_if_it_is_no_file(tmp_path: Path) -> None:
    """As root, a device in its place would be gone for every program."""
    before = os.stat(os.devnull)
    files.write_output(os.devnull, b"data")
    assert os.path.samestat(os.stat(os.devnull), before)
    link = tmp_path / "link"
    link.symlink_to("file")
    for data in (b"one", b"two"):
        files.write_output(link, data)
        assert link.is_symlink()
        assert (tmp_path / "file").read_bytes() == data
    with pytest.raises(OSError, match=r"directory|denied"):
        files.write_output(tmp_path, b"data")
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has neither pipes with names nor the flag")
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.EAGAIN])
def test_a_file_is_opened_where_the_flag_for_pipes_is_refused(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe is not opened without it, because that would wait for a writer for ever."""
    real = os.open

    def refusing(path: str | Path, flags: int, *rest: int) -> int:
        if flags & os.O_NONBLOCK:
            raise OSError(code, os.strerror(code))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", in_this_thread(refusing, real))
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_bytes(b"data")
    os.mkfifo(pipe)
    with open(files.open_at_once(file), "rb") as opened:
        assert opened.read() == b"data"
    with pytest.raises(OSError, match=os.strerror(code)):
        files.open_at_once(pipe)
