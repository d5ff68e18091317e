"""The labels that a run begins with: name, tags, notes, and its parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError, ValidationError
from keepsake.labels import apply_edits, make_edit
from keepsake.metadata import Record, valid_id
from keepsake.recording import switches
from keepsake.util.console import warn

if TYPE_CHECKING:
    from keepsake.workplace import Workplace

_WHOLE = 64  # characters of an ID


class Labels:
    """What a script says about a run: its labels, and which files it keeps."""

    def __init__(self, name: object, tags: object, notes: object, parent: object, keep: str | None) -> None:
        self.name = name
        self.tags = tags
        self.notes = notes
        self.parent = parent
        self.keep = keep


def label_fields(labels: Labels, origin: str | None, workplace: Workplace) -> Record:
    """Return the fields of a new experiment's record for its labels and policy.

    What cannot be recorded is left out with a warning, because no label is worth stopping the training (except with
    KEEPSAKE_STRICT=1).

    Args:
        labels: as the script passes them.
        origin: the ID that the directory's files came from, which is the parent unless the script passes one.
        workplace: where the parent is looked up, if only the beginning of its ID is given.
    """
    edit, problems = make_edit(name=labels.name, notes=labels.notes, add=labels.tags)
    parent = origin
    if labels.parent is not None:
        try:
            parent = _parent(labels.parent, workplace)
        except KeepsakeError as error:
            problems.append(f"The parent cannot be recorded: {error}")
    for problem in problems:
        if switches.is_strict():
            raise ValidationError(problem)
        warn(f"{problem} The run goes on without it.")
    edit.pop("edited", None)  # it is how the experiment begins
    fields = apply_edits({}, [edit])
    fields |= policy_fields(labels)
    return {**fields, "parent": parent} if valid_id(parent) else fields


def policy_fields(labels: Labels) -> Record:
    """Return the fields for which files are kept, for a new experiment and for one that goes on."""
    return {"keep": labels.keep} if labels.keep else {}


def _parent(given: object, workplace: Workplace) -> str:
    """Return the ID of a parent: an experiment, a checkpoint, or the beginning of the ID of one."""
    id = getattr(given, "id", given)
    if not isinstance(id, str):
        raise ValidationError(f"{given!r:.50} is not an experiment, a checkpoint or an ID.")
    if len(id) == _WHOLE and valid_id(id):
        return id  # it may be in another repository
    if switches.is_offline():
        raise ValidationError(f"{id!r} cannot be looked up with KEEPSAKE_OFFLINE=1. Give the whole ID.")
    from keepsake.repository.finding import find

    experiment, checkpoint = find(workplace.view, id)
    return str((checkpoint or experiment)["id"])
