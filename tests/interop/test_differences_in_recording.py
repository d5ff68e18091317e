"""Differences by intent, each shown to be real on both sides: what a program records, and how."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop import records
from tests.interop.compare import Both
from tests.interop.differences import shows
from tests.interop.sides import Failed, Side


class Projects:
    """A project for each side, and programs that run in it."""

    def __init__(self, both: Both, directory: Path) -> None:
        self._sides = {side: directory / side.name for side in (both.original, both.ours)}
        for place in self._sides.values():
            place.mkdir()
            (place / "keepsake.yaml").write_text("repository: file://.keepsake\n")
            (place / "train.py").write_text("print('training')\n")

    def run(self, source: str) -> list[Any]:
        """Return what a program calls `result` on each side, or how the error is called that it raises."""
        self._before = {key for place in self._sides.values() for key in records.keys(place)}
        return [self._run(side, source) for side in self._sides]

    def _run(self, side: Side, source: str) -> Any:
        try:
            return side.call("program", source=source, directory=str(self._sides[side]))
        except Failed as failed:
            return failed.kind

    def new_records(self) -> list[list[dict[str, Any]]]:
        """Return the experiments that the last program recorded, as they are on disk, of each side."""
        found = []
        for place in self._sides.values():
            new = [Path(key).stem for key in records.keys(place) - self._before if key.startswith("metadata/exp")]
            found.append([records.read(place, identifier) for identifier in new])
        return found


@pytest.fixture(scope="module")
def projects(both: Both, tmp_path_factory: pytest.TempPathFactory) -> Projects:
    """For programs that both sides run; one for all tests, as 0.4.2 is slow to begin."""
    return Projects(both, tmp_path_factory.mktemp("projects"))


CREATE = "experiment = project.experiments.create(params={'n': 1}, quiet=True, disable_heartbeat=True)\n"


@shows("status-at-once")
def test_status_at_once(both: Both, project: Path) -> None:
    """Theirs: stopped, running after 5 s, and still running when it has ended. Ours: running, stopped."""
    (project / "train.py").write_text(
        "import keepsake, sys, time\n"
        "experiment = keepsake.init()\n"
        "print(experiment.id, flush=True)\n"
        "time.sleep(float(sys.argv[1]))\n"
    )
    for side, seconds in ((both.original, 6.0), (both.ours, 0.0)):
        identifier = side.script(project / "train.py", str(seconds)).stdout.strip()
        shown = both.ours.run("ls", "-q", "-f", "status = running", cwd=project).stdout.split()
        assert (identifier in shown) == (side is both.original)
    for side in (both.original, both.ours):
        source = f"""
