"""A repository that disappears during a script, or never exists: everything recorded arrives once it is back."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

import keepsake
from tests.faults import inspect_repository as inspect
from tests.faults.programs import HANGING, run
from tests.faults.programs import keepsake as command
from tests.spools import nothing_waits

pytestmark = [
    pytest.mark.usefixtures("project"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions"),
]

_CHECKPOINTS = 20
_TRAIN = """
import os, time, keepsake
from keepsake.recording import job
job._RETRY_SECONDS = (0.05,) * 5
experiment = keepsake.init(path="train.py")
print(experiment.id, flush=True)
for number in range({count}):
    {during}
    open("model.pth", "wb").write(b"weights %d" % number * 5000)
    checkpoint = experiment.checkpoint(path="model.pth", metrics={{"number": number}}, quiet=True)
    print(checkpoint.id, number, flush=True)
    open("model.pth", "wb").write(b"overwritten")
"""
_AWAY = {
    "moved away": "os.rename('repo', '../away')",
    "not mounted": "os.rename('repo', '../away'); os.mkdir('repo')",
    "a file in its place": "os.rename('repo', '../away'); open('repo', 'w').close()",
    "without permission": "os.chmod('repo', 0)",
    "read-only": "[os.chmod(name, 0o500) for name, _, _ in os.walk('repo')]",
}


@pytest.fixture
def without_privileges() -> tuple[str, ...]:
    """A command that runs another one without root's right to ignore permissions."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root, and no setpriv")
    lost = "-dac_override,-dac_read_search"
    return ("setpriv", f"--inh-caps={lost}", f"--bounding-set={lost}")


def train(during: str = "pass") -> str:
    """Return a training script."""
    return _TRAIN.format(during=during, count=_CHECKPOINTS)


def bring_back(project: Path) -> None:
    """Let the repository be there again."""
    repository, away = project / "repo", project.parent / "away"
    if away.exists():
        if repository.is_dir():
            shutil.rmtree(repository)
        repository.unlink(missing_ok=True)
        away.rename(repository)
    repository.chmod(0o700)
    for directory in repository.rglob("*/"):
        directory.chmod(0o700)


def check_all_is_there(project: Path, output: str) -> None:
    """Every checkpoint that had returned is in the repository, byte for byte."""
    experiment_id, *lines = output.splitlines()
    returned: dict[str, inspect.Contents] = {}
    for line in lines:
        checkpoint_id, number = line.split()
        returned[checkpoint_id] = {"model.pth": b"weights %d" % int(number) * 5000}
    assert len(returned) == _CHECKPOINTS
    assert inspect.broken(project / "repo") == []
    assert inspect.missing(project, returned, experiment_id) == []
    assert nothing_waits(project)
    experiment = keepsake.experiments.get(experiment_id)
    assert inspect.by_tarfile(project / f"repo/experiments/{experiment_id}.tar.gz") == {"train.py": b"code"}
    assert experiment.status == "stopped"


@pytest.mark.parametrize(("how", "moment"), [*((how, 0) for how in _AWAY), ("moved away", 10), ("not mounted", 10)])
def test_a_repository_that_goes_away_costs_nothing(
    project: Path, without_privileges: tuple[str, ...], how: str, moment: int
) -> None:
    """For the whole run or from its middle on; the next run sends what was left."""
    wait = "time.sleep(0.5 if number else 0)"  # so that something was saved already
    during = f"if number == {moment}: {wait}; {_AWAY[how]}"
    output, messages = run(train(during=during), prefix=without_privileges)
    assert "tried again" in messages
    assert "keepsake sync" in messages
    assert "Traceback" not in messages
    bring_back(project)
    run("import keepsake\nkeepsake.init()", prefix=without_privileges)
    check_all_is_there(project, output)


