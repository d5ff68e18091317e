"""Hostile archives: nothing is written outside, only KeepsakeError is raised, and no wrong data passes as right."""

from __future__ import annotations

import gzip
import os
import random
import stat
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from keepsake.archive import contents, tar
from keepsake.archive import gzip as members
from keepsake.archive.contents import FOOTER_SIZE, ArchiveEntry, ContentHash
from keepsake.archive.reader import Archive
from keepsake.exceptions import CorruptedArchive, KeepsakeError
from keepsake.restoring.checkout import checkout
from tests.archive.archives import archive_bytes, freeze_files, stored
from tests.faults.amounts import amounts
from tests.faults.hostile_archives import CONTENT, Hostile, generate, table_members, valid
from tests.faults.programs import run
from tests.storage.memory import MemoryStorage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and devices are POSIX")

Tree = dict[str, tuple[int, bytes]]  # path → (mode, content or what a link points at)


@amounts(300, 10_000)
def test_hostile_archives_harm_nothing(tmp_path: Path, count: int) -> None:
    """Read in every way, and checked out beside something worth stealing."""
    results = [_attack(tmp_path, seed) for seed in range(count)]
    assert count / 20 < sum(results) < count * 19 / 20  # some of them are harmless, or else the test is


def _attack(base: Path, seed: int) -> bool:
    """Read and check out the archive of a seed; return whether that succeeded."""
    directory = base / str(seed)
    hostile = generate(seed, str(directory / "outside"))
    target = _prepare(directory)
    before, inside = _tree(directory, target), _tree(target)
    archive = _archive(hostile.data)
    try:
        names = _read(archive, hostile)
        checkout([_archive(hostile.data)], target)
        succeeded = True
    except KeepsakeError:
        succeeded = False
    except Exception as error:
        raise AssertionError(f"seed {seed} ({hostile.kind}): {error!r}") from error
    after = _tree(target)
    assert _tree(directory, target) == before, f"seed {seed} ({hostile.kind}) wrote outside"
    if not succeeded:
        assert after == inside, f"seed {seed} ({hostile.kind}) failed and left something"
    else:
        _check_harmless(after, inside, f"seed {seed} ({hostile.kind})")
        if hostile.damaged:
            assert set(names) == set(CONTENT), f"seed {seed} ({hostile.kind}): other files"
            assert all(after[name][1] == content for name, content in CONTENT.items()), f"seed {seed}: wrong data"
    _remove(directory)
    return succeeded


def _prepare(directory: Path) -> Path:
    """Make a directory to check out into, with links that lead out of it."""
    target = directory / "target"
    (directory / "outside").mkdir(parents=True)
    (directory / "outside/secret").write_text("secret")
    target.mkdir()
    (target / "link").symlink_to("../outside")
    (target / "linked.txt").symlink_to("../outside/secret")
    (target / "mine.txt").write_text("mine")
    return target


def _read(archive: Archive, hostile: Hostile) -> list[str]:
    """List an archive, and open what it lists."""
    names = [entry.name for entry in archive.entries()]
    for name in names:
        with archive.open(name) as file:
            content = file.read()
            assert not hostile.damaged or content == CONTENT[name], f"{name} reads wrong ({hostile.kind})"
    return names


def _archive(data: bytes) -> Archive:
    storage = MemoryStorage()
    storage.put("archive.tar.gz", data)
    return Archive(storage, "archive.tar.gz")


def _tree(directory: Path, without: Path | None = None) -> Tree:
    tree: Tree = {}
    for folder, folders, files in os.walk(directory):
        for name in folders + files:
            path = Path(folder, name)
            if without is not None and (path == without or without in path.parents):
                continue
            mode = path.lstat().st_mode
            content = path.read_bytes() if stat.S_ISREG(mode) else b""
            if stat.S_ISLNK(mode):
                content = os.fsencode(os.readlink(path))
            tree[os.fsdecode(os.path.relpath(path, directory))] = (mode, content)
    return tree