import builtins
builtins.held = keepsake.Project(directory={str(project)!r}).experiments.create(quiet=True)
result = held.id
"""
        identifier = side.call("program", source=source)
        shown = both.ours.run("ps", "-q", cwd=project).stdout.split()
        assert (identifier in shown) == (side is both.ours)
        side.call("program", source="held.stop()")


@shows("lost-status")
def test_lost_status(both: Both, project: Path) -> None:
    """A run of ours whose last heartbeat is old; and one of 0.4.2, which always ends so."""
    records.write(project, records.experiment(1, keepsake_version="1.0.0"), records.experiment(2))
    for identifier in ("e0000001", "e0000002"):
        records.write_heartbeat(project, identifier, 100)
    found = {}
    for status in ("lost", "stopped", "running"):
        done = both.run("ls", "-q", "-f", f"status = {status}", cwd=project)
        found[status] = [each.stdout.split() for each in done]
    assert found == {
        "lost": [[], ["e0000001"]],
        "stopped": [["e0000001", "e0000002"], ["e0000001", "e0000002"]],
        "running": [[], []],
    }
    theirs, ours = both.run("show", "e0000001", cwd=project)
    assert "stopped" in theirs.stdout
    assert "lost" in ours.stdout


@shows("failed-status")
def test_failed_status(both: Both, project: Path) -> None:
    """A run that an exception ended. The original ends it as any other."""
    program = "import keepsake, sys\nexperiment = keepsake.init()\nprint(experiment.id, flush=True)\n1 / 0"
    (project / "train.py").write_text(program)
    theirs, ours = (side.script(project / "train.py").stdout.strip() for side in (both.original, both.ours))
    done = both.run("ls", "-q", "-f", "status = stopped", cwd=project)
    assert done[1].stdout.split() == [theirs, ours]
    assert both.ours.run("ls", "-q", "-f", "status = failed", cwd=project).stdout.split() == [ours]
    old, new = both.run("show", ours, cwd=project)
    assert ["stopped" in old.stdout, "ZeroDivisionError" in old.stdout] == [True, False]
    assert ["failed" in new.stdout, "ZeroDivisionError: division by zero" in new.stdout] == [True, True]


@shows("host-name")
def test_host_name(projects: Projects) -> None:
    """It is that of this machine."""
    projects.run(CREATE)
    assert [[record["host"] for record in found] for found in projects.new_records()] == [[""], [os.uname().nodename]]


@shows("package-names")
def test_package_names(both: Both, project: Path) -> None:
    """Two packages in a directory of their own: one whose module has another name."""
    for name, module in (("some-thing", "other_name"), ("plain", "plain")):
        (project / f"{module}.py").write_text("")
        about = project / f"{name.replace('-', '_')}-1.5.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (about / "RECORD").write_text(f"{module}.py,,\n")
    (project / "train.py").write_text("import other_name, plain, keepsake\nkeepsake.init()\n")
    packages = []
    for side in (both.original, both.ours):
        before = records.keys(project)
        assert side.script(project / "train.py").status == 0
        new = next(key for key in records.keys(project) - before if key.startswith("metadata/experiments/"))
        packages.append(records.read(project, Path(new).stem)["python_packages"])
    assert [each.get("plain") for each in packages] == ["1.5", "1.5"]
    assert [each.get("some-thing") for each in packages] == [None, "1.5"]


@shows("keyword-metrics")
def test_keyword_metrics(projects: Projects) -> None:
    """checkpoint(loss=0.5)."""
    source = f"{CREATE}checkpoint = experiment.checkpoint(step=3, loss=0.5)\nresult = checkpoint and checkpoint.metrics"
    assert projects.run(source) == [None, {"loss": 0.5}]


TYPES: dict[str, tuple[Any, Any]] = {  # what is called → what comes of it: theirs, ours
    "experiment.checkpoint(metrics={'x': (1, 2)})": (None, {"x": [1, 2]}),
    "experiment.checkpoint(metrics={'x': {2, 1}})": (None, {"x": [1, 2]}),
    "experiment.checkpoint(metrics={'x': pathlib.PurePosixPath('a/b')})": (None, {"x": "a/b"}),
    "project.experiments.create(params=argparse.Namespace(x=1), quiet=True)": ("AttributeError", {"x": 1}),
    "project.experiments.create(params=Config(1), quiet=True)": ("AttributeError", {"x": 1}),
    "project.experiments.create(params={1: 2}, quiet=True)": ("TypeError", {"1": 2}),
    "project.experiments.create(path=pathlib.Path('train.py'), params={'x': 1}, quiet=True)": ("TypeError", {"x": 1}),
}


@shows("more-types")
@pytest.mark.parametrize("call", TYPES)
def test_more_types(projects: Projects, call: str) -> None:
    """What 0.4.2 cannot record."""
    source = f"""
import argparse, dataclasses, pathlib
@dataclasses.dataclass
class Config:
    x: int
{CREATE}
made = {call}
result = made and (getattr(made, 'params', None) or made.metrics)
"""
    assert projects.run(source) == list(TYPES[call])


@shows("integral-floats", "nested-nonfinite")
def test_floats_that_come_back(projects: Projects) -> None:
    """1.0, and NaN in a list."""
    source = """
import math
made = project.experiments.create(params={'one': 1.0, 'list': [math.nan, math.inf]}, quiet=True)
params = keepsake.Project(directory=directory).experiments.get(made.id).params
result = [type(params['one']).__name__, repr(params['list'])]
"""
    theirs, ours = projects.run(source)
    assert theirs == ["int", "'[NaN, Infinity]'"]
    assert ours == ["float", "[nan, inf]"]


@shows("big-integers")
def test_big_integers(projects: Projects) -> None:
    """A seed of 70 bits."""
    source = """
