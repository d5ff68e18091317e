"""The promises of keepsake.storage.base, each of them a test that every backend must pass.

A backend's test module subclasses StorageContract and gives a `bench` fixture: the storage under test, and a way to
seed and inspect what it stores that does not go through it.
"""

from __future__ import annotations

import io
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keepsake.exceptions import DoesNotExist, PreconditionFailed
from keepsake.storage import Storage
from tests.storage.benches import Bench

MIB = 1 << 20
ODD_KEYS = ["a/ü x+%20&=?#'\"~.json", "日本/語.json", "a b", "-", ".hidden/x", "a:b/c*?.json", "x/" + "n" * 200]
BAD_KEYS = ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/./b", "a\\b", "a\0b", "a\udc80b", "a/.x.keepsake-tmp"]


class Broken(io.RawIOBase):
    """A source that fails after `size` bytes."""

    def __init__(self, size: int, error: BaseException) -> None:
        self.left, self.error = size, error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self.left:
            raise self.error
        size = min(len(buffer), self.left)
        buffer[:size] = bytes(size)
        self.left -= size
        return size


class Dribble(io.BytesIO):
    """A source that gives fewer bytes than it is asked for."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size, 65_537) if size and size > 0 else 65_537)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress and differ by seed."""
    return random.Random(seed).randbytes(size)


def together(count: int, work: Callable[[int], object]) -> list[object]:
    """Run `work(0)` … `work(count - 1)` at the same time and return the results in order."""
    barrier = threading.Barrier(count)

    def run(number: int) -> object:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


