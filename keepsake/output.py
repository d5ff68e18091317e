"""The output of a run in its record: a part for each process that recorded it."""

from __future__ import annotations

import os
import re

from keepsake.metadata import Record

FIELD = "output"
_PART = re.compile(r"[0-9]{4,9}-[0-9a-f]{8}")


def output_fields(record: Record, attempt: int) -> Record:
    """Return the field of a record with one more part, whose name sorts after those of earlier restarts."""
    return {FIELD: {**parts_of(record), f"{attempt:04d}-{os.urandom(4).hex()}": counted(0, 0)}}


def attempt_of_part(part: str) -> int:
    """Return the number of the restart after which a part was printed."""
    return int(part.partition("-")[0])


def is_part(name: str) -> bool:
    """Whether a name can be that of a part."""
    return _PART.fullmatch(name) is not None


def counted(lines: int, size: int) -> Record:
    """Return what a record says about a part: its lines, counting those that were left out, and its bytes."""
    return {"lines": lines, "size": size}


def parts_of(record: Record) -> dict[str, Record]:
    """Return the parts of a run's output, in order; empty if none was kept. They may not be in the repository yet."""
    found = record.get(FIELD)
    if not isinstance(found, dict):
        return {}
    counts = {part: each if isinstance(each, dict) else {} for part, each in found.items() if is_part(part)}
    return {
        part: counted(*(number if type(number := counts[part].get(name)) is int else 0 for name in ("lines", "size")))
        for part in sorted(counts)
    }


def merged(ours: Record, theirs: Record) -> dict[str, Record]:
    """Return the parts of both records. Of a part that both have, the longer count is returned."""
    parts = parts_of(theirs)
    for part, counts in parts_of(ours).items():
        parts[part] = max(counts, parts.get(part, counts), key=lambda each: (each["lines"], each["size"]))
    return parts
