"""Going on with an earlier experiment instead of beginning a new one: which one, and what changes in its record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keepsake.exceptions import DoesNotExist, ReadError, ValidationError
from keepsake.metadata import END_FIELDS, Record, time_key
from keepsake.recording import cluster, ending, switches
from keepsake.repository.heartbeats import RUNNING_SECONDS
from keepsake.repository.keys import EXPERIMENTS
from keepsake.util.clock import monotonic
from keepsake.util.console import say
from keepsake.util.ids import short_id
from keepsake.util.processes import is_running
from keepsake.util.values import short_text

if TYPE_CHECKING:
    from keepsake.workplace import Workplace

Resume = str | bool | None
_DONE = ("finished", "stopped")
_LOOK_SECONDS = 0.5
_WIDTH = 20  # characters of a value in a message


def is_wanted(resume: Resume, job: Record | None) -> bool:
    """Whether an earlier experiment is looked for: the script says so, or its job was started again.

    Raises ValidationError if `resume` is neither None, a bool nor an ID.
    """
    if resume is None:
        return job is not None and max(cluster.attempt(job)) > 0
    given: object = resume
    if not isinstance(given, (str, bool)) or given == "":
        raise ValidationError(f"The argument resume must be 'auto', an ID or False, not {resume!r:.50}.")
    return resume is not False


def find(workplace: Workplace, resume: Resume, new: Record, *, recording: bool = True) -> Record | None:
    """Return the record of the experiment to go on with; None to begin one.

    Args:
        resume: an ID, or else the unfinished experiment of this job is meant.
        new: the record of the experiment that would begin otherwise.
        recording: whether this process will record. If not, another process may already be going on with the
            experiment.

    Raises DoesNotExist or AmbiguousID if `resume` is no ID of an experiment.
    """
    if isinstance(resume, str) and resume != "auto":
        return _named(workplace, resume)
    job = new.get("job")
    if job is None:
        return None
    of_job = sorted(_of_job(workplace, job), key=lambda record: time_key(record["created"]), reverse=True)
    same = [record for record in of_job if record.get("command") == new["command"]]
    alike = [record for record in same or of_job if _is_alike(record, new)]
    alike.sort(key=lambda record: record.get("params") != new["params"])  # stable, so the newest comes first
    for record in alike:
        if not recording or _is_open(workplace, record, job, is_newest=record is of_job[0]):
            return record
    return None


def _named(workplace: Workplace, id: str) -> Record:
    from keepsake.repository.finding import LATEST, find_experiment

    if not switches.is_offline():
        return find_experiment(workplace.view, id)
    waiting = sorted(workplace.view.waiting(), key=lambda record: time_key(record["created"]))
    found = waiting[-1:] if id == LATEST else [record for record in waiting if record["id"].startswith(id)]
    if len(found) != 1:
        raise DoesNotExist(f"{len(found)} experiments in {workplace.spool} have an ID that begins with {id!r}.")
    return found[0]


def _of_job(workplace: Workplace, job: Record) -> Iterator[Record]:
    view = workplace.view
    if switches.is_offline():
        yield from (record for record in view.waiting() if cluster.is_same(record.get("job"), job))
        return
    # On a network disk, another machine may have begun the experiment within the last seconds
    workplace.repository.storage.refresh(EXPERIMENTS)
    for summary in [summary for summary in view.summaries() if cluster.is_same(summary.job, job)]:
        try:
            yield view.load(summary.id)
        except (DoesNotExist, ReadError):  # it was deleted meanwhile
            continue


def _is_alike(record: Record, new: Record) -> bool:
    """Whether two records of one job are of the same run: the params, or the command and the place in it, are equal."""
    if _script(record) != _script(new):
        return False
    is_placed_alike = record["job"].get("run") == new["job"].get("run") and record.get("command") == new["command"]
    return bool(record.get("params") == new["params"] or is_placed_alike)


def _script(record: Record) -> str:
    return str(record.get("command")).partition(" ")[0]


def _is_open(workplace: Workplace, record: Record, job: Record, *, is_newest: bool) -> bool:
    """Whether an experiment of this job is unfinished, and its process is gone.

    A script that asks its scheduler for a restart may end normally. So if the job was started again, its newest
    experiment is unfinished however it ended.
    """
    if record["id"] in ending.running():
        return False
    was_restarted = cluster.attempt(job) > cluster.attempt(record["job"])
    reason = record.get("end_reason")
    if reason in _DONE:
        return was_restarted and is_newest
    if was_restarted or reason:
        return True
    owners = {entry.owner for entry in workplace.entries(record["id"])}
    alive = [is_running(owner) for owner in owners]
    is_alive = True if True in alive else None if None in alive or not alive else False
    if is_alive is False or switches.is_offline():
        return is_alive is False
    return _is_lost(workplace, record, 0.0 if is_alive else RUNNING_SECONDS)


def _is_lost(workplace: Workplace, record: Record, patience: float) -> bool:
    """Whether the last heartbeat of an experiment is so old that its process must have ended.

    A container is often restarted sooner. So this waits, at most `patience` seconds, until the heartbeat is old or is
    followed by another one.
    """
    heartbeats, version = workplace.view.repository.heartbeats, record.get("keepsake_version") or ""
    last, end, is_told = heartbeats.last(record["id"]), monotonic() + patience, False
    while (status := workplace.view.status(record["id"], version)) == "running":
        if heartbeats.last(record["id"]) != last or monotonic() >= end:
            return False
        if not is_told:
            say(
                f"Experiment {short_id(record['id'])} of this job was recorded until a moment ago. Waiting at most "
                f"{patience:.0f} s to see whether its process has ended."
            )
            is_told = True
        time.sleep(_LOOK_SECONDS)
    return status == "lost"


def changed_fields(record: Record, new: Record) -> Record:
    """Return the fields of an experiment's record that change when a process goes on with it."""
    ended = {name: None for name in END_FIELDS if record.get(name) is not None}
    restart = {"time": new["created"], "host": new["host"], "reason": record.get("end_reason") or "killed"}
    if changed := changed_params(record, new):
        restart["params"] = {name: (new["params"] or {}).get(name) for name in changed}
    restarts = [*(record.get("restarts") or []), restart]
    job = {"job": new["job"]} if new.get("job") else {}
    return {**ended, **job, "restarts": restarts}


def changed_params(record: Record, new: Record) -> dict[str, str]:
    """Return the params that differ between an experiment and the script that goes on with it: name → description."""
    if new["params"] is None:
        return {}
    before, after = record.get("params") or {}, new["params"]
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: f"{name} ({_shown(before, name)} → {_shown(after, name)})" for name in names}


def _shown(params: Record, name: str) -> str:
    return short_text(params[name], _WIDTH) if name in params else "not set"


def warning(record: Record, new: Record) -> str:
    """Return the warning about changed params; "" if none has changed."""
    changed = changed_params(record, new)
    if not changed:
        return ""
    return (
        f"The params of experiment {short_id(record['id'])} differ from those of this process: "
        f"{', '.join(list(changed.values())[:5])}. The experiment keeps its own. "
        "To begin another one, pass resume=False."
    )
