"""The lines that say what a run begins to save, and what its best checkpoint is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keepsake.labels import labels_of
from keepsake.metadata import Record, best_checkpoint, primary_metric
from keepsake.recording import switches
from keepsake.restarts import superseded
from keepsake.util.console import say
from keepsake.util.ids import short_id
from keepsake.util.values import short_text

if TYPE_CHECKING:
    from keepsake.workplace import Workplace

_VALUE_WIDTH = 20


def say_copying(what: str, record: Record, workplace: Workplace) -> None:
    """Say that an experiment or a checkpoint is created, and where its files go."""
    copying = ""
    if switches.is_offline():
        copying = f", kept in {str(workplace.spool)!r} until `keepsake sync`"
    elif record["path"]:
        copying = f", copying {record['path']!r} to {workplace.place!r} in the background"
    parent = f" from {short_id(parent)}" if (parent := labels_of(record).get("parent")) else ""
    say(f"Creating {what} {short_id(record['id'])}{parent}{copying}...")


def about_best(checkpoints: list[Record]) -> str:
    """Return a sentence about the best checkpoint of a run; "" if there is none."""
    gone = superseded(checkpoints)
    checkpoints = [checkpoint for checkpoint in checkpoints if checkpoint["id"] not in gone]
    primary, best = primary_metric(checkpoints), best_checkpoint(checkpoints)
    if primary is None or best is None:
        return ""
    name = primary["name"]
    value = short_text(best["metrics"][name], _VALUE_WIDTH)
    return f" The best is {short_id(best['id'])} (step {best['step']}, {name} {value})."
