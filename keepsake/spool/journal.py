"""Journals: the records of one process about one experiment, a line for each checkpoint or changed field.

A line is `!`, a line feed, one JSON object, a line feed. A full disk may keep only the beginning of a line. The line
then has no line feed at its end, and the `!` of the next line makes it invalid. A line counts only if it is complete,
and checkpoint() returns only after that.

Journals need no locks. File locks are unreliable on network file systems. A signal handler may interrupt, and then end,
a thread that holds a lock. A reader renames a journal first and reads it then. After each line the writer checks that
its journal still has its name, and writes the line again if not. Before a journal is removed, its size is checked once
more. So a line can arrive twice, but cannot get lost. Merging by ID removes duplicates.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Container
from pathlib import Path
from typing import Any

from keepsake.exceptions import KeepsakeError, NotRemoved, ReadError
from keepsake.labels import Edit, checked_edit
from keepsake.metadata import END_FIELDS, Record, check_changes, check_checkpoint, is_deep, may_be_deep, time_key
from keepsake.output import FIELD, merged
from keepsake.restarts import attempt_of, restarts_of
from keepsake.storage.reading import fresh_status
from keepsake.util.console import once, warn
from keepsake.util.errors import suppress
from keepsake.util.files import WINDOWS, remove
from keepsake.util.fork import in_forked_child

_GONE = {errno.ENOENT, getattr(errno, "ESTALE", errno.ENOENT)}
FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
UNNAMED = ".unnamed."  # in the names of files that are kept aside
_TO_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
_TRIES = 10  # where the file system caches names, nothing is certain, and the line may be written several times

_KINDS = ("checkpoint", "experiment", "labels")

_encode = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make an encoder for each line
_process = os.urandom(8).hex()  # names this process's journals


@in_forked_child
def _after_fork() -> None:
    global _process
    _process = os.urandom(8).hex()


class Changes:
    """The content of journals: changed fields of the experiment, checkpoints, and edits of its labels, oldest first.

    `is_partial`: whether a journal cannot be read, so that there may be more.

    A line with fields has the number of the restart after which it was written. Of several, the highest counts, and of
    one restart its end.
    """

    def __init__(
        self, fields: Record | None = None, checkpoints: list[Record] | None = None, edits: list[Edit] | None = None
    ) -> None:
        self.fields = {} if fields is None else fields
        self.checkpoints = [] if checkpoints is None else checkpoints
        self.edits = [] if edits is None else edits
        self.is_partial = False
        self._attempts: dict[str, int] = {}  # of fields that journals have changed

    def add(self, data: bytes) -> bool:
        """Add the complete lines of a journal; return whether each of them could be read."""
        is_whole = True
        for line in data.split(b"\n")[:-1]:
            if line.endswith(b"!"):  # it begins the next line, after one that is torn because the disk was full
                continue
            try:
                self._add(line)
            except (ValueError, RecursionError, ReadError):
                is_whole = False
        return is_whole

    def _add(self, line: bytes) -> None:
        """Add a line. Raises an error for one that would make the record unreadable: it may come from a stranger."""
        entry = json.loads(line)
        if not isinstance(entry, dict) or (may_be_deep(line) and is_deep(entry)):
            raise ValueError
        if entry.keys().isdisjoint(_KINDS):  # a newer version may have written it
            raise ValueError
        if "checkpoint" in entry:
            check_checkpoint(entry["checkpoint"])
            self.checkpoints.append(entry["checkpoint"])
        if "experiment" in entry:
            check_changes(entry["experiment"])
            self._change(entry["experiment"], attempt_of(entry))
        if "labels" in entry:
            self.edits.append(checked_edit(entry["labels"]))

    def _change(self, fields: Record, attempt: int) -> None:
        for name, value in fields.items():
            before = self._attempts.get(name, -1)
            # A restart begins without an end, and its end may be in a journal that is read before this one
            if attempt > before or (attempt == before and not _is_no_end(name, value)):
                self.fields[name], self._attempts[name] = value, attempt

    def fields_for(self, record: Record) -> Record:
        """Return the changed fields that count for an experiment's record.

        Another process may have gone on with the experiment before the lines of this one arrived. They then only add
        what is missing, and do not say how it ended.
        """
        known, own = restarts_of(record), restarts_of(self.fields)
        restarts = len(known)
        was_published = bool(own) and own == known[: len(own)]  # the restart may have ended since
        fields = {
            name: value
            for name, value in self.fields.items()
            if self._attempts.get(name, restarts) >= restarts or (name not in END_FIELDS and not record.get(name))
            if not (was_published and name in self._attempts and _is_no_end(name, value))
        }
        # Each process sends parts of its own.
        return fields | {FIELD: merged(self.fields, record)} if FIELD in self.fields else fields

    def sort(self) -> None:
        """Put the checkpoints in the order of their creation. Lines that were written again follow later ones."""
        # Two journals of a process can be as old as each other, because clocks of file systems tick every few ms.
        created = [checkpoint["created"] for checkpoint in self.checkpoints]
        if created != sorted(created):  # quick, and enough for most
            self.checkpoints.sort(key=lambda checkpoint: time_key(checkpoint["created"]))

    def new_to(self, ids: Container[str]) -> list[Record]:
        """Return the checkpoints that a record with checkpoints of these IDs lacks, each once."""
        return list({c["id"]: c for c in self.checkpoints if c["id"] not in ids}.values())

    def __bool__(self) -> bool:
        return bool(self.fields or self.checkpoints or self.edits or self.is_partial)


class Taken:
    """Journals that were taken to be saved, and their content."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.sizes: dict[Path, int] = {}  # journal → bytes that were read
        self.damaged: set[Path] = set()  # journals with lines that cannot be read
        self.trouble: KeepsakeError | None = None  # why a journal stays

    def drop(self) -> None:
        """Remove the journals, because their lines are in the repository. A journal that has grown since stays.

        Its writer may not see yet that it has another name, where the file system caches names. A damaged one is kept
        aside, because a person may be able to read more of it.
        """
        for journal, size in self.sizes.items():
            try:
                self._drop(journal, size)
            except FileNotFoundError:
                pass
            except OSError as error:
                self.trouble = self.trouble or _about_fixed(journal, error)

    def _drop(self, journal: Path, size: int) -> None:
        with open(journal, "rb") as file:
            if fresh_status(file.fileno()).st_size != size:
                return
            if WINDOWS:  # where nobody writes to a journal that could be renamed, and an open file keeps its name
                file.close()
            if journal in self.damaged:
                os.rename(journal, aside := journal.with_suffix(f"{UNNAMED}damaged"))
                _warn_of(aside)
                return
            if WINDOWS:
                remove(journal)
                return
            journal.unlink()
            fresh_status(file.fileno())
            file.seek(size)
            if late := file.read():
                _append(f"{journal.with_suffix('')}-late.jsonl", late)


