"""The line that says what a run begins to save."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keepsake.labels import labels_of
from keepsake.metadata import Record
from keepsake.recording import switches
from keepsake.util.console import say
from keepsake.util.ids import short_id

if TYPE_CHECKING:
    from keepsake.workplace import Workplace


def say_copying(what: str, record: Record, workplace: Workplace) -> None:
    """Say that an experiment or a checkpoint is created, and where its files go."""
    copying = ""
    if switches.is_offline():
        copying = f", kept in {str(workplace.spool)!r} until `keepsake sync`"
    elif record["path"]:
        copying = f", copying {record['path']!r} to {workplace.place!r} in the background"
    parent = f" from {short_id(parent)}" if (parent := labels_of(record).get("parent")) else ""
    say(f"Creating {what} {short_id(record['id'])}{parent}{copying}...")
