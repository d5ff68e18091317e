"""Some on 0.4.2, some on ours, one repository: nothing is lost, and nothing stays behind that 0.4.2 would not leave."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.interop import records
from tests.interop.compare import Both, check_out, contents
from tests.interop.sides import Failed, Side

TOLERATING = ("ls-json-null", "added-fields")

# What a script does after its first lines, and how it ends
SCRIPTS = {
    "nothing": "",
    "metrics": "for step in range(3): experiment.checkpoint(metrics={'loss': 1 / (step + 1)})",
    "files": "for step in range(3): experiment.checkpoint(path='train.py', metrics={'loss': 0.5})",
    "stop": "experiment.checkpoint(path='.', step=5); experiment.stop()",
    "exception": "experiment.checkpoint(path='train.py'); raise ValueError('no more memory')",
    "exit": "experiment.checkpoint(path='train.py'); raise SystemExit(3)",
    "two": "experiment.checkpoint(path='train.py'); keepsake.init(path='train.py').checkpoint(path='.')",
    "deleted": "experiment.checkpoint(path='train.py'); experiment.stop(); time.sleep(1); experiment.delete()",
}
BEGIN = "import time\nimport keepsake\nexperiment = keepsake.init(path='.', params={'learning_rate': 0.01})\n"


def test_a_finished_run_leaves_what_0_4_2_would(both: Both, tmp_path: Path) -> None:
    """The same exit status, the same objects under the same kinds of keys, and nothing else of ours in the project."""
    with ThreadPoolExecutor(4) as pool:
        theirs, ours = (
            dict(zip(SCRIPTS, pool.map(lambda name, side=side: after(side, tmp_path, name), SCRIPTS), strict=True))
            for side in (both.original, both.ours)
        )
    assert ours == theirs
    assert len(ours["files"][1]) == 6


def after(side: Side, directory: Path, name: str) -> tuple[int, list[str]]:
    """Run a script in a project of its own; return its exit status, and the keys with an `*` for each ID."""
    project = directory / side.name / name
    project.mkdir(parents=True)
    (project / "keepsake.yaml").write_text("repository: file://.keepsake\n")
    (project / "train.py").write_text(f"{BEGIN}{SCRIPTS[name]}\n")
    done = side.script(project / "train.py")
    assert {path.name for path in project.iterdir()} == {".keepsake", "keepsake.yaml", "train.py"}
    return done.status, sorted(re.sub(r"[0-9a-f]{64}", "*", key) for key in records.keys(project))


def checkpoints(*losses: float, **more: Any) -> list[dict[str, Any]]:
    return [{"metrics": {"loss": loss}, "primary_metric": ["loss", "minimize"], **more} for loss in losses]


def run(*losses: float, path: str | None = ".") -> dict[str, Any]:
    return {"path": path, "params": {"lr": 0.5, "n": 3}, "checkpoints": checkpoints(*losses, path="train.py")}


@pytest.mark.parametrize("turns", ["ours first", "0.4.2 first"])
def test_taking_turns_with_one_experiment(both: Both, project: Path, tmp_path: Path, turns: str) -> None:
    """Each adds checkpoints to what the other wrote; none is lost, and files of all of them come back."""
    sides = [both.ours, both.original] if turns == "ours first" else [both.original, both.ours]
    where = {"directory": str(project)}
    experiment, first = sides[0].record(runs=[run(0.9)], **where)[0]
    made = [first]
    for turn, loss in enumerate([0.8, 0.95, 0.6]):
        (project / "train.py").write_text(f"turn {turn}")
        added = checkpoints(loss, path="train.py", step=10 * turn)
        made += sides[(turn + 1) % 2].record("add_checkpoints", experiment=experiment, checkpoints=added, **where)
        both.agree("ls", "--json", cwd=project, tolerating=TOLERATING)
        both.agree("show", experiment, "--json", cwd=project, tolerating=TOLERATING)
    found = both.call("got", prefix=experiment, fresh=True, **where)
    assert [checkpoint["id"] for checkpoint in found["checkpoints"]] == made
    assert (found["best"], found["latest"]) == (made[3], made[3])
    assert found["params"] == {"lr": 0.5, "n": 3}
    for turn, identifier in enumerate(made[1:]):
        files = contents(check_out(both, project, tmp_path / f"out{turn}", identifier))
        assert files["train.py"] == f"turn {turn}".encode()


def test_a_rewrite_by_0_4_2_does_us_no_harm(both: Both, project: Path) -> None:
    """It drops the fields that are ours; all that was promised is still there, and the status is right."""
    where = {"directory": str(project)}
    experiment = both.ours.record(runs=[run(0.9)], **where)[0][0]
    before = records.read(project, experiment)
    added = both.original.record("add_checkpoints", experiment=experiment, checkpoints=checkpoints(0.5), **where)
    after = records.read(project, experiment)
    promised = before.keys() - {"ended", "end_reason", "error", "traceback", "environment", "checkpoints", "created"}
    assert {name: after[name] or None for name in promised} == {name: before[name] or None for name in promised}
    assert [c["id"] for c in after["checkpoints"]] == [*(c["id"] for c in before["checkpoints"]), *added]
    assert (
        both.agree(
            "show", experiment, cwd=project, tolerating=("show-alignment", "show-ended", "show-environment")
        ).status
        == 0
    )
    assert both.ours.run("ls", "-q", "-f", "status = stopped", cwd=project).stdout.split() == [experiment]


def test_what_others_added_survives_our_rewrite(ours: Side, project: Path) -> None:
    """Fields we do not know, and the text of every time."""
    created = "2022-03-14T09:41:07.120Z"
    record = records.experiment(1, records.checkpoint(1, note={"by": "a tool"}), tags=["a"], created=created)
    records.write(project, record)
    ours.record("add_checkpoints", experiment="e0000001", checkpoints=checkpoints(0.5), directory=str(project))
    after = records.read(project, "e0000001")
    assert after["checkpoints"][0] == record["checkpoints"][0]
    assert {name: after[name] for name in record if name != "checkpoints"} == {
        name: value for name, value in record.items() if name != "checkpoints"
    }


def test_one_list_of_what_both_recorded(both: Both, project: Path) -> None:
    """In the order it was made, and for both the same."""
    where = {"directory": str(project)}
    ids = []
    for side in (both.ours, both.original, both.ours):
        ids += side.record(runs=[run(0.5), run(0.25, 0.75, path=None)], **where)
    found = both.call("listed", **where)
    assert [experiment["id"] for experiment in found] == [made[0] for made in ids]
    both.agree("ls", cwd=project)
    both.agree("ls", "--json", cwd=project, tolerating=TOLERATING)
    both.agree("ls", "-q", "-f", "loss < 0.4", cwd=project)
    both.agree("diff", ids[0][0], ids[3][0], cwd=project, tolerating=("diff-files",))


def test_refresh_sees_what_0_4_2_added(both: Both, project: Path) -> None:
    """experiment.refresh() in a program that goes on."""
    where = {"directory": str(project)}
    experiment = both.original.record(runs=[run(0.9)], **where)[0][0]
    source = f"""
