"""What a process has recorded and not seen in the repository, in case its spool is taken away under the run.

A disk that is unmounted takes the spool with it, and the process begins its entry again in the mount point. What it
records there is hidden as soon as the disk is mounted again. `git clean -fdx` removes the spool.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keepsake.archive import owner_id
from keepsake.metadata import Record
from keepsake.spool import journal
from keepsake.util.console import plural, warn
from keepsake.util.errors import suppress
from keepsake.util.ids import short_id


class Unsent:
    """The lines of checkpoints that this process has written, and nobody has seen in the repository."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, Any]] = {}  # by the checkpoint's ID
        self._device: int | None = None
        self._loss = ""  # a message about files, until it is certain that nobody removed the experiment itself

    def add(self, line: dict[str, Any]) -> None:
        """Keep a line if it is that of a checkpoint."""
        if "checkpoint" in line:
            self._lines[line["checkpoint"]["id"]] = line

    def forget(self, checkpoints: Iterable[Record]) -> None:
        """Forget checkpoints that were seen in the repository."""
        for checkpoint in checkpoints:
            self._lines.pop(checkpoint["id"], None)
        self._say_loss()

    def write_on(self, device: int, directory: Path) -> None:
        """Write the lines again if the entry in `directory` is on another device than before."""
        before, self._device = self._device, device
        if before not in (None, device):
            self.write_again(directory)
            self._say_loss()

    def write_again(self, directory: Path, left: Path | None = None) -> None:
        """Write the lines again, in an entry that has none of them; `left`: where the run has left its files."""
        if not self._lines:
            return
        lines = list(self._lines.values())
        with suppress(OSError):  # the next line tells
            for line in lines:
                journal.append(directory, line)
        here = _owners_in(directory) | (_owners_in(left) if left else set())
        ids = [line["checkpoint"]["id"] for line in lines if line["checkpoint"]["path"]]
        if missing := [id for id in ids if id not in here]:
            self._loss = (
                f"{left or directory} was removed, or a disk was mounted or unmounted there or above. The metrics that "
                f"waited are written again. The files of {plural(len(missing), 'checkpoint')}, such as "
                f"{short_id(missing[0])}, are gone, or stayed in the same folder of the other disk."
            )

    def move(self, directory: Path, left: Path) -> None:
        """Write the lines again in an entry with which the run goes on; `left`: the directory of the one before."""
        self._device = None
        self.write_again(directory, left)

    def _say_loss(self) -> None:
        if self._loss:
            warn(self._loss)
            self._loss = ""


def _owners_in(directory: Path) -> set[str]:
    with suppress(OSError):
        return {owner_id(path) for path in directory.iterdir()}
    return set()
