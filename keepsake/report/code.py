"""The code of runs in a page: every version of every text file once, and which run has which."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepsake.archive.contents import ArchiveEntry, ContentHash
from keepsake.exceptions import KeepsakeError
from keepsake.report.payload import Pool, encode_integers
from keepsake.util.workers import Workers, in_order

if TYPE_CHECKING:
    from keepsake.archive.reader import Archive
    from keepsake.experiment import Experiment

MAX_FILE = 200_000  # bytes of a file that the page can show
MAX_CODE = 450_000  # bytes of all code, compressed
MAX_FILES = 3000  # of a run


@dataclass
class _Files:
    """The files that a run saved at its beginning: name → hash and size. `problem` says why there are none."""

    archive: Archive | None = None
    entries: dict[str, tuple[str, int]] = field(default_factory=dict)
    problem: str | None = None
    contents: dict[str, bytes] = field(default_factory=dict)  # hash → content, read already


@dataclass
class Code:
    """The code of some runs.

    Attributes:
        files: of each file and version its name, size in bytes, and the number of its content, or None.
        runs: of each run the numbers of its files, as encode_integers returns them, or a text that says why not.
        lengths: of each content, in bytes.
        data: all contents.
        notes: what was left out, a sentence each.
    """

    files: list[Any]
    runs: list[list[int] | str]
    lengths: list[int]
    data: bytes
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return all but the data."""
        return {"files": self.files, "runs": self.runs, "lengths": self.lengths, "notes": self.notes}


def collect_code(experiments: Sequence[Experiment], advance: Callable[[int], object]) -> Code:
    """Return the code of experiments. `advance` is called with 1 for each.

    Only tables of contents are read first, and then each content once.
    """
    with Workers() as workers:
        found = []
        for files in in_order(workers, (partial(_list, experiment) for experiment in experiments)):
            found.append(files)
            advance(1)
        contents: dict[str, bytes] = {}
        for read in in_order(workers, iter(_reading_jobs(found))):
            contents.update(read)
    texts = {digest: data for digest, data in contents.items() if _is_text(data)}
    names: dict[str, dict[str, None]] = {}  # name → hashes of its versions
    for files in found:
        for name, (digest, _) in files.entries.items():
            names.setdefault(name, {})[digest] = None
    shown = _affordable(names, texts)
    return _lay_out(found, names, texts, shown)


def _list(experiment: Experiment) -> _Files:
    if not experiment.path:
        return _Files(problem="The run saved no files when it began.")
    try:
        archive = experiment.project.workplace.archives(experiment, None)[0]
        if not archive.has_table:
            return _read_all(archive)
        entries = archive.entries()[:MAX_FILES]
    except KeepsakeError as error:
        return _Files(problem=str(error))
    return _Files(archive, {entry.name: (entry.xxh128 or "", entry.size) for entry in entries})


def _read_all(archive: Archive) -> _Files:
    """Return the files of an archive without a table of contents, whose hashes are known only when they are read."""
    entries = archive.entries()[:MAX_FILES]
    files = _Files(archive, {entry.name: ("", entry.size) for entry in entries})
    for entry, data in _extracted(archive, [entry for entry in entries if entry.size <= MAX_FILE]):
        digest = ContentHash(data).hexdigest()
        files.entries[entry.name] = (digest, entry.size)
        files.contents[digest] = data
    return files


def _reading_jobs(found: Sequence[_Files]) -> Iterator[Callable[[], dict[str, bytes]]]:
    """Yield a job for each run that is the first to have some content."""
    seen: set[str] = set()
    for files in found:
        wanted = {}
        for name, (digest, size) in files.entries.items():
            if digest and digest not in seen and size <= MAX_FILE:
                seen.add(digest)
                wanted[name] = digest
        if wanted:
            yield partial(_read, files, wanted)


def _read(files: _Files, wanted: dict[str, str]) -> dict[str, bytes]:
    if files.contents or files.archive is None:
        return {digest: files.contents[digest] for digest in wanted.values() if digest in files.contents}
    try:
        entries = [entry for entry in files.archive.entries() if entry.name in wanted]
        return {wanted[entry.name]: data for entry, data in _extracted(files.archive, entries)}
    except KeepsakeError as error:
        files.problem = str(error)
        return {}


def _extracted(archive: Archive, entries: Sequence[ArchiveEntry]) -> Iterator[tuple[ArchiveEntry, bytes]]:
    names = {entry.name for entry in entries}
    with tempfile.TemporaryDirectory(prefix="keepsake-", ignore_cleanup_errors=True) as directory:
        archive.extract(Path(directory), names.__contains__)
        for entry in entries:
            yield entry, (Path(directory) / entry.name).read_bytes()


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _affordable(names: dict[str, dict[str, None]], texts: dict[str, bytes]) -> set[str]:
    """Return the names whose versions fit into the page together, those that take least first."""
    costs = {}
    for name, digests in names.items():
        versions = [texts[digest] for digest in digests if digest in texts]
        if versions:
            costs[name] = len(zlib.compress(b"".join(versions), 6))
    shown, total = set(), 0
    for name in sorted(costs, key=lambda name: (costs[name], name)):
        total += costs[name]
        if total > MAX_CODE:
            break
        shown.add(name)
    return shown


def _lay_out(
    found: Sequence[_Files], names: dict[str, dict[str, None]], texts: dict[str, bytes], shown: set[str]
) -> Code:
    """Put versions of the same file beside each other, because they compress well there."""
    contents: Pool = Pool()
    ordered = sorted(names)
    for name in ordered:
        for digest in names[name]:
            if name in shown and digest in texts:
                contents.number(digest)
    data = [texts[digest] for digest in contents.values()]
    known = set(contents.values())
    pool = Pool()
    numbers = {name: place for place, name in enumerate(ordered)}
    runs: list[list[int] | str] = []
    for files in found:
        rows = [(name, *files.entries[name]) for name in sorted(files.entries, key=numbers.__getitem__)]
        own = sorted(pool.number(row) for row in rows)
        runs.append(files.problem if files.problem and not own else encode_integers(own))
    listed = [
        [name, size, contents.number(digest) if digest in known else None, digest[:16]]
        for name, digest, size in pool.values()
    ]
    return Code(listed, runs, [len(each) for each in data], b"".join(data), _notes(names, texts, shown))


def _notes(names: dict[str, dict[str, None]], texts: dict[str, bytes], shown: set[str]) -> list[str]:
    costly = sorted(
        name for name, digests in names.items() if name not in shown and not texts.keys().isdisjoint(digests)
    )
    if not costly:
        return []
    some = ", ".join(costly[:3]) + (f" and {len(costly) - 3:,} more" if len(costly) > 3 else "")
    return [f"The text of {some} is left out, to keep the page small."]
