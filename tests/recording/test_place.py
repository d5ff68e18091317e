"""A run goes on in another place if the disk of its spool refuses to take more, and nothing is lost."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.recording import job
from tests.faults.programs import run
from tests.spools import nothing_waits
from tests.storage.test_network_disk import needs_mounts, run_on

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="takes the calls of a POSIX system away")

_CALLS = ("open", "mkdir", "rename", "replace", "unlink", "utime", "write")


class Refusal:
    """The disk that holds a directory refuses every change with an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.places: list[Path] = []
        self.code = errno.EROFS

    def begin(self, place: Path, code: int = errno.EROFS) -> None:
        """Let it refuse from now on."""
        self.places.append(place.resolve())
        self.code = code
        for name in _CALLS if len(self.places) == 1 else ():
            self._patch.setattr(os, name, self._refusing(getattr(os, name)))
        if len(self.places) == 1:
            import builtins

            self._patch.setattr(builtins, "open", self._refusing(open))

    def end(self) -> None:
        """Let it take everything again."""
        self.places.clear()

    def _refusing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def refusing(path: Any, *arguments: Any, **options: Any) -> Any:
            where = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.path.abspath(path)
            if self._is_change(call, arguments, options) and any(where.startswith(f"{each}/") for each in self.places):
                raise OSError(self.code, os.strerror(self.code), path)
            return call(path, *arguments, **options)

        return refusing

    @staticmethod
    def _is_change(call: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
        if call.__name__ != "open":
            return True
        mode = arguments[0] if arguments else options.get("mode", "r")
        return bool(mode & (os.O_WRONLY | os.O_RDWR)) if isinstance(mode, int) else not mode.startswith("r")


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Refusal:
    monkeypatch.setattr(job, "_RETRY_SECONDS", (0.05,) * 5)
    return Refusal(monkeypatch)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE, errno.EDQUOT, errno.ENOSPC])
@pytest.mark.parametrize("with_files", [True, False])
def test_a_disk_that_refuses_to_take_more_costs_no_checkpoint(
    project_directory: Path,
    refusal: Refusal,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    code: int,
    with_files: bool,
) -> None:
    """One warning names the place in which the run goes on. Files that do not fit there are not put elsewhere."""
    monkeypatch.delenv("KEEPSAKE_STRICT")
    (project_directory / "model.pth").write_text("weights")
    experiment = keepsake.init(path="model.pth", quiet=True)
    experiment.checkpoint(path="model.pth", metrics={"number": 0})
    refusal.begin(project_directory / ".keepsake", code)
    for number in (1, 2):
        experiment.checkpoint(path="model.pth" if with_files else None, metrics={"number": number})
    experiment.stop()
    (found,) = keepsake.experiments.list()
    assert found.checkpoints.metrics["number"] == [0, 1, 2]
    assert found.end_reason == "stopped"
    messages = " ".join(capfd.readouterr().err.split()).replace(" │ ", " ")
    state = os.environ["XDG_STATE_HOME"]
    assert messages.count(f"The run goes on in {state}/keepsake/spool/") == 1, messages
    assert "not fully saved" not in messages
    refusal.end()
    with_weights = [checkpoint.step for checkpoint in found.checkpoints if checkpoint.path]
    is_full = code in (errno.EDQUOT, errno.ENOSPC)
    assert with_weights == [0, *([] if is_full else [1]), 2][: None if with_files else 1]
    for checkpoint in found.checkpoints[:: 1 if with_files and not is_full else 3]:
        with checkpoint.open("model.pth") as file:
            assert file.read() == b"weights"
    for record in project_directory.glob(".keepsake/spool/*/record.json"):
        os.utime(record, (0, 0))  # as half a minute later
    keepsake.Project().sync()
    assert nothing_waits(project_directory), "what could not be removed there is removed later"


_REMOUNT = """
import os, subprocess, sys, keepsake
remount = lambda how: subprocess.run(["mount", "-o", f"remount,{how}", ".keepsake"], check=True)
open("train.py", "w").write("training")
experiment = keepsake.init(path="train.py", quiet=True)
experiment.checkpoint(path="train.py", metrics={"number": 0})
remount("ro")
for number in (1, 2):
    assert experiment.checkpoint(path="train.py", metrics={"number": number}).path
experiment.stop()
for _ in range(2):
    (found,) = keepsake.experiments.list()
    assert found.checkpoints.metrics["number"] == [0, 1, 2], found.checkpoints
    for checkpoint in found.checkpoints:
        assert checkpoint.open("train.py").read()
    assert found.end_reason == "stopped"
    assert len(os.listdir(".keepsake/spool")) >= 1
    remount("rw")
    os.environ.pop("KEEPSAKE_OFFLINE", None)
    keepsake.Project().sync()
"""


@needs_mounts
@pytest.mark.parametrize("offline", ["", "1"])
def test_a_disk_that_is_remounted_read_only_under_a_run_costs_nothing(
    project_directory: Path, offline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in two places is shown as one, and `keepsake sync` sends it when the disk is back."""
    monkeypatch.setenv("KEEPSAKE_OFFLINE", offline)
    run_on({".keepsake": "mount -t tmpfs none"}, _REMOUNT, project_directory)


def test_what_one_place_holds_is_sent_by_a_run_that_has_another(
    project_directory: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as runs that were recorded while the project directory could not be written."""
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    refusal.begin(project_directory / ".keepsake")
    refusal.begin(project_directory)
    offline = keepsake.init(quiet=True)
    offline.checkpoint(metrics={"number": 0})
    offline.stop()
    refusal.end()
    monkeypatch.delenv("KEEPSAKE_OFFLINE")
    (record,) = Path(os.environ["XDG_STATE_HOME"]).glob("keepsake/spool/*/*/record.json")
    os.utime(record, (0, 0))
    run("import keepsake\nkeepsake.init(quiet=True).stop()")
    assert not list(record.parent.glob("*.jsonl"))
    assert len(list(project_directory.glob("repo/metadata/experiments/*.json"))) == 2