class StorageContract:
    """Subclass it as TestSomething with a `bench` fixture; what begins with `has` tells what the server can do."""

    large = 20 * MIB + 12_345  # bytes: several parts of a multipart transfer
    has_if_match = True  # without, a condition is looked at before the write and two writers at once can both win
    has_own_etags = True  # without, an object that is read while it is rewritten may come with the next one's etag
    many = 250  # objects: more than a page of a listing or a batch of a deletion holds

    @pytest.fixture
    def storage(self, bench: Bench) -> Storage:
        return bench.storage

    # --- get and put

    def test_put_stores_the_bytes_as_they_are(self, bench: Bench, storage: Storage) -> None:
        """What put was given is what lies in the backend, and nothing else does."""
        storage.put("a/b.json", b'{"x": 1}\r\n\0')
        storage.put("empty", b"")
        assert bench.contents() == {"a/b.json": b'{"x": 1}\r\n\0', "empty": b""}

    def test_get_reads_what_others_wrote(self, bench: Bench, storage: Storage) -> None:
        """Objects that came by another way are read as they are."""
        bench.seed({"a/b.json": b"\r\n\x1f\x8b", "empty": b""})
        assert storage.get("a/b.json")[0] == b"\r\n\x1f\x8b"
        assert storage.get("empty")[0] == b""

    def test_put_replaces_what_was_there(self, bench: Bench, storage: Storage) -> None:
        """A shorter object leaves nothing of the longer one."""
        bench.seed({"k": b"long" * 1000})
        storage.put("k", b"short")
        assert bench.contents() == {"k": b"short"}

    def test_odd_names_are_kept(self, bench: Bench, storage: Storage) -> None:
        """Names with blanks, signs and other scripts work with every verb."""
        for key in ODD_KEYS:
            etag = storage.put(key, key.encode())
            assert storage.get(key) == (key.encode(), etag)
        assert bench.contents() == {key: key.encode() for key in ODD_KEYS}
        assert [info.key for info in storage.list("")] == sorted(ODD_KEYS)
        for key in ODD_KEYS:
            storage.upload(key, io.BytesIO(b"again"))
            with storage.open(key, start=1) as stream:
                assert stream.read() == b"gain"
        storage.delete(ODD_KEYS)
        assert bench.contents() == {}

    def test_bad_names_are_refused_by_every_verb(self, bench: Bench, storage: Storage) -> None:
        """A name that could leave the repository, or collide with a temporary one, touches nothing."""
        bench.seed({"a/b": b"x"})
        attempts: list[Callable[[str], object]] = [
            lambda key: storage.get(key),
            lambda key: storage.open(key),
            lambda key: storage.put(key, b""),
            lambda key: storage.upload(key, io.BytesIO(b"")),
            lambda key: storage.delete(["a/b", key]),
            lambda key: list(storage.list(key or "/")),
        ]
        for key, attempt in itertools.product(BAD_KEYS, attempts):
            with pytest.raises(ValueError, match="is not a valid storage key"):
                attempt(key)
        assert bench.contents() == {"a/b": b"x"}

    def test_missing_objects_say_so(self, bench: Bench, storage: Storage) -> None:
        """get and open raise DoesNotExist at once, naming the URL and the key; directories are not objects."""
        bench.seed({"a/b.json": b"x"})
        attempts: list[Callable[[str], object]] = [
            lambda key: storage.get(key),
            lambda key: storage.open(key),
            lambda key: storage.open(key, start=-5),
            lambda key: storage.open(key, length=0),
        ]
        for key, attempt in itertools.product(["nope", "a/b/nope", "a", "a/b.json/c"], attempts):
            with pytest.raises(DoesNotExist) as caught:
                attempt(key)
            assert f"{storage.url}/{key}" in str(caught.value)

    # --- etags

    def test_all_verbs_agree_on_the_etag(self, storage: Storage) -> None:
        """put, get and list give the same etag for the same version."""
        etag = storage.put("a/k", b"x")
        assert storage.get("a/k")[1] == etag
        assert [info.etag for info in storage.list("a")] == [etag]

    def test_every_version_has_an_etag_of_its_own(self, storage: Storage) -> None:
        """Versions of one size, written as fast as can be, all differ."""
        etags = [storage.put("k", b"%03d" % number) for number in range(50)]
        assert len(set(etags)) == 50
        storage.upload("k", io.BytesIO(b"050"))
        assert storage.get("k")[1] not in etags

    def test_the_etag_stays_while_nothing_changes(self, bench: Bench, storage: Storage) -> None:
        """Reading, and writing other objects, leave an etag unchanged."""
        bench.seed({"a/k": b"x"})
        before = [info.etag for info in storage.list("a")]
        storage.put("b/k", b"y")
        storage.get("a/k")
        assert [info.etag for info in storage.list("a")] == before == [storage.get("a/k")[1]]

    # --- conditions

    def test_if_absent_writes_only_what_is_new(self, bench: Bench, storage: Storage) -> None:
        """The first wins, the second leaves it untouched."""
        etag = storage.put("d/k", b"first", if_absent=True)
        with pytest.raises(PreconditionFailed) as caught:
            storage.put("d/k", b"second", if_absent=True)
        assert f"{storage.url}/d/k" in str(caught.value)
        assert bench.contents() == {"d/k": b"first"}
        assert storage.get("d/k")[1] == etag

    def test_missing_objects_are_put_and_the_others_stay(self, bench: Bench, storage: Storage) -> None:
        storage.put("d/k", b"first")
        objects = {"a": b"1", "d/k": b"second", "d/new": b"2"}
        assert storage.put_missing(objects) == {"a", "d/new"}
        assert storage.put_missing(objects) == set()
        assert bench.contents() == {"a": b"1", "d/k": b"first", "d/new": b"2"}

    def test_if_absent_lets_exactly_one_of_many_win(self, storage: Storage) -> None:
        """Eight writers at once: one succeeds, and it is its content that stays."""

        def attempt(number: int) -> bool:
            try:
                storage.put("k", b"%d" % number, if_absent=True)
            except PreconditionFailed:
                return False
            return True

        won = together(8, attempt)
        assert won.count(True) == 1
        assert storage.get("k")[0] == b"%d" % won.index(True)

    def test_if_match_writes_over_the_version_it_names(self, bench: Bench, storage: Storage) -> None:
        """With the current etag it writes; with an old one, or over nothing, it does not."""
        first = storage.put("k", b"one")
        second = storage.put("k", b"two", if_match=first)
        assert storage.get("k") == (b"two", second)
        for stale in (first, "nonsense"):
            with pytest.raises(PreconditionFailed):
                storage.put("k", b"three", if_match=stale)
        with pytest.raises(PreconditionFailed):
            storage.put("gone", b"three", if_match=second)
        assert bench.contents() == {"k": b"two"}

    def test_if_match_loses_no_update(self, storage: Storage) -> None:
        """Four writers that read, add one and write if nothing changed: every addition counts."""
        if not self.has_if_match:
            pytest.skip("the server has no conditional writes")
        storage.put("k", b"0")

        def add(_: int) -> None:
            for _ in range(5):
                while True:
                    data, etag = storage.get("k")
                    try:
                        storage.put("k", b"%d" % (int(data) + 1), if_match=etag)
                        break
                    except PreconditionFailed:
                        time.sleep(0.002)

        together(4, add)
        assert storage.get("k")[0] == b"20"

    # --- open

    def test_open_gives_the_slice(self, bench: Bench, storage: Storage) -> None:
        """A range is what Python's slice of the content is, whatever lies outside."""
        objects = {"k": b"0123456789", "empty": b""}
        bench.seed(objects)
        spans = itertools.product([0, 3, 9, 10, 25, -1, -4, -10, -50], [None, 0, 1, 4, 100])
        for (start, length), (key, data) in itertools.product(spans, objects.items()):
            first = max(0, len(data) + start) if start < 0 else start
            with storage.open(key, start=start, length=length) as stream:
                found = stream.read()
            assert (start, length, found) == (start, length, data[first : None if length is None else first + length])

    def test_open_streams_large_objects(self, bench: Bench, storage: Storage) -> None:
        """Read in pieces of any size, whole, from within and from the end, it is what was stored."""
        data = noise(self.large)
        bench.seed({"k": data})
        with storage.open("k") as stream:
            pieces = [stream.read(1), stream.read(1000), stream.read(3 * MIB), stream.read()]
            assert b"".join(pieces) == data
            assert len(pieces[1]) == 1000
            assert stream.read() == b""
        for start, length in ((MIB + 1, None), (5, 17 * MIB), (-17 * MIB, None), (-17 * MIB, 12 * MIB)):
            with storage.open("k", start=start, length=length) as stream:
                assert stream.read() == data[start:][:length]

    def test_open_can_be_left_early(self, bench: Bench, storage: Storage) -> None:
        """A stream that is closed half-read does no harm to later ones."""
        bench.seed({"k": noise(self.large)})
        for _ in range(3):
            with storage.open("k") as stream:
                assert len(stream.read(10)) == 10
        assert len(storage.get("k")[0]) == self.large

    # --- upload

    def test_upload_stores_what_it_reads(self, bench: Bench, storage: Storage) -> None:
        """The object has any size, and its source gives less than it is asked for."""
        objects = {f"a/{size}": noise(size) for size in (0, 1, 8 * MIB, self.large)}
        for key, data in objects.items():
            storage.upload(key, Dribble(data))
        assert bench.contents() == objects
        assert {info.key: info.size for info in storage.list("a")} == {key: len(data) for key, data in objects.items()}

    @pytest.mark.parametrize("error", [RuntimeError("producer died"), OSError(5, "bad disk"), KeyboardInterrupt()])
    def test_an_upload_whose_source_fails_never_was(self, bench: Bench, storage: Storage, error: BaseException) -> None:
        """The source's own exception is raised, the old object stays, and nothing is left over."""
        bench.seed({"old": b"before"})
        for key, size in itertools.product(("old", "new"), (0, 1000, self.large)):
            with pytest.raises(type(error)) as caught:
                storage.upload(key, io.BufferedReader(Broken(size, error)))
            assert caught.value is error
        assert bench.contents() == {"old": b"before"}

    def test_uploads_at_once_do_not_mix(self, storage: Storage) -> None:
        """Three threads upload through one instance; each object is its own."""
        data = [noise(9 * MIB, seed) for seed in range(3)]
        together(3, lambda number: storage.upload(f"k{number}", io.BytesIO(data[number])))
        assert [storage.get(f"k{number}")[0] == data[number] for number in range(3)] == [True] * 3

    def test_a_file_becomes_the_object_or_stays_as_it_is(self, bench: Bench, storage: Storage, tmp_path: Path) -> None:
        """It replaces the old object as a whole, even a second time, or else the caller uploads it."""
        bench.seed({"a/old": b"before"})
        file = tmp_path / "file"
        for key in ("a/old", "b/new"):
            file.write_bytes(noise(MIB))
            if storage.link(key, file):
                assert storage.link(key, file)
                assert file.read_bytes() == noise(MIB)
                file.unlink()
                assert bench.contents()[key] == noise(MIB)
                assert not list(storage.leftovers())
                assert storage.get(key)[0] == noise(MIB)
            else:
                assert file.read_bytes() == noise(MIB)
                assert bench.contents() == {"a/old": b"before"}

    def test_no_reader_sees_half_an_object(self, storage: Storage) -> None:
        """While an object is rewritten again and again, every read is one whole version with its own etag."""
        versions: dict[str, bytes] = {storage.put("k", b"0" * 50_000): b"0" * 50_000}
        stop = threading.Event()
        seen: list[tuple[bytes, str]] = []

        def read() -> None:
            while not stop.is_set():
                seen.append(storage.get("k"))

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(30):
            data = b"%d" % (number % 10) * (50_000 + number)
            versions[storage.put("k", data)] = data
        stop.set()
        reader.join()
        assert seen
        assert {data for data, _ in seen} <= set(versions.values())
        if self.has_own_etags:
            assert [versions[etag] == data for data, etag in seen] == [True] * len(seen)

    # --- list

    def test_list_tells_key_size_and_time(self, bench: Bench, storage: Storage) -> None:
        """The size is in bytes, and the time is that of the storage's clock."""
        bench.seed({"a/k": b"12345"})
        (info,) = storage.list("a")
        assert (info.key, info.size) == ("a/k", 5)
        assert abs(info.modified - storage.now()) < 60

    def test_a_prefix_is_a_directory(self, bench: Bench, storage: Storage) -> None:
        """`a/b` lists neither `a/bc` nor an object called `a/b`, and what is missing is empty."""
        bench.seed({"a/b/1": b"", "a/b/c/2": b"", "a/bc": b"", "a/b.json": b"", "x": b""})
        assert [info.key for info in storage.list("a/b")] == ["a/b/1", "a/b/c/2"]
        assert [info.key for info in storage.list("a")] == ["a/b.json", "a/b/1", "a/b/c/2", "a/bc"]
        assert [info.key for info in storage.list("x")] == []
        assert [info.key for info in storage.list("nope/nope")] == []

    def test_list_is_sorted_by_key(self, bench: Bench, storage: Storage) -> None:
        """The order is that of code points, with directories among the files, in every backend."""
        keys = ["a", "a-b/x", "a.b", "b/a", "b-", "b0", "Z", "ä", "b/ä", "b/z", "日"]
        bench.seed(dict.fromkeys(keys, b""))
        assert [info.key for info in storage.list("")] == sorted(keys)

    def test_long_lists_and_deletions_are_whole(self, bench: Bench, storage: Storage) -> None:
        """A listing of several pages misses nothing, repeats nothing and is sorted; a deletion of them leaves none."""
        keys = [f"m/{noise(6, number).hex()}.json" for number in range(self.many)] + ["m/ZZ", "m/zz", "m/é", "m/0"]
        bench.seed(dict.fromkeys([*keys, "n/stays"], b"x"))
        assert [info.key for info in storage.list("m")] == sorted(keys)
        storage.delete(keys)
        assert bench.contents() == {"n/stays": b"x"}

    # --- delete

    @pytest.mark.parametrize("verb", ["delete", "retire"])
    def test_delete_takes_exactly_what_is_named(self, bench: Bench, storage: Storage, verb: str) -> None:
        """Missing keys and directories are fine, neighbours stay, a generator is fine, twice is fine."""
        delete = getattr(storage, verb)
        bench.seed({"a": b"", "a.json": b"", "d/1": b"", "d/12": b"", "d/2": b""})
        for _ in range(2):
            delete(key for key in ("a", "nope", "d", "d/1", "d/1", "d/1/x"))
        assert sorted(bench.contents()) == ["a.json", "d/12", "d/2"]
        delete([])

    # --- get_many

    def test_get_many_reads_what_is_there(self, bench: Bench, storage: Storage) -> None:
        """Each existing object once, with its etag, in any order; vanished ones are skipped."""
        objects = {f"m/{number}": b"%d" % number for number in range(150)}
        bench.seed(objects)
        asked = itertools.chain.from_iterable((key, f"{key}-gone") for key in objects)
        found = {key: (data, etag) for key, data, etag in storage.get_many(asked)}
        assert {key: data for key, (data, _) in found.items()} == objects
        assert {key: etag for key, (_, etag) in found.items()} == {i.key: i.etag for i in storage.list("m")}
        assert list(storage.get_many([])) == []

    def test_get_many_is_lazy(self, bench: Bench, storage: Storage) -> None:
        """It takes keys as it needs them and can be left early."""
        bench.seed({f"m/{number}": b"x" for number in range(100)})
        taken: list[str] = []

        def keys() -> Iterator[str]:
            for number in itertools.count():
                taken.append(f"m/{number % 100}")
                yield taken[-1]

        for _, data, _ in itertools.islice(storage.get_many(keys()), 5):
            assert data == b"x"
        assert len(taken) < 100

    # --- the rest

    def test_one_instance_serves_many_threads(self, storage: Storage) -> None:
        """Eight threads write, read, list and delete their own keys through one instance."""

        def work(number: int) -> None:
            for turn in range(5):
                data = noise(1000, 100 * number + turn)
                etag = storage.put(f"t{number}/{turn}", data)
                assert storage.get(f"t{number}/{turn}") == (data, etag)
                assert [info.size for info in storage.list(f"t{number}")] == [1000]
                storage.delete([f"t{number}/{turn}"])

        together(8, work)
        assert list(storage.list("")) == []

    def test_ensure_writable_leaves_nothing(self, bench: Bench, storage: Storage) -> None:
        """It may be called any number of times, and adds no object."""
        bench.seed({"k": b"x"})
        storage.ensure_writable()
        storage.ensure_writable()
        assert bench.contents() == {"k": b"x"}

    def test_nothing_is_left_over(self, storage: Storage) -> None:
        """What ended, well or badly, leaves nothing to clean up."""
        storage.put("a/k", b"x")
        storage.upload("a/u", io.BytesIO(noise(self.large)))
        with pytest.raises(RuntimeError):
            storage.upload("a/u", io.BufferedReader(Broken(self.large, RuntimeError("x"))))
        assert list(storage.leftovers()) == []

    def test_now_is_the_time(self, storage: Storage) -> None:
        """The storage's clock agrees with ours on a machine whose clock is right."""
        assert abs(storage.now() - time.time()) < 5