made = project.experiments.create(params={'seed': 2 ** 70}, quiet=True)
result = keepsake.Project(directory=directory).experiments.get(made.id).params['seed']
"""
    assert projects.run(source) == ["ValueError", 2**70]


@shows("no-validation")
def test_no_validation(projects: Projects) -> None:
    """A primary metric that is not there; a goal that is none; one that is said in another word."""
    for primary, expected in (("'accuracy', 'maximize'", None), ("'loss', 'up'", None), ("'loss', 'max'", "maximize")):
        call = f"made = experiment.checkpoint(metrics={{'loss': 1}}, primary_metric=({primary}))"
        goal = "result = made and made.primary_metric and made.primary_metric['goal']"
        theirs, ours = projects.run(f"{CREATE}{call}\n{goal}")
        assert theirs in ("maximize", "minimize")
        assert ours == expected


@shows("failed-init")
def test_failed_init(projects: Projects) -> None:
    """An experiment is left behind, or not."""
    failed = projects.run("project.experiments.create(path='nothing', quiet=True)")
    assert failed == ["Exception", "DoesNotExist"]
    assert [len(found) for found in projects.new_records()] == [1, 0]


@shows("failed-checkpoint")
def test_failed_checkpoint(projects: Projects) -> None:
    """The step that comes after it."""
    source = f"""
{CREATE}
experiment.checkpoint(path='nothing')
result = experiment.checkpoint(quiet=True).step
"""
    assert projects.run(source) == [1, 0]
    source = f"""
{CREATE}
experiment.checkpoint(step='first')
made = experiment.checkpoint(quiet=True)
result = made and made.step
"""
    assert projects.run(source) == [None, 0]


@shows("stale-project-cache")
def test_stale_project_cache(projects: Projects) -> None:
    """What another Project adds."""
    source = f"""
{CREATE}
other = keepsake.Project(directory=directory)
mirror = other.experiments.get(experiment.id)
before = len(other.experiments.list())
experiment.checkpoint(metrics={{'loss': 1}}, quiet=True)
mirror.refresh()
project.experiments.create(quiet=True, disable_heartbeat=True)
result = [len(mirror.checkpoints), len(other.experiments.list()) - before]
"""
    assert projects.run(source) == [[0, 0], [1, 1]]


@shows("two-writers")
def test_two_writers(projects: Projects) -> None:
    """Both have the experiment, and each adds a checkpoint."""
    source = f"""
{CREATE}
other = keepsake.Project(directory=directory).experiments.get(experiment.id)
experiment.checkpoint(step=1, quiet=True)
other.checkpoint(step=2, quiet=True)
experiment.checkpoint(step=3, quiet=True)
experiment.stop()
other.stop()
result = sorted(keepsake.Project(directory=directory).experiments.get(experiment.id).checkpoints.step)
"""
    assert projects.run(source) == [[1, 3], [1, 2, 3]]


@shows("deleted-comes-back")
def test_deleted_comes_back(projects: Projects) -> None:
    """A checkpoint of an experiment that is gone."""
    source = f"""
{CREATE}
experiment.checkpoint(quiet=True)
keepsake.Project(directory=directory).experiments.get(experiment.id).delete()
experiment.checkpoint(quiet=True)
experiment.stop()
"""
    projects.run(source)
    assert [len(found) for found in projects.new_records()] == [1, 0]


@shows("created-microseconds")
def test_created_microseconds(both: Both, project: Path) -> None:
    """Just below a half."""
    records.write(project, records.experiment(1, created="2026-11-22T06:43:00.322771488Z"))
    created = [
        side.call("got", prefix="e0000001", directory=str(project))["created"] for side in (both.original, both.ours)
    ]
    assert created == ["2026-11-22T06:43:00.322772", "2026-11-22T06:43:00.322771"]


@shows("times-kept", "added-fields")
def test_times_kept(both: Both, project: Path) -> None:
    """Nanoseconds, and a field that is not known."""
    created = "2022-03-14T09:41:07.123456789Z"
    for side in (both.original, both.ours):
        records.write(project, records.experiment(1, created=created, ended="x"))
        side.record("add_checkpoints", experiment="e0000001", checkpoints=[{"step": 1}], directory=str(project))
        after = records.read(project, "e0000001")
        assert len(after["checkpoints"]) == 1
        assert (after["created"] == created) == (side is both.ours)
        assert ("ended" in after) == (side is both.ours)


@shows("added-fields")
def test_added_fields(projects: Projects) -> None:
    """On disk, and in `show --json`."""
    projects.run(f"{CREATE}experiment.stop()")
    (theirs,), (ours,) = projects.new_records()
    assert ours.keys() - theirs.keys() == {"ended", "end_reason", "environment"}
    assert theirs.keys() <= ours.keys()


@shows("python-packages-type")
def test_python_packages_type(projects: Projects) -> None:
    """It is compared as JSON."""
    source = f"""
