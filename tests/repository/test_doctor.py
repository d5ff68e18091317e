"""Finding problems in a repository, in each place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import keepsake
from keepsake.cli import cli
from keepsake.exceptions import KeepsakeError, PreconditionFailed, RepositoryConfigurationError
from keepsake.experiment import Experiment
from keepsake.repository.doctor import Examination
from keepsake.spool.entry import Entry
from keepsake.storage import ObjectInfo, Storage
from tests.archive.archives import archive_bytes, freeze_files
from tests.repository.examining import HOURS, ORPHAN, examine, fix, hours_later, kinds, kinds_without_repair
from tests.storage.benches import Bench, DiskBench

pytestmark = pytest.mark.usefixtures("place")

on_disk = pytest.mark.parametrize("place", ["file"], indirect=True)


def test_in_a_sound_repository_all_is_well(trained: Experiment, place: Bench) -> None:
    before = place.contents()
    assert kinds() == []
    assert place.contents() == before


def test_where_there_is_no_repository_there_is_nothing_to_find(project_directory: Path, place: Bench) -> None:
    assert kinds() == []
    assert place.listed() == set()


def test_a_damaged_identity_is_reported(trained: Experiment, place: Bench) -> None:
    place.write("identity.json", b"{")
    assert kinds() == ["identity-corrupt"]


def test_a_repository_of_a_later_version_is_left_alone(trained: Experiment, place: Bench) -> None:
    place.write("repository.json", b'{"version":2}')
    with pytest.raises(KeepsakeError, match="Upgrade"):
        examine()


def test_a_record_that_cannot_be_read_is_reported_and_nothing_of_it_is_touched(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(f"metadata/experiments/{trained.id}.json", b"{")
    hours_later(place, monkeypatch)
    before = place.contents()
    assert kinds() == ["record-unreadable"]
    fix()
    assert place.contents() == before


def test_archives_that_are_missing_cut_off_or_damaged_are_reported(trained: Experiment, place: Bench) -> None:
    archive = f"checkpoints/{trained.checkpoints[0].id}.tar.gz"
    content = place.read(archive)
    place.write(archive, content[: len(content) // 2])
    assert kinds() == ["archive-damaged"]
    middle = len(content) // 4
    place.write(archive, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    assert kinds() == ["archive-damaged"]
    assert kinds(thorough=False) == []
    place.remove(archive)
    assert kinds(thorough=False) == ["archive-missing"]


@pytest.mark.parametrize("left", [0, 1])
def test_lost_records_are_not_called_garbage(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """None of them is there, or so few that the rest must have been lost."""
    for _ in range(left):
        keepsake.init(path="model.pth").stop()
    place.remove(f"metadata/experiments/{trained.id}.json")
    place.write(f"metadata/heartbeats/{trained.id}.json", b"{}")
    hours_later(place, monkeypatch)
    before = place.contents()
    (problem,) = examine()
    assert (problem.kind, problem.key, problem.fix) == ("records-lost", "metadata/experiments", None)
    assert f"No record names 2 of {2 + left} archives" in problem.message
    assert place.contents() == before


def test_a_repository_without_metadata_and_spec_is_not_empty(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in place.kept():
        if key.startswith("metadata/") or key == "repository.json":
            place.remove(key)
    hours_later(place, monkeypatch)
    assert kinds() == ["records-lost", "spec-missing"]


def test_what_cannot_be_read_is_named(trained: Experiment, place: Bench, project_directory: Path) -> None:
    """The record of a run that waits, and the note of a removal."""
    place.write("removed/note.json", b"{")
    entry = project_directory / ".keepsake/spool" / ("b" * 64)
    entry.mkdir(parents=True)
    (entry / "record.json").write_text("{")
    (entry / f"{'c' * 64}.pack").write_text("x")
    problems = {problem.kind: problem for problem in examine()}
    assert problems.keys() == {"entry-damaged", "removal-damaged"}
    assert problems["entry-damaged"].key == str(entry)
    assert problems["removal-damaged"].key == "removed/note.json"


def test_an_archive_is_as_old_as_it_was_when_it_was_listed(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading all archives takes hours, and an archive that came at the beginning may belong to a running copy."""
    place.write(ORPHAN, b"orphan")
    project = keepsake.Project()
    later: list[int] = []
    now = type(place.storage).now
    monkeypatch.setattr(type(place.storage), "now", lambda self: now(self) + HOURS * len(later))
    assert list(Examination(project.workplace.view, thorough=True, fix=True, advance=later.append).problems()) == []
    assert later


