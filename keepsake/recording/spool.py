"""The spool: what is saved on this machine and not yet in the repository.

    SPOOL/<experiment id>/record.json       the experiment as it began, and the URL it goes to
                          <process>.jsonl   the journal of one process: a line per checkpoint or changed field
                          <id>.pack         the frozen files of a checkpoint, or of the experiment itself
                          <id>.tar.gz       the same, as the archive that they become

`checkpoint()` returns when its pack and then its line are written, so kill -9 loses nothing that had returned. A
journal goes when its lines are in the repository, a pack when its archive is, the directory when the run has ended.

No locks: those of files do not hold on network file systems, and those of threads may be held by what a signal handler
interrupted, which then ends the run. Whoever wants another process's journal renames it first and reads it then; the
owner looks after each line whether its journal is still where it was, and writes the line again if it is not. A line
may so arrive twice, which merging by ID forgives.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepsake.archive import SUFFIXES, find_frozen
from keepsake.exceptions import WriteError
from keepsake.metadata import Record, valid_id
from keepsake.recording.environment import host_name

ALIVE_SECONDS = 30.0  # an owner touches its record every few seconds; older than this, it is taken to be gone

_process = os.urandom(8).hex()  # names this process's journals


def _after_fork() -> None:
    global _process
    _process = os.urandom(8).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def spool_root(directory: Path) -> Path:
    """Return where the spool of a project directory is: KEEPSAKE_SPOOL, else `.keepsake/spool` in it.

    If the project directory cannot be written, the user's state directory is used.
    """
    chosen = os.environ.get("KEEPSAKE_SPOOL")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if os.access(directory, os.W_OK):
        return directory / ".keepsake" / "spool"
    if sys.platform == "win32":
        state = Path(os.environ.get("LOCALAPPDATA", "~")).expanduser()
    else:
        state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    import hashlib

    return state / "keepsake" / "spool" / hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]


@dataclass
class Changes:
    """What journals say: fields of the experiment that changed, and checkpoints, oldest first."""

    fields: Record = field(default_factory=dict)
    checkpoints: list[Record] = field(default_factory=list)

    def read(self, journal: Path) -> None:
        """Add a journal's lines; what is not whole had not returned."""
        for line in journal.read_bytes().split(b"\n"):
            try:
                entry = json.loads(line)
                if "checkpoint" in entry and valid_id(entry["checkpoint"]["id"]):
                    self.checkpoints.append(entry["checkpoint"])
                self.fields.update(entry.get("experiment", {}))
            except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
                continue

    def __bool__(self) -> bool:
        return bool(self.fields or self.checkpoints)


