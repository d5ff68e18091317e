"""Reading files of an archive by its table of contents, several at once. What is read is compared with the table."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import BinaryIO

from keepsake.archive import tar as _tar
from keepsake.archive.contents import ArchiveEntry, ContentHash
from keepsake.archive.gzip import Parts, inflate

_MUCH = 4 << 20  # bytes from which threads save time
_SMALL = 64 << 10  # bytes; a smaller file is unpacked faster than it is handed to a thread
_MAX_HEADER = 1 << 20  # bytes of tar headers between two files


Open = Callable[[int, int], AbstractContextManager[BinaryIO]]  # of a part of an archive: start, length


def runs_of(places: list[int]) -> list[range]:
    """Group ascending numbers into runs of consecutive ones."""
    runs: list[range] = []
    for place in places:
        if runs and runs[-1].stop == place:
            runs[-1] = range(runs[-1].start, place + 1)
        else:
            runs.append(range(place, place + 1))
    return runs


def pays(entries: list[ArchiveEntry]) -> bool:
    """Whether to unpack in several threads. Small and stored files take longer to hand over than to unpack."""
    size = sum(entry.size for entry in entries)
    return size > max(_MUCH, _SMALL * len(entries)) and sum(sum(entry.members) for entry in entries) < size


def unpacking_jobs(
    open: Open, table: list[ArchiveEntry], runs: list[range], folder: str
) -> Iterator[Callable[[], Parts]]:
    """Fetch the members of entries, one request for each run of neighbours, and yield a job for each member.

    Each request begins one member earlier, because that member holds the header of the run's first file. So the
    header of every file that is read can be compared with the table.
    """
    beginning = ArchiveEntry("", 0, 0, 0, None, 0, (table[0].offset,) if table else (), 1)
    for run in runs:
        before = table[run.start - 1] if run.start else beginning
        start = before.end - before.members[-1]
        with open(start, table[run.stop - 1].end - start) as stream:
            for place in range(run.start - 1, run.stop):
                entry = table[place] if place >= 0 else beginning
                following = table[place + 1] if place + 1 < len(table) else None
                last = len(entry.members) - 1
                for index in range(last if place < run.start else 0, last + 1):
                    data = _tar.read_exactly(stream, entry.members[index])
                    yield partial(_unpack, data, entry, index, following, folder)


def _unpack(data: bytes, entry: ArchiveEntry, index: int, following: ArchiveEntry | None, folder: str) -> Parts:
    """Return the part of a file in its member number `index`.

    The last member must continue with the header of the file `following`, or with the end of the tar if that is None.
    Raises ValueError otherwise.
    """
    is_last = index == len(entry.members) - 1
    size = entry.size - index * entry.chunk if is_last else entry.chunk
    try:
        content = inflate(memoryview(data), size + (_MAX_HEADER if is_last else 0))
        if sum(map(len, content)) < size:
            raise ValueError("a part of it is too short")
    except ValueError as error:
        raise ValueError(f"{entry.name}: {error}") from error
    if not is_last:
        return content
    whole = b"".join(content)
    _check_header(whole[size + len(_tar.padding(entry.size)) :], following, folder)
    return [whole[:size]]


def _check_header(data: bytes, entry: ArchiveEntry | None, folder: str) -> None:
    """Raise ValueError unless `data` is the tar header of a file in the table, or, for None, the end of the tar.

    Otherwise a tar reader could show other files than the table does. A header is not parsed if it is the one that the
    writer makes for a file in `folder`.
    """
    if entry and data == _tar.header(f"{folder}/{entry.name}", entry.size, entry.mode, entry.mtime_ns // 10**9):
        return
    stream = io.BytesIO(data)
    info = _tar.read_header(stream)
    if info is None or entry is None:
        agree = info is None and entry is None
    else:
        about = (info.name.partition("/")[2], info.size, info.mode & 0o777)
        agree = info.type in _tar.REGULAR and about == (entry.name, entry.size, entry.mode)
    rest = stream.read()
    if not agree or (rest.strip(b"\0") if entry is None else rest):
        name = entry.name if entry else info.name if info else ""
        raise ValueError(f"its table of contents does not match the tar at {name!r}")


def checked(entry: ArchiveEntry, content: Iterator[Parts]) -> Iterator[Parts]:
    """Pass on the content of a file. Raises ValueError at its end if it is not what was saved."""
    digest = ContentHash()
    for parts in content:
        for part in parts:
            digest.update(part)
        yield parts
    if digest.hexdigest() != entry.xxh128:
        raise ValueError(f"{entry.name} does not match its hash")