_OUTAGE = (
    HANGING
    + """
from keepsake.exceptions import WriteError

def _refuse(moment, verb, key):
    if time.monotonic() < back:
        raise WriteError("connection refused")

import time
back = 0.0
experiment = keepsake.init(path="train.py")
experiment.project.workplace.repository.storage.fault = _refuse
print(experiment.id)
back = time.monotonic() + {outage}
for number in range(3):
    open("model.pth", "wb").write(b"weights %d" % number * 5000)
    experiment.checkpoint(path="model.pth", metrics={{"number": number}}, quiet=True)
{end}
"""
)


@pytest.mark.parametrize("end", ["", "experiment.stop()"])
def test_an_outage_at_the_end_is_waited_out(project: Path, end: str) -> None:
    """The node's disk may be gone with the job. Whoever waits is told why, once."""
    output, messages = run(_OUTAGE.format(outage=4, end=end), KEEPSAKE_EXIT_SECONDS="20")
    assert len(keepsake.experiments.get(output.strip()).checkpoints) == 3
    assert len(list((project / "repo/checkpoints").iterdir())) == 3
    assert nothing_waits(project)
    assert messages.count("Waiting for") == 1
    assert "connection refused" in messages
    assert "not fully saved" not in messages


def test_an_outage_without_end_is_waited_for_as_long_as_the_person_says() -> None:
    """The end of the program does not wait again if stop() waited without success."""
    started = time.monotonic()
    _, messages = run(_OUTAGE.format(outage=1000, end="experiment.stop()"), KEEPSAKE_EXIT_SECONDS="4")
    assert 4 < time.monotonic() - started < 4 + 2 + 10  # a machine may be busy
    assert "is not fully saved" in messages


def test_what_waiting_cannot_mend_is_not_waited_for(project: Path, without_privileges: tuple[str, ...]) -> None:
    """Missing permissions."""
    started = time.monotonic()
    during = f"if number == 0: {_AWAY['without permission']}"
    _, messages = run(train(during=during), prefix=without_privileges, KEEPSAKE_EXIT_SECONDS="60")
    assert time.monotonic() - started < 30
    assert "Waiting for" not in messages
    assert "is not fully saved" in messages
    bring_back(project)


def test_sync_sends_what_was_left(project: Path) -> None:
    """With --dry-run, it lists them first. A second time, it has nothing to do."""
    output, _ = run(train(during="if number == 0: os.rename('repo', '../away')"))
    bring_back(project)
    told, _ = command("sync", "--dry-run")
    assert output[:7] in told
    listed, said = command("ls")
    assert output[:7] in listed
    assert "sync" in said
    command("sync")
    check_all_is_there(project, output)
    assert "Everything is in the repository" in command("sync")[1]


def test_a_node_without_network_records_everything_locally(project: Path) -> None:
    """With KEEPSAKE_OFFLINE=1 the repository is not touched; sync, without it, sends all."""
    (project / "repo").write_text("out of reach")
    output, messages = run(train(), KEEPSAKE_OFFLINE="1")
    assert "Traceback" not in messages
    assert (project / "repo").read_text() == "out of reach"
    (project / "repo").unlink()
    command("sync")
    check_all_is_there(project, output)


def test_sync_while_the_repository_is_away_fails_and_keeps_everything(project: Path) -> None:
    """Exit status 1, one clear message, and the next attempt succeeds."""
    output, _ = run(train(during="if number == 1: os.rename('repo', '../away'); open('repo', 'w').close()"))
    _, said = command("sync", status=1)
    assert "not fully sent" in said
    bring_back(project)
    command("sync")
    check_all_is_there(project, output)


def test_init_without_a_repository_says_so_at_the_start(project: Path, without_privileges: tuple[str, ...]) -> None:
    """A run that cannot be recorded fails on its first line, and leaves nothing behind."""
    program = """
    import keepsake
    try:
        keepsake.init(path="train.py")
    except keepsake.exceptions.KeepsakeError as error:
        print(error)
    """
    (project / "repo").write_text("a file")
    assert "repo" in run(program)[0]
    (project / "repo").unlink()
    (project / "repo").mkdir(mode=0o500)
    assert "Check its owner" in run(program, prefix=without_privileges)[0]
    assert nothing_waits(project)
    assert list((project / "repo").iterdir()) == []
