"""What a copy makes of files that were pruned in the source: nobody has removed them from the target.

A checkpoint whose files were pruned elsewhere is marked so in the target. Its files stay if they are there, and may
still arrive, from a third repository or from the spool of the run. The record then names them again. If the files are
removed from the target too, the mark goes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from keepsake.metadata import Record, checkpoints_of, pruned_of, time_text, was_pruned_elsewhere
from keepsake.restarts import attempt_of

Load = Callable[[str], Record | None]


def pruned_meanwhile(record: Record, load: Load) -> Record:
    """Return a record of the source with the checkpoints whose files were pruned since it was read.

    `load` reads the source's record again.
    """
    now = _pruned(load(record["id"]))
    return {**record, "checkpoints": [now.get(each["id"], each) for each in checkpoints_of(record)]}


def as_copied(record: Record, load: Load) -> list[Record]:
    """Return the checkpoints of a record of the source as the target gets them. `load` reads the target's record.

    What is pruned here was not pruned there. If its step was recorded again, it replaces no files that the target has:
    they are all that is left of that step.
    """
    pruned = _pruned(record)
    theirs = load(record["id"]) if any(map(attempt_of, pruned.values())) else None
    steps = {each.get("step") for each in checkpoints_of(theirs or {}) if each.get("path")}
    for id, each in pruned.items():
        is_sparing = attempt_of(each) > 0 and each.get("step") in steps
        pruned[id] = {**each, "pruned": None if is_sparing else {**each["pruned"], "elsewhere": True}}
    return [pruned.get(each["id"], each) for each in checkpoints_of(record)]


def expected_in_vain(record: Record, merged: Record, *, are_replacing: bool) -> list[str]:
    """Return the checkpoints whose files the target expects, and which the source has pruned since it named them.

    While files are there that they were to replace (`are_replacing`), they remain expected, which keeps these files.
    """
    gone = {id for id, each in _pruned(record).items() if not (are_replacing and attempt_of(each))}
    return [each["id"] for each in checkpoints_of(merged) if each.get("path") and each["id"] in gone]


def without_files(checkpoint_ids: Collection[str], record: Record) -> Record:
    """Return a record of the target that says that the files of these checkpoints were pruned elsewhere."""

    def marked(checkpoint: Record) -> Record:
        if checkpoint["id"] not in checkpoint_ids or not (path := checkpoint.get("path")):
            return checkpoint
        return {**checkpoint, "path": "", "pruned": {"path": path, "time": time_text(), "elsewhere": True}}

    return {**record, "checkpoints": [marked(checkpoint) for checkpoint in checkpoints_of(record)]}


def waited_for(record: Record) -> list[str]:
    """Return the checkpoints of a record whose files were pruned elsewhere, and may still arrive."""
    return [checkpoint["id"] for checkpoint in checkpoints_of(record) if was_pruned_elsewhere(checkpoint)]


def with_files(checkpoint_ids: Collection[str], record: Record) -> Record:
    """Return a record of the target that names the files of these checkpoints again, because they have arrived."""

    def again(checkpoint: Record) -> Record:
        if checkpoint["id"] not in checkpoint_ids or not was_pruned_elsewhere(checkpoint):
            return checkpoint
        others = {name: value for name, value in checkpoint.items() if name != "pruned"}
        return {**others, "path": checkpoint["pruned"]["path"]}

    return {**record, "checkpoints": [again(checkpoint) for checkpoint in checkpoints_of(record)]}


def _pruned(record: Record | None) -> dict[str, Record]:
    """Return the checkpoints whose files were pruned, by ID."""
    return {each["id"]: each for each in checkpoints_of(record or {}) if pruned_of(each)}
