"""What the journals of an experiment say together depends neither on their order nor on how often they are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keepsake.metadata import Record
from keepsake.repository.known import Known
from keepsake.spool.journal import Changes

RESTART = {"time": "2026-01-01T00:00:00Z", "host": "node", "reason": "killed"}
RECORD: Record = {"id": "1" * 64, "created": "2026-01-01T00:00:00Z", "ended": "before", "end_reason": "exception"}
BEGINNING = {"experiment": {"ended": None, "end_reason": None, "restarts": [RESTART]}, "restart": 1}
END = {"experiment": {"ended": "now", "end_reason": "finished"}, "restart": 1}


def merged(record: Record, *lines: dict[str, Any]) -> Record:
    changes = Changes()
    for line in lines:
        assert changes.add(b"!\n" + json.dumps(line).encode() + b"\n")
    known = Known.of(record, "etag").merged(changes)
    return record if known is None else known.record


@pytest.mark.parametrize("lines", [(BEGINNING, END), (END, BEGINNING)])
def test_a_restart_takes_back_the_end_before_it_and_never_its_own(lines: tuple[dict[str, Any], ...]) -> None:
    """Its journals can be in two spools, if the disk of the first one refused to write. One may be read again later."""
    record = merged(RECORD, *lines)
    assert (record["ended"], record["end_reason"], record["restarts"]) == ("now", "finished", [RESTART])
    assert merged(record, BEGINNING) == record


def test_a_restart_goes_on_without_an_end() -> None:
    record = merged(RECORD, BEGINNING)
    assert (record["ended"], record["end_reason"]) == (None, None)