def _check_harmless(after: Tree, before: Tree, what: str) -> None:
    """Only plain files and directories arrive, and existing links and devices stay as they were."""
    for name, (mode, content) in after.items():
        if name.startswith(".keepsake/undo/"):
            continue  # what was there before, whatever it was
        if name in before and stat.S_ISLNK(before[name][0]) and not stat.S_ISREG(mode):
            assert (mode, content) == before[name], f"{what} changed the link {name}"
        elif name not in before:
            assert stat.S_ISREG(mode) or stat.S_ISDIR(mode), f"{what} made {name}, of mode {mode:o}"
        assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX) or name in before, f"{what}: {name} is {mode:o}"
        assert name.split("/")[0].casefold() != ".git", f"{what} made {name}"


def _remove(directory: Path) -> None:
    for folder, folders, _ in os.walk(directory):
        for name in folders:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    import shutil

    shutil.rmtree(directory)


def test_bombs_fill_neither_memory_nor_disk(project_directory: Path) -> None:
    """Members that inflate to thousands of times their size, read with little memory and little disk."""
    bombs = [seed for seed in range(200) if generate(seed).kind in ("zeros", "table", "pax", "longname", "size")]
    assert len(bombs) > 15
    run(
        f"""
        import itertools, resource
        from pathlib import Path
        from keepsake.archive.reader import Archive
        from keepsake.exceptions import KeepsakeError
        from tests.faults.hostile_archives import generate, large_bomb
        from tests.storage.memory import MemoryStorage

        large = large_bomb()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))
        for number, data in enumerate([large, *(generate(seed).data for seed in {bombs})]):
            storage = MemoryStorage()
            storage.put("a", data)
            for attempt in (
                lambda: Archive(storage, "a").open("train.py").close(),
                lambda: Archive(storage, "a").open("big").close(),
                lambda: Archive(storage, "a").extract(Path(str(number))),
            ):
                try:
                    attempt()
                except KeepsakeError:
                    pass
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert used < 300_000, f"{{used}} kB"
        """
    )


