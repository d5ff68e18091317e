"""Files that were cut off, emptied, filled with zeros or removed during a run: the rest is used, and nothing else."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import keepsake
from keepsake import Project
from keepsake.exceptions import CorruptedArchive, KeepsakeError
from keepsake.metadata import checkpoints_of
from keepsake.project import undo_checkout
from keepsake.recording import mover
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.spool import places
from keepsake.spool.entry import Entry
from keepsake.storage import open_storage
from tests.faults import inspect_repository as inspect
from tests.faults.entries import EXPERIMENT, RECORD, checkpoint, checkpoint_id, save_weights
from tests.faults.programs import run
from tests.spools import nothing_waits


def tears(data: bytes) -> Iterator[bytes]:
    """Yield what may be left of a file: its beginning, of any length; zeros in place of its end; or garbage."""
    for length in {0, 1, *range(2, len(data), max(1, len(data) // 25)), len(data) - 1}:
        yield data[:length]
        yield data[:length] + bytes(len(data) - length)
    yield b"\xff" * len(data)
    yield b'null\n[]\n1\n"x"\n{}\n{"checkpoint": 1}\n{"checkpoint": {}}\n{"experiment": []}\n' + b"[" * 100_000


@pytest.fixture
def repository(project_directory: Path) -> Repository:
    return Repository(open_storage("file://repo", project_directory))


@pytest.fixture
def entry(project_directory: Path, repository: Repository) -> Entry:
    """What a killed run left: a checkpoint with a file, and one without."""
    entry = Entry.create(places.spool_root(project_directory), RECORD, repository.url, in_repository=False)
    save_weights(project_directory, entry)
    entry.append({"checkpoint": checkpoint(2)})
    return entry


def recover(repository: Repository) -> list[str]:
    """Do what a run does that comes long after; return the IDs that are in the repository then."""
    for entry in places.entries(Path(".keepsake/spool").absolute()):
        entry.rest()
        mover.try_to_finish(entry, lambda url: repository)
    repository.forget(EXPERIMENT)
    return [c["id"] for record in View(repository).records() for c in record["checkpoints"] or []]


def test_every_whole_line_of_a_torn_journal_counts(entry: Entry, repository: Repository) -> None:
    """The rest stops neither a recovery nor a listing."""
    (journal,) = entry.journals()
    whole = journal.read_bytes()
    assert recover(repository) == [checkpoint_id(1), checkpoint_id(2)]
    for data in tears(whole):
        entry.directory.mkdir(parents=True, exist_ok=True)
        entry.in_repository = True
        entry.write_record()
        journal.write_bytes(torn := whole[: whole.index(b"\n") + 1] + data)
        assert recover(repository) == [checkpoint_id(1), checkpoint_id(2)], data
        for kept in entry.directory.glob("*"):  # a person may be able to read more of it
            assert kept.name.endswith(".unnamed.damaged")
            assert kept.read_bytes() == torn
            assert data.startswith(b"null")
            kept.unlink()


def test_a_journal_that_cannot_be_read_is_an_error_and_holds_up_nothing_else(
    entry: Entry, repository: Repository, project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it records stays. Neither `sync` nor a run says that all is sent."""
    bad = entry.directory / "bad.jsonl"
    bad.write_bytes(b'!\n{"checkpoint": ' + json.dumps(checkpoint(9)).encode() + b"}\n")
    status, real = bad.stat(), Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.suffix == ".jsonl" and os.path.samestat(path.stat(), status):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path)

    with monkeypatch.context() as context:
        context.setattr(Path, "read_bytes", read_bytes)
        entry.rest()
        assert "A journal in" in str(mover.try_to_finish(entry, lambda url: repository))
        found = [c["id"] for c in checkpoints_of(repository.load(EXPERIMENT) or {})]
        assert found == [checkpoint_id(1), checkpoint_id(2)]
        assert len(list(project_directory.glob("repo/checkpoints/*"))) == 1
        (sent,) = Project(directory=project_directory).sync()
        assert "A journal in" in str(sent.error)
        assert [problem.kind for problem in Project(directory=project_directory).doctor().problems] == [
            "journal-unreadable"
        ]
    assert recover(repository) == [checkpoint_id(1), checkpoint_id(2), checkpoint_id(9)]
    assert not entry.directory.exists()


