"""Names of files in archives: the same bytes in every locale, and safe to put into a directory of this system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keepsake.util import names
from keepsake.util.names import is_safe_name

PROGRAM = """
import os, sys
from pathlib import Path
from keepsake.util import ignore, names
assert sys.getfilesystemencoding() == sys.argv[1], sys.getfilesystemencoding()
found = [name for name, _ in ignore.walk_files(Path("."), ".")]
assert all(names.is_safe_name(name) for name in found)
assert sorted(map(names.local_path, found)) == sorted(os.listdir("."))
print(sorted(name.encode("utf-8", "surrogateescape") for name in found))
"""
NAMES = [b"mod\xc3\xa8le.pth", b"caf\xe9", b"plain"]


def latin1_locale(directory: Path) -> dict[str, str]:
    """Make a locale whose encoding is Latin-1, and return the variables that choose it."""
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(directory / "en_US.ISO-8859-1")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot make a Latin-1 locale here: {error}")
    return {"LOCPATH": str(directory), "LC_ALL": "en_US.ISO-8859-1"}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there, names are text")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "iso8859-1"])
def test_a_name_is_the_same_in_every_locale(tmp_path: Path, encoding: str) -> None:
    chosen = latin1_locale(tmp_path) if encoding == "iso8859-1" else {"LC_ALL": "C"}
    chosen |= {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": str(int(encoding == "utf-8"))}
    project = os.path.join(os.fsencode(tmp_path), b"project")
    os.mkdir(project)
    for name in NAMES:
        with open(os.path.join(project, name), "w"):
            pass
    command = [sys.executable, "-c", PROGRAM, encoding]
    done = subprocess.run(
        command, cwd=project, env={**os.environ, **chosen}, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == repr(sorted(NAMES)), done.stderr


@pytest.mark.parametrize(
    "name", ["a", "a/b", "..a", "a..", "...", "a:b", "CC:/x", "é:", " ", "a\nb", "..\n", "-rf", "\udcff"]
)
def test_safe_names(name: str) -> None:
    assert is_safe_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "/", "/a", "//a", ".", "..", "./a", "a/.", "a/..", "a/../b", "../a", "a//b", "a/", "\\a", "a\\..\\b", "C:/a",
     "c:", "a\0b", "\ud800"],
)  # fmt: skip
def test_unsafe_names(name: str) -> None:
    assert not is_safe_name(name)


@pytest.mark.parametrize(
    "name",
    ["con", "a/NUL.txt", "x/com1", "lpt¹.a", "conout$", "nul .a", "a:b", "trailing.", "a /b", "who?", "GIT~1/hooks/a"],
)
def test_names_that_are_unsafe_on_windows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_safe_name(name)
    monkeypatch.setattr(names, "_SYSTEM", "nt")
    assert not is_safe_name(name)
