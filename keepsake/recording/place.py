"""Where a run keeps what it records on this machine: an entry of the spool, or a further one if its disk refuses.

The disk of a spool can become read-only, be unmounted, or be over its quota while a run goes on. The run then begins
its entry again in the next place, as another process of the same experiment would. What waits in the first entry is
sent from there. If that is impossible, the next run or `keepsake sync` sends it when the disk is back.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from keepsake.exceptions import KeepsakeError, WriteError
from keepsake.metadata import Record
from keepsake.recording.saver import saver
from keepsake.spool.entry import Entry
from keepsake.spool.journal import FULL
from keepsake.spool.places import further_roots
from keepsake.spool.unsent import Unsent
from keepsake.util.console import warn
from keepsake.util.errors import of_handler
from keepsake.util.fork import in_forked_child

if TYPE_CHECKING:
    from keepsake.workplace import Workplace

T = TypeVar("T")

_lock = threading.RLock()  # only one thread of several that fail at once begins a further entry


class Place:
    """Where a run keeps what it records.

    Args:
        entry: its first entry.
        project: the project directory.

    Attributes:
        entry: its present entry.
        beginning: the line with which its journal begins in each further place; empty if it needs none.
    """

    def __init__(self, entry: Entry, project: Path) -> None:
        self.entry = entry
        self.beginning: dict[str, object] = {}
        self._project = project

    def open(self) -> None:
        """Write the entry, in the next place if the disk of the first one refuses that."""
        entry, first = self.entry, self.entry.directory.parent
        try:
            entry.open()
        except WriteError:
            for root in further_roots(self._project, first):
                entry.directory = root / entry.id
                with suppress(WriteError):
                    entry.open()
                    return
            entry.directory = first / entry.id
            raise

    def keep(self, save: Callable[[Entry], T], *, unless: Callable[[WriteError], bool] = lambda error: False) -> T:
        """Call `save` with the entry. If the disk refuses that, call it with a further entry, and go on in that one.

        `unless`: whether no other place would help. Raises the first error if none does.
        """
        entry = self.entry
        try:
            return save(entry)
        except WriteError as error:
            if of_handler(error) is not None or unless(error):
                raise
            with _lock:
                roots = further_roots(self._project, entry.directory.parent) if self.entry is entry else ()
                for root in roots:
                    further = Entry.load(root / entry.id) or entry.again_in(root)
                    try:
                        further.begin()
                        result = save(further)
                    except WriteError as another:
                        _close(further)
                        if of_handler(another) is not None:
                            raise
                        continue
                    self._go_on_in(further, error)
                    return result
            if self.entry is entry:
                raise
        return self.keep(save, unless=unless)  # another thread has begun a further entry

    def _go_on_in(self, further: Entry, error: WriteError) -> None:
        left, self.entry = self.entry, further
        further.unsent, left.unsent = left.unsent, Unsent()
        with suppress(KeepsakeError):  # an error here must not undo what was just saved in the new place
            if self.beginning:
                further.append(self.beginning)
            further.unsent.move(further.directory, left.directory)
        saver().move(left, further)
        reason = getattr(error.__cause__, "strerror", None) or str(error).rstrip(".")
        warn(
            f"The run goes on in {further.directory}, because {left.directory} cannot be written: {reason}. "
            "What waits there already is sent from there, or by `keepsake sync` when that can be read again."
        )


def is_full(error: WriteError) -> bool:
    """Whether files do not fit on a disk, or exceed a limit. They are not put on another one, which may be small."""
    return not isinstance(error.__cause__, OSError) or error.__cause__.errno in {*FULL, errno.EFBIG}


def _close(entry: Entry) -> None:
    """Remove an entry in which nothing could be saved, unless something of another process waits there."""
    with suppress(OSError, KeepsakeError):
        entry.close()


def begun_entry(workplace: Workplace, record: Record) -> Entry:
    """Return the entry of an experiment that another process has begun; `begin` writes a new one.

    That process may have begun its entry in another spool, because it could not write to this one.
    """
    root = workplace.spool
    found = {entry.directory.parent: entry for entry in workplace.entries(record["id"])}
    if found:
        return found.get(root) or next(iter(found.values())).again_in(root)
    entry = Entry.new(root, {**record, "checkpoints": None}, workplace.repository.url, None)
    entry.in_repository = True
    return entry


@in_forked_child
def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
