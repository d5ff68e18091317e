"""A repository that is unmounted and mounted again, replaced or restored from a backup under runs that go on.

Runs go on before, during and after. Disks are mounted for real, in a mount namespace of their own, where the tests run
as root on Linux. Everywhere, a directory is moved away and another one takes its place.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import keepsake
from keepsake.exceptions import MissingRepository
from keepsake.project import Project
from keepsake.recording import job
from keepsake.repository.removals import Removals
from keepsake.storage.disk import DiskStorage
from tests.faults import inspect_repository as inspect
from tests.faults.programs import ROOT, run
from tests.faults.programs import keepsake as command
from tests.spools import nothing_waits
from tests.storage.test_network_disk import needs_mounts, run_on

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="moves directories in which files are open")

# Writes a line when it has begun and when a checkpoint has returned: the file is there whatever happens to the process
_TRAIN = """
import os, sys, time, keepsake
from keepsake.recording import job
job._RETRY_SECONDS = (0.05,) * 5
os.environ["KEEPSAKE_EXIT_SECONDS"] = "1"
name, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
log = open(f"log-{name}", "w")
experiment = keepsake.init(path="train.py")
print(experiment.id, file=log, flush=True)
number = 0
while time.monotonic() < end or number < 6:  # the tests wait for five lines
    with open(f"weights-{name}", "wb") as file:
        file.write(f"weights {number}".encode() * (1000 if number % 2 else 150_000))
    checkpoint = experiment.checkpoint(path=f"weights-{name}", metrics={"number": number}, quiet=True)
    if checkpoint is None or not checkpoint.path:
        raise SystemExit(f"not saved: {checkpoint}")
    print(checkpoint.id, number, file=log, flush=True)
    number += 1
    time.sleep(0.01)
"""
# A run from before the first change to after the last one, and others that begin during and after each
_ROUNDS = """
import random, subprocess, sys, time
from tests.faults.test_mounts import PLACES, start, wait_for_lines
place, rounds, generator = PLACES["{place}"](), {rounds}, random.Random({rounds})
place.begin()
running = [start("before", 2.5 * rounds)]
wait_for_lines("before")
for number in range(rounds):
    place.leave()
    running.append(start(f"during-{{number}}", 0.5))
    time.sleep(generator.uniform(0.1, 1.2))
    subprocess.run([sys.executable, "-m", "keepsake", "sync"], capture_output=True)
    time.sleep(generator.uniform(0.1, 0.6))
    place.come_back()
    running.append(start(f"after-{{number}}", 0.3))
    time.sleep(generator.uniform(0.1, 0.5))
for process in running:
    messages = process.communicate(timeout=100)[1]
    assert process.returncode == 0, messages
    assert "Traceback" not in messages, messages
place.end()
"""


def start(name: str, seconds: float) -> subprocess.Popen[str]:
    """Start a run."""
    return subprocess.Popen(
        [sys.executable, "train.py", name, str(seconds)],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _environment() -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name != "KEEPSAKE_STRICT"}
    return {**variables, "PYTHONPATH": str(ROOT)}


def wait_for_lines(name: str) -> None:
    """Wait until a run has begun and recorded something."""
    log, deadline = Path(f"log-{name}"), time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Moved:
    """The repository's directory is moved away, and an empty one takes its place, as below a mount."""

    def __init__(self) -> None:
        self.count = 0

    def begin(self) -> None:
        """Let there be a repository."""
        run("import keepsake\nkeepsake.init()")

    def leave(self) -> None:
        """Take it away."""
        os.rename("repo", "away")
        os.mkdir("repo")

    def come_back(self) -> None:
        """Bring it back."""
        assert "repository.json" not in os.listdir("repo"), "a repository was made in the mount point"
        self._put_aside()
        os.rename("away", "repo")

    def end(self) -> None:
        """Leave it where it is looked at."""

    def _put_aside(self) -> None:
        self.count += 1
        os.rename("repo", f"below-{self.count}")