def _many_headers(kind: bytes, body: Callable[[int], bytes]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for number in range(40):
        content = body(number)
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, len(content)
        yield info, content


def _pax(number: int) -> bytes:
    record = b"k%09d=" % number + b"a" * 1_000_000 + b"\n"
    return b"%d " % (len(record) + 8) + record


HEADERS = {
    "PAX": (tarfile.XHDTYPE, _pax),
    "global": (tarfile.XGLTYPE, _pax),
    "long names": (tarfile.GNUTYPE_LONGNAME, lambda number: b"%d" % number + b"a" * 1_000_000),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_of_one_file_are_bounded_together(kind: str) -> None:
    """Many headers, each of an allowed length: little of them comes into memory."""
    headers = [*_many_headers(*HEADERS[kind]), (tarfile.TarInfo(f"{'a' * 64}/train.py"), b"")]
    data = b"".join(info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512) for info, body in headers)
    with pytest.raises(CorruptedArchive, match="headers of one file are too long"):
        _archive(gzip.compress(data + bytes(1024))).entries()


def test_a_table_is_no_longer_than_its_archive_can_have() -> None:
    """A table that inflates to a thousand times its size, and would take twenty times that as JSON."""
    text = b'{"start":1,"chunk":1,"files":[' + b"[]," * 20_000_000 + b"[]]}"
    whole = valid(True)
    end = contents.decode_footer(whole[-FOOTER_SIZE:]).offset  # type: ignore[union-attr]
    with pytest.raises(CorruptedArchive, match="table of contents is too long for its archive"):
        _archive(whole[:end] + table_members(text, end)).entries()


def test_a_table_has_no_more_lists_than_its_archive_has_files() -> None:
    """Each takes twenty times its length in memory."""
    text = b'{"start":1,"chunk":1,"files":[' + b"[]," * 1_500_000 + b"[]]}"
    filling = random.Random(1).randbytes(1 << 20)
    end = len(filling)
    with pytest.raises(CorruptedArchive, match="table of contents is too long for its archive"):
        _archive(filling + table_members(text, end)).entries()


@pytest.mark.parametrize("filling", [0, 100_000])
@pytest.mark.parametrize("lie", [{"name": "other.py"}, {"mode": 0o777}, {"size": -1}, {"size": 1}])
def test_a_table_that_does_not_fit_the_tar_is_an_error(lie: dict[str, Any], filling: int) -> None:
    """Its hashes are right, and so are the places; the header in the tar says something else.

    A small archive is compared as a whole. Of a large one, files that are far from the lie can be read.
    """
    files = {"a.py": b"first" + random.Random(1).randbytes(filling), "train.py": b"print()", "z.py": b"last"}
    with tempfile.TemporaryDirectory() as directory:
        whole = archive_bytes(freeze_files(Path(directory), files))
    entries = stored(whole).entries()
    place = [entry.name for entry in entries].index("train.py")
    told = entries[place]
    changes = {**lie, "size": told.size + lie["size"]} if "size" in lie else lie
    entries[place] = told._replace(**changes)
    end = contents.decode_footer(whole[-FOOTER_SIZE:]).offset  # type: ignore[union-attr]
    forged = stored(whole[:end] + contents.encode(entries[0].offset, entries[0].chunk, entries))
    with pytest.raises(CorruptedArchive):
        forged.open(entries[place].name)
    with tempfile.TemporaryDirectory() as directory, pytest.raises(CorruptedArchive):
        forged.extract(Path(directory))
    with pytest.raises(CorruptedArchive):
        forged.verify()
    with nullcontext() if filling else pytest.raises(CorruptedArchive), forged.open("z.py") as file:
        assert file.read() == b"last"


@pytest.mark.parametrize("what", ["a size", "a name", "two of a name"])
def test_a_small_archive_shows_no_file_that_its_tar_does_not_show(what: str) -> None:
    """Each member fits the table, but before them the tar's own headers tell another story."""
    first, second = b"harmless", b"evil"
    inside = tar.header("id/train.py", len(second), 0o644, 0)
    middle = first + tar.padding(len(first)) + inside
    sizes = {"a size": len(middle + second)}
    name = "train.py" if what == "two of a name" else "hidden.py" if what == "a name" else "first.py"
    start = _member(tar.header(f"id/{name}", sizes.get(what, len(first)), 0o644, 0))
    one, two = _member(middle), _member(second + tar.padding(len(second)) + tar.END)
    entries, offset = [], len(start)
    for told, content, member in (("first.py", first, one), ("train.py", second, two)):
        digest = ContentHash(content).hexdigest()
        entries.append(ArchiveEntry(told, len(content), 0o644, 0, digest, offset, (len(member),), 1 << 18))
        offset += len(member)
    forged = stored(start + one + two + contents.encode(len(start), 1 << 18, entries))
    with pytest.raises(CorruptedArchive):
        forged.open("train.py")
    with pytest.raises(CorruptedArchive):
        forged.entries()


def _member(data: bytes) -> bytes:
    return b"".join(bytes(part) for part in members.member(data))


@pytest.mark.parametrize("filling", [0, 100_000])
def test_a_table_that_leads_into_an_extra_field_shows_nothing_that_the_tar_does_not(filling: int) -> None:
    """Small archives are read whole, and the tar counts; of large ones the header before the file is missing."""
    with tempfile.TemporaryDirectory() as directory:
        honest = random.Random(1).randbytes(filling) + b"harmless"
        whole = archive_bytes(freeze_files(Path(directory), {"train.py": honest}))
    end = contents.decode_footer(whole[-FOOTER_SIZE:]).offset  # type: ignore[union-attr]
    evil = b"evil"
    hidden = b"".join(members.member(evil, tar.padding(len(evil)) + tar.END))
    carrier = members.extra_member(b"XX", hidden)
    start = end + carrier.index(hidden)
    entry = ArchiveEntry("train.py", len(evil), 0o644, 0, ContentHash(evil).hexdigest(), start, (len(hidden),), 1 << 18)
    forged = stored(whole[:end] + carrier + contents.encode(start, 1 << 18, [entry]))
    try:
        with forged.open("train.py") as file:
            assert file.read() == honest
    except CorruptedArchive:
        assert filling


def test_a_valid_archive_passes() -> None:
    """The generator starts from archives that are read as they should be, with a table of contents and without."""
    for table in (True, False):
        archive = _archive(valid(table))
        assert archive.has_table == table
        assert set(_read(archive, Hostile("valid", b"", damaged=True))) == set(CONTENT)
