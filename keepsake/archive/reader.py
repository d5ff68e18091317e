"""Archives: the files of an experiment or checkpoint in an ordinary .tar.gz. Each file can be read by itself.

    member 0            the tar header of the first file
    for each file:      its content, `chunk` bytes a member; the last member also holds the tar padding and the next
                        header (after the last file: the end of the tar)
    table of contents   JSON, compressed, in the extra fields of empty members
    footer              an empty member of fixed size; its extra field gives the position of the table

To any tar reader the gzip members are one tar, and the table is invisible. Chunks are compressed and decompressed in
parallel. Archives without a table, such as those of Keepsake 0.4.2, are read as a stream.
"""

from __future__ import annotations

import io
import os
import posixpath
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from keepsake.archive import ARCHIVE, owner_id
from keepsake.archive import contents as _toc
from keepsake.archive import tar as _tar
from keepsake.archive.contents import ArchiveEntry
from keepsake.archive.extraction import Extraction
from keepsake.archive.gzip import Parts, as_stream, inflate_all
from keepsake.archive.pack import FrozenFiles
from keepsake.exceptions import CorruptedArchive, DoesNotExist, WriteError
from keepsake.storage.base import Storage
from keepsake.storage.disk import DiskStorage
from keepsake.util.workers import Workers, in_order

__all__ = ["Archive", "ArchiveEntry"]

_BLOCK = 256 << 10  # bytes
_ZEROS_SHRINK = 100  # zeros shrink at least by this factor
_TAIL = 64 << 10  # bytes, enough for the table of about two thousand files
SHORT_TAIL = 8 << 10  # bytes, enough for the table of two hundred files

Wanted = Callable[[str], bool]
Contents = Iterator[tuple[ArchiveEntry, Iterator[Parts]]]