class Entry:
    """What the spool holds of one experiment."""

    def __init__(self, directory: Path, content: dict[str, Any]) -> None:
        self.directory = directory
        self.id = directory.name
        self.repository: str = content["repository"]
        self.record: Record = content["experiment"]
        self.in_repository: bool = content["in_repository"]
        self.owner: str = content["owner"]
        self._synced: set[tuple[int, Path, int]] = set()  # what is safe against a power cut
        self.gone = False  # deleted from the repository meanwhile

    @classmethod
    def create(cls, root: Path, record: Record, repository: str, *, in_repository: bool) -> Entry:
        """Begin the entry of `record`, an experiment of the repository at that URL."""
        content = {"repository": repository, "in_repository": in_repository, "experiment": record, "owner": _owner()}
        entry = cls(root / record["id"], content)
        try:
            entry.write_record(durable=False)
        except WriteError:
            _prune(entry.directory)
            raise
        return entry

    @classmethod
    def load(cls, directory: Path) -> Entry | None:
        """Return the entry in `directory`; None if there is none, or none that is whole."""
        try:
            content = json.loads((directory / "record.json").read_bytes())
            return cls(directory, content) if content["experiment"]["id"] == directory.name else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_record(self, *, durable: bool = True, tries: int = 10) -> None:
        """Write record.json whole, in a directory that only the user can read; not `durable`: `sync` comes soon."""
        content = {
            "repository": self.repository,
            "in_repository": self.in_repository,
            "experiment": self.record,
            "owner": self.owner,
        }
        temporary = self.directory / f".{_process}-{os.urandom(4).hex()}.tmp"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(json.dumps(content))
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, self.directory / "record.json")
        except OSError as error:
            # As it was just being closed or discarded by another process, a directory is gone, or was there before
            if tries > 1 and isinstance(error, (FileNotFoundError, FileExistsError)):
                self.write_record(durable=durable, tries=tries - 1)
            else:
                raise WriteError(f"cannot write to {self.directory}: {error.strerror or error}") from error

    def ensure(self) -> None:
        """Begin the entry again if it was closed, because all was saved, or removed."""
        if not os.path.exists(os.path.join(self.directory, "record.json")):
            self.write_record()

    def append(self, line: dict[str, Any]) -> None:
        """Add a line to this process's journal; once this returns, the line survives the process."""
        # The line feed before it ends what a full disk may have left of another
        data = b"\n" + json.dumps(line, separators=(",", ":")).encode() + b"\n"
        journal = os.path.join(self.directory, _process + ".jsonl")
        try:
            while not _append(journal, data):
                pass
            self.ensure()  # whoever closes an entry removes its record first, and then looks again
        except FileNotFoundError:
            self.ensure()
            self.append(line)
        except OSError as error:
            raise WriteError(f"cannot write to {journal}: {error.strerror or error}") from error

    def journals(self) -> list[Path]:
        """Return the journals of all processes, oldest first."""
        return [path for _, path, _ in self._files(".jsonl")]

    def packs(self) -> list[Path]:
        """Return the frozen files that wait, oldest first: packs and archives, each named by the ID it belongs to."""
        return [path for _, path, _ in self._files(SUFFIXES)]

    def size(self) -> int:
        """Return how many bytes of frozen files wait."""
        return sum(size for _, _, size in self._files(SUFFIXES))

    def frozen(self, archive_id: str) -> Path | None:
        """Return the pack or archive of the experiment or checkpoint with that ID, if it waits here."""
        return find_frozen(self.directory, archive_id)

    def pending(self) -> Changes:
        """Return what all journals say, without taking anything."""
        while True:
            changes = Changes()
            try:
                for journal in self.journals():
                    changes.read(journal)
                return changes
            except FileNotFoundError:
                continue  # somebody has just taken one: it has another name now, or its lines are in the repository

    def take(self, *, others: bool) -> tuple[Changes, list[Path]]:
        """Return what this process's journals say, and with `others` those of all processes, for `drop`.

        Each gets a name that no other ever has, so that what is dropped later is what was read here.
        """
        changes, taken = Changes(), []
        for journal in self.journals():
            if others or journal.name.startswith(_process):
                claimed = journal.with_name(f"{_process}-{os.urandom(8).hex()}.jsonl")
                with suppress(OSError):  # another recovery has it, or (on Windows) its owner is writing
                    os.rename(journal, claimed)
                    changes.read(claimed)
                    taken.append(claimed)
        return changes, taken

    @staticmethod
    def drop(taken: list[Path]) -> None:
        """Remove journals whose lines are in the repository."""
        for journal in taken:
            journal.unlink(missing_ok=True)

    def drop_old_packs(self) -> None:
        """Remove packs that have waited for longer than a checkpoint() takes to name what it froze."""
        for age, pack, _ in self._files(SUFFIXES):
            if time.time_ns() - age > ALIVE_SECONDS * 1e9:
                pack.unlink(missing_ok=True)

    def sync(self, *, packs: bool) -> None:
        """Make what this process has in its journals safe against a power cut, and `packs` that wait for a network."""
        waiting = {file for file in self._files(".jsonl") if file[1].name.startswith(_process)}
        waiting |= {*self._files("record.json"), *(self._files(SUFFIXES) if packs else [])}
        for _, path, _ in waiting - self._synced:
            with suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDWR)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        self._synced = waiting

    def touch(self) -> None:
        """Say that the owner is alive."""
        with suppress(FileNotFoundError):  # closed meanwhile
            os.utime(self.directory / "record.json")

    def is_alive(self) -> bool:
        """Whether a process seems to be at work on this entry; it only saves work to know."""
        record = self.directory / "record.json"
        try:
            age = time.time() - record.stat().st_mtime
            owner = json.loads(record.read_bytes())["owner"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False
        except OSError:
            return True  # the disk's trouble
        return age < ALIVE_SECONDS and not _is_dead(owner)

    def release(self) -> None:
        """Say that this process, if it is the owner, is done with what it leaves here."""
        if self.owner == _owner() and (self.directory / "record.json").exists():
            self.owner = ""
            with suppress(WriteError):  # a full disk: that the process is gone is seen without it
                self.write_record()
            self.close()  # others who were done before may have left that to the owner

    def close(self) -> bool:
        """Remove the entry if nothing waits in it, unless another process is at work; return whether nothing waits."""
        if self.journals() or self.packs():
            return False
        if self.owner == _owner() or not self.is_alive():
            (self.directory / "record.json").unlink(missing_ok=True)
            if self.journals() or self.packs():  # came just now
                self.write_record()
                return False
            for age, path, _ in self._files(".tmp", hidden=True):
                if time.time_ns() - age > ALIVE_SECONDS * 1e9 or self.owner == _owner():
                    path.unlink(missing_ok=True)
            _prune(self.directory)
        return True

    def discard(self) -> None:
        """Remove the entry with all it holds, its record last, and the spool if it was the last entry."""
        record = self.directory / "record.json"
        for _, path, _ in self._files("") + self._files("", hidden=True):
            if path != record:
                path.unlink(missing_ok=True)
        record.unlink(missing_ok=True)
        _prune(self.directory)

    def _files(self, suffix: str | tuple[str, ...], *, hidden: bool = False) -> list[tuple[int, Path, int]]:
        """Return (time in ns, path, bytes) of files whose name ends so, oldest first; they may vanish at any time."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name.endswith(suffix) and entry.name.startswith(".") == hidden:
                    with suppress(OSError):
                        status = entry.stat()
                        found.append((status.st_mtime_ns, Path(entry.path), status.st_size))
        return sorted(found)


def _owner() -> str:
    """Return what names this process, and the machine or container in which its number means something."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{os.getpid()} {host_name()} {space}"


def _is_dead(owner: str) -> bool:
    """Whether the process of that name has surely ended."""
    if not owner:
        return True
    number, here = owner.partition(" ")[::2]
    if here != _owner().partition(" ")[2] or sys.platform == "win32":
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False


def _append(journal: str, data: bytes) -> bool:
    """Append to the file at that path; False if it was renamed away meanwhile, and the line may not be seen."""
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            return os.path.samestat(os.stat(journal), os.fstat(descriptor))
        except FileNotFoundError:
            return False
    finally:
        os.close(descriptor)


def _prune(directory: Path) -> None:
    """Remove an entry's directory, the spool and .keepsake, as far as they are empty."""
    for path in (directory, directory.parent, directory.parent.parent):
        if path != directory and path.name not in ("spool", ".keepsake"):
            break
        try:
            path.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            break  # something just came; other entries; a repository in .keepsake


def sweep(root: Path) -> None:
    """Remove the beginnings of entries that a crash left: without a record, they hold nothing that had returned."""
    with suppress(OSError):  # removed by another, or not ours to remove: a later sweep will see
        for directory in root.iterdir():
            with suppress(OSError):
                is_old = time.time() - directory.stat().st_mtime > ALIVE_SECONDS
                if is_old and valid_id(directory.name) and not any(directory.glob("[!.]*")):
                    for path in directory.iterdir():
                        path.unlink(missing_ok=True)
                    _prune(directory)


def entries(root: Path) -> Iterator[Entry]:
    """Yield the entries of a spool."""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return
    for name in names:
        entry = Entry.load(root / name) if valid_id(name) else None
        if entry is not None:
            yield entry