import builtins
builtins.held = keepsake.Project(directory={str(project)!r}).experiments.get({experiment!r})
result = len(held.checkpoints)
"""
    assert both.ours.call("program", source=source) == 1
    added = both.original.record("add_checkpoints", experiment=experiment, checkpoints=checkpoints(0.5), **where)
    refresh = "held.refresh()\nresult = [len(held.checkpoints), held.best().id]"
    assert both.ours.call("program", source=refresh) == [2, added[0]]


@pytest.mark.parametrize("deleter", ["0.4.2", "ours"])
def test_deleting_what_either_wrote(writer: Side, both: Both, project: Path, deleter: str) -> None:
    """The command and the library delete all of it, and nothing else."""
    where = {"directory": str(project)}
    side = both.original if deleter == "0.4.2" else both.ours
    ids = [made[0] for made in writer.record(runs=[run(0.5), run(0.4, 0.3), run(0.2)], **where)]
    records.write_heartbeat(project, ids[0], 100)
    done = side.run("rm", ids[0], cwd=project, answer="y\n")
    assert done.status == 0
    assert both.agree("ls", "-q", cwd=project).stdout.split() == ids[1:]
    assert not any(ids[0] in key for key in records.keys(project))
    assert len(records.keys(project)) == 1 + (1 + 1 + 2) + (1 + 1 + 1)
    side.record("deleted", experiments=ids[1:], **where)
    assert records.keys(project) == {"repository.json"}


def test_deleting_with_an_alias_and_several_ids(both: Both, project: Path) -> None:
    """`delete -f ID ID`."""
    for side in (both.original, both.ours):
        records.write(project, *(records.experiment(number) for number in (1, 2, 3)))
        assert side.run("delete", "-f", "e0000001", "e0000003", cwd=project).status == 0
        assert records.keys(project) == {"repository.json", "metadata/experiments/e0000002.json"}


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ('{"version":2}', "IncompatibleRepositoryVersion"),
        ('{"version":1', "CorruptedRepositorySpec"),
        ("nonsense", "CorruptedRepositorySpec"),
    ],
)
def test_a_repository_that_is_not_ours_to_write(both: Both, project: Path, spec: str, error: str) -> None:
    """A newer or a broken one is refused by init(), with the same exception, and left alone."""
    (project / ".keepsake").mkdir()
    (project / ".keepsake/repository.json").write_text(spec)
    for side in (both.original, both.ours):
        with pytest.raises(Failed) as failed:
            side.call("record", runs=[run(0.5)], directory=str(project), fresh=True)
        assert failed.value.kind == error
        assert records.keys(project) == {"repository.json"}


def test_the_same_first_object(both: Both, project: Path, tmp_path: Path) -> None:
    """repository.json is the same to the byte."""
    written = []
    for side in (both.original, both.ours):
        directory = tmp_path / side.name
        directory.mkdir()
        side.record(runs=[run(path=None)], directory=str(directory), repository="file://repo")
        written.append((directory / "repo/repository.json").read_bytes())
    assert written[0] == written[1] == b'{"version":1}'


def test_a_run_of_ours_is_seen_running_by_0_4_2(both: Both, project: Path) -> None:
    """From the first moment to the last."""
    source = f"""