def test_nothing_is_moved_while_somebody_deletes(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records go first, so that for a while no record names the archives."""
    place.write(ORPHAN, b"orphan")
    listed = type(place.storage).list

    def list_later(self: Storage, prefix: str) -> Iterator[ObjectInfo]:
        for info in listed(self, prefix):
            yield info if prefix == "removed" else info._replace(modified=info.modified - HOURS)

    monkeypatch.setattr(type(place.storage), "list", list_later)
    assert kinds() == ["archive-orphan"]
    keepsake.init().delete()
    assert kinds() == []


def test_looking_writes_nothing(trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write(ORPHAN, b"orphan")
    place.write(f"metadata/heartbeats/{'c' * 64}.json", b"{}")

    def refuse(*arguments: Any, **conditions: Any) -> None:
        assert conditions == {"if_absent": True}  # asks for permissions, where an object is
        raise PreconditionFailed("It is there.")

    def fail(*arguments: Any) -> None:
        if threading.current_thread() is threading.main_thread():  # a run's own may still say goodbye
            raise AssertionError("a write")

    for name in ("upload", "link", "delete", "put_for_now", "remove_leftover"):
        monkeypatch.setattr(type(place.storage), name, fail)
    monkeypatch.setattr(type(place.storage), "put", refuse)
    if isinstance(place, DiskBench):
        monkeypatch.setattr(type(place.storage), "now", fail)
        monkeypatch.setattr(type(place.storage), "put", fail)
    monkeypatch.setattr("keepsake.repository.doctor._UNDER_WAY_SECONDS", -10)
    assert {"archive-orphan", "heartbeat-orphan"} <= set(kinds_without_repair())


@on_disk
def test_a_look_leaves_no_trace(trained: Experiment, place: DiskBench) -> None:
    def state() -> list[tuple[Path, int, int]]:
        paths = sorted([place.root, *place.root.rglob("*")])
        return [(path, path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in paths]

    before = state()
    assert kinds_without_repair() == []
    assert state() == before


@on_disk
@pytest.mark.parametrize("folder", [".", "checkpoints", "metadata/experiments"])
def test_missing_permissions_are_reported(
    trained: Experiment, place: DiskBench, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != place.root / folder and access(path, mode))
    (problem,) = examine(fix=False)
    assert (problem.kind, problem.key) == ("no-right-to-write", folder)


@on_disk
def test_a_record_that_is_a_dangling_link_is_reported(
    trained: Experiment, place: DiskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since the record may name any archive, nothing is moved."""
    (place.root / f"metadata/experiments/{'d' * 64}.json").symlink_to("nowhere")
    place.write(ORPHAN, b"orphan")
    hours_later(place, monkeypatch)
    assert kinds() == ["record-unreadable"]
    assert "is not JSON" not in examine()[0].message


@pytest.mark.parametrize("place", ["s3", "gs"], indirect=True)
def test_missing_permissions_in_a_bucket_are_reported(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **conditions: Any) -> None:
        raise RepositoryConfigurationError("These credentials may not do that.")

    monkeypatch.setattr(type(place.storage), "put", refuse)
    assert kinds_without_repair() == ["no-right-to-write"]


def test_files_that_a_run_is_still_saving_are_not_missing(
    trained: Experiment, place: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.remove(f"experiments/{trained.id}.tar.gz")
    place.write(f"metadata/heartbeats/{trained.id}.json", b"{}")
    assert kinds() == []
    hours_later(place, monkeypatch)
    assert kinds() == ["archive-missing", "heartbeat-stale"]


@on_disk
def test_files_that_wait_on_this_machine_are_not_called_missing(
    project_directory: Path, place: Bench, monkeypatch: pytest.MonkeyPatch, trained: Experiment
) -> None:
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    trained.checkpoint(path="model.pth")
    pack = next((project_directory / ".keepsake").rglob("*.pack")).read_bytes()
    trained.stop()
    monkeypatch.delenv("KEEPSAKE_OFFLINE")
    project = keepsake.Project()
    (waiting,) = project.pending()
    assert [sent.error for sent in project.sync()] == [None]
    assert kinds() == []
    path = project_directory / f".keepsake/spool/{trained.id}/{trained.checkpoints[1].id}.pack"
    path.parent.mkdir(parents=True)
    path.write_bytes(pack)
    waiting.entry.write_record()
    assert kinds() == []  # the next run removes it
    place.remove(f"checkpoints/{path.stem}.tar.gz")
    assert kinds() == ["archive-waiting"]


@on_disk
def test_the_command_exits_with_1_where_something_is_wrong(trained: Experiment, place: DiskBench) -> None:
    def doctor(*options: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "keepsake", "doctor", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    assert doctor("--thorough") == (0, "", "═══╡ All is well.\n")
    orphan = place.root / f"experiments/{'b' * 64}.tar.gz"
    orphan.write_bytes(b"")
    os.utime(orphan, times=(0, time.time() - HOURS))
    status, printed, said = doctor()
    assert status == 1
    assert printed.startswith(f"archive-orphan: experiments/{'b' * 64}.tar.gz\n  No record names this archive (0 B)")
    assert said == "═══╡ Found: 1 problem. `keepsake doctor --fix` repairs 1 of them.\n"
    (found,) = json.loads(doctor("--json")[1])
    assert (found["kind"], found["fixable"]) == ("archive-orphan", True)
    status, _, said = doctor("--fix")
    assert status == 0
    where = place.root / "orphaned"
    assert said == (
        f"═══╡ Moved aside, because no record names them: 1 archive, 0 B, in {place.url}/orphaned. "
        f"If nobody misses them, delete them: rm -r '{where}'\n═══╡ Repaired: 1 problem.\n"
    )
    assert not orphan.exists()
    assert (where / f"experiments/{'b' * 64}.tar.gz").exists()
    assert doctor()[2].endswith("═══╡ All is well.\n")


@on_disk
def test_a_damaged_pack_that_waits_is_named(trained: Experiment, project_directory: Path, place: Bench) -> None:
    pack = project_directory / f".keepsake/spool/{trained.id}/{'a' * 64}.pack"
    Entry.create(pack.parent.parent, trained.to_json(), place.url, in_repository=True)
    archive = archive_bytes(freeze_files(project_directory.parent, {"model.pth": b"weights" * 1000}))
    pack.write_bytes(archive[:100] + b"damaged" + archive[107:])
    (problem,) = examine(thorough=False)
    assert (problem.kind, problem.key, problem.fix) == ("pack-damaged", str(pack), None)
    assert "Delete the file to give them up." in problem.message


@on_disk
@pytest.mark.parametrize("gone", ["metadata/experiments", "identity.json"])
def test_a_run_that_waits_for_what_a_backup_does_not_hold_is_named(
    trained: Experiment, project_directory: Path, place: DiskBench, gone: str
) -> None:
    """`keepsake sync` alone does not send it."""
    identity = keepsake.Project().workplace.repository.identity
    root = project_directory / ".keepsake/spool"
    entry = Entry.create(root, trained.to_json(), place.url, in_repository=True, identity=identity)
    entry.append({"checkpoint": {**trained.checkpoints[0].to_json(), "id": "f" * 64}})
    assert kinds() == []
    place.remove(f"{gone}/{trained.id}.json" if gone.endswith("experiments") else gone)
    (problem,) = [problem for problem in examine() if problem.kind == "run-waiting"]
    assert "`keepsake sync --force`" in problem.message


@on_disk
def test_a_mistyped_place_is_an_error_that_names_it(project_directory: Path, place: Bench) -> None:
    doctor = CliRunner().invoke(cli, ["-R", "file://nope", "doctor"])
    assert doctor.exit_code == 1
    assert f"There is no repository at file://{project_directory}/nope." in doctor.stderr
    assert not (project_directory / "nope").exists()
    assert CliRunner().invoke(cli, ["doctor"]).exit_code == 0  # before the first run
