"""Nothing leaves the spool without proof. Crashes, disks that come and go, and errors of the disk prove nothing."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.exceptions import CorruptedArchive, KeepsakeError, MissingRepository, OtherRepository, WriteError
from keepsake.project import Project
from keepsake.recording import contact, mover, run
from keepsake.recording.recovery import send
from keepsake.repository.deletion import delete_experiments
from keepsake.repository.repository import Repository
from keepsake.repository.view import View
from keepsake.spool import places
from keepsake.spool.entry import Entry
from keepsake.spool.journal import Changes, Taken
from keepsake.spool.places import pending
from keepsake.storage import open_storage
from keepsake.storage.reading import read_whole
from keepsake.storage.writing import Names
from tests.faults import inspect_repository as inspect
from tests.faults.entries import (
    EXPERIMENT,
    RECORD,
    checkpoint,
    checkpoint_id,
    freeze_weights,
    recover,
    reopen,
    save_weights,
    stored,
)
from tests.storage.faults import FaultyStorage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and removes files that are open")

_KILLED = 9
WEIGHTS = os.urandom(1_500_000)  # what hardly shrinks is frozen as an archive, which is moved


@pytest.fixture
def entry(project_directory: Path, storage: FaultyStorage) -> Entry:
    """What the spool holds of it: a checkpoint with files."""
    repository = Repository(storage)
    root, identity = places.spool_root(project_directory), repository.identity
    entry = Entry.create(root, RECORD, repository.url, in_repository=True, identity=identity)
    save_weights(project_directory, entry, weights=WEIGHTS)
    return entry


def _is_all_there(project: Path) -> bool:
    archive = stored(project)
    return archive.exists() and inspect.by_tarfile(archive) == {"model.pth": WEIGHTS}


def _unmount(project: Path) -> None:
    (project / "repo").rename(project / "away")
    (project / "repo").mkdir()


def _mount(project: Path) -> None:
    (project / "repo").rename(project / f"below the mount {os.urandom(4).hex()}")
    (project / "away").rename(project / "repo")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_move_into_an_empty_mount_point_that_is_cut_short_costs_nothing(
    entry: Entry, storage: FaultyStorage, project_directory: Path, moment: str
) -> None:
    """The disk is unmounted, the file is moved into its mount point, and the process is killed."""
    mover.publish(entry, Repository(storage))

    def unmount_and_crash(when: str, verb: str, key: str) -> None:
        if verb == "link" and when == "before":
            _unmount(project_directory)
        if verb == "link" and when == moment:
            os._exit(_KILLED)

    storage.fault = unmount_and_crash
    _crashing(mover.upload, entry, Repository(storage))
    storage.fault = lambda when, verb, key: None
    _mount(project_directory)
    for _ in range(2):
        recover(entry, Repository(storage))
    assert _is_all_there(project_directory)
    assert not entry.directory.exists()


def _crashing(work: Callable[..., object], *arguments: object) -> None:
    """Call `work` in a process of its own, which ends in the middle of it."""
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == _KILLED


@pytest.mark.parametrize("verb", ["link", "upload"])
def test_a_disk_that_is_away_only_while_an_archive_is_stored_costs_nothing(
    entry: Entry, storage: FaultyStorage, project_directory: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """It is seen to be there before, and to be there after that; the archive went into its mount point."""
    storage.directory = storage.inner.directory
    mover.publish(entry, Repository(storage))
    if verb == "upload":
        monkeypatch.setattr(os, "link", _refuse)
    flaps = [1]

    def flap(when: str, what: str, key: str) -> None:
        if what == verb and flaps:
            if when == "before":
                _unmount(project_directory)
            else:
                flaps.clear()
                _mount(project_directory)

    storage.fault = flap
    with pytest.raises(KeepsakeError):
        mover.upload(entry, Repository(storage))
    assert not flaps
    mover.upload(entry, Repository(storage))
    assert _is_all_there(project_directory)


def _refuse(*_: object, **__: object) -> None:
    raise OSError(1, "Operation not permitted")


def test_a_run_that_was_killed_before_it_wrote_down_its_repository_waits_for_it(
    entry: Entry, storage: FaultyStorage, project_directory: Path
) -> None:
    """The disk is not mounted when it is sent: no new repository is made in the mount point."""
    repository = Repository(storage)
    root = entry.directory.parent
    places.remember_identity(root, repository.url, str(repository.identity))
    entry.identity, entry.in_repository = None, False
    entry.write_record()
    _unmount(project_directory)
    (waiting,) = pending(root)
    assert send(waiting, lambda count: None).error is not None
    assert os.listdir(project_directory / "repo") == []
    _mount(project_directory)
    (waiting,) = pending(root)
    assert send(waiting, lambda count: None).error is None
    assert _is_all_there(project_directory)


def test_a_run_that_is_killed_right_after_init_has_told_which_repository_it_uses(project_directory: Path) -> None:
    """The next run makes no new repository in the mount point. The note about it is written in the background."""
    if (pid := os.fork()) == 0:
        run._GRACE_SECONDS = 60.0  # the background has not begun
        keepsake.init()
        os._exit(_KILLED)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == _KILLED
    note = project_directory / ".keepsake/spool/repositories.json"
    assert not note.exists()
    _unmount(project_directory)
    experiment = keepsake.init()
    with pytest.raises(MissingRepository):
        experiment.stop()
    assert os.listdir(project_directory / "repo") == []
    assert note.exists()
    note.unlink()  # as the message says, to begin a new repository there
    keepsake.init().stop()
    assert len(os.listdir(project_directory / "repo")) > 1


@pytest.mark.parametrize("use", ["a run that was sent by sync", "a run that went on elsewhere"])
def test_a_repository_that_no_run_began_in_from_here_is_known_too(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    """The next run makes no new repository in the mount point."""
    if use == "a run that was sent by sync":
        monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
        keepsake.init().stop()
        monkeypatch.delenv("KEEPSAKE_OFFLINE")
        assert [each.error for each in Project().sync()] == [None]
    else:
        keepsake.init().stop()
        shutil.rmtree(project_directory / ".keepsake")  # this is another machine now
        keepsake.init(resume="latest").stop()
    _unmount(project_directory)
    with pytest.raises(MissingRepository):
        keepsake.init().stop()
    assert os.listdir(project_directory / "repo") == []


def test_the_owner_of_a_spool_knows_what_others_used_from_there(project_directory: Path) -> None:
    keepsake.init().stop()
    spool = project_directory / ".keepsake/spool"
    (spool / "repositories.json").rename(spool / "repositories-12345.json")  # the note of another user
    _unmount(project_directory)
    with pytest.raises(MissingRepository):
        keepsake.init().stop()
    assert os.listdir(project_directory / "repo") == []


def test_which_repository_is_used_is_remembered_once_a_full_disk_has_room(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    root = places.spool_root(project_directory)
    entry = Entry.create(root, RECORD, "file:///repo", in_repository=True, identity="one")
    entry.is_first = True
    with monkeypatch.context() as patch:
        patch.setattr(places, "replace_with", full)
        places.remember_repository(entry)
    entry.write_record()
    assert places.known_identity(root, "file:///repo") == "one"
    places.remember_repository(entry)
    entry.discard()
    assert places.known_identity(root, "file:///repo") == "one"


def test_a_run_of_an_earlier_repository_does_not_change_which_one_is_used_now(
    project_directory: Path, storage: FaultyStorage
) -> None:
    root, repository = places.spool_root(project_directory), Repository(storage)
    assert repository.identity is not None
    earlier = Entry.create(root, RECORD, repository.url, in_repository=True, identity="earlier")
    places.remember_identity(root, repository.url, repository.identity)
    with pytest.raises(OtherRepository):
        recover(earlier, repository)
    assert places.known_identity(root, repository.url) == repository.identity


@pytest.mark.parametrize("damage", ["torn", "unreadable", "a pipe"])
def test_if_it_is_unknown_which_repository_was_used_no_new_one_is_made(project_directory: Path, damage: str) -> None:
    """A power cut may have damaged the note, or it came with a clone and never ends. The run waits for the disk."""
    keepsake.init().stop()
    note = project_directory / ".keepsake/spool/repositories.json"
    note.write_text("")
    if damage == "unreadable":
        note.unlink()
        note.mkdir()
    elif damage == "a pipe":
        note.unlink()
        os.mkfifo(note)
    _unmount(project_directory)
    experiment = keepsake.init()
    with pytest.raises(MissingRepository):
        experiment.stop()
    assert os.listdir(project_directory / "repo") == []
    _mount(project_directory)
    assert [each.error for each in Project().sync()] == [None]
    assert len(keepsake.experiments.list()) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("is_readable", [True, False])
def test_each_user_of_a_spool_knows_which_repositories_were_used(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, is_readable: bool
) -> None:
    """The note of another user neither hinders a new repository, nor is it all that is known."""
    spool = project_directory / ".keepsake/spool"
    spool.mkdir(parents=True)
    (spool / "repositories.json").write_text('{"file:///theirs": "1"}')
    os.chown(spool / "repositories.json", 12345, 12345)

    def read(path: str) -> object:
        if path == str(spool / "repositories.json") and not is_readable:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return read_whole(path)

    monkeypatch.setattr("keepsake.spool.places.read_whole", read)
    keepsake.init().stop()
    assert places.known_identity(spool, "file:///theirs") == ("1" if is_readable else None)
    assert places.known_identity(spool, Project().workplace.repository.url)
    assert (spool / "repositories.json").stat().st_uid == 12345
    _unmount(project_directory)
    with pytest.raises(MissingRepository):
        keepsake.init().stop()
    assert os.listdir(project_directory / "repo") == []


def test_a_spool_that_is_closed_to_this_user_does_not_hinder_a_new_repository(
    project_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another user has recorded in the project, in a spool that nobody else may read. This one has another spool."""
    theirs = project_directory / ".keepsake/spool"
    theirs.mkdir(parents=True)

    def read(path: str) -> object:
        if path.startswith(str(theirs)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return read_whole(path)

    monkeypatch.setattr("keepsake.spool.places.read_whole", read)
    monkeypatch.setenv("KEEPSAKE_SPOOL", str(tmp_path / "mine"))
    keepsake.init().stop()
    assert "gone" not in capsys.readouterr().err
    assert (project_directory / "repo/repository.json").exists()


def test_a_removal_in_another_repository_proves_nothing(
    entry: Entry, storage: FaultyStorage, project_directory: Path
) -> None:
    """The disk changes while an archive is on its way, and the experiment was removed from the other one."""
    other = Repository(open_storage("file://other", project_directory))
    other.ensure()
    other.removals.add([EXPERIMENT])

    def change_disks(moment: str, verb: str, key: str) -> None:
        if (moment, verb) == ("before", "link"):
            (project_directory / "repo").rename(project_directory / "away")
            (project_directory / "other").rename(project_directory / "repo")

    repository = Repository(FaultyStorage(storage.inner, change_disks))
    with pytest.raises(OtherRepository):
        mover.finish(entry, repository)
    assert entry.packs()
    _mount(project_directory)
    recover(entry, Repository(storage))
    assert _is_all_there(project_directory)


@pytest.mark.parametrize("is_copied", [True, False])
def test_removing_a_copy_keeps_what_waits_for_the_repository_that_was_there_before(
    entry: Entry, storage: FaultyStorage, project_directory: Path, is_copied: bool
) -> None:
    """Two disks are mounted in turn. If the other one has no such experiment, only what waits can be meant."""
    if is_copied:
        Project().push("file://other", [EXPERIMENT])
    else:
        Repository(open_storage("file://other", project_directory)).ensure()
    (project_directory / "repo").rename(project_directory / "away")
    (project_directory / "other").rename(project_directory / "repo")
    delete_experiments(View(Repository(storage), [entry.directory.parent]), [RECORD])
    assert entry.directory.exists() == is_copied
    (project_directory / "repo").rename(project_directory / "other")
    (project_directory / "away").rename(project_directory / "repo")
    if is_copied:
        recover(entry, Repository(storage))
        assert _is_all_there(project_directory)


@pytest.mark.parametrize("is_on_its_way", [False, True])
def test_files_are_not_given_up_for_those_of_another_machine_that_may_never_arrive(
    entry: Entry,
    storage: FaultyStorage,
    project_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    is_on_its_way: bool,
) -> None:
    """That machine has recorded the step again after a restart, maybe while the first files were on their way."""
    repository = Repository(storage.inner)
    root, identity = tmp_path / "other", repository.identity
    other = Entry.create(root, RECORD, repository.url, in_repository=True, identity=identity)
    freeze_weights(project_directory, other, 2)
    again = {**checkpoint(2, "model.pth"), "step": 1, "restart": 1}

    def record_again(moment: str = "before", verb: str = "link", key: str = "") -> None:
        if (moment, verb) == ("before", "link"):
            repository.merge(RECORD, Changes(checkpoints=[checkpoint(1, "model.pth"), again]), create=False)

    if not is_on_its_way:
        record_again()
    recover(entry, Repository(FaultyStorage(storage.inner, record_again)))
    recover(entry, Repository(storage))
    assert f"wait in {entry.directory} until its files have arrived" in capsys.readouterr().err
    assert [path.name.partition(".")[0] for path in entry.packs()] == [checkpoint_id(1)]
    recover(other, Repository(storage))
    recover(entry, Repository(storage))
    assert not entry.directory.exists()
    assert os.listdir(stored(project_directory).parent) == [stored(project_directory, 2).name]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_files_of_a_step_that_was_recorded_again_go_when_the_new_ones_are_stored(
    entry: Entry, storage: FaultyStorage, project_directory: Path, is_damaged: bool
) -> None:
    """A power cut may have damaged the new ones while they waited beside them."""
    frozen = freeze_weights(project_directory, entry, 2).path
    entry.append({"checkpoint": {**checkpoint(2, "model.pth"), "step": 1, "restart": 1}})
    if is_damaged:
        os.truncate(frozen, 20)
        with pytest.raises(CorruptedArchive):
            recover(entry, Repository(storage))
        assert {path.name.partition(".")[0] for path in entry.packs()} == {checkpoint_id(1), checkpoint_id(2)}
    else:
        recover(entry, Repository(storage))
        assert not entry.directory.exists()
        assert os.listdir(stored(project_directory).parent) == [stored(project_directory, 2).name]


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_files_that_arrived_after_a_removal_do_not_stay_though_their_process_was_killed_then(
    entry: Entry, storage: FaultyStorage, project_directory: Path, is_elsewhere: bool
) -> None:
    def arrive(moment: str, verb: str, key: str) -> None:
        last = "removed" if is_elsewhere else "metadata/experiments"
        if (moment, verb, key.startswith(last)) == ("after", "put" if is_elsewhere else "delete", True):
            stored(project_directory).parent.mkdir(exist_ok=True)
            stored(project_directory).write_bytes(b"files")

    spools = [] if is_elsewhere else [entry.directory.parent]
    delete_experiments(View(Repository(FaultyStorage(storage.inner, arrive)), spools), [RECORD])
    assert stored(project_directory).exists() is is_elsewhere
    recover(entry, Repository(storage))
    assert not stored(project_directory).exists()
    assert not entry.directory.exists()


def test_an_entry_whose_files_cannot_be_looked_at_is_not_closed(
    entry: Entry, storage: FaultyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the disk does not prove that nothing is there."""
    real = os.scandir

    class Unreadable:
        def __init__(self, found: os.DirEntry[str]) -> None:
            self.name, self.path = found.name, found.path

        def stat(self, **options: bool) -> os.stat_result:
            raise OSError(5, "Input/output error", self.path)

    class Scan:
        def __init__(self, path: str) -> None:
            self.found = real(path)

        def __enter__(self) -> object:
            return map(Unreadable, self.found)

        def __exit__(self, *_: object) -> None:
            self.found.close()

    monkeypatch.setattr(os, "scandir", Scan)
    try:
        assert not entry.close()
    except OSError:
        pass
    monkeypatch.undo()
    assert (entry.directory / "record.json").exists()


def test_a_process_that_is_killed_while_it_closes_an_entry_hides_nothing(
    entry: Entry, storage: FaultyStorage, project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one has just added to it, and is killed as well, as all are that share a container."""
    recover(entry, Repository(storage))
    entry.write_record()
    other = reopen(entry)
    real = Entry.is_waiting
    calls: list[int] = []

    def add_after_looking(self: Entry) -> bool:
        if calls:
            os._exit(_KILLED)
        calls.append(1)
        waits = real(self)
        other.append({"checkpoint": checkpoint(2)})
        return waits

    monkeypatch.setattr(Entry, "is_waiting", add_after_looking)
    _crashing(entry.close)
    monkeypatch.undo()
    assert [entry.id for entry in places.entries(entry.directory.parent)] == [EXPERIMENT]


def test_a_run_that_joins_an_experiment_does_not_take_another_repository_for_its_own(
    entry: Entry, storage: FaultyStorage, project_directory: Path
) -> None:
    """Nobody has written down which one it belongs to, and another one is there for a while."""
    entry.identity = None
    entry.write_record()
    (project_directory / "repo").rename(project_directory / "away")
    Repository(open_storage("file://repo", project_directory)).ensure()
    with pytest.raises(KeepsakeError):
        mover.finish(entry, Repository(storage))
    _mount(project_directory)
    recover(entry, Repository(storage))
    assert _is_all_there(project_directory)


def test_what_a_crash_left_half_made_goes_when_it_is_old(
    entry: Entry, storage: FaultyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes even if the entry itself is gone, since it can be gigabytes. The clock of this machine may be wrong."""
    real_time = time.time
    monkeypatch.setattr(time, "time", lambda: real_time() + 7200)
    half = entry.directory / f".{'d' * 64}.pack.abcd.tmp"
    half.write_bytes(b"half")
    recover(entry, Repository(storage))
    root = entry.directory.parent
    places.sweep(root)
    assert half.exists()  # a process may still be writing it
    os.utime(half, (0, 0))
    places.sweep(root)
    assert not entry.directory.exists()


def test_what_a_crash_left_half_made_goes_though_its_entry_stays(entry: Entry) -> None:
    """An entry stays while its repository is away, or for files that were set aside. A run still needs its room."""
    entry.keep_room()
    record, pack = (entry.directory / f".{name}.tmp" for name in ("record.json-0123", f"{'d' * 64}.pack.abcd"))
    for path in (record, pack):
        path.write_bytes(b"half")
    before = {path for path in entry.directory.iterdir() if path != record}
    for path in before:
        os.utime(path, (0, 0))
    os.utime(record, None)
    places.sweep(entry.directory.parent)
    assert {*entry.directory.iterdir()} == {*before, record} - {pack}  # a process may still be writing the record
    os.utime(record, (0, 0))
    places.sweep(entry.directory.parent)
    assert not record.exists()


def test_what_init_sends_of_an_earlier_process_is_durable_before_it_leaves_the_spool(
    entry: Entry, storage: FaultyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut right after init(resume=…) loses none of it."""
    steps: list[str] = []
    sync, drop = Names._sync, Taken.drop

    def note_sync(directories: set[str]) -> None:
        steps.extend(map(os.path.basename, directories))
        sync(directories)

    def note_drop(taken: Taken) -> None:
        steps.append("drop")
        drop(taken)

    monkeypatch.setattr(Names, "_sync", staticmethod(note_sync))
    monkeypatch.setattr(Taken, "drop", note_drop)
    contact.go_on(Repository(storage.inner), entry, beat=False)
    assert steps == ["experiments", "drop"]


@pytest.mark.parametrize("file", ["record.json", "tar.gz"])
def test_a_process_that_was_stopped_while_it_wrote_a_file_writes_it_again(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """It is stopped for more than an hour, right before it gives the file its name."""
    rename, stops = os.replace, [True]

    def stop(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
        if str(target).endswith(file) and ".keepsake" in str(target) and stops and stops.pop():
            os.utime(source, (0, 0))
            places.sweep(places.spool_root(project_directory))
            assert not os.path.exists(source)
        rename(source, target)

    (project_directory / "keepsake.yaml").write_text("repository: file://repo\n")
    (project_directory / "model.bin").write_bytes(WEIGHTS)
    monkeypatch.setattr(os, "replace", stop)
    with keepsake.init(quiet=True) as experiment:
        checkpoint = experiment.checkpoint(path="model.bin", quiet=True)
    assert checkpoint is not None
    assert not stops
    assert inspect.missing(project_directory, {checkpoint.id: {"model.bin": WEIGHTS}}, experiment.id) == []


@pytest.mark.parametrize("has_identity", [True, False])
@pytest.mark.parametrize("moved", ["project", "copy", "elsewhere"])
def test_what_waits_follows_a_repository_that_was_moved(
    project_directory: Path, entry: Entry, moved: str, has_identity: bool
) -> None:
    """If it is the same one, or was never made and moved with its project, and nothing is at the old place."""
    if not has_identity:
        shutil.rmtree(project_directory / "repo")
        entry.in_repository, entry.identity = False, None
        entry.write_record()
    new = project_directory.with_name("new")
    if moved == "project":
        project_directory.rename(new)
    else:
        shutil.copytree(project_directory, new)
    if moved == "elsewhere":  # another repository, and the old place is not mounted
        shutil.rmtree(project_directory)
        shutil.rmtree(new / "repo", ignore_errors=True)
        Repository(open_storage("file://other", new)).ensure()
        (new / "keepsake.yaml").write_text("repository: file://other")
    project = Project(directory=str(new))
    if moved == "project":
        assert [sent.error for sent in project.sync()] == [None]
        assert _is_all_there(new)
        assert not project_directory.exists()
    else:
        assert [each.entry.repository for each in project.pending()] == [entry.repository]
        assert not (new / "repo/checkpoints").exists()


def test_what_waits_of_a_run_that_came_back_after_a_removal_arrives(
    entry: Entry, storage: FaultyStorage, project_directory: Path
) -> None:
    """Somebody removes it by mistake, and puts its record back from a backup. The note of the removal stays."""
    repository = Repository(storage)
    repository.merge(RECORD, Changes(), create=True)
    record = project_directory / f"repo/metadata/experiments/{EXPERIMENT}.json"
    backup = record.read_bytes()
    delete_experiments(View(Repository(storage)), [RECORD])
    record.write_bytes(backup)
    assert EXPERIMENT in repository.removals.ids()
    recover(entry, Repository(storage))
    assert _is_all_there(project_directory)
    assert not entry.directory.exists()


def test_what_arrives_during_a_removal_is_kept_until_that_has_ended(
    entry: Entry, storage: FaultyStorage, project_directory: Path
) -> None:
    """The removal may not know of these files. If it was interrupted, the experiment may stay."""
    repository = Repository(storage)
    note = repository.removals.add([EXPERIMENT])
    with pytest.raises(WriteError, match="is being removed"):
        recover(entry, repository)
    assert entry.packs()
    assert not stored(project_directory).exists()
    (problem,) = (each for each in Project().doctor(fix=True).problems if each.kind == "removal-unfinished")
    assert (problem.key, EXPERIMENT[:7] in problem.message) == (note, True)
    assert repository.removals.ids() == set()
    recover(entry, repository)
    assert _is_all_there(project_directory)


@pytest.mark.parametrize("refused", ["rename", "unlink", "everything"])
@pytest.mark.parametrize("in_repository", [True, False])
def test_what_waits_on_a_disk_that_has_become_read_only_arrives(
    entry: Entry,
    storage: FaultyStorage,
    project_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
    in_repository: bool,
) -> None:
    """Such as the disk of a dead node, or one with an error. It goes on waiting there, and nobody says otherwise."""
    save_weights(project_directory, entry, number=2)
    if not in_repository:
        entry.in_repository = False
        entry.write_record()
    for name in ("rename", "unlink", "replace", "open", "utime") if refused == "everything" else (refused,):
        monkeypatch.setattr(os, name, _refusing_below(entry.directory, getattr(os, name)))
    entry = reopen(entry)
    for _ in range(2):
        error = mover.try_to_finish(entry, lambda url: Repository(storage))
        assert "cannot be removed" in str(error) or "Cannot remove" in str(error)
    assert _is_all_there(project_directory)
    assert stored(project_directory, 2).exists()
    record = Repository(storage).load(EXPERIMENT)
    assert record is not None
    assert [each["step"] for each in record["checkpoints"]] == [1, 2]
    assert entry.packs() or entry.journals()
    monkeypatch.undo()
    recover(entry, Repository(storage))
    assert list(entry.directory.glob("[!.]*")) == []


def _refusing_below(directory: Path, call: Callable[..., Any]) -> Callable[..., Any]:
    def refusing(path: Any, *arguments: Any, **options: Any) -> Any:
        is_read = call.__name__ == "open" and not arguments[0] & (os.O_WRONLY | os.O_RDWR)
        if not is_read and str(path).startswith(str(directory)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return call(path, *arguments, **options)

    return refusing


def test_files_that_wait_stay_wanted_when_another_repository_has_pruned_them(
    entry: Entry, project_directory: Path, storage: FaultyStorage
) -> None:
    """A copy to it has taken the record along, before the files had arrived here. Nobody removed them here."""
    repository, other = Repository(storage), project_directory / "other"
    mover.publish(entry, repository)
    Project().push(f"file://{other}")
    there = Project(repository=f"file://{other}")
    experiment = there.experiments.get(EXPERIMENT)
    there.delete([(experiment, experiment.checkpoints[0])])
    Project().pull(f"file://{other}")
    (copied,) = Project().experiments.get(EXPERIMENT).checkpoints
    assert copied.pruned is not None
    recover(reopen(entry), Repository(storage))
    (checkpoint,) = Project().experiments.get(EXPERIMENT).checkpoints
    assert checkpoint.path == "model.pth"
    with checkpoint.open("model.pth") as file:
        assert file.read() == WEIGHTS


@pytest.mark.parametrize(("is_there", "is_noted"), [(False, False), (True, False), (True, True)])
def test_a_run_that_is_removed_at_any_moment_of_its_recovery_stays_removed(
    project_directory: Path, storage: FaultyStorage, is_there: bool, is_noted: bool
) -> None:
    """Its process may have been killed before it had noted that the repository has it."""
    repository, moment, left = Repository(storage.inner), 0, 0  # `left`: operations until it is removed
    record, archive = f"metadata/experiments/{EXPERIMENT}.json", f"checkpoints/{checkpoint_id(1)}.tar.gz"

    def remove(when: str, verb: str, key: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            delete_experiments(View(Repository(open_storage(storage.url))), [RECORD])

    while left <= 0:
        left = moment = moment + 1
        root, identity = places.spool_root(project_directory), repository.identity
        entry = Entry.create(root, RECORD, storage.url, in_repository=is_noted, identity=identity)
        save_weights(project_directory, entry)
        shutil.rmtree(project_directory / "repo/removed", ignore_errors=True)
        repository.storage.delete([record, archive])
        repository.forget(EXPERIMENT)
        if is_there:
            repository.merge(RECORD, Changes(), create=True)
        storage.fault = remove
        with suppress(WriteError):  # it is being removed; the next recovery gives it up
            recover(entry, Repository(storage))
        storage.fault = lambda when, verb, key: None
        recover(entry, Repository(storage))
        assert entry.directory.exists() is False
        is_removed = not inspect.objects(project_directory / "repo").keys() & {record, archive}
        assert is_removed is (left <= 0), f"at moment {moment}"
    assert moment > 15
