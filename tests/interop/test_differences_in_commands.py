"""Differences by intent, each shown to be real on both sides: options, questions, deleting, odd repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop import records
from tests.interop.compare import Both
from tests.interop.differences import shows

A, B = "e0000001", "e0000002"


@shows("version-not-checked")
def test_version_not_checked(both: Both, project: Path) -> None:
    """Version 2."""
    records.write(project, records.experiment(1))
    (project / ".keepsake/repository.json").write_text('{"version":2}')
    theirs, ours = both.run("ls", "-q", cwd=project)
    assert (theirs.status, theirs.stdout.split()) == (0, [A])
    assert (ours.status, ours.stdout) == (1, "")


@shows("short-ids")
def test_short_ids(both: Both, project: Path) -> None:
    """An ID of six characters among others."""
    records.write(project, records.experiment(1), records.experiment(2, id="abcdef"))
    theirs, ours = both.run("ls", cwd=project)
    assert theirs.status == 2
    assert "panic" in theirs.stderr
    assert ours.status == 0
    assert "e000000" in ours.stdout
    assert "abcdef" in ours.stderr


@shows("empty-records")
@pytest.mark.parametrize("content", ["{}", "null"])
def test_empty_records(both: Both, project: Path, content: str) -> None:
    """Among others."""
    records.write(project, records.experiment(1))
    (project / f".keepsake/metadata/experiments/{B}.json").write_text(content)
    theirs, ours = both.run("ls", "-q", cwd=project)
    assert theirs.stdout.splitlines()[:2] == ["", A]
    assert ours.stdout.split() == [A]
    assert B in ours.stderr


@shows("hostile-ids")
def test_hostile_ids(both: Both, project: Path) -> None:
    """A checkpoint's ID that leads out of the repository, and `rm`."""
    victim = project / "victim.tar.gz"
    for side in (both.original, both.ours):
        victim.write_text("precious")
        records.write(project, records.experiment(1, records.checkpoint(1, id="../../victim", path="x")))
        side.run("rm", "-f", A, cwd=project)
        assert victim.exists() == (side is both.ours)


@shows("color")
def test_color(both: Both, project: Path) -> None:
    """Into a pipe, and with the option."""
    records.write(project, records.experiment(1))
    plain = {"NO_COLOR": ""}
    shown = [side.process("show", A, cwd=project, environment=plain) for side in (both.original, both.ours)]
    assert ["\x1b[" in done.stdout for done in shown] == [True, False]
    failed = [side.process("show", "nothing", cwd=project, environment=plain) for side in (both.original, both.ours)]
    assert ["\x1b[" in done.stderr for done in failed] == [True, False]
    for option, statuses in (("--no-color", [1, 0]), ("--color=false", [0, 0])):
        assert [side.process("ls", option, cwd=project).status for side in (both.original, both.ours)] == statuses
    assert "\x1b[" in both.ours.process("show", "--color", A, cwd=project, environment=plain).stdout


@shows("usage-exit-status")
@pytest.mark.parametrize("command", ["ls --nonsense", "nonsense", "show", "ls -q --json", "ls -q --all"])
def test_usage_exit_status(both: Both, project: Path, command: str) -> None:
    """Unknown options and commands, arguments that are missing or contradict each other."""
    theirs, ours = both.run(*command.split(), cwd=project)
    assert (theirs.status, ours.status) == (1, 2)
    assert ours.stdout == ""


@shows("url-characters")
@pytest.mark.parametrize(("name", "status"), [("a b", 1), ("a#b", 0)])
def test_url_characters(both: Both, project: Path, name: str, status: int) -> None:
    """These are characters in the URL of a folder."""
    (project / "keepsake.yaml").write_text(f"repository: 'file://{name}'\n")
    records.write(project, records.experiment(1), repository=name)
    theirs, ours = both.run("ls", "-q", cwd=project)
    assert (theirs.status, theirs.stdout.split()) == (status, [])
    assert (ours.status, ours.stdout.split()) == (0, [A])


@shows("prompt-answers")
@pytest.mark.parametrize("answer", ["y", "maybe\ny\n"])
def test_prompt_answers(both: Both, project: Path, answer: str) -> None:
    """Without a line feed; after an unclear one."""
    for side in (both.original, both.ours):
        records.write(project, records.experiment(1))
        done = side.run("rm", A, cwd=project, answer=answer)
        assert done.status == (0 if side is both.ours else 1)
        assert (f"metadata/experiments/{A}.json" in records.keys(project)) == (side is both.original)


@shows("rm-lists-checkpoints")
def test_rm_lists_checkpoints(both: Both, project: Path) -> None:
    """`rm CHECKPOINT`."""
    records.write(project, records.experiment(1, records.checkpoint(2), records.checkpoint(3)))
    theirs, ours = both.run("rm", "c0000002", cwd=project, answer="n\n")
    assert "* Experiment e000000 (2 checkpoints)" in theirs.stdout
    assert "* Checkpoint c000000" in ours.stdout
    assert "Experiment" not in ours.stdout


@shows("rm-twice")
@pytest.mark.parametrize("ids", [[A, A], [A, "c0000002"]])
def test_rm_twice(both: Both, project: Path, ids: list[str]) -> None:
    """The same ID, and an experiment with its checkpoint."""
    statuses = []
    for side in (both.original, both.ours):
        records.write(project, records.experiment(1, records.checkpoint(2, path="x")))
        statuses.append(side.run("rm", "-f", *ids, cwd=project).status)
        assert records.keys(project) == {"repository.json"}
    assert statuses == [1, 0]


@shows("rm-checkpoint-path")
def test_rm_checkpoint_path(both: Both, project: Path) -> None:
    """Its files go, its metrics stay."""
    archive = project / ".keepsake/checkpoints/c0000002.tar.gz"
    paths = []
    for side in (both.original, both.ours):
        records.write(project, records.experiment(1, records.checkpoint(2, path="x", metrics={"loss": 0.5})))
        archive.parent.mkdir(exist_ok=True)
        archive.write_bytes(b"")
        assert side.run("rm", "-f", "c0000002", cwd=project).status == 0
        checkpoint = records.read(project, A)["checkpoints"][0]
        assert (archive.exists(), checkpoint["metrics"]) == (False, {"loss": 0.5})
        paths.append(checkpoint["path"])
    assert paths == ["x", ""]


@shows("analytics")
def test_analytics(both: Both, project: Path) -> None:
    """The command is there, and does nothing."""
    theirs, ours = both.run("analytics", "off", cwd=project)
    assert (theirs.status, ours.status) == (0, 0)
    assert "no analytics" in ours.stderr
    assert "Enable or disable analytics" in both.original.run("--help", cwd=project).stdout
    assert "analytics" not in both.ours.run("--help", cwd=project).stdout


@shows("feedback")
def test_feedback(both: Both, project: Path) -> None:
    """There is no such command."""
    theirs, ours = both.run("feedback", cwd=project)
    assert "team@replicate.ai" in theirs.stdout
    assert ours.status == 2
