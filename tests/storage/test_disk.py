"""The disk keeps the contract, and the faults that only a disk can have."""

from __future__ import annotations

import errno
import io
import math
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from keepsake.exceptions import DoesNotExist, PreconditionFailed, ReadError, WriteError
from keepsake.storage import network, open_storage, reading
from keepsake.storage.base import UNREADABLE
from keepsake.util import files
from tests.storage.benches import Bench, DiskBench
from tests.storage.contract import StorageContract
from tests.threads import in_this_thread

needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system")


@pytest.fixture
def bench(tmp_path: Path) -> DiskBench:
    root = tmp_path / "re po%"
    root.mkdir()
    return DiskBench(root)


class TestDisk(StorageContract):
    @pytest.fixture
    def bench(self, bench: DiskBench) -> DiskBench:
        return bench


def refuse(code: int) -> Callable[..., Any]:
    """A call of the system that is refused."""

    def call(*_: object, **__: object) -> Any:
        raise OSError(code, os.strerror(code))

    return call


class TestDiskWithoutComforts(StorageContract):
    """As on FAT, and over some servers: no hard links, no symbolic ones, and nothing of a file can be changed."""

    @pytest.fixture
    def bench(self, bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> DiskBench:
        for name in ("link", "symlink", "utime", "chmod", "fchown", "listxattr"):
            monkeypatch.setattr(os, name, refuse(errno.EPERM), raising=False)
        return bench


# What lies in the folder


def test_temporary_files_lie_at_the_top(bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not among the metadata, where 0.4.2 would read them; and with names that no listing shows."""
    bench.seed({"metadata/experiments/x.json": b"old"})
    seen: list[set[str]] = []

    def fsync(fd: int) -> None:
        seen.append(set(bench.contents()))
        assert [info.key for info in bench.storage.list("")] == ["metadata/experiments/x.json"]

    monkeypatch.setattr(os, "fsync", in_this_thread(fsync, os.fsync))
    etag = bench.storage.put("metadata/experiments/x.json", b"new")
    bench.storage.put("metadata/experiments/x.json", b"newer", if_match=etag)
    assert seen
    assert {name for names in seen for name in names if "/" in name} == {"metadata/experiments/x.json"}
    assert bench.contents() == {"metadata/experiments/x.json": b"newer"}


@needs_posix
def test_every_file_and_then_its_name_is_flushed(bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a power cut. Objects that are put together need their directory's flush only once."""
    flushed: list[str] = []
    found: list[set[str]] = []

    def fsync(fd: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        flushed.append("directory" if is_directory else "file")
        if is_directory:
            found.append(set(bench.contents()))

    monkeypatch.setattr(os, "fsync", fsync)
    bench.storage.put_missing({"a": b"1", "b": b"2"})
    bench.storage.put("c", b"3")
    bench.storage.upload("d", io.BytesIO(b"4"))
    assert flushed == ["file", "file", "directory", "file", "directory", "file", "directory"]
    assert found == [{"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d"}]
    flushed.clear()
    with bench.storage.postponing():
        bench.storage.put_missing({"e": b"5"})
        bench.storage.put("f", b"6")
        elsewhere = threading.Thread(target=bench.storage.put, args=("g", b"7"))  # which knows nothing of it
        elsewhere.start()
        elsewhere.join()
    assert flushed == ["file", "file", "file", "directory", "directory"]
    assert found[-1] == set("abcdefg")


@needs_posix
def test_files_are_as_open_to_others_as_any_new_file(bench: DiskBench) -> None:
    """The umask decides, as for a file that an editor saves: a team shares the folder by it."""
    private = bench.root.parent / "private"
    private.touch(0o600)
    before = os.umask(0o027)
    try:
        bench.storage.put("a/k", b"x")
        bench.storage.upload("a/u", io.BytesIO(b"x"))
        assert bench.storage.link("a/t", private)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((bench.root / name).stat().st_mode) for name in ("a", "a/k", "a/u", "a/t")]
    assert modes == [0o750, 0o640, 0o640, 0o640]


@needs_posix
def test_a_file_that_others_could_not_read_there_is_not_taken(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on another disk, has another group and cannot be given that of the folder, or would get an access list."""
    file = bench.root.parent / "file"
    file.write_bytes(b"x")
    real = os.fstat

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    for field in (stat.ST_DEV, stat.ST_GID):

        def other(fd: int, field: int = field) -> os.stat_result:
            fields = list(real(fd))
            fields[field] += 1
            return os.stat_result(fields)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", other)
            patch.setattr(os, "chown", refuse)
            assert not bench.storage.link("k", file)
    with monkeypatch.context() as patch:
        patch.setattr(os, "listxattr", lambda path: ["system.posix_acl_access"], raising=False)
        assert not bench.storage.link("k", file)
    assert file.read_bytes() == b"x"
    assert bench.contents() == {}
    assert bench.storage.link("k", file)


def test_a_file_that_is_gone_cannot_be_taken(bench: DiskBench) -> None:
    """Another recovery has stored it, so the repository reports no error."""
    with pytest.raises(FileNotFoundError):
        bench.storage.link("k", bench.root.parent / "gone")
    assert bench.contents() == {}


def test_nothing_is_taken_where_the_disk_is_not_mounted(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert not open_storage(f"file://{tmp_path / 'missing'}").link("k", tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@needs_posix
@pytest.mark.parametrize("by_entry", [False, True])
def test_what_cannot_be_read_is_listed_so(bench: DiskBench, monkeypatch: pytest.MonkeyPatch, by_entry: bool) -> None:
    """Pipes, links that lead nowhere, and folders with a record's name.

    Folders in a circle and names that are not text are left out.

    Either way: each name is looked at, or the listing's entry is asked, as on Windows.
    """
    monkeypatch.setattr(reading, "WINDOWS", by_entry)
    bench.seed({"a/good": b"x"})
    os.mkfifo(bench.root / "a" / "pipe")
    (bench.root / "a" / "dangling").symlink_to("nowhere")
    (bench.root / "a" / "itself").symlink_to("itself")
    (bench.root / "a" / "through").symlink_to("good/file")
    (bench.root / "a" / "circle").symlink_to(bench.root)
    Path(os.fsdecode(os.fsencode(bench.root / "a") + b"/\xff")).write_bytes(b"x")
    (bench.root / "a" / "back\\slash").write_bytes(b"x")
    elsewhere = bench.root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked").write_bytes(b"x")
    (bench.root / "b").symlink_to(elsewhere)
    (bench.root / "a" / "folder.json").mkdir()
    (bench.root / "a" / "folder.json" / "file").touch()
    broken = ["a/dangling", "a/folder.json", "a/itself", "a/pipe", "a/through"]
    listed = {info.key: info.etag == UNREADABLE for info in bench.storage.list("")}
    assert listed == {"a/good": False, "b/linked": False, **dict.fromkeys(broken, True)}
    for key in broken:
        for read in (bench.storage.get, bench.storage.open):
            with pytest.raises(ReadError, match=key) as caught:
                read(key)
            assert not isinstance(caught.value, DoesNotExist)
    found = {key: (data, etag) for key, data, etag in bench.storage.get_many(["a/good", "a/gone", *broken])}
    assert found.pop("a/good")[0] == b"x"
    assert {key: etag for key, (_, etag) in found.items()} == dict.fromkeys(broken, UNREADABLE)
    assert all(key in data.decode() for key, (data, _) in found.items())


@needs_posix
def test_a_folder_on_a_mount_that_looks_like_the_same_disk_works(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a bind mount or a subvolume, nothing can be moved, though its device is the same."""
    bench.seed({"a/x": b""})
    file = bench.root.parent / "file"
    file.write_bytes(b"taken")

    def apart(real: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def call(source: str, target: str) -> None:
            if Path(source).parent != Path(target).parent:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            real(source, target)

        return call

    for name in ("replace", "link"):
        monkeypatch.setattr(os, name, apart(getattr(os, name)))
    storage = bench.storage
    etag = storage.put("a/x", b"1")
    etag = storage.put("a/x", b"2", if_match=etag)
    with pytest.raises(PreconditionFailed):
        storage.put("a/x", b"3", if_absent=True)
    storage.put("b/new", b"4", if_absent=True)
    storage.upload("c/large", io.BytesIO(b"5" * 3_000_000))
    assert storage.get("a/x") == (b"2", etag)
    assert not storage.link("a/taken", file)
    assert bench.contents() == {"a/x": b"2", "b/new": b"4", "c/large": b"5" * 3_000_000}


@needs_posix
def test_a_shared_repository_stays_shared(bench: DiskBench) -> None:
    """Where the group may write to the repository, it may use all that is new there, whatever a member's umask is."""
    bench.root.chmod(0o2775)
    made = open_storage(f"{bench.url}/made/repo")
    file = bench.root.parent / "file"
    file.touch(0o600)
    before = os.umask(0o077)
    try:
        bench.storage.put("a/b/k", b"x", if_absent=True)
        bench.storage.upload("a/u", io.BytesIO(b"x"))
        assert bench.storage.link("a/t", file)
        made.ensure_writable()
    finally:
        os.umask(before)
    assert (bench.root / "made/repo").stat().st_mode & 0o777 == 0o770
    modes = [oct((bench.root / name).stat().st_mode & 0o777) for name in ("a", "a/b", "a/b/k", "a/u", "a/t")]
    assert modes == ["0o770", "0o770", "0o660", "0o660", "0o660"]


@needs_posix
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files to another group")
def test_a_repository_is_shared_with_the_group_of_its_directory_also_without_the_setgid_bit(bench: DiskBench) -> None:
    os.chown(bench.root, -1, 12345)
    bench.root.chmod(0o775)
    bench.storage.put("a/k", b"x")
    (file := bench.root.parent / "file").touch()
    assert bench.storage.link("a/t", file)
    for name, mode in (("a", 0o775), ("a/k", 0o664), ("a/t", 0o664)):
        status = (bench.root / name).stat()
        assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, mode)


@needs_posix
def test_a_folder_on_another_disk_works(bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the repository that is a link to another file system, to which nothing can be renamed."""
    bench.seed({"a/x": b"", "b/x": b""})
    real = os.stat

    def other_device(path: str, **options: bool) -> os.stat_result:
        found = real(path, **options)
        fields = list(found)
        fields[stat.ST_DEV] += str(path).endswith("/b")
        return os.stat_result(fields, {"st_mtime_ns": found.st_mtime_ns})

    def replace(source: str, target: str) -> None:
        assert Path(source).parent == (bench.root / "b" if target.endswith("b/x") else bench.root)
        Path(source).rename(target)

    monkeypatch.setattr(os, "stat", other_device)
    monkeypatch.setattr(os, "replace", replace)
    bench.storage.put("a/x", b"1")
    bench.storage.put("b/x", b"2")
    assert (bench.contents()["a/x"], bench.contents()["b/x"]) == (b"1", b"2")


def test_files_that_a_crash_left_are_found_and_removed(bench: DiskBench) -> None:
    """Never an object; removing one that is gone is fine."""
    bench.seed({"a/k": b"x", ".0123.keepsake-tmp": b"12345", "a/.4567.keepsake-tmp": b""})
    found = sorted(bench.storage.leftovers())
    assert [(info.key, info.size) for info in found] == [(".0123.keepsake-tmp", 5), ("a/.4567.keepsake-tmp", 0)]
    for info in found + found:
        bench.storage.remove_leftover(info)
    assert bench.contents() == {"a/k": b"x"}


def test_a_missing_repository_is_an_error_and_stays_missing(tmp_path: Path) -> None:
    """Its disk may not be mounted, so only ensure_writable creates it, and reading finds nothing."""
    storage = open_storage("file://missing/repo", tmp_path)
    assert list(storage.list("")) == []
    with pytest.raises(DoesNotExist):
        storage.get("k")
    for write in (lambda: storage.put("a/k", b"x"), lambda: storage.upload("k", io.BytesIO(b"x"))):
        with pytest.raises(WriteError, match="mounted"):
            write()
    assert list(tmp_path.iterdir()) == []
    storage.ensure_writable()
    storage.put("a/k", b"x")
    assert (tmp_path / "missing" / "repo" / "a" / "k").read_bytes() == b"x"


# Failures


@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_write_that_fails_leaves_what_was_there(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    """Any system call may fail in any way: the result is one error of ours that names the object and the reason."""
    bench.seed({"a/k": b"before"})
    for write in (
        lambda: bench.storage.put("a/k", b"after"),
        lambda: bench.storage.upload("a/k", io.BytesIO(b"after")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse(code))
            with pytest.raises(WriteError) as caught:
                write()
        assert f"{bench.storage.url}/a/k" in str(caught.value)
        assert os.strerror(code) in str(caught.value)
        assert ("your permission to write" in str(caught.value)) == (code == errno.EACCES)
        assert ("Free some space" in str(caught.value)) == (code in (errno.ENOSPC, errno.EDQUOT))
        assert isinstance(caught.value.__cause__, OSError)
        assert bench.contents() == {"a/k": b"before"}


def test_short_writes_are_continued(bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system takes fewer bytes than it was given, the rest follows."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    bench.storage.put("k", bytes(range(256)))
    assert bench.contents() == {"k": bytes(range(256))}


def test_delete_tries_everything_and_lists_what_failed(bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.seed({"a": b"", "b": b"", "c": b""})
    real = os.unlink

    def unlink(path: str) -> None:
        if path.endswith("b"):
            raise PermissionError(errno.EACCES, "Permission denied")
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(WriteError, match=r"(?s)1 file\..*/b: Permission denied"):
        bench.storage.delete(["a", "b", "c"])
    assert bench.contents() == {"b": b""}


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT])
def test_a_read_that_fails_is_an_error_of_ours(bench: DiskBench, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    bench.seed({"a/k": b"x"})
    listing = "scandir" if sys.platform == "win32" else "listdir"
    for name, read in (("read", lambda: bench.storage.get("a/k")), (listing, lambda: list(bench.storage.list("a")))):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse(code))
            with pytest.raises(ReadError, match="a") as caught:
                read()
        assert not isinstance(caught.value, DoesNotExist)


@needs_posix
@pytest.mark.parametrize("name", ["EIO", "EACCES", "ESTALE", "EUCLEAN", "EBADMSG", "EREMOTEIO", "EOVERFLOW"])
def test_a_file_that_cannot_be_read_hides_no_other(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A damaged file system, or a file server, may refuse a single one."""
    code, real = getattr(errno, name, errno.EIO), os.open

    def refuse_bad(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith("bad"):
            raise OSError(code, os.strerror(code), path)
        return real(path, *arguments, **options)

    bench.seed({"a/good": b"x", "a/bad": b"x"})
    monkeypatch.setattr(os, "open", refuse_bad)
    found = {key: (data, etag) for key, data, etag in bench.storage.get_many(["a/bad", "a/good"])}
    assert found["a/good"][0] == b"x"
    assert found["a/bad"][1] == UNREADABLE
    assert os.strerror(code) in found["a/bad"][0].decode()


@pytest.mark.parametrize("count", [0, 1, 20, 21, 45])
def test_a_few_slow_files_need_no_threads(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The module that starts them is then not even loaded."""
    monkeypatch.setattr(reading, "_SLOW", -1.0)
    parallel: list[str] = []

    def in_parallel(jobs: Iterable[Callable[[], str]]) -> list[str]:
        parallel.extend(job() for job in jobs)
        return parallel

    monkeypatch.setattr(network, "in_parallel", in_parallel)
    assert list(reading.look_at_each(range(count), str)) == list(map(str, range(count)))
    assert parallel == list(map(str, range(20, count)))


@needs_posix
@pytest.mark.parametrize("seconds", [0.0, 0.002])
def test_many_files_are_read_and_listed_alike_on_a_slow_disk(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """A network disk is slow: threads read many at once, skip files that vanish, and raise an error."""
    keys = [f"a/{number:03}" for number in range(200)]
    bench.seed({key: key.encode() for key in keys})
    monkeypatch.setattr(reading, "_SLOW", 0.001 if seconds else math.inf)
    broken: set[str] = set()
    threads: set[threading.Thread] = set()

    def slowly(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: str, *arguments: Any, **more: Any) -> Any:
            number = os.path.basename(str(path))
            if number.isdigit():  # not what the threads of other tests read
                time.sleep(seconds)
                threads.add(threading.current_thread())
            if number in broken:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            return function(path, *arguments, **more)

        return call

    for name in ("open", "stat"):
        monkeypatch.setattr(os, name, slowly(getattr(os, name)))
    looks: list[Callable[[], list[str]]] = [
        lambda: sorted(key for key, data, _ in bench.storage.get_many([*keys, "a/gone"]) if data == key.encode()),
        lambda: [info.key for info in bench.storage.list("a")],
    ]
    for look in looks:
        threads.clear()
        assert look() == keys
        assert (len(threads) > 1) == (seconds > 0)
        broken.add("150")
        with pytest.raises(ReadError, match=r"a/150.*timed out"):
            look()
        broken.clear()


def test_an_error_that_shows_when_a_file_is_closed_is_one_of_writing(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File systems in user space, and NFS, may write only then."""
    bench.seed({"k": b"old"})
    real = os.close

    def close(fd: int) -> None:
        real(fd)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "close", in_this_thread(close, real))
    for write in (lambda: bench.storage.put("k", b"new"), lambda: bench.storage.upload("k", io.BytesIO(b"new"))):
        with pytest.raises(WriteError, match=r"Could not write .*/k: Input/output error\."):
            write()
    monkeypatch.setattr(os, "close", real)
    assert bench.contents() == {"k": b"old"}
    assert set(bench.listed()) == {"k"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, nothing tells the disks of other machines")
def test_a_file_that_grows_while_it_is_opened_is_read_to_its_end(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sshfs then takes the size of the file from before, and the system reads no more than that."""
    bench.seed({"k": b"longer"})
    real_status, real_read, limit = os.fstat, os.read, [3]

    def status_of(fd: int) -> os.stat_result:
        status = real_status(fd)
        fields = (*status[:2], os.makedev(0, 44), *status[3:6], min(status.st_size, limit[0]), *status[7:])
        return os.stat_result(fields, {"st_mtime_ns": status.st_mtime_ns})

    def refresh(fd: int, user: int, group: int) -> None:
        assert (user, group) == (-1, -1)
        limit[0] = 1 << 20

    def read(fd: int, size: int) -> bytes:
        return real_read(fd, max(0, min(size, limit[0] - os.lseek(fd, 0, os.SEEK_CUR))))

    monkeypatch.setattr(os, "fstat", in_this_thread(status_of, real_status))
    monkeypatch.setattr(os, "fchown", in_this_thread(refresh, os.fchown))
    monkeypatch.setattr(os, "read", in_this_thread(read, real_read))
    assert bench.storage.get("k")[0] == b"longer"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, nothing tells the disks of other machines")
@pytest.mark.parametrize(
    ("kind", "is_changed"), [("ext4", False), ("overlay", False), ("tmpfs", False), ("nfs4", True), ("", True)]
)
def test_reading_changes_no_file_on_a_disk_of_this_machine(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch, kind: str, is_changed: bool
) -> None:
    """On an overlay, even a change of nothing copies the whole file. A network disk refreshes what it has cached."""
    bench.seed({"k": b"x"})
    real_status, changed = os.fstat, []

    def status_of(fd: int) -> os.stat_result:
        status = real_status(fd)
        fields = (*status[:2], os.makedev(8 if kind == "ext4" else 0, 44), *status[3:10])
        return os.stat_result(fields, {"st_mtime_ns": status.st_mtime_ns})

    monkeypatch.setattr(os, "fstat", in_this_thread(status_of, real_status))
    monkeypatch.setattr(os, "fchown", in_this_thread(lambda *arguments: changed.append(arguments), os.fchown))
    monkeypatch.setattr(reading, "_kinds", {})
    monkeypatch.setattr(reading, "_kind_of", lambda fd: kind)
    assert bench.storage.get("k")[0] == b"x"
    assert bool(changed) == is_changed


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no file system without a device")
def test_the_type_of_a_file_system_is_known(tmp_path: Path) -> None:
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        assert reading._kind_of(file.fileno()) == "tmpfs"
        assert reading.is_of_this_machine(file.fileno(), os.fstat(file.fileno()))
    assert reading._kind_of(-1) == ""


@pytest.mark.parametrize("codes", [[errno.ESTALE, errno.ESTALE, errno.EAGAIN], [errno.ENOENT] * 3])
def test_a_file_that_is_replaced_while_it_is_opened_is_read(
    bench: DiskBench, monkeypatch: pytest.MonkeyPatch, codes: list[int]
) -> None:
    """On NFS the name then stands for a file that is gone, once; and a server that calls a lease back asks to wait.

    File systems in user space say that the file is missing.
    """
    bench.seed({"k": b"x"})
    real, errors = os.open, list(codes)

    def open_file(path: str, flags: int, *rest: Any) -> int:
        if errors:
            raise OSError(code := errors.pop(), os.strerror(code))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", in_this_thread(open_file, real))
    assert bench.storage.get("k")[0] == b"x"
    assert not errors


def test_a_file_that_shrinks_while_it_is_read_is_an_error(bench: DiskBench) -> None:
    """0.4.2 writes in place. A short read never looks whole."""
    bench.seed({"k": bytes(5_000_000)})
    with bench.storage.open("k") as stream:
        assert len(stream.read(1000)) == 1000
        (bench.root / "k").write_bytes(b"short")
        with pytest.raises(ReadError, match="became shorter"):
            stream.read()


def test_a_process_killed_while_it_writes_leaves_whole_objects(bench: DiskBench) -> None:
    """kill -9 at moments of chance: the object is one version or the other, and what is left over is not listed."""
    program = (
        "import sys; from keepsake.storage import open_storage; s = open_storage(sys.argv[1])\nfor n in range(10**6):"
    )
    program += " s.put('k', b'%d ' % (n % 10) * 300_000)"
    for turn in range(6):
        process = subprocess.Popen([sys.executable, "-c", program, bench.storage.url])
        deadline = time.monotonic() + 60
        while "k" not in bench_keys(bench) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.013 * turn)
        process.kill()
        process.wait()
        data, _ = bench.storage.get("k")
        assert data == data[:2] * 300_000
        assert bench_keys(bench) == ["k"]


def bench_keys(bench: Bench) -> list[str]:
    return [info.key for info in bench.storage.list("")]


def test_windows_readers_are_waited_for(bench: DiskBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a file that is being read cannot be replaced for a moment."""
    bench.seed({"k": b"0"})
    monkeypatch.setattr(files, "WINDOWS", True)
    real, refusals = os.replace, [1, 2, 3]

    def replace(source: str, target: str) -> None:
        if refusals:
            refusals.pop()
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        real(source, target)

    monkeypatch.setattr(os, "replace", in_this_thread(replace, real))
    bench.storage.put("k", b"1")
    assert bench.contents() == {"k": b"1"}


def test_only_ensure_writable_makes_the_repositorys_directory(tmp_path: Path) -> None:
    """A directory must not replace a disk that is not mounted, because files in it would vanish later."""
    storage = open_storage(f"file://{tmp_path}/repo")
    for write in (
        lambda: storage.put("k", b""),
        lambda: storage.put("a/k", b"", if_absent=True),
        lambda: storage.upload("a/k", io.BytesIO()),
    ):
        with pytest.raises(WriteError, match="whether its disk is mounted"):
            write()
    assert not (tmp_path / "repo").exists()
    storage.ensure_writable()
    storage.put("k", b"")


def test_a_directory_that_the_system_denies_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """/proc, and some folders that are mounted on demand, say "not found" although the parent is there."""
    monkeypatch.setattr(os, "mkdir", refuse(errno.ENOENT))
    with pytest.raises(WriteError, match="Could not write") as caught:
        DiskBench(tmp_path / "a/b").storage.ensure_writable()
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert caught.value.__cause__.__context__ is None
