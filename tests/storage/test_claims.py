"""Conditional writes on a disk: whatever happens to one writer, no version of another writer is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from keepsake.exceptions import DoesNotExist, PreconditionFailed
from keepsake.storage import Storage, claims, disk, open_storage, versions
from keepsake.storage.reading import etag_of
from keepsake.util.files import TEMPORARY
from tests.storage.benches import DiskBench
from tests.threads import in_this_thread

_CALLS = ("open", "write", "symlink", "readlink", "link", "replace", "unlink", "utime", "fsync", "stat", "fstat")


class Killed(BaseException):
    """A process that is gone."""


class Interruption:
    """Does something before the `step`-th call (from 1) that a writer makes of the file system.

    The writer is the thread that asked for it. The calls of others, such as those that beat for runs of other tests,
    do not count.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writer = 0
        self.left = 0  # calls until it happens; 0: it does not
        self.action: Callable[[], None] = lambda: None
        self.is_dead = False
        for name in _CALLS:
            monkeypatch.setattr(os, name, self._around(getattr(os, name)))

    def at(self, step: int, action: Callable[[], None]) -> None:
        self.writer = threading.get_ident()
        self.left, self.action, self.is_dead = step, action, False

    def over(self) -> bool:
        """End it; return whether it came to pass."""
        reached, self.left, self.is_dead = self.left == 0, 0, False
        return reached

    def kill(self) -> None:
        """Let nothing that the writer tries from now on happen, its cleaning up included."""
        self.is_dead = True

    def _around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if threading.get_ident() == self.writer:
                if self.left:
                    self.left -= 1
                    if not self.left:
                        self.action()
                if self.is_dead:
                    raise Killed
            return real(*arguments, **options)

        return call


def add(storage: Storage, name: str) -> None:
    """Add a name to those in "a/k" while others do the same."""
    while True:
        try:
            names, etag = storage.get("a/k")
        except DoesNotExist:
            names, etag = b"", None
        if name.encode() in names.split():
            return  # a writer who is told that it was not first may have been
        try:
            storage.put("a/k", names + name.encode() + b" ", if_match=etag, if_absent=etag is None)
            return
        except PreconditionFailed:
            pass


