"""The status of experiments: running, stopped, failed or lost."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from keepsake.exceptions import KeepsakeError

if TYPE_CHECKING:
    from keepsake.experiment import Experiment

_FAILURES = ("exception", "exit status")


def ends_heartbeats(version: str) -> bool:
    """Whether runs recorded by that version of Keepsake remove their heartbeat when they end."""
    return bool(version) and not version.startswith("0.")


def status_of(version: str, heartbeat: bool | None, end_reason: object) -> str:
    """Return "running", "stopped", "failed" or "lost".

    A run has failed if an exception or a non-zero exit status ended it. It is lost if its heartbeat stopped and nothing
    says how it ended. 0.4.2 never says that, so its runs are stopped.

    Args:
        version: the version of Keepsake that recorded the experiment.
        heartbeat: whether the heartbeat is fresh; None if there is none.
        end_reason: how its record says that it ended.
    """
    if heartbeat:
        return "running"
    if isinstance(end_reason, str) and end_reason:  # a heartbeat that could not be removed does not matter then
        return "failed" if end_reason.startswith(_FAILURES) else "stopped"
    return "lost" if heartbeat is False and ends_heartbeats(version) else "stopped"


def statuses(experiments: Iterable[Experiment]) -> dict[str, str]:
    """Return experiment ID → status, reading the heartbeats once. IDs in unreadable repositories are missing."""
    found: dict[str, str] = {}
    heartbeats: dict[int, dict[str, bool]] = {}
    for experiment in experiments:
        with suppress(KeepsakeError):
            project = experiment.project
            if id(project) not in heartbeats:
                heartbeats[id(project)] = {}  # stays if the next line fails, so it is tried once
                heartbeats[id(project)] = project.workplace.view.heartbeats()
            fresh = heartbeats[id(project)].get(experiment.id)
            found[experiment.id] = status_of(experiment.keepsake_version or "", fresh, experiment.end_reason)
    return found
