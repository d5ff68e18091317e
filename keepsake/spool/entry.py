"""An entry of the spool: the parts of one experiment that are not in the repository yet.

    SPOOL/<experiment id>/record.json          the experiment as it began, and the repository it goes to
                          record.closing       the same while a process checks that nothing waits
                          <process>.jsonl      the journal of one process (journal.py)
                          <id>.pack            frozen files of a checkpoint, or of the experiment itself
                          <id>.tar.gz          the same files as the archive that goes into the repository
                          .room                nothing: space for the lines of a journal when the disk is full
                          <part>.live, .log    what the run prints: being written, and finished (util/transcript.py)
                          <id>.unnamed.…       frozen files of a checkpoint() that may not have returned
                          <…>.unnamed.damaged  a journal with lines that cannot be read

`checkpoint()` writes its frozen files, then its line, and then returns, so kill -9 loses no checkpoint that returned.
A journal is removed when its lines are in the repository, frozen files when their archive is, and the directory when it
is empty. Nothing is removed because of its age, or because a process seems to have ended. Any process may do this at
any time. A process that still records notices it, and begins the entry again.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from keepsake.exceptions import WriteError
from keepsake.metadata import Record
from keepsake.spool import journal
from keepsake.spool.folder import Folder
from keepsake.spool.leftovers import make_spool, prune, remove_unfinished
from keepsake.spool.unsent import Unsent
from keepsake.storage.reading import read_whole
from keepsake.util.errors import is_the_scripts, suppress
from keepsake.util.files import remove, replace_with
from keepsake.util.processes import has_ended, process_name

FRESH_SECONDS = 30.0  # the process that records touches the entry every few seconds
RECORDS = ("record.json", "record.closing")
_ROOM, _ROOM_BYTES = ".room", 16 << 10
_TRIES = 10
_FULL_TRIES, _FULL_SECONDS = 3, 0.01  # while the disk is full
_STALE_SECONDS = 0.5  # network file systems look again within some times this


class Entry(Folder):
    """The parts of one experiment that are in the spool.

    Attributes:
        repository: the URL that the experiment goes to.
        identity: the identity of the repository in which it began; None while that is unknown.
        is_first: whether repositories.json may not say yet that this repository is used.
        is_noted: whether it does, as far as this process knows.
        record: the experiment at its start.
        in_repository: whether the repository has the experiment's record.
        owner: the process that records, or that recorded last.
        abandoned: archive IDs of checkpoint() calls that were interrupted in this process.
        gone: whether somebody removed the experiment meanwhile.
        arrived: the IDs of checkpoints whose archives this process has seen in the repository.
        deleted: the IDs of replaced checkpoints whose archives this process has deleted.
        trouble: why old files could not be deleted, as far as the user was told.
        unsent: the checkpoints that this process has recorded and not seen in the repository.
    """

    def __init__(self, directory: Path, content: dict[str, Any]) -> None:
        super().__init__(directory)
        self.repository: str = content["repository"]
        self.identity: str | None = content.get("identity")
        self.is_first: bool = content.get("is_first", False)
        self.is_noted = False
        self.record: Record = content["experiment"]
        self.in_repository: bool = content["in_repository"]
        self.owner: str = content.get("owner", "")
        self.abandoned: set[str] = set()
        self.gone = False
        self.arrived: set[str] = set()
        self.deleted: set[str] = set()
        self.trouble = ""
        self.unsent = Unsent()

    @classmethod
    def new(cls, root: Path, record: Record, repository: str, identity: str | None) -> Entry:
        """Return the entry of `record`, an experiment of the repository at the URL `repository`; `open` writes it."""
        content = {
            "repository": repository,
            "identity": identity or None,
            "in_repository": False,
            "experiment": record,
        }
        return cls(root / record["id"], content)

    def again_in(self, root: Path) -> Entry:
        """Return an entry of the same experiment in another spool; `begin` writes it."""
        entry = Entry.new(root, self.record, self.repository, self.identity)
        entry.in_repository, entry.is_noted = self.in_repository, self.is_noted
        return entry

    @classmethod
    def create(
        cls, root: Path, record: Record, repository: str, *, in_repository: bool, identity: str | None = None
    ) -> Entry:
        """Write an entry as `new` returns it, perhaps for an experiment that the repository has. Raises WriteError."""
        entry = cls.new(root, record, repository, identity)
        entry.in_repository = in_repository
        entry.open()
        return entry

    def open(self) -> None:
        """Write the entry as this process's. Raises WriteError, and leaves nothing behind then. `sync` must follow."""
        self.owner = process_name()
        try:
            self.write_record(durable=False)
        except WriteError:
            prune(self.directory)
            raise

    @classmethod
    def load(cls, directory: Path) -> Entry | None:
        """Return the entry in `directory`; None if there is none, or none that is whole."""
        for name in RECORDS:
            with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                content = json.loads(read_whole(f"{directory}{os.sep}{name}")[0])  # not of a pipe, which never ends
                if content["experiment"]["id"] == directory.name:
                    return cls(directory, content)
        return None

    # What a run records

    def write_record(self, *, durable: bool = True) -> None:
        """Write record.json in a directory that only the user can read. Without `durable`, `sync` must follow soon."""
        content = {
            "repository": self.repository,
            "identity": self.identity,
            **({"is_first": True} if self.is_first else {}),
            "in_repository": self.in_repository,
            "experiment": self.record,
            "owner": self.owner,
        }
        for left in range(_TRIES, 0, -1):
            try:
                self._make_directory()
                replace_with(self.directory / "record.json", json.dumps(content).encode(), durable=durable)
                return
            except OSError as error:
                # Another process may be closing or discarding the entry. Its directory can come and go then.
                if left == 1 or not isinstance(error, (FileNotFoundError, FileExistsError)):
                    raise self._unwritable(error) from error
                if left < _TRIES and os.path.isdir(self.directory):
                    time.sleep(_STALE_SECONDS)  # it only seems to be there, to a file system that caches names

    def _make_directory(self) -> None:
        try:
            os.mkdir(self.directory, 0o700)
        except FileNotFoundError:
            make_spool(self.directory.parent)
            self.directory.mkdir(mode=0o700, exist_ok=True)
        except FileExistsError:
            if not os.path.isdir(self.directory):
                raise

    def ensure(self) -> None:
        """Begin the entry again if it was closed because all was saved, or if it was removed."""
        try:
            status = os.stat(f"{self.directory}{os.sep}record.json")
        except OSError as error:
            if is_the_scripts(error):
                raise
            self._begin_again()
        else:
            self.unsent.write_on(status.st_dev, self.directory)

    def _begin_again(self) -> None:
        self.write_record()
        self.keep_room()
        self.unsent.write_again(self.directory)

    def append(self, line: dict[str, Any]) -> None:
        """Add a line to this process's journal. After the return, the line survives the process. Raises WriteError."""
        for left in range(_TRIES, 0, -1):
            try:
                journal.append(self.directory, line)
                self.unsent.add(line)
                self.ensure()  # a process that closes an entry removes its record first, and then checks for new files
                return
            except FileNotFoundError as error:
                if left == 1:
                    raise self._unwritable(error) from error
                self._begin_again()
            except OSError as error:
                if error.errno not in journal.FULL or not (self._use_room() or left > _TRIES - _FULL_TRIES):
                    raise self._unwritable(error) from error
                time.sleep(_FULL_SECONDS)  # another thread may be giving space back just now

    def keep_room(self) -> None:
        """Keep some space for the lines of a journal, because the disk may get full. Metrics need next to nothing."""
        room, is_kept = self.directory / _ROOM, False
        with suppress(OSError):  # it is there, or no file can be made
            descriptor = os.open(room, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with suppress(OSError):  # the disk is full already
                is_kept = os.write(descriptor, b" " * _ROOM_BYTES) == _ROOM_BYTES
            os.close(descriptor)
            if not is_kept or not is_entry(self.directory):  # the entry was closed just now
                remove(room)
                prune(self.directory)

    def _use_room(self) -> bool:
        """Give the space that was kept back to the disk; return whether there was some."""
        with suppress(OSError):
            os.unlink(self.directory / _ROOM)
            return True
        return False

    def begin(self) -> None:
        """Mark this experiment as recorded by this process, even if another process began it."""
        if self.owner != process_name():
            self.owner = process_name()
            self.write_record(durable=False)
        self.keep_room()

    def touch(self) -> None:
        """Mark this experiment as being recorded."""
        with suppress(OSError):  # the entry was closed, or the disk has trouble; the mark only saves work
            os.utime(self.directory / "record.json")

    def rest(self) -> None:
        """Mark this experiment as no longer recorded by this process."""
        with suppress(OSError):
            os.utime(self.directory / "record.json", (0, 0))

    def is_fresh(self) -> bool:
        """Whether a process seems to be recording this experiment. The answer only saves work."""
        with suppress(OSError):
            age = time.time() - (self.directory / "record.json").stat().st_mtime
            return abs(age) < FRESH_SECONDS and not has_ended(self.owner)
        return False

    def size(self) -> int:
        """Return the number of bytes in frozen files that wait, and in what was printed."""
        return sum(file.size for file in self.files_to_send(live=not self.is_fresh()))

    def has_files(self) -> bool:
        """Whether frozen files wait, or what was printed, even if a power cut has left nothing in them."""
        return bool(self.files_to_send(live=not self.is_fresh()))

    # The end

    def close(self) -> bool:
        """Remove the entry if nothing waits in it; return whether nothing waits."""
        record, closing = (self.directory / name for name in RECORDS)
        if self.is_waiting():
            return False
        with suppress(OSError):
            os.replace(record, closing)
        if self.is_waiting():  # it came just now
            self.write_record()
            return False
        remove(self.directory / _ROOM)
        remove(closing)  # last, so the entry is still one if the process ends here
        remove_unfinished(self.directory)
        prune(self.directory)
        return True

    def discard(self) -> None:
        """Remove the entry with all its files, the record last, and the spool if this was the last entry.

        Raises WriteError.
        """
        self.unsent = Unsent()
        record = self.directory / "record.json"
        try:
            with suppress(FileNotFoundError):
                for name in os.listdir(self.directory):
                    if name != record.name:
                        remove(self.directory / name)
            remove(record)
        except OSError as error:
            if is_the_scripts(error):
                raise
            raise self._unwritable(error) from error
        prune(self.directory)

    def has_begun(self) -> bool:
        """Whether init() had frozen the files of the experiment before its process ended, as far as is known here.

        Until then nobody was told that anything is saved, and a record would name files that are nowhere.
        """
        return self.in_repository or not self.record.get("path") or self.is_waiting()

    def _unwritable(self, error: OSError) -> WriteError:
        return WriteError(
            f"Cannot write to {self.directory}: {error.strerror or error}. Make it writable, or set KEEPSAKE_SPOOL to "
            "a directory that is."
        )


def is_entry(directory: Path) -> bool:
    """Whether a directory holds the record of an entry."""
    return any(os.path.exists(directory / name) for name in RECORDS)