class Archive:
    """An archive in a repository, or the pack from which it will be made.

    Args:
        storage: the storage that holds it.
        key: its key there.
        pack: frozen files, read instead as long as they exist; they may be the archive already.
        tail: bytes of the first read. A longer table of contents takes another one.
        without: a file or directory that is left out by all that reads files, but not by `verify`.

    Reading returns exactly what was saved. Every method raises CorruptedArchive for an archive that is damaged, cut
    off or hostile, and DoesNotExist if there is none.
    """

    def __init__(
        self, storage: Storage, key: str, pack: Path | None = None, tail: int = _TAIL, without: str | None = None
    ) -> None:
        self.name = f"{storage.url}/{key}"
        self._folder = owner_id(Path(key))  # in the tar, all files are in it
        self._storage = storage
        self._key = key
        self._pack = pack
        self._tail = tail
        self._without = without
        self._spool: Storage | None = None  # holds the pack, if the pack is the archive
        self._table: list[ArchiveEntry] | None = None
        self._has_looked = False
        self._is_misplaced = False  # whether the table of contents is in the wrong position, and so is ignored

    @property
    def has_table(self) -> bool:
        """Whether it has a table of contents. If so, hashes are known and each file can be read by itself."""
        if (frozen := self._open_pack()) is not None:
            frozen.close()
            return False
        return self._find_table() is not None

    def entries(self) -> list[ArchiveEntry]:
        """List the files. Without a table of contents, this reads the whole archive."""
        with self._naming_errors():
            if (frozen := self._open_pack()) is not None:
                with frozen:
                    found = [entry for entry, _ in _frozen_contents(frozen)]
            elif (table := self._find_table()) is not None:
                found = list(table)
            else:
                found = [entry for entry, _ in self._stream()]
            shown = self._limited(None)
            return found if shown is None else [entry for entry in found if shown(entry.name)]

    def open(self, name: str) -> BinaryIO:
        """Return a file as it was saved, in an unlinked temporary file. It can seek and has a descriptor. Close it."""
        import tempfile  # only here, because init() loads this module

        name = posixpath.normpath(name)
        with ExitStack() as on_failure, self._naming_errors(), _explaining_temporary_files(name):
            found = None
            for _, content in self._contents(name.__eq__):
                found = cast(BinaryIO, on_failure.enter_context(tempfile.TemporaryFile(prefix="keepsake-")))
                for parts in content:
                    found.writelines(parts)
            if found is None:
                raise DoesNotExist(f"There is no file {name!r} in {self.name}. Check the name.")
            found.seek(0)
            on_failure.pop_all()
            return found

    def read(self, wanted: Wanted | None = None) -> Contents:
        """Yield the files, or those whose names are `wanted`, each with its content. Read it before the next one."""
        with self._naming_errors():
            for entry, content in self._contents(wanted):
                yield entry, self._named(content)

    def _named(self, content: Iterator[Parts]) -> Iterator[Parts]:
        with self._naming_errors():
            yield from content

    def extract(
        self, directory: Path, wanted: Wanted | None = None, progress: Callable[[int], object] | None = None
    ) -> list[ArchiveEntry]:
        """Write the files, or those whose names are `wanted`, into a directory that has none of them; return them.

        `progress` is called with numbers of bytes. After an error, do not trust the files written so far.
        Raises WriteError if the disk is full, or if an existing file is in the way.
        """
        extraction = Extraction(directory)
        entries = []
        with self._naming_errors():
            for entry, content in self._contents(wanted):
                extraction.write(entry, content, progress, is_dense=_is_dense(entry))
                entries.append(entry)
        return entries

    def verify(self, progress: Callable[[int], object] | None = None) -> None:
        """Read the whole archive, as any tar reader does, and compare it with the table and every checksum.

        `progress` is called with numbers of bytes.
        """
        with self._naming_errors():
            table = self._find_table()
            if self._is_misplaced:
                raise ValueError("its table of contents is not where its footer says")
            _toc.compare(table, self._stream(), progress)

    def _contents(self, wanted: Wanted | None) -> Contents:
        """Yield the wanted files with their content, a few parts at a time. Read each content before continuing."""
        wanted = self._limited(wanted)
        if (frozen := self._open_pack()) is not None:
            with frozen:
                yield from _only(wanted, _frozen_contents(frozen))
        elif (table := self._find_table()) is not None:
            from keepsake.archive.unpacking import checked, pays, runs_of, unpacking_jobs  # init() reads no archive

            runs = runs_of([place for place, entry in enumerate(table) if wanted is None or wanted(entry.name)])
            with Workers() if pays([table[place] for run in runs for place in run]) else nullcontext() as workers:
                unpacked = in_order(workers, unpacking_jobs(self._open, table, runs, self._folder))
                for run in runs:
                    next(unpacked)  # the header of the first file
                    for entry in table[run.start : run.stop]:
                        yield entry, checked(entry, islice(unpacked, len(entry.members)))
        else:
            yield from _only(wanted, self._stream())

    def _limited(self, wanted: Wanted | None) -> Wanted | None:
        """Return what tells the wanted files without those that are left out; None if that is all of them."""
        without = self._without
        if without is None:
            return wanted
        inside = f"{without}/"
        return lambda name: name != without and not name.startswith(inside) and (wanted is None or wanted(name))

    def _stream(self, whole: bytes | None = None) -> Contents:
        """Yield the files as any tar reader shows them. Content that the caller does not read is skipped.

        `whole`: the archive, if it was read already.
        """
        seen, room = set(), _tar.Room()
        opened = self._open() if whole is None else nullcontext(cast(BinaryIO, io.BytesIO(whole)))
        with opened as source, as_stream(inflate_all(room.watched(source))) as stream:
            while (info := _tar.read_header(stream)) is not None:
                if info.isdir():
                    continue
                name = info.name.partition("/")[2]
                _toc.check_name(name)
                if info.type not in _tar.REGULAR or name in seen:
                    what = "appears twice" if name in seen else "is a link or a device"
                    raise ValueError(f"{name} {what}")
                seen.add(name)
                room.take(name)
                content = _tar.read_content(stream, info.size)
                about = (name, info.size, info.mode & 0o777, int(info.mtime * 10**9))
                yield ArchiveEntry(*about), ([part] for part in content)
                deque(content, maxlen=0)
            while rest := stream.read(_BLOCK):  # to the end, because the checksum is there
                if rest.strip(b"\0"):
                    raise ValueError("data follows the end of the tar")

    def _open_pack(self) -> FrozenFiles | None:
        if self._pack is not None and self._spool is None:
            with suppress(FileNotFoundError):
                if not is_archive(self._pack):
                    return FrozenFiles(self._pack)
                self._spool = DiskStorage(self._pack.parent)
                return None
            self._pack = None  # the archive is in the repository now
        return None

    def _open(self, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        """Open the archive. It may move from the spool to the repository at any time, with the same bytes."""
        if self._pack is not None and self._spool is not None:
            with suppress(DoesNotExist):
                return self._spool.open(self._pack.name, start=start, length=length)
            self._pack = None
        return self._storage.open(self._key, start=start, length=length)

    def _find_table(self) -> list[ArchiveEntry] | None:
        if not self._has_looked:
            with self._naming_errors():
                self._table = self._read_table()
            self._has_looked = True
        return self._table

    def _read_table(self) -> list[ArchiveEntry] | None:
        with self._open(start=-self._tail) as stream:
            tail = stream.read()
        footer = _toc.decode_footer(tail)
        if footer is None:
            return None
        start = len(tail) - _toc.FOOTER_SIZE - footer.length
        if len(tail) < self._tail and start != footer.offset:
            self._is_misplaced = True  # the tail is the whole archive, and the writer puts no table there
            return None  # only the tar counts
        if start >= 0 and (entries := _toc.decode(tail[start : -_toc.FOOTER_SIZE], footer)) is not None:
            if len(tail) < self._tail:  # all of it is here, so a forged table is found out at once
                try:
                    _toc.compare(entries, self._stream(tail))
                except _toc.ForgedError:
                    raise
                except ValueError:
                    pass  # the archive is damaged, and its intact files can still be read
            return entries
        with self._open(start=footer.offset, length=footer.length) as stream:  # proves the size of the archive
            members = _tar.read_exactly(stream, footer.length)
        if (entries := _toc.decode(members, footer, footer.offset + footer.length)) is None:
            raise ValueError("its table of contents is too long for its archive")
        return entries

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise CorruptedArchive(f"{self.name} is damaged: {error}.") from error


def _is_dense(entry: ArchiveEntry) -> bool:
    """Whether no part of a file shrinks enough to be a hole."""
    return bool(entry.members) and all(_ZEROS_SHRINK * size > entry.chunk for size in entry.members[:-1])


def is_archive(pack: Path) -> bool:
    """Whether a frozen file is an archive already. Raises FileNotFoundError if it is gone.

    Early builds of version 1.0.0 gave both kinds the same suffix, so the end of a pack is checked.
    """
    if pack.name.endswith(ARCHIVE):
        pack.lstat()
        return True
    with open(pack, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _toc.FOOTER_SIZE))
        return _toc.decode_footer(file.read()) is not None


def _frozen_contents(frozen: FrozenFiles) -> Contents:
    for entry in frozen.entries:
        about = (entry.name, entry.size, entry.mode, entry.mtime_ns)
        yield ArchiveEntry(*about), ([part] for part in frozen.parts(entry))


def _only(wanted: Wanted | None, contents: Contents) -> Contents:
    return ((entry, content) for entry, content in contents if wanted is None or wanted(entry.name))


@contextmanager
def _explaining_temporary_files(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        import tempfile

        where = tempfile.gettempdir()
        hint = "Set TMPDIR to a directory with more room."
        raise WriteError(f"Cannot unpack {name!r} into {where}: {error.strerror or error}. {hint}") from error