def test_a_torn_record_of_the_spool_stops_nothing(entry: Entry, repository: Repository) -> None:
    """An entry that is not whole is ignored; its checkpoints stay where they are."""
    record = entry.directory / "record.json"
    whole = record.read_bytes()
    for data in tears(whole):
        record.write_bytes(data)
        recover(repository)
        assert entry.journals()
        assert entry.packs()
    record.write_bytes(whole)
    assert recover(repository) == [checkpoint_id(1), checkpoint_id(2)]


def test_a_torn_pack_is_never_published(entry: Entry, repository: Repository, project_directory: Path) -> None:
    """The metrics arrive, the archive does not, and the error names the pack, which is kept."""
    (pack,) = entry.packs()
    whole = pack.read_bytes()
    for data in tears(whole):
        pack.write_bytes(data)
        assert recover(repository) == [checkpoint_id(1), checkpoint_id(2)]
        assert list((project_directory / "repo").glob("checkpoints/*")) == []
        assert pack.exists()
        with pytest.raises(KeepsakeError, match=pack.name):
            Project(directory=project_directory).experiments.get(EXPERIMENT).checkpoints[0].open("model.pth")
    pack.write_bytes(whole)
    recover(repository)
    assert inspect.broken(project_directory / "repo") == []
    assert len(list((project_directory / "repo").glob("checkpoints/*"))) == 1


def test_files_that_a_power_cut_emptied_are_never_said_to_be_sent(entry: Entry, repository: Repository) -> None:
    """Many file systems leave an empty file. `sync` names it each time, and nothing says that all is sent."""
    (pack,) = entry.packs()
    pack.write_bytes(b"")
    for _ in range(2):
        ((_, error),) = Project().sync()
        assert isinstance(error, CorruptedArchive)
        assert pack.name in str(error)
    assert [each.entry.id for each in Project().pending()] == [EXPERIMENT]


def test_weights_that_a_power_cut_damaged_are_never_published(
    entry: Entry, repository: Repository, project_directory: Path
) -> None:
    """Their size was on the disk, a part of them was not. What else waits is saved; they stay, and are named."""
    weights = os.urandom(3_000_000)
    for number in (3, 4):
        save_weights(project_directory, entry, number, weights)
    damaged = entry.directory / f"{checkpoint_id(3)}.tar.gz"
    with open(damaged, "r+b") as file:
        file.seek(1_000_000)
        file.write(bytes(4096))
    error = mover.try_to_finish(entry, lambda url: repository)
    assert isinstance(error, CorruptedArchive)
    assert damaged.name in str(error)
    assert entry.packs() == [damaged]
    assert inspect.broken(project_directory / "repo") == []
    (saved,) = keepsake.experiments.list()
    with saved.checkpoints[-1].open("model.pth") as found:
        assert found.read() == weights
    damaged.unlink()
    entry.rest()
    assert mover.try_to_finish(entry, lambda url: repository) is None
    assert not entry.directory.exists()


def test_a_torn_index_is_made_anew(entry: Entry, repository: Repository) -> None:
    """It holds nothing that is not in the repository, and never overrides it."""
    recover(repository)
    (summary,) = View(repository).summaries()
    (index,) = Path(os.environ["XDG_CACHE_HOME"], "keepsake/index").iterdir()
    whole = index.read_bytes()
    for data in tears(whole):
        index.write_bytes(data)
        (again,) = View(repository).summaries()
        assert again.id == summary.id
        assert again.num_checkpoints == summary.num_checkpoints


