"""Hostile metadata: one bad record hides no other, harms nothing, and causes at most a warning or a KeepsakeError."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

import keepsake
from keepsake import Project
from keepsake.cli import cli
from keepsake.exceptions import KeepsakeError
from tests.faults.amounts import amounts
from tests.faults.hostile_metadata import CHECKPOINTS, ESCAPES, ID, MARKUP, generate, valid

_GOOD = ["1111111" + "a" * 57, "2222222" + "b" * 57]
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but line feeds and tabs

Tree = dict[str, bytes]


@pytest.fixture(autouse=True)
def project(project_directory: Path) -> Path:
    """A repository with two experiments that are in order, and something worth deleting beside it."""
    experiments = project_directory / "repo/metadata/experiments"
    experiments.mkdir(parents=True)
    (project_directory / "repo/repository.json").write_text('{"version":1}')
    for number, experiment_id in enumerate(_GOOD):
        record = {**valid(), "id": experiment_id, "created": f"2021-0{number + 1}-01T00:00:00Z", "checkpoints": None}
        (experiments / f"{experiment_id}.json").write_text(json.dumps(record))
    for name in ("x", "x.json", "x.tar.gz", "etc/passwd", "a/b.tar.gz"):
        for directory in (project_directory.parent, project_directory, project_directory / "repo"):
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text("precious")
    return project_directory


def run_command(*arguments: str) -> tuple[int, str, str]:
    """Run the command line in this process; return its exit status and what it wrote."""
    output, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        mock.patch("sys.stdin", io.StringIO("no\n")),
    ):
        try:
            cli.main(arguments)
            status = 0
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else 1
    return status, output.getvalue(), errors.getvalue()


def place(project: Path, data: bytes, experiment_id: str = ID) -> None:
    """Put the JSON of an experiment into the repository."""
    (project / f"repo/metadata/experiments/{experiment_id}.json").write_bytes(data)


def precious(project: Path) -> Tree:
    """Return everything but the bad experiment's own, and notes of what was removed."""
    own = (ID, "/.cache/", ".keepsake-tmp", "/repo/removed/")
    tree = {}
    for path in project.parent.rglob("*"):
        name = path.relative_to(project.parent).as_posix()
        if path.is_file() and not any(part in name for part in own):
            tree[name] = path.read_bytes()
    return tree


@amounts(300, 10_000)
def test_mutated_records_harm_nothing(project: Path, count: int) -> None:
    """Listed, shown, compared, restored and removed in every way."""
    before = precious(project)
    harmless = 0
    for seed in range(count):
        data = generate(seed)
        place(project, data)
        try:
            harmless += _use(project)
            _command(project, seed)
        except KeepsakeError as error:
            raise AssertionError(f"seed {seed}: {error!r} hides the others") from error
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r} of {data[:300]!r}") from error
        assert precious(project) == before, f"seed {seed} harmed others"
    assert count / 10 < harmless < count * 9 / 10  # some of them are harmless, or else the test is


def _use(project: Path) -> bool:
    """Do what the Python API offers; return whether the bad experiment could be read."""
    collection = Project(directory=project).experiments
    experiments = {experiment.id: experiment for experiment in collection.list()}
    assert set(_GOOD) <= experiments.keys()
    for experiment in experiments.values():
        assert experiment.status == "stopped"
        for question in (experiment.best, experiment.latest, experiment.primary_metric, experiment.to_json):
            _or_error(question)
        page = experiment._repr_html_()
        assert "<script" not in page
        assert "<img" not in page
    _or_error(lambda: collection.get(ID))
    _or_error(lambda: Project(directory=project).target(CHECKPOINTS[1][:9]))
    bad = experiments.get(ID)
    if bad is not None:
        for checkpoint in bad.checkpoints:
            _or_error(partial(checkpoint.open, "model.pth"))
            _or_error(partial(checkpoint.checkout, project / "out", quiet=True))
    assert collection.list()._repr_html_()
    return bad is not None


def _or_error(call: Callable[[], object]) -> None:
    with contextlib.suppress(KeepsakeError):
        call()


_COMMANDS = [
    *(("ls",), ("ls", "--all"), ("ls", "--json"), ("ls", "-q"), ("ps",), ("ls", "--sort", "learning_rate-desc")),
    *(("ls", "--filter", "loss < 0.45"), ("ls", "--filter", "created > 2020-01-01"), ("ls", "--sort", "loss")),
    *(("show", ID), ("show", "--all", ID), ("show", "--json", ID), ("show", CHECKPOINTS[1]), ("diff", ID, _GOOD[0])),
    *(("diff", CHECKPOINTS[0], CHECKPOINTS[1]), ("checkout", "-f", "-o", "out", CHECKPOINTS[1]), ("rm", "-f", ID)),
]


def _command(project: Path, seed: int) -> None:
    """Run three of the commands, others for each seed; `ls` must list the others."""
    for number in range(3):
        command = _COMMANDS[(3 * seed + number) % len(_COMMANDS)]
        status, output, errors = run_command(*command)
        assert status in (0, 1), f"{command}: exit status {status}: {errors}"
        assert "unexpected" not in errors, f"{command}: {errors}"
        assert not _CONTROLS.search(output + errors), f"{command}: a control character in {output + errors!r}"
        if command[0] == "ls" and "--filter" not in command:
            if "No experiment has" in errors:  # the only one with that metric cannot be read
                continue
            assert status == 0, f"{command}: {errors}"
            assert all(experiment_id[:7] in output for experiment_id in _GOOD), f"{command}: {output}"