@pytest.fixture(params=["links", "links that are followed", "no symbolic links", "no links"])
def bench(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DiskBench:
    """A repository on a disk that has links of both kinds, or has not, or is mounted so that each link is followed."""
    (tmp_path / "repo").mkdir()
    link = os.symlink

    def refuse(*_: str) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    def make_and_refuse(file: str, path: str) -> None:  # as sshfs does with follow_symlinks
        link(file, path)
        raise OSError(errno.EIO, "Input/output error")

    def refuse_to_read(path: str) -> str:
        os.stat(path)
        raise OSError(errno.EINVAL, "Invalid argument")

    if request.param == "links that are followed":
        monkeypatch.setattr(os, "symlink", make_and_refuse)
        monkeypatch.setattr(os, "readlink", refuse_to_read)
    elif request.param != "links":
        monkeypatch.setattr(os, "symlink", refuse)
    if request.param == "no links":
        monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # no power is cut here
    return DiskBench(tmp_path / "repo")


@pytest.fixture
def interruption(bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> Interruption:
    monkeypatch.setattr(claims, "PATIENCE", 0.01)
    return Interruption(monkeypatch)


def writers(bench: DiskBench) -> list[Storage]:
    return [open_storage(bench.url) for _ in range(3)]


def names(bench: DiskBench) -> set[str]:
    return set(bench.contents()["a/k"].decode().split())


@pytest.mark.parametrize("start", [b"0 ", None])
def test_a_writer_that_was_stopped_at_any_call_loses_nobodys_version(
    bench: DiskBench, interruption: Interruption, start: bytes | None
) -> None:
    """Others write meanwhile, twice, as after SIGSTOP or on a machine that was frozen; it then goes on."""
    for step in range(1, 1000):
        bench.seed({"a/k": start} if start else {})
        first, second, third = writers(bench)

        def others(second: Storage = second, third: Storage = third) -> None:
            add(second, "second")
            add(third, "third")

        interruption.at(step, others)
        add(first, "first")
        if not interruption.over():
            break
        assert names(bench) >= {"first", "second", "third"}, f"stopped at call {step}"
        assert [key for key in bench.listed() if TEMPORARY in key] == []
        bench.remove("a/k")
    assert step > 10


@pytest.mark.parametrize("start", [b"0 ", None])
def test_a_writer_that_was_killed_at_any_call_stops_nobody(
    bench: DiskBench, interruption: Interruption, start: bytes | None
) -> None:
    """What it left is finished or passed over, also if the one that does so is killed in turn."""
    for step in range(1, 1000):
        for second_step in (1, step % 7 + 7, step % 11 + 14, 99):
            bench.seed({"a/k": start} if start else {})
            first, second, third = writers(bench)
            ended = is_killed_at(interruption, step, first, "first")
            is_killed_at(interruption, second_step, second, "second")
            add(third, "third")
            assert {"third", *ended} <= names(bench) <= {"0", "first", "second", "third"}, f"killed at {step}"
            for key in bench.listed():
                bench.remove(key)
        if ended:
            break
    assert step > 10


@pytest.mark.parametrize("stopped", ["the writer", "the deletion"])
def test_what_was_deleted_for_good_is_not_brought_back(
    bench: DiskBench, interruption: Interruption, stopped: str
) -> None:
    """Each of the two is stopped at any call while the other one does its work."""
    for step in range(1, 1000):
        bench.seed({"a/k": b"0 "})
        first, second, _ = writers(bench)
        _, etag = first.get("a/k")

        def write(first: Storage = first, etag: str = etag) -> None:
            with suppress(PreconditionFailed):
                first.put("a/k", b"0 first ", if_match=etag)

        def delete(second: Storage = second) -> None:
            second.retire(["a/k"])

        before, after = (delete, write) if stopped == "the writer" else (write, delete)
        interruption.at(step, before)
        after()
        if not interruption.over():
            break
        assert not bench.listed(), f"stopped at call {step}"
    assert step > 10


def test_a_deletion_for_good_that_was_killed_at_any_call_stops_nobody(
    bench: DiskBench, interruption: Interruption
) -> None:
    for step in range(1, 1000):
        bench.seed({"a/k": b"0 "})
        first, second, _ = writers(bench)
        interruption.at(step, interruption.kill)
        try:
            first.retire(["a/k"])
        except Killed:
            pass
        if not interruption.over():
            break
        add(second, "second")
        assert names(bench) >= {"second"}, f"killed at call {step}"
        for key in bench.listed():
            bench.remove(key)
    assert step > 10


def is_killed_at(interruption: Interruption, step: int, storage: Storage, name: str) -> list[str]:
    """Add a name in a process that is killed at a call, and return the name if it came to its end before."""
    interruption.at(step, interruption.kill)
    try:
        add(storage, name)
    except Killed:
        return []
    finally:
        interruption.over()
    return [name]


def test_a_claim_that_leads_elsewhere_moves_nothing(bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everyone with write access can make a claim; it is never followed out of the repository, nor to an object."""
    monkeypatch.setattr(claims, "PATIENCE", 0.5)
    bench.seed({"a/k": b"0 ", "a/other": b"other"})
    outside = bench.root.parent / f"outside{TEMPORARY}"
    outside.write_bytes(b"outside")
    storage = bench.storage
    for target in ("../" + outside.name, str(outside), "a/other", "", f"b/x{TEMPORARY}"):
        _, etag = storage.get("a/k")
        claim = Path(claims.Wanted(str(bench.root), "a/k", claims.checksum(storage.get("a/k")[0])).claim(0))
        claim.write_text(target)
        storage.put("a/k", b"1 ", if_match=etag)
        assert not claim.exists()
    assert outside.read_bytes() == b"outside"
    assert bench.contents() == {"a/k": b"1 ", "a/other": b"other"}


@pytest.mark.parametrize("numbers", ["the same", "others"])
def test_a_live_writer_is_left_to_finish(bench: DiskBench, monkeypatch: pytest.MonkeyPatch, numbers: str) -> None:
    """A writer waits for another's claim; the owner of the claim publishes and learns that it did.

    The other one may be a client of a file server, such as sshfs, that makes up its own numbers of files.
    """
    bench.seed({"a/k": b"0 "})
    if numbers == "others":
        for module in (disk, versions):
            monkeypatch.setattr(module, "etag_of", lambda status: f"{etag_of(status)}{threading.get_ident()}")
    monkeypatch.setattr(claims, "PATIENCE", 30.0)
    real, waiting = os.replace, threading.Event()
    (slow, quick), outcomes = writers(bench)[:2], []
    _, etag = slow.get("a/k")

    def replace(source: str, target: str) -> None:
        monkeypatch.setattr(os, "replace", real)  # first, because the rival may call it too
        rival = threading.Thread(target=lambda: outcomes.append(refused(quick)))
        rival.start()
        rival.join(0.1)
        waiting.set()
        assert rival.is_alive()
        real(source, target)
        rival.join()

    monkeypatch.setattr(os, "replace", in_this_thread(replace, real))
    slow.put("a/k", b"slow", if_match=etag)
    assert waiting.is_set()
    assert outcomes == [True]
    assert bench.contents() == {"a/k": b"slow"}


def refused(storage: Storage) -> bool:
    _, etag = storage.get("a/k")
    try:
        storage.put("a/k", b"quick", if_match=etag)
    except PreconditionFailed:
        return True
    return False


def test_a_claim_whose_file_is_gone_is_passed_over_and_stays(bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until there is a new version: others may have passed it over, and its name must not be free for a third one."""
    bench.seed({"a/k": b"0 "})
    _, etag = bench.storage.get("a/k")
    real = os.replace

    def replace(source: str, target: str) -> None:
        os.unlink(source)
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(PreconditionFailed):
            bench.storage.put("a/k", b"1 ", if_match=etag)
    assert os.path.lexists(claims.Wanted(str(bench.root), "a/k", claims.checksum(b"0 ")).claim(0))
    monkeypatch.setattr(claims, "PATIENCE", 60.0)
    bench.storage.put("a/k", b"2 ", if_match=etag)
    assert bench.contents() == {"a/k": b"2 "}
    assert len(os.listdir(bench.root)) == 1


def test_a_writer_that_was_stopped_while_its_claim_was_empty_gives_up(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a claim is a file, others may have passed it over by then."""
    monkeypatch.setattr(os, "symlink", os.link)  # there are none: the file to link to does not exist
    monkeypatch.setattr(claims, "PATIENCE", 0.1)
    wanted = claims.Wanted(str(bench.root), "a/k", "1")
    real = os.write

    def write(fd: int, data: bytes) -> int:
        time.sleep(0.06)
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    temporary = f"{bench.root}/.x{TEMPORARY}"
    assert claims.claim(wanted, temporary, lambda: True) == (False, [wanted.claim(0)])
    monkeypatch.setattr(os, "write", real)
    Path(wanted.claim(0)).write_bytes(b"")
    monkeypatch.setattr(claims, "PATIENCE", 1.0)
    assert claims.claim(wanted, temporary, lambda: True) == (True, [wanted.claim(0), wanted.claim(1)])


@pytest.mark.parametrize("change", ["in place", "anew"])
def test_a_version_by_keepsake_0_4_2_is_seen(bench: DiskBench, change: str) -> None:
    """It knows of no claims, and writes files in place."""
    bench.seed({"a/k": b"0 "})
    _, etag = bench.storage.get("a/k")
    if change == "anew":
        bench.remove("a/k")
    bench.seed({"a/k": b"1 "})
    with pytest.raises(PreconditionFailed):
        bench.storage.put("a/k", b"2 ", if_match=etag)
    assert bench.contents() == {"a/k": b"1 "}


def test_a_status_that_is_remembered_does_not_pass_for_the_content(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a network, a file's status may be some seconds old, while its content is current."""
    first, second, _ = writers(bench)
    etag = first.put("a/k", b"0 ")
    old = os.stat(bench.root / "a/k")
    second.put("a/k", b"1 ")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", lambda fd: old)
        with pytest.raises(PreconditionFailed):
            first.put("a/k", b"2 ", if_match=etag)
    assert bench.contents() == {"a/k": b"1 "}


def test_a_link_whose_answer_was_lost_counts(bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over NFS, a call can report that a name exists because the first of its two requests made it."""
    for name in ("link", "symlink"):
        real = getattr(os, name)

        def twice(source: str, target: str, real: Callable[[str, str], None] = real) -> None:
            real(source, target)
            raise FileExistsError(errno.EEXIST, "File exists")

        monkeypatch.setattr(os, name, twice)
    etag = bench.storage.put("a/k", b"x", if_absent=True)
    assert bench.storage.get("a/k") == (b"x", etag)
    assert bench.storage.put("a/k", b"y", if_match=etag) == bench.storage.get("a/k")[1]
    assert bench.contents() == {"a/k": b"y"}


PROGRAM = """
import sys
from keepsake.exceptions import PreconditionFailed
from keepsake.storage import open_storage
storage = open_storage(sys.argv[1])
for _ in range(25):
    while True:
        data, etag = storage.get("a/k")
        try:
            storage.put("a/k", b"%d" % (int(data) + 1), if_match=etag)
            break
        except PreconditionFailed:
            pass
"""


def test_processes_lose_no_update(tmp_path: Path) -> None:
    """Four processes that each add one 25 times, by reading and writing if nothing changed."""
    bench = DiskBench(tmp_path)
    bench.seed({"a/k": b"0"})
    program = [sys.executable, "-c", PROGRAM, bench.storage.url]
    processes = [subprocess.Popen(program) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert bench.contents() == {"a/k": b"100"}