def test_torn_archives_and_records_of_the_repository_are_reported(
    entry: Entry, repository: Repository, project_directory: Path
) -> None:
    """What 0.4.2 left when it was killed: an error, and no wrong data. (All that it lacks may be its table.)"""
    recover(repository)
    (archive,) = (project_directory / "repo/checkpoints").iterdir()
    whole = archive.read_bytes()
    saved = Project(directory=project_directory).experiments.get(EXPERIMENT).checkpoints[0]
    out = project_directory / "out"
    told = 0
    for data in tears(whole):
        archive.write_bytes(data)
        try:
            with saved.open("model.pth") as file:
                assert file.read() == b"weights"
            saved.checkout(out, quiet=True)
            assert (out / "model.pth").read_bytes() == b"weights"
            shutil.rmtree(out)
        except KeepsakeError:
            told += 1
            assert not out.exists()
    assert told > 20


def test_a_torn_undo_area_is_reported_and_kept(project_directory: Path) -> None:
    """Whatever became of its list, the overwritten files are where the error says."""
    (project_directory / "model.pth").write_text("theirs")
    experiment = keepsake.init()
    saved = experiment.checkpoint(path="model.pth", quiet=True)
    assert saved is not None
    experiment.stop()
    (project_directory / "model.pth").write_text("mine")
    saved.checkout(project_directory, quiet=True)
    manifest = project_directory / ".keepsake/undo/manifest.json"
    whole = manifest.read_bytes()
    for data in tears(whole):
        manifest.write_bytes(data)
        with pytest.raises(KeepsakeError):
            undo_checkout(project_directory)
        assert (project_directory / "model.pth").read_text() == "theirs"
    manifest.write_bytes(whole)
    undo_checkout(project_directory)
    assert (project_directory / "model.pth").read_text() == "mine"


@pytest.mark.parametrize("hostile", ["../../outside", "/outside", "link/outside", ".git/config", ""])
def test_a_hostile_undo_area_leads_nowhere(project_directory: Path, tmp_path: Path, hostile: str) -> None:
    """Anybody may have put its list there, so no name in it leads out of the directory."""
    (tmp_path / "outside").write_text("precious")
    (project_directory / "link").symlink_to(tmp_path)
    for part in ("added", "overwritten", "directories"):
        kept = project_directory / ".keepsake/undo"
        shutil.rmtree(kept, ignore_errors=True)
        (kept / "files").mkdir(parents=True)
        (kept / "files/outside").write_text("evil")
        stamp = (tmp_path / "outside").lstat()
        manifest: dict[str, object] = {"added": {}, "overwritten": [], "directories": []}
        value = {hostile: [stamp.st_size, stamp.st_mtime_ns]} if part == "added" else [hostile]
        (kept / "manifest.json").write_text(json.dumps({**manifest, part: value}))
        try:
            undo_checkout(project_directory)
        except KeepsakeError:
            pass
        assert (tmp_path / "outside").read_text() == "precious"
        assert not (project_directory / ".git").exists()


def test_a_run_goes_on_when_its_spool_is_removed(project_directory: Path) -> None:
    """It is removed by hand during the run, or after stop(). What is recorded afterwards is saved."""
    output, messages = run(
        """
        import shutil, time
        import keepsake
        experiment = keepsake.init()
        open("model.pth", "w").write("weights")
        for number in range(6):
            if number == 2:
                time.sleep(0.3)
                shutil.rmtree(".keepsake")
            if number == 4:
                experiment.stop()
            path = "model.pth" if number % 2 else None
            assert experiment.checkpoint(path=path, metrics={"number": number}, quiet=True)
        print(experiment.id)
        """
    )
    assert "Traceback" not in messages
    experiment = keepsake.experiments.get(output.strip())
    assert experiment.checkpoints.metrics["number"][-4:] == [2, 3, 4, 5]
    for saved in experiment.checkpoints[-4:]:
        if saved.path:
            with saved.open("model.pth") as file:
                assert file.read() == b"weights"
    assert nothing_waits(project_directory)
