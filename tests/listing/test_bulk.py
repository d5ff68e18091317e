"""Records that are read by the thousand give the same lines, and the same verdicts, as one by one."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

import keepsake
import keepsake.listing
from keepsake.listing import bulk, index
from keepsake.metadata import CHECKPOINT_FIELDS, EXPERIMENT_FIELDS
from tests import test_metadata
from tests.test_metadata import ID, STRANGE, USUAL


def record(**fields: object) -> bytes:
    """The JSON of a record that is read quickly, but for `fields`."""
    usual = {"created": "2024-12-31T04:05:06.123450Z", "keepsake_version": "1.0.0"}
    return test_metadata.record(**{**usual, **fields})


STRANGE_FIELDS: dict[str, list[object]] = {
    "created": ["yesterday", None, 5, "2021-02-03T04:05:06+01:00", "2024-02-29T01:02:03.5Z", "2023-02-29T01:02:03.5Z"],
    "params": [None, [1], {}, {"deep": json.loads("[" * 120 + "]" * 120)}, {"half": "\ud800", "ü": 2**70}],
    "config": [{"deep": json.loads("[" * 120 + "]" * 120)}],
    "python_packages": [None, [], {"torch": {}}],
    "host": [None, 5],
    "keepsake_version": ["", None, "1.0.0", 1],
    "replicate_version": ["0.1"],
    "checkpoints": [None, {}, [], [None]],
    "id": ["x", "../../../../etc"],
    "end_reason": ["exception: ValueError", None, 5],
    "later": [{"x": 1}],
    "tags": [None, [], ["a"], ["a", 5], "a", [["a"]]],
    "notes": ["some", "", None, 5, ["some"]],
    "ended": ["2024-02-29T01:02:03.5Z", "never", 5],
}
STRANGE_VALUES = [b"NaN", b"1e400", b"0.5]", b"9" * 30, b"\xff", b"-0", rb'"\ud800"', b'"\xe2\x80\xa8"', b'"\t"', b"01"]
RECORDS = [
    record(checkpoints=[USUAL, USUAL]),
    *(record(checkpoints=[USUAL, strange]) for strange in STRANGE),
    *(record(**{name: value}) for name, values in STRANGE_FIELDS.items() for value in values),
    *(record(params={"x": 0.5}).replace(b"0.5", value) for value in STRANGE_VALUES),
    b"\xef\xbb\xbf" + record(),
]


def lines_of(data: bytes) -> list[object]:
    """What both ways make of a record: the line, with its JSON parsed and without fields that are not the format's."""
    seen: list[object] = []
    for count in (1, 1000):
        line = index.line_maker(count)(data, ID, "etag")
        best, latest, params, rest = (json.loads(text or "null") for text in line[-4:])
        kept = [
            checkpoint and {name: repr(value) for name, value in checkpoint.items() if name in CHECKPOINT_FIELDS}
            for checkpoint in (best, latest)
        ]
        seen.append((line[:-4], repr(params), repr(rest), kept))
    return seen


@pytest.mark.parametrize("data", RECORDS, ids=range(len(RECORDS)))
def test_a_record_makes_the_same_line_either_way(data: bytes) -> None:
    plain, quick = lines_of(data)
    assert quick == plain


def test_mutated_records_make_the_same_line_either_way() -> None:
    source, content = random.Random(7), record(params={"lr": 0.5}, checkpoints=[USUAL, {**USUAL, "step": 2}])
    tokens = [b"", b'"', b"\\", b"{", b"]", b",", b"-", b"e5", b".", b"\n", b"\xff", b"null", b"true", b"[[", b"'"]
    for _ in range(3000):
        place, token = source.randrange(len(content)), source.choice(tokens)
        plain, quick = lines_of(content[:place] + token + content[place + source.randrange(3) :])
        assert quick == plain


def values_of(data: bytes) -> list[str]:
    """What both ways read, as text that tells 1 from 1.0 and -0.0 from 0.0, or the reason why they cannot."""
    seen = []
    for count in (1, 1000):
        try:
            seen.append(repr(index.json_reader(count)(data)))
        except ValueError as error:
            seen.append(str(error))
    return seen


def test_json_is_read_the_same_either_way() -> None:
    assert index.json_reader(1000) is bulk.loads
    source, content = random.Random(8), record(params={"lr": 0.5, "ü": -0.0}, checkpoints=[USUAL], later=[{"x": [1]}])
    tokens = [
        *STRANGE_VALUES,
        b"",
        b'"',
        b"\\",
        b"{",
        b"]",
        b",",
        b"-",
        b"e5",
        b".",
        b"\n",
        b"\xed\xa0\x80",
        b'"id":1,',
    ]
    for data in RECORDS:
        plain, quick = values_of(data)
        assert quick == plain
    for _ in range(5000):
        place, token = source.randrange(len(content)), source.choice(tokens)
        plain, quick = values_of(content[:place] + token + content[place + source.randrange(3) :])
        assert quick == plain


@pytest.mark.parametrize("fraction", ["123456", "12345", "123450", "123456789", "5"])
def test_usual_records_are_read_quickly(fraction: str) -> None:
    usual = {name: {} if name in ("params", "config", "python_packages") else "x" for name in EXPERIMENT_FIELDS}
    created = f"2024-12-31T04:05:06.{fraction}Z"
    data = record(**{**usual, "id": ID, "created": created, "checkpoints": [{**USUAL, "created": created}]})
    assert bulk.usual_record(data, ID) == json.loads(data)


def test_what_is_recorded_is_usual(project_directory: Path) -> None:
    experiment = keepsake.init(params={"learning_rate": 0.1, "layers": [1, 2]})
    for step in range(20):
        experiment.checkpoint(step=step, metrics={"loss": 1 / (step + 1)}, primary_metric=("loss", "minimize"))
    experiment.stop()
    data = (project_directory / f"repo/metadata/experiments/{experiment.id}.json").read_bytes()
    read = bulk.usual_record(data, experiment.id)
    assert read is not None
    assert read["checkpoints"] == json.loads(data)["checkpoints"]


def test_without_msgspec_the_lines_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(keepsake.listing, "bulk", raising=False)
    monkeypatch.setitem(sys.modules, "keepsake.listing.bulk", None)
    assert index.line_maker(1000)(record(), ID, "etag") == index.line_maker(1)(record(), ID, "etag")
    assert index.json_reader(1000) is json.loads
