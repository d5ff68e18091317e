"""Which files of checkpoints a policy such as `best:3,last:1` keeps, and deleting the others. Metrics stay."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, NamedTuple

from keepsake.exceptions import ValidationError
from keepsake.metadata import Record, checkpoints_of, primary_metric, time_key
from keepsake.repository.keys import archive_key
from keepsake.repository.repository import Repository
from keepsake.util.values import comparable, decode

_RULE = r"\s*(best|last|latest)\s*(?::\s*(\d{1,6})\s*)?"


class Keep(NamedTuple):
    """How many checkpoints keep their files: the best by the primary metric, and the last ones."""

    best: int
    last: int

    def __str__(self) -> str:
        return ",".join(f"{name}:{count}" for name, count in zip(self._fields, self, strict=True) if count)


def parse_keep(text: object) -> Keep:
    """Return the policy that a text such as `best:3,last:1` means. Raises ValidationError."""
    counts = {"best": 0, "last": 0}
    for rule in text.split(",") if isinstance(text, str) else [""]:
        match = re.fullmatch(_RULE, rule)
        name = match[1].replace("latest", "last") if match else ""
        if match is None or counts[name]:
            raise _wrong(text)
        counts[name] = int(match[2] or 1)
    if not any(counts.values()):
        raise _wrong(text)
    return Keep(**counts)


def _wrong(text: object) -> ValidationError:
    return ValidationError(
        f"{text!r:.50} does not say which files to keep. Write for example 'best:3,last:1', 'best:3' or 'last:2'."
    )


def keep_of(record: Record) -> Keep | None:
    """Return the policy that an experiment was recorded with; None if it has none."""
    try:
        return parse_keep(record["keep"])
    except (KeyError, ValidationError):
        return None


def let_go(record: Record, keep: Keep, among: Container[str] | None = None) -> list[Record]:
    """Return the checkpoints whose files `keep` does not keep, oldest first.

    Only checkpoints with files count, and only those in `among` if that is given. If the policy keeps only the best
    ones, and no checkpoint has a value of the primary metric, all files are kept.
    """
    having = [c for c in checkpoints_of(record) if c.get("path") and (among is None or c["id"] in among)]
    having.sort(key=lambda checkpoint: time_key(checkpoint["created"]))
    ranked = _ranked(having, primary_metric(checkpoints_of(record)))
    if not keep.last and not ranked:
        return []
    kept = {c["id"] for c in [*ranked[: keep.best], *having[len(having) - min(keep.last, len(having)) :]]}
    return [checkpoint for checkpoint in having if checkpoint["id"] not in kept]


def _ranked(checkpoints: list[Record], primary: Record | None) -> list[Record]:
    """Return the checkpoints that have a value of the primary metric, best first; of equals, the latest first."""
    if primary is None:
        return []
    name, sign = primary["name"], -1 if primary.get("goal") == "maximize" else 1

    def value(checkpoint: Record) -> Any:
        return decode((checkpoint.get("metrics") or {}).get(name))

    return sorted(
        (checkpoint for checkpoint in reversed(checkpoints) if comparable(value(checkpoint))),
        key=lambda checkpoint: sign * value(checkpoint),
    )


def prune_saved(repository: Repository, record: Record, keep: Keep, waiting: Container[str], seen: set[str]) -> None:
    """Delete the files that `keep` does not keep, of an experiment that is still being saved.

    Only checkpoints whose files are in the repository count. So newer files are safe before older ones are deleted.

    Args:
        record: of the experiment, as it is in the repository.
        waiting: the IDs of checkpoints whose files still wait in the spool.
        seen: the IDs of checkpoints whose files were seen in the repository. More are added here.
    """
    safe = {c["id"] for c in checkpoints_of(record) if c.get("path") and c["id"] not in waiting}
    gone = let_go(record, keep, safe)
    while gone:
        kept = safe - {checkpoint["id"] for checkpoint in gone}
        missing = {id for id in kept - seen if not repository.has_archive(record["id"], id)}
        seen |= kept - missing
        if not missing:
            break
        safe -= missing  # another machine may still be saving them
        gone = let_go(record, keep, safe)
    if gone:
        planned = {checkpoint["id"] for checkpoint in gone}
        ids = repository.empty_paths(record["id"], lambda now: planned & {c["id"] for c in let_go(now, keep, safe)})
        repository.storage.delete(sorted(archive_key(record["id"], id) for id in ids))
