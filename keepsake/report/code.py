"""The code of runs in a page: every version of every text file once, and which run has which."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from keepsake.compare.files import ComparedFile, Tree, TreeReader
from keepsake.exceptions import KeepsakeError
from keepsake.report.payload import Pool, encode_integers
from keepsake.util.console import some, warn
from keepsake.util.workers import Workers, in_order

if TYPE_CHECKING:
    from keepsake.experiment import Experiment

MAX_FILE = 200_000  # bytes of a file that the page can show
MAX_CODE = 350_000  # bytes of all code, compressed
MAX_FILES = 3000  # of a run


@dataclass
class _Files:
    """The files that a run saved at its beginning. `problem` says why there are none."""

    tree: Tree = field(default_factory=dict)
    problem: str | None = None


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
        texts: dict[str, str] = {}
        for read in in_order(workers, _reading_jobs(found)):
            texts.update(read)
    names: dict[str, dict[str, None]] = {}  # name → digests of its versions
    for files in found:
        for name, file in files.tree.items():
            names.setdefault(name, {})[file.digest] = None
    return _lay_out(found, names, texts, _affordable(names, texts))


def _list(experiment: Experiment) -> _Files:
    if not experiment.path:
        return _Files(problem="The run saved no files when it began.")
    try:
        tree = TreeReader().read(experiment.project.workplace.archives(experiment, None))
    except KeepsakeError as error:
        return _Files(problem=str(error))
    return _Files(dict(islice(tree.items(), MAX_FILES)))


def _reading_jobs(found: Sequence[_Files]) -> Iterator[Callable[[], dict[str, str]]]:
    """Yield a job for each run that is the first to have some content."""
    seen: set[str] = set()
    for files in found:
        wanted = {}
        for name, file in files.tree.items():
            if file.digest not in seen and file.size <= MAX_FILE:
                seen.add(file.digest)
                wanted[name] = file
        if wanted:
            yield partial(_read, wanted)


def _read(wanted: dict[str, ComparedFile]) -> dict[str, str]:
    """Return digest → text of files of one run. Files that are not text, or cannot be read, are missing."""
    source = next(iter(wanted.values())).source
    try:
        contents = source.contents(set(wanted))
    except KeepsakeError as error:
        warn(str(error))
        return {}
    texts = {wanted[name].digest: _text(data) for name, data in contents.items()}
    return {digest: text for digest, text in texts.items() if text is not None}


def _text(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _affordable(names: dict[str, dict[str, None]], texts: dict[str, str]) -> set[str]:
    """Return the names of files whose versions fit into the page together, starting with the smallest."""
    costs = {}
    for name, digests in names.items():
        versions = [texts[digest] for digest in digests if digest in texts]
        if versions:
            costs[name] = len(zlib.compress("".join(versions).encode(), 6))
    shown, total = set(), 0
    for name in sorted(costs, key=lambda name: (costs[name], name)):
        total += costs[name]
        if total > MAX_CODE:
            break
        shown.add(name)
    return shown


def _lay_out(
    found: Sequence[_Files], names: dict[str, dict[str, None]], texts: dict[str, str], shown: set[str]
) -> Code:
    """Put versions of the same file beside each other, because they compress well there."""
    contents: Pool = Pool()
    ordered = sorted(names)
    for name in ordered:
        for digest in names[name]:
            if name in shown and digest in texts:
                contents.number(digest)
    data = [texts[digest].encode() for digest in contents.values()]
    known = set(contents.values())
    pool = Pool()
    runs: list[list[int] | str] = []
    for files in found:
        rows = [(name, files.tree[name]) for name in sorted(files.tree)]
        own = sorted(pool.number((name, file.digest, file.size)) for name, file in rows)
        runs.append(files.problem if files.problem and not own else encode_integers(own))
    listed = [
        [name, size, contents.number(digest) if digest in known else None, digest[:16]]
        for name, digest, size in pool.values()
    ]
    return Code(listed, runs, [len(each) for each in data], b"".join(data), _notes(names, texts, shown))


def _notes(names: dict[str, dict[str, None]], texts: dict[str, str], shown: set[str]) -> list[str]:
    costly = sorted(
        name for name, digests in names.items() if name not in shown and not texts.keys().isdisjoint(digests)
    )
    if not costly:
        return []
    return [f"The text of {some(costly, 3)} is left out, to keep the page small."]
