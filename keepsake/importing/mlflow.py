"""What MLflow's folders and databases have in common: the meaning of its tags, statuses and artifact locations."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from keepsake.importing.files import add_files
from keepsake.importing.runs import ForeignRun

_STATUSES = {1: "running", 2: "scheduled", 3: "finished", 4: "failed", 5: "killed"}
_REASONS = {"finished": "finished", "failed": "exception", "killed": "terminated"}
_LOGGED_MODELS = "mlflow.log-model.history"


def status_name(status: object) -> str:
    """Return the name of a status, which folders hold as a number and databases as a word."""
    return _STATUSES.get(status, "") if isinstance(status, int) else str(status or "").lower()


def end(run: ForeignRun, status: object, end_time: object) -> None:
    """Set how and when a run ended. One that never ended shows as lost."""
    reason = _REASONS.get(status_name(status))
    if isinstance(end_time, (int, float)) and end_time > 0:
        run.ended = end_time / 1000
    if reason is not None:
        run.end_reason = reason
        run.ended = run.last_time if run.ended is None else run.ended
    else:
        run.is_lost = True


def describe(run: ForeignRun, tags: dict[str, str]) -> None:
    """Read MLflow's own tags into fields of the run. The other tags become its labels."""
    run.name = run.name or tags.get("mlflow.runName", "")
    run.notes = tags.get("mlflow.note.content", "")
    run.parent = tags.get("mlflow.parentRunId", "")
    run.user = run.user or tags.get("mlflow.user", "")
    run.command = tags.get("mlflow.source.name", "")
    names = {"commit": "git.commit", "branch": "git.branch", "remote": "git.repoURL"}
    run.git = {name: tags[f"mlflow.source.{tag}"] for name, tag in names.items() if tags.get(f"mlflow.source.{tag}")}
    run.labels = {name: value for name, value in tags.items() if not name.startswith("mlflow.")}
    if _LOGGED_MODELS in tags:
        run.left_out["histories of logged models"] += 1


def take_artifacts(run: ForeignRun, own: Path | None, uri: str, root: Path) -> None:
    """Add the files of a run.

    They lie in the folder `own`, or else where `uri` says, if that is below `root`. After a move, the URI is stale, and
    one that a stranger wrote may lead anywhere.
    """
    if own is not None and os.path.isdir(own):
        add_files(run, own)
    elif uri:
        place = local_path(uri, root)
        if place is not None and place.is_dir():
            add_files(run, place)
        elif "://" in uri and not uri.startswith("file:"):
            run.left_out["artifact folders in remote storage"] += 1
            run.warnings.append(f"The artifacts of run {run.key} are at {uri}. Copy them by hand.")


def local_path(uri: str, root: Path) -> Path | None:
    """Return the local path of an artifact URI if it is below `root`; None otherwise."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    path = os.path.realpath(root / unquote(parts.path))
    inside = os.path.realpath(root)
    return Path(path) if os.path.commonpath([path, inside]) == inside else None
