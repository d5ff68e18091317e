"""What MLflow's folders and databases have in common: the meaning of its tags, statuses and artifact locations."""

from __future__ import annotations

import os
import re
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


def take_artifacts(run: ForeignRun, own: Path | None, uri: str, store: Path, allowed: Path) -> None:
    """Add the files of a run, from the first of some folders that has any.

    These are: `own`; the folder with the same last names as the address `uri` (experiment, run, "artifacts") in `store`
    or beside it in `mlartifacts`, because a move makes the address stale; and the address itself if it is below
    `allowed`, because one that a stranger wrote may lead anywhere.
    """
    parts = urlsplit(uri)
    path = re.sub("^/(?=[A-Za-z]:)", "", unquote(parts.path))  # file:///C:/mlruns
    last = path.rstrip("/").split("/")[-3:]
    places = [(base.joinpath(*last), base) for base in (store, store.parent / "mlartifacts")] if uri else []
    is_local = parts.scheme in ("", "file")
    if uri and is_local:
        places.append((allowed / path, allowed))
    run.elsewhere = [Path(place) for each in places if (place := _inside(*each)) is not None]
    for folder in [own, *run.elsewhere] if own else run.elsewhere:
        add_files(run, folder)
        if run.files:
            return
    if uri and (not is_local or _has_entries(path)):
        run.left_out["artifact folders elsewhere"] += 1
        run.warnings.append(f"The artifacts of run {run.key} are at {uri}. Copy them by hand.")


def _inside(path: Path, root: Path) -> str | None:
    """Return the real path of a folder if it is below `root`; None otherwise."""
    real, inside = os.path.realpath(path), os.path.realpath(root)
    try:
        return real if os.path.commonpath([real, inside]) == inside != real else None
    except ValueError:  # another drive
        return None


def _has_entries(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return any(entries)
    except (OSError, ValueError):
        return False