import builtins
builtins.held = keepsake.Project(directory={str(project)!r}).experiments.create(quiet=True)
result = held.id
"""
    experiment = both.ours.call("program", source=source)
    for command in (["ps"], ["ls"], ["show", experiment], ["ls", "-q", "-f", "status = running"]):
        assert both.agree(*command, cwd=project, tolerating=("show-alignment", "show-ended", "show-environment")).stdout
    both.ours.call("program", source="held.stop()")
    for command in (["ps"], ["ls"], ["show", experiment], ["ls", "-q", "-f", "status = stopped"]):
        both.agree(*command, cwd=project, tolerating=("show-alignment", "show-ended", "show-environment"))
    assert both.original.run("ps", "-q", cwd=project).stdout.split() == []


def test_what_a_run_printed_is_nothing_to_0_4_2(both: Both, project: Path) -> None:
    """It lists, shows, rewrites and removes such runs. What they had printed is still there after a rewrite."""
    (project / "noisy.py").write_text(
        "import keepsake\n"
        "for number in range(3):\n"
        "    with keepsake.init('train.py', {'number': number}, quiet=True, capture_output=True) as experiment:\n"
        "        print('number', number)\n"
        "        experiment.checkpoint(path='train.py', metrics={'loss': number})\n"
    )
    assert both.ours.script(project / "noisy.py").status == 0
    ids = both.ours.run("ls", "-q", cwd=project).stdout.split()
    both.agree("ls", "--json", cwd=project, tolerating=TOLERATING)
    both.agree("ls", "-q", cwd=project)
    both.agree("show", ids[0], "--json", cwd=project, tolerating=TOLERATING)
    both.original.record(
        "add_checkpoints", experiment=ids[0], checkpoints=checkpoints(0.5, path="train.py"), directory=str(project)
    )
    assert "output" not in records.read(project, ids[0])
    assert both.ours.run("logs", ids[0], cwd=project).stdout == "number 0\n"
    assert both.original.run("rm", "-f", ids[1], cwd=project).status == 0
    assert both.ours.run("rm", "-f", ids[2], cwd=project).status == 0
    assert both.agree("ls", "-q", cwd=project).stdout.split() == ids[:1]
    kept = sorted(key.partition("-")[0] for key in records.keys(project) if key.startswith("logs/"))
    assert kept == sorted(f"logs/{id}" for id in ids[:2])
    assert both.ours.run("doctor", cwd=project).status == 0
