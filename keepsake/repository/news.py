"""What a record of one repository adds to the same experiment's record of another."""

from __future__ import annotations

from keepsake.labels import EDITED, missing_labels
from keepsake.metadata import END_FIELDS, Record, checkpoints_of, end_key, pruned_of
from keepsake.output import FIELD, parts_of
from keepsake.restarts import restarts_of

_RESTARTED = ("restarts", "job", "keep")  # fields that a process sets when it goes on with an experiment


def news(record: Record, theirs: Record) -> Record:
    """Return the fields that `record` adds to `theirs`: those that it lacks, later restarts, and a later end."""
    own = {name: value for name, value in record.items() if value and name not in ("checkpoints", *EDITED)}
    news = {name: value for name, value in own.items() if not theirs.get(name)}
    news |= missing_labels(record, theirs)
    news |= {FIELD: parts} if not (parts := parts_of(record)).items() <= parts_of(theirs).items() else {}
    restarts = len(restarts_of(record)) - len(restarts_of(theirs))
    if restarts > 0:
        news |= {name: own[name] for name in _RESTARTED if name in own}
    if restarts > 0 or (restarts == 0 and end_key(record) > end_key(theirs)):
        return news | {name: own.get(name) for name in END_FIELDS}
    return {name: value for name, value in news.items() if restarts == 0 or name not in END_FIELDS}


def grown(record: Record, theirs: Record) -> Record:
    """Return `theirs` with metrics and paths that only `record` has, because it was imported again since."""
    own = {checkpoint["id"]: checkpoint for checkpoint in checkpoints_of(record)}
    checkpoints = [_grown_checkpoint(own.get(each["id"], each), each) for each in checkpoints_of(theirs)]
    return {**theirs, "checkpoints": checkpoints or theirs.get("checkpoints")}


def _grown_checkpoint(checkpoint: Record, theirs: Record) -> Record:
    grown: Record = {"metrics": {**(checkpoint.get("metrics") or {}), **(theirs.get("metrics") or {})}}
    if not pruned_of(theirs):
        grown["path"] = theirs.get("path") or checkpoint.get("path")
    return {**theirs, **{name: value for name, value in grown.items() if value and value != theirs.get(name)}}