class Mounted(Moved):
    """The repository is on a mount."""

    def begin(self) -> None:
        os.mkdir("under")
        os.mkdir("repo")
        self._mount()
        super().begin()

    def leave(self) -> None:
        subprocess.run(["umount", "-l", "repo"], check=True)

    def come_back(self) -> None:
        assert "repository.json" not in os.listdir("repo"), "a repository was made in the mount point"
        self._mount()

    def end(self) -> None:
        self.leave()
        self._put_aside()
        os.rename("under", "repo")

    @staticmethod
    def _mount() -> None:
        subprocess.run(["mount", "--bind", "under", "repo"], check=True)


class Replaced(Moved):
    """Another repository is at the same URL for a while."""

    def leave(self) -> None:
        Path("new").mkdir()
        Path("new/repository.json").write_text('{"version": 1}')
        Path("new/identity.json").write_text(json.dumps({"id": os.urandom(16).hex()}))
        os.rename("repo", "away")
        os.rename("new", "repo")  # no run sees half of it

    def come_back(self) -> None:
        self._put_aside()
        os.rename("away", "repo")


PLACES: dict[str, Callable[[], Moved]] = {"moved": Moved, "mounted": Mounted, "replaced": Replaced}


def _returned(project: Path) -> dict[str, dict[str, inspect.Contents]]:
    """Return what each run's checkpoints hold that had returned."""
    found: dict[str, dict[str, inspect.Contents]] = {}
    for log in project.glob("log-*"):
        name = log.name.partition("-")[2]
        lines = [line.split() for line in log.read_text().splitlines()]
        returned: dict[str, inspect.Contents] = {}
        for checkpoint_id, number in lines[1:]:
            content = f"weights {number}".encode() * (1000 if int(number) % 2 else 150_000)
            returned[checkpoint_id] = {f"weights-{name}": content}
        if lines:
            found[lines[0][0]] = returned
    return found


@pytest.fixture(autouse=True)
def project(project_directory: Path) -> Path:
    (project_directory / "train.py").write_text(_TRAIN)
    (project_directory / ".keepsakeignore").write_text("repo\naway\nbelow-*\nunder\n")
    return project_directory


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(1, id="quick"),
        pytest.param(25, id="exhaustive", marks=[pytest.mark.exhaustive, pytest.mark.timeout(900)]),
    ],
)
@pytest.mark.parametrize("disk", ["moved", pytest.param("mounted", marks=needs_mounts), "replaced"])
def test_a_repository_that_goes_and_comes_back_under_runs_costs_nothing(project: Path, disk: str, rounds: int) -> None:
    """No new one is made in the mount point, and nothing goes into another one that was not begun there."""
    (project / "rounds.py").write_text(textwrap.dedent(_ROUNDS.format(place=disk, rounds=rounds)))
    prefix = ["unshare", "--mount", "--propagation", "private"] if disk == "mounted" else []
    done = subprocess.run([*prefix, sys.executable, "rounds.py"], env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    run("import keepsake\nkeepsake.init()")
    command("sync", status=None)
    returned = _returned(project)
    assert len(returned) == 1 + 2 * rounds
    elsewhere = {path.stem for path in project.glob("below-*/metadata/experiments/*.json")}
    for experiment_id, checkpoints in returned.items():
        if disk == "replaced" and experiment_id in elsewhere:  # begun there, and said to be
            continue
        assert inspect.missing(project, checkpoints, experiment_id) == []
    before = Path("log-before").read_text().split()[0]
    assert before not in elsewhere
    assert inspect.broken(project / "repo") == []
    print(f"{rounds} rounds, {sum(map(len, returned.values()))} checkpoints of {len(returned)} runs")


_CHANGE_DISKS = """
import os, subprocess
os.mkdir("spool")
os.environ.update(KEEPSAKE_SPOOL=os.path.abspath("spool"), KEEPSAKE_OFFLINE="1")
import keepsake
def mount(*command):
    subprocess.run(command, check=True)
mount("mount", "--bind", "disk", "spool")
experiment = keepsake.init(quiet=True)
experiment.checkpoint(metrics={"number": 0})
mount("umount", "-l", "spool")
experiment.checkpoint(path="train.py", metrics={"number": 1})
mount("mount", "--bind", "disk", "spool")
experiment.checkpoint(path="train.py", metrics={"number": 2})
experiment.stop()
os.environ.pop("KEEPSAKE_OFFLINE")
keepsake.Project().sync()
(found,) = keepsake.experiments.list()
assert sorted(found.checkpoints.metrics["number"]) == [0, 1, 2], found.checkpoints
mount("umount", "-l", "spool")
keepsake.Project().sync()
assert all(keepsake.experiments.get(found.id).checkpoints[number].open("train.py").read() for number in (1, 2))
"""


@needs_mounts
def test_a_disk_of_the_spool_that_goes_and_comes_back_hides_no_checkpoint(project: Path) -> None:
    """What was recorded meanwhile lies in the mount point. Its metrics are written again, and its files are named."""
    run_on({"disk": "mount -t tmpfs none"}, _CHANGE_DISKS, project)


def leave_at_record(monkeypatch: pytest.MonkeyPatch, disk: Moved, number: int, *, before: bool) -> None:
    """Let a disk go just before or after the record of that number is written to it, counted from 1."""
    put, written = DiskStorage.put, list[str]()

    def put_while_it_goes(storage: DiskStorage, key: str, *arguments: Any, **options: Any) -> str:
        written.extend([key] if key.startswith("metadata/experiments/") else [])
        is_it = written[number - 1 :] == [key]
        if is_it and before:
            disk.leave()
        etag = put(storage, key, *arguments, **options)
        if is_it and not before:
            disk.leave()
        return etag

    monkeypatch.setattr(DiskStorage, "put", put_while_it_goes)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("what", "message"), [("moved", "is gone"), ("replaced", "is another one than before")])