import json
{CREATE}
found = keepsake.Project(directory=directory).experiments.get(experiment.id)
result = type(json.loads(json.dumps(found.python_packages or {{}}))).__name__
"""
    assert projects.run(source) == ["TypeError", "dict"]


@shows("large-metadata")
def test_large_metadata(both: Both, project: Path) -> None:
    """5 MB of params."""
    records.write(project, *(records.experiment(number, params={"text": "x" * 500_000}) for number in range(10)))
    source = f"result = len(keepsake.Project(directory={str(project)!r}).experiments.list())"
    with pytest.raises(Failed):
        both.original.call("program", source=source)
    assert both.ours.call("program", source=source) == 10


@shows("empty-prefix")
def test_empty_prefix(both: Both, project: Path) -> None:
    """`rm ""` with one experiment."""
    for side in (both.original, both.ours):
        records.write(project, records.experiment(1))
        done = side.run("rm", "-f", "", cwd=project)
        assert done.status == (1 if side is both.ours else 0)
        assert ("metadata/experiments/e0000001.json" in records.keys(project)) == (side is both.ours)


@shows("one-run-per-job")
def test_one_run_per_job(both: Both, project: Path) -> None:
    """Two processes, with what torchrun tells them."""
    (project / "train.py").write_text("import keepsake\nkeepsake.init()")
    counts = []
    for side in (both.original, both.ours):
        before = len(both.ours.run("ls", "-q", cwd=project).stdout.split())
        for rank in ("0", "1"):
            side.script(project / "train.py", environment={"RANK": rank, "WORLD_SIZE": "2"})
        counts.append(len(both.ours.run("ls", "-q", cwd=project).stdout.split()) - before)
    assert counts == [2, 1]


@shows("one-run-per-restarted-job")
def test_one_run_per_restarted_job(both: Both, project: Path) -> None:
    """Steps 0 to 2, then 2 and 3. Both see every step of ours once."""
    loop = "for step in map(int, sys.argv[1:]):\n    experiment.checkpoint(step=step, quiet=True)\nprint(experiment.id)"
    (project / "train.py").write_text(f"import keepsake, sys\nexperiment = keepsake.init()\n{loop}\n1 / 0")
    found = []
    for side in (both.original, both.ours):
        ids = []
        for count, steps in (("0", "012"), ("1", "23")):
            environment = {"SLURM_JOB_ID": "5", "SLURM_RESTART_COUNT": count}
            ids.append(side.script(project / "train.py", *steps, environment=environment).stdout.strip())
        found.append(len(set(ids)))
    assert found == [2, 1]
    for done in both.run("show", "--json", ids[0], cwd=project):
        assert [checkpoint["step"] for checkpoint in json.loads(done.stdout)["checkpoints"]] == [0, 1, 2, 3]


@shows("no-file-needed")
def test_no_file_needed(both: Both, project: Path) -> None:
    """Neither keepsake.yaml nor anything else."""
    (project / "keepsake.yaml").unlink()
    (project / "train.py").write_text("import keepsake\nkeepsake.init().stop()\n")
    assert both.original.script(project / "train.py").status == 1
    assert both.ours.script(project / "train.py").status == 0
    assert (project / ".keepsake/repository.json").exists()


@shows("script-from-elsewhere")
def test_script_from_elsewhere(both: Both, project: Path) -> None:
    """Started from the directory above."""
    script = Path(project.name, "train.py")
    (project / "train.py").write_text("import keepsake\nkeepsake.init().stop()\n")
    for side, status in ((both.original, 1), (both.ours, 0)):
        done = subprocess.run(
            [side.python, script], cwd=project.parent, env=side.environment, capture_output=True, timeout=60
        )
        assert done.returncode == status, done.stderr
    assert not (project.parent / ".keepsake").exists()
    assert len(both.ours.run("ls", "-q", cwd=project).stdout.split()) == 1


@shows("quiet")
def test_quiet(both: Both, project: Path) -> None:
    """Three checkpoints: a line for each, or one at the end."""
    program = (
        "import keepsake\nexperiment = keepsake.init()\nfor n in range(3): experiment.checkpoint(metrics={'n': n})\n"
    )
    (project / "train.py").write_text(program)
    for side in (both.original, both.ours):
        said = side.script(project / "train.py").stderr
        assert said.count("Creating checkpoint") == (3 if side is both.original else 0)
        assert ("3 checkpoints saved" in said) == (side is both.ours)


@shows("narrow-floats", "one-element-arrays")
def test_narrow_floats_and_one_element_arrays(projects: Projects) -> None:
    """NumPy makes them."""
    pytest.importorskip("numpy")
    params = "{'lr': numpy.float32(0.1), 'loss': numpy.array([0.5])}"
    projects.run(f"import numpy\nproject.experiments.create(params={params}, quiet=True).stop()")
    (theirs,), (ours,) = projects.new_records()
    assert theirs["params"] == {"lr": 0.10000000149011612, "loss": [0.5]}
    assert ours["params"] == {"lr": 0.1, "loss": 0.5}
