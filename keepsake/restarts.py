"""Restarts of a run, in its record, and the checkpoints that they replace."""

from __future__ import annotations

from collections.abc import Iterable

from keepsake.metadata import Record, checkpoints_of


def restarts_of(record: Record) -> list[Record]:
    """Return the restarts in an experiment's record: when, where and why a process went on with it."""
    restarts = record.get("restarts")
    return [each for each in restarts if isinstance(each, dict)] if isinstance(restarts, list) else []


def attempt_of(checkpoint: Record) -> int:
    """Return the number of the restart after which a checkpoint was recorded; 0 before the first."""
    attempt = checkpoint.get("restart")
    return attempt if type(attempt) is int and attempt > 0 else 0


def attempts(record: Record) -> int:
    """Return the number of restarts of an experiment. It is in two places, because 0.4.2 may drop either."""
    return max([len(restarts_of(record)), *map(attempt_of, checkpoints_of(record))])


def restarted_with_files(record: Record) -> list[Record]:
    """Return the checkpoints with files that were recorded after a restart."""
    return [each for each in checkpoints_of(record) if attempt_of(each) and each.get("path")]


def superseded(checkpoints: Iterable[Record]) -> set[str]:
    """Return the IDs of the checkpoints whose steps were recorded again after a later restart.

    A checkpoint with files stays until files of its step are recorded again. The order of the checkpoints does not
    matter, so everybody who merges comes to the same result.
    """
    checkpoints = list(checkpoints)
    newest: dict[tuple[int | None, bool], int] = {}  # by step, and whether it has files
    for checkpoint in checkpoints:
        if attempt := attempt_of(checkpoint):
            for has_files in {False, bool(checkpoint.get("path") or checkpoint.get("pruned"))}:
                kind = checkpoint.get("step"), has_files
                newest[kind] = max(attempt, newest.get(kind, 0))
    return {c["id"] for c in checkpoints if attempt_of(c) < newest.get(_kind(c), 0)} if newest else set()


def _kind(checkpoint: Record) -> tuple[int | None, bool]:
    return checkpoint.get("step"), bool(checkpoint.get("path"))