def test_a_disk_that_goes_while_an_experiment_is_created_costs_nothing(
    what: str,
    message: str,
    before: bool,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its record may lie in the mount point then, or in another repository, and that proves nothing."""
    keepsake.init().stop()
    leave_at_record(monkeypatch, disk := PLACES[what](), 1, before=before)
    monkeypatch.setattr(job, "_RETRY_SECONDS", (0.05,) * 5)
    experiment = keepsake.init(path="train.py")
    experiment.checkpoint(path="train.py", metrics={"number": 0})
    disk.come_back()
    experiment.checkpoint(path="train.py", metrics={"number": 1})
    experiment.stop()
    content = {"train.py": (project / "train.py").read_bytes()}
    returned = {checkpoint.id: content for checkpoint in experiment.checkpoints}
    assert inspect.missing(project, returned, experiment.id) == []
    assert nothing_waits(project)
    messages = capfd.readouterr().err
    assert message in messages
    assert "no longer" not in messages
    assert what == "moved" or not list(project.glob("below-*/metadata/experiments/*.json"))


@pytest.mark.parametrize("before", [True, False])
def test_a_removal_from_a_disk_that_goes_is_an_error(
    before: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after the removal has looked for the repository. The experiment is there when the disk is back."""
    keepsake.init().stop()
    (experiment,) = Project(directory=project).experiments.list()
    disk, add, went = Moved(), Removals.add, list[bool]()

    def add_while_it_goes(self: Removals, *arguments: Any) -> str:
        if not went:
            went.append(True)
            disk.leave()
        return add(self, *arguments)

    if before:
        disk.leave()
    else:
        monkeypatch.setattr(Removals, "add", add_while_it_goes)
    with pytest.raises(MissingRepository):
        experiment.delete()
    disk.come_back()
    assert [path for path in project.glob("below-1/**/*") if path.is_file()] == [], "nothing is left in the mount point"
    assert [found.id for found in Project(directory=project).experiments.list()] == [experiment.id]


@pytest.mark.parametrize("before", [True, False])
def test_a_copy_to_a_disk_that_goes_says_what_is_not_there(
    before: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in the mount point was not copied."""
    for _ in range(3):
        keepsake.init().stop()
    shutil.copytree("repo", "other")
    for record in Path("repo/metadata/experiments").iterdir():
        record.unlink()
    leave_at_record(monkeypatch, disk := Moved(), 2, before=before)
    copied = Project(directory=project).pull("file://other")
    disk.come_back()
    for outcome in copied.outcomes:
        assert Path(f"repo/metadata/experiments/{outcome.record['id']}.json").exists() or outcome.errors


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(1, id="quick"),
        pytest.param(20, id="exhaustive", marks=[pytest.mark.exhaustive, pytest.mark.timeout(900)]),
    ],
)
def test_a_backup_that_is_restored_under_runs_costs_nothing_that_waited(project: Path, rounds: int) -> None:
    """What had been saved since the backup went with the disk. All else arrives, or waits until a person forces it.

    Files whose checkpoint was saved before the disk went are set aside in the spool: the backup does not name them.
    """
    run("import keepsake\nkeepsake.init()")
    generator = random.Random(rounds)
    for number in range(rounds):
        before = start(f"before-{number}", 2.0)
        wait_for_lines(f"before-{number}")
        shutil.copytree("repo", "backup", ignore=shutil.ignore_patterns(".*"))
        since = start(f"since-{number}", 1.2)
        wait_for_lines(f"since-{number}")
        time.sleep(generator.uniform(0, 0.4))
        os.rename("repo", f"lost-{number}")
        os.rename("backup", "repo")
        for process in (before, since):
            messages = process.communicate(timeout=60)[1]
            assert process.returncode == 0, messages
    command("sync", "--force", status=None)
    kept = {file.name.partition(".")[0] for file in project.glob("repo/checkpoints/*.tar.gz")}
    aside = {file.name.partition(".")[0] for file in project.glob(".keepsake/spool/*/*.unnamed.*")}
    lost = {file.name.partition(".")[0] for file in project.glob("lost-*/checkpoints/*.tar.gz")}
    count = 0
    for experiment_id, checkpoints in _returned(project).items():
        files = project.glob(f"*/metadata/experiments/{experiment_id}.json")
        records = {file.parts[-4]: json.loads(file.read_bytes()) for file in files}
        if "repo" not in records:  # on a busy machine a run may be fully saved before the disk goes
            assert [record["end_reason"] for record in records.values()] == ["finished"]
        named = {checkpoint["id"] for record in records.values() for checkpoint in record["checkpoints"] or []}
        assert checkpoints.keys() <= named
        assert checkpoints.keys() <= kept | lost | aside
        count += len(checkpoints)
    assert kept - lost
    assert inspect.broken(project / "repo") == []
    print(f"{rounds} rounds, {count} checkpoints")


def test_a_disk_that_is_away_only_while_something_is_written_costs_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written lies in the mount point then. Everything that is looked at afterwards is as it should be."""
    keepsake.init().stop()
    monkeypatch.setattr(job, "_RETRY_SECONDS", (0.05,) * 5)
    disk, put, upload, under_way = Moved(), DiskStorage.put, DiskStorage.upload, Removals.under_way
    away: list[str] = []

    def put_while_it_is_away(storage: DiskStorage, key: str, *arguments: Any, **options: Any) -> str:
        if away or not key.startswith("metadata/experiments/"):
            return put(storage, key, *arguments, **options)
        away.append(key)
        disk.leave()
        etag = put(storage, key, *arguments, **options)
        disk.come_back()
        return etag

    def upload_while_it_is_away(storage: DiskStorage, key: str, source: BinaryIO) -> None:
        if key not in away:
            away.append(key)
            disk.leave()
        upload(storage, key, source)

    def under_way_once_it_is_back(removals: Removals) -> set[str]:
        if Path("away").exists():
            disk.come_back()
        return under_way(removals)

    monkeypatch.setattr(DiskStorage, "put", put_while_it_is_away)
    monkeypatch.setattr(DiskStorage, "link", lambda *_, **__: False)
    monkeypatch.setattr(DiskStorage, "upload", upload_while_it_is_away)
    monkeypatch.setattr(Removals, "under_way", under_way_once_it_is_back)
    experiment = keepsake.init()
    experiment.checkpoint(path="train.py")
    experiment.stop()
    assert len(away) == 2
    content = {"train.py": (project / "train.py").read_bytes()}
    returned = {checkpoint.id: content for checkpoint in experiment.checkpoints}
    assert inspect.missing(project, returned, experiment.id) == []