@pytest.mark.parametrize("hostile", ["../../x", "..", "/etc/passwd", "a/b", "a\\b", "../x.tar.gz\0", "x/../../x"])
@pytest.mark.parametrize("of", ["experiment", "checkpoint"])
def test_ids_never_lead_outside(project: Path, hostile: str, of: str) -> None:
    """Neither deleting nor restoring touches what such an ID would name."""
    record = valid()
    if of == "experiment":
        record["id"] = hostile
    else:
        record["checkpoints"][1]["id"] = hostile
    place(project, json.dumps(record).encode())
    before = precious(project)
    for command in (("rm", "-f"), ("checkout", "-f", "-o", "out"), ("show",), ("diff",)):
        for identifier in (hostile.replace("\0", ""), ID, CHECKPOINTS[0]):
            status, _, errors = run_command(*command, identifier)
            assert status in (0, 1, 2)
            assert "unexpected" not in errors
    with contextlib.suppress(KeepsakeError):
        keepsake.experiments.list().delete()
    gone = before.keys() - precious(project).keys()
    assert all(name.startswith("project/repo/metadata/experiments/") for name in gone), gone
    assert not (project / "out/x").exists()


@pytest.mark.parametrize("text", [*ESCAPES, *MARKUP])
def test_no_value_reaches_the_terminal_or_the_notebook_raw(project: Path, text: str) -> None:
    """Wherever a text can stand in a record."""
    record = valid()
    record |= {"host": text, "user": text, "command": text, "path": text, "python_version": text, "end_reason": text}
    record |= {"ended": record["created"], "error": text, "traceback": f"{text}\n{text}"}
    record |= {"params": {text: text, "list": [text]}, "python_packages": {text: text}, "keepsake_version": text}
    for checkpoint in record["checkpoints"]:
        checkpoint["metrics"] |= {text: text}
        checkpoint["path"] = text
    record["checkpoints"][0]["primary_metric"] = {"name": text, "goal": text}
    place(project, json.dumps(record).encode())
    commands = (
        ("ls", "--all"),
        ("ls", "--json"),
        ("show", "--all", ID),
        ("show", "--json", ID),
        ("diff", ID, _GOOD[0]),
    )
    for command in (*commands, ("show", CHECKPOINTS[0]), ("rm", ID), ("checkout", CHECKPOINTS[0], "-o", "out", "-f")):
        _, output, errors = run_command(*command)
        assert not _CONTROLS.search(output + errors), command
        assert "unexpected" not in errors
    experiments = keepsake.experiments.list()
    pages = [experiments._repr_html_(), *(experiment._repr_html_() for experiment in experiments)]
    pages += [checkpoint._repr_html_() for checkpoint in keepsake.experiments.get(ID).checkpoints]
    for page in pages:
        assert "<script" not in page
        assert "<img" not in page


@pytest.mark.parametrize("key", ["metadata/heartbeats/" + _GOOD[0] + ".json", "repository.json"])
def test_other_files_may_hold_anything(project: Path, key: str) -> None:
    """A heartbeat that cannot be read is none; a repository.json that cannot be read is one clear error."""
    file = project / "repo" / key
    file.parent.mkdir(exist_ok=True)
    for data in (
        b"",
        b"null",
        b"[]",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b'{"version": "1"}',
        b'{"version": true}',
        b'{"version": 1e999}',
    ):
        file.write_bytes(data)
        status, output, errors = run_command("ls", "-q")
        assert "unexpected" not in errors
        assert status == 1 or output.split() == _GOOD, (data, errors)
        assert status == 0 or key == "repository.json", (data, errors)
    for moment in ("9999-12-31T23:59:59.9999999Z", "0000-01-01T00:00:00Z", 5, None, "x", ["2021-01-01T00:00:00Z"]):
        if key != "repository.json":
            file.write_text(json.dumps({"experiment_id": _GOOD[0], "last_heartbeat": moment}))
            assert run_command("ls", "-q")[1].split() == _GOOD


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not have")
def test_other_files_among_the_records_are_ignored(project: Path) -> None:
    """Names and things that 0.4.2 would not have put there are passed over."""
    directory = project / "repo/metadata/experiments"
    (directory / "README").write_text("x")
    (directory / "x.json").write_text("{}")
    (directory / "a directory.json").mkdir()
    (directory / "\x1b[31m.json").write_text("{}")
    (directory / "dangling.json").symlink_to("nowhere")
    (directory / "loop.json").symlink_to("loop.json")
    (directory / ("n" * 200 + ".json")).write_text(json.dumps(valid()))
    (directory / f"._{_GOOD[0]}.json").write_bytes(b"\0\x05\x16\x07")  # macOS makes these on some disks
    status, output, errors = run_command("ls", "-q")
    assert (status, output.split()) == (0, _GOOD)
    assert "a directory.json in " in errors
    assert "._" not in errors
    assert not _CONTROLS.search(output + errors)
