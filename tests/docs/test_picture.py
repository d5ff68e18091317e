"""The picture in the README is true: its commands, run again, print what it shows."""

from __future__ import annotations

import html
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.docs.test_docs import ID, ROOT, check_output, run


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are for a shell")
def test_the_picture_shows_what_its_commands_print(tmp_path: Path) -> None:
    """IDs and times may differ. If something else does, run `python docs/picture.py`."""
    picture = (ROOT / "docs/images/session.svg").read_text(encoding="utf-8")
    lines = [html.unescape(re.sub(r"<[^>]+>", "", text)) for text in re.findall(r"<text [^>]*>(.*)</text>", picture)]
    project = tmp_path / "iris"
    shutil.copytree(ROOT / "examples/iris", project)
    for lr in ("0.1", "5"):
        run(f"python train.py --lr {lr}", project)
    real: dict[str, str] = {}
    sessions = re.split(r"^\$ ", "\n".join(lines), flags=re.MULTILINE)[1:]
    assert len(sessions) == 2
    for session in sessions:
        command, *expected = session.rstrip("\n").split("\n")
        command = re.sub(ID, lambda match: real[match[0]], command)
        check_output(expected, run(command, project, terminal=True), real)
