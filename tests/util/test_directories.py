"""Directories of the user: in a home, without one, or in somebody else's, and never one that another user controls."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from keepsake.exceptions import RepositoryConfigurationError
from keepsake.util.directories import cache_directory, expand, is_own, owner_of, state_directory

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no numbers of users")
as_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
STRANGER = 12345


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory and one for temporary files."""
    for name in ("KEEPSAKE_CACHE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "home"


@on_posix
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has directories of its own")
def test_they_lie_in_the_home_directory_and_are_not_made_yet(home: Path) -> None:
    assert cache_directory() == home / ".cache/keepsake"
    assert state_directory() == home / ".local/state/keepsake"
    assert list(home.iterdir()) == []


@on_posix
def test_the_variables_of_the_desktop_standard_name_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert state_directory() == tmp_path / "state/keepsake"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_directory() == tmp_path / "home/.local/state/keepsake"


def no_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user has no entry in /etc/passwd, as in a container."""
    monkeypatch.delenv("HOME")

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)


def a_file_as_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/dev/null")


def a_home_that_is_read_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.access

    def access(path: Path, mode: int) -> bool:
        return home not in (path, *path.parents) and real(path, mode)

    monkeypatch.setattr(os, "access", access)


def a_home_with_a_file_in_the_way(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".cache", ".local", "Library"):
        (home / name).write_text("")


@on_posix
@pytest.mark.parametrize("place", [no_home, a_file_as_home, a_home_that_is_read_only, a_home_with_a_file_in_the_way])
def test_without_a_usable_home_they_are_private_among_the_temporary_files(
    place: Callable[[Path, pytest.MonkeyPatch], None], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(home, monkeypatch)
    found = state_directory()
    assert found == cache_directory() == home.parent / f"temporary/keepsake-{os.geteuid()}"
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


@on_posix
def test_without_any_usable_place_there_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    assert state_directory() is None
    assert cache_directory() is None


@on_posix
@pytest.mark.parametrize("is_meant", [False, True])
def test_the_working_directory_is_no_place_for_them_unless_it_is_named_so(
    home: Path, is_meant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose file systems are read-only, except for that of the project."""
    monkeypatch.chdir(project := home)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv("TMPDIR", str(project) if is_meant else "/dev/null")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/dev/null", str(project)])
    assert (cache_directory() is not None) is is_meant
    assert len(os.listdir(project)) == is_meant


@as_root
def test_what_a_stranger_made_among_the_temporary_files_is_not_used_and_not_in_the_way(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    usual = str(home.parent / f"temporary/keepsake-{os.geteuid()}")
    os.mkdir(usual)
    os.chown(usual, STRANGER, STRANGER)
    assert state_directory() == Path(f"{usual}-2")
    os.rmdir(f"{usual}-2")
    os.symlink(home, f"{usual}-2")
    assert state_directory() == Path(f"{usual}-3")
    os.chown(f"{usual}-3", STRANGER, STRANGER)
    assert state_directory() is None


@as_root
def test_a_shared_cache_holds_a_directory_for_each_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("KEEPSAKE_CACHE", str(shared))
    assert cache_directory() == shared
    shared.chmod(0o1777)
    assert cache_directory() == shared / f"user-{os.geteuid()}"
    os.chown(shared / f"user-{os.geteuid()}", STRANGER, STRANGER)
    assert cache_directory() is None


@on_posix
@pytest.mark.parametrize("chosen", ["/dev/null", "/dev/null/cache", "~no-such-user/cache"])
def test_a_cache_that_cannot_be_made_is_none(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSAKE_CACHE", chosen)
    assert cache_directory() is None


@on_posix
def test_paths_are_expanded_as_by_a_shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch")
    assert expand("~/runs") == f"{home}/runs"
    assert expand("$SCRATCH/${SCRATCH}/~/c$/$") == "/scratch//scratch/~/c$/$"


@on_posix
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~no-such-user/runs", "There is no home directory for '~no-such-user'"),
        (
            "/mnt/$NO_SUCH_VARIABLE/runs",
            r"The variable \$NO_SUCH_VARIABLE in .* is not set",
        ),
        ("${NO_SUCH}/runs", r"The variable \$\{NO_SUCH\}"),
    ],
)
def test_what_cannot_be_expanded_is_an_error(path: str, message: str) -> None:
    with pytest.raises(RepositoryConfigurationError, match=message):
        expand(path)


@as_root
def test_an_owner_is_named_unless_it_is_this_user_or_root(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert owner_of(file.stat()) == ""
    assert is_own(file.stat())
    os.chown(file, STRANGER, STRANGER)
    assert owner_of(file.stat()) == f"user {STRANGER}"
    assert not is_own(file.stat())
