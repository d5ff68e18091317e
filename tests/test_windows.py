"""What a run and its commands do with the calls that Windows has. tests/windows.py says how true to it that is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="tells by /dev/fd which files are open")

_IMPORTS = """
import importlib, pkgutil
import keepsake

for module in pkgutil.walk_packages(keepsake.__path__, "keepsake."):
    if not module.name.endswith(".__main__"):
        try:
            importlib.import_module(module.name)
        except keepsake.exceptions.MissingExtra:
            pass  # its framework is not here
"""
_RUNS = """
import os
from pathlib import Path
import keepsake

Path("out").mkdir()
Path("train.py").write_text("print('training')\\n")
os.utime("train.py", (1e9, 1e9))
first = keepsake.init(path=".", params={"lr": 0.1}, capture_output=True, name="first", tags=["a"])
for step in (1, 2):
    Path("out/model.bin").write_bytes(os.urandom(3 << 20) + bytes(1 << 20))
    print("this is step", step)
    first.checkpoint(step=step, path="out", metrics={"loss": 1 / step}, primary_metric=("loss", "minimize"))
first.update_params({"decay": 0.5})
first.stop()
Path("train.py").write_text("print('changed')\\n")
with keepsake.init(path="train.py", params={"lr": 0.2}, parent=first.id) as second:
    second.checkpoint(metrics={"loss": 3})
assert not list(Path(".keepsake/spool").glob("*/*")), "what was sent still waits"
"""
_COMMANDS = """
import shutil
from keepsake.cli import cli

def call(command):
    print("$", command, flush=True)
    try:
        cli.main(command.split())
    except SystemExit as end:
        assert not end.code, end.code

for command in (
    "ls", "ls --json", "ls --csv", "ls --layout tall", "ps", "show latest", "show latest --json", "diff latest -2",
    "files -2", "cat -2 train.py", "logs -2", "du", "tag -2 b", "note latest text", "rename latest second",
    "plot loss", "report -o page.html", "doctor --thorough", "push file://copy", "pull file://copy", "sync",
    "prune --keep best:1 -f",
):
    call(command)
shutil.rmtree("out")
call("checkout -2 -f")
assert Path("train.py").read_text() == "print('training')\\n"
assert Path("train.py").stat().st_mtime == 1e9
assert Path("out/model.bin").stat().st_size == 4 << 20
call("checkout --undo")
assert Path("train.py").read_text() == "print('changed')\\n"
assert not Path("out").exists()
call("checkout -2 -o elsewhere -f")
call("rm -f latest -2")
call("ls")
assert {path.name for path in Path(".keepsake").iterdir()} >= {"repository.json", "removed", "undo"}
"""
_STORAGE = """
from keepsake.storage import open_storage

storage = open_storage("file://plain")
storage.ensure_writable()
etag = None
for number in range(3):
    etag = storage.put("a/key", b"%d" % number, if_match=etag)
    assert storage.get("a/key") == (b"%d" % number, etag)
assert [info.etag for info in storage.list("a")] == [etag]
"""


@pytest.mark.parametrize("program", [_IMPORTS, _RUNS + _COMMANDS, _STORAGE], ids=["imports", "commands", "storage"])
def test_nothing_is_used_that_windows_lacks(program: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "tests.windows", str(script)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this is step 2" in done.stdout or program is not _RUNS + _COMMANDS
