"""Hostile archives: nothing is written outside, nothing but KeepsakeError comes out, no wrong data passes for right."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from keepsake.archive.reader import Archive
from keepsake.exceptions import KeepsakeError
from keepsake.restoring.checkout import checkout
from tests.faults.amounts import amounts
from tests.faults.hostile_archives import CONTENT, Hostile, generate, valid
from tests.faults.programs import run
from tests.storage.memory import MemoryStorage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and devices are POSIX")

Tree = dict[str, tuple[int, bytes]]  # path → (mode, content or what a link points at)


@amounts(300, 10_000)
def test_hostile_archives(tmp_path: Path, count: int) -> None:
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
    """What came is plain files and directories; what was there and is no plain file is as it was."""
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


def test_a_valid_archive_passes() -> None:
    """The generator starts from archives that are read as they should be, with a table of contents and without."""
    for table in (True, False):
        archive = _archive(valid(table))
        assert archive.has_table == table
        assert set(_read(archive, Hostile("valid", b"", damaged=True))) == set(CONTENT)