def is_own(journal: Path) -> bool:
    """Whether this process wrote a journal, or took it."""
    return journal.name.startswith(_process)


def append(directory: Path, line: dict[str, Any]) -> None:
    """Add a line to this process's journal in `directory`. After the return, the line survives the process.

    Raises FileNotFoundError if the directory does not exist, and other OSErrors if the line cannot be written.
    """
    data = b"!\n" + _encode(line).encode() + b"\n"
    name = _process
    for left in range(_TRIES, 0, -1):
        try:
            if _append(f"{directory}{os.sep}{name}.jsonl", data):
                return
        except OSError as error:
            if error.errno in {*FULL, errno.EFBIG} and _append_to_another(directory, data):
                return
            if left == 1 or name != _process or error.errno not in {*_GONE, errno.EFBIG}:
                raise
        # The journal has another name now, or is as large as a file may be (`ulimit -f`). Where names are cached, the
        # old name still leads to it, or nowhere.
        name = f"{_process}-{os.urandom(8).hex()}"


def _append_to_another(directory: str | os.PathLike[str], data: bytes) -> bool:
    """Append to another journal of this process, because the usual one cannot grow; return whether that worked.

    One that is being published, and has grown since it was read, stays.
    """
    for name in os.listdir(directory):
        if name.startswith(_process) and name.endswith(".jsonl"):
            with suppress(OSError):
                if _append(os.path.join(directory, name), data):
                    return True
    return False


def take(journals: list[Path], *, others: bool) -> Taken:
    """Take this process's journals, and with `others` those of all processes, and read them.

    Each journal gets a unique name, so exactly the journals that were read here are dropped later. One that cannot get
    another name, as on a disk that has become read-only, is read and stays.
    """
    taken = Taken()
    for journal in journals:
        if others or is_own(journal):
            claimed = journal.with_name(f"{_process}-{os.urandom(8).hex()}.jsonl")
            try:
                os.rename(journal, claimed)
            except OSError as error:
                if WINDOWS or isinstance(error, FileNotFoundError):  # another process has taken it, or is writing it
                    continue
                taken.trouble = taken.trouble or _about_fixed(journal, error)
                claimed = journal
            try:
                data = claimed.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                taken.trouble = ReadError(_about_unread(claimed, error))
                continue
            is_whole = taken.changes.add(data)
            if claimed != journal:
                taken.sizes[claimed] = len(data)
                if not is_whole:
                    taken.damaged.add(claimed)
    taken.changes.sort()
    return taken


def read(journals: list[Path]) -> Changes:
    """Return what journals say, without taking them. Raises FileNotFoundError if one is taken meanwhile."""
    changes = Changes()
    for journal in journals:
        try:
            if not changes.add(journal.read_bytes()):
                _warn_of(journal)
        except FileNotFoundError:
            raise
        except OSError as error:
            changes.is_partial = True
            once(warn, _about_unread(journal, error))
    changes.sort()
    return changes


def _is_no_end(name: str, value: object) -> bool:
    """Whether a field takes back how the run has ended, as at the beginning of a restart."""
    return name in END_FIELDS and value is None


def _about_unread(journal: Path, error: OSError) -> str:
    # Its name changes each time that it is taken, and one message is enough.
    return (
        f"A journal in {journal.parent} cannot be read: {error.strerror}. What it records stays there, and is neither "
        "shown nor sent. Check that disk."
    )


def _about_fixed(journal: Path, error: OSError) -> NotRemoved:
    return NotRemoved(
        f"A journal in {journal.parent} cannot be removed: {error.strerror}. The repository has what it records, but "
        "it goes on waiting there. Check that disk."
    )


def _warn_of(journal: Path) -> None:
    once(warn, f"Lines of {journal} are damaged. Checkpoints that they record are missing. Everything else is used.")


def _append(journal: str, data: bytes) -> bool:
    """Append to the file at that path; False if the file was renamed meanwhile, and a reader may miss the line."""
    descriptor = os.open(journal, _TO_APPEND, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        status = fresh_status(descriptor)
        try:
            return status.st_nlink > 0 and os.path.samestat(os.stat(journal), status)
        except FileNotFoundError:
            return False
    finally:
        os.close(descriptor)
