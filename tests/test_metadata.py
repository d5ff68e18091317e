"""Records and times as they stand in the metadata JSON."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsake import metadata
from keepsake.exceptions import ReadError
from keepsake.metadata import Record

ID = "a" * 64


def record(**fields: object) -> bytes:
    return json.dumps({"id": ID, "created": "2021-02-03T04:05:06Z", **fields}).encode()


def checkpoint(number: int, loss: object, created: str = "2021-02-03T04:05:06Z", **fields: object) -> Record:
    primary = {"name": "loss", "goal": "minimize"}
    return {"id": f"{number:064x}", "created": created, "metrics": {"loss": loss}, "primary_metric": primary, **fields}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2021-02-03T04:05:06Z", datetime(2021, 2, 3, 4, 5, 6)),
        ("2021-02-03T04:05:06.5+02:00", datetime(2021, 2, 3, 2, 5, 6, 500000)),
        ("2021-02-03T04:05:06.123456789Z", datetime(2021, 2, 3, 4, 5, 6, 123457)),
        ("2021-12-31T23:59:59.9999999Z", datetime(2022, 1, 1)),
    ],
)
def test_times_with_any_fraction_and_offset_are_read(text: str, expected: datetime) -> None:
    assert metadata.parse_rfc3339(text) == expected


@pytest.mark.parametrize(
    "text", ["", "2021-02-03", "2021-02-30T00:00:00Z", "2021-13-01T00:00:00Z", "2021-02-03T04:05:06"]
)
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        metadata.parse_rfc3339(text)


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)))
def test_a_time_survives_writing_and_reading(moment: datetime) -> None:
    assert metadata.parse_rfc3339(metadata.rfc3339_datetime(moment)) == moment
    assert metadata.time_seconds(metadata.rfc3339_datetime(moment)) == pytest.approx(
        moment.replace(tzinfo=timezone.utc).timestamp()
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 999_999_999)), min_size=2))
def test_time_keys_compare_as_the_times_do_to_the_nanosecond(moments: list[tuple[int, int]]) -> None:
    def text(moment: tuple[int, int]) -> str:
        fraction = f".{moment[1]:09d}".rstrip("0")
        return f"2021-01-01T00:00:0{moment[0]}{fraction if fraction != '.' else ''}Z"

    assert sorted(moments) == sorted(moments, key=lambda moment: metadata.time_key(text(moment)))


def test_time_keys_of_offsets_compare_with_those_in_utc() -> None:
    assert metadata.time_key("2021-01-01T01:00:00.5+01:00") == metadata.time_key("2021-01-01T00:00:00.500Z")


def test_a_year_out_of_range_is_still_shown() -> None:
    assert metadata.local_datetime("0001-01-01T00:00:00Z") == datetime(1, 1, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"id": "x"}',
        b"\xff\xfe",
        record(id="../../../../etc"),
        record(created="yesterday"),
        record(created=None),
        record(params=[1]),
        record(checkpoints={}),
        record(checkpoints=[None]),
        record(checkpoints=[{"id": "short", "created": "2021-02-03T04:05:06Z"}]),
        record(checkpoints=[{"id": "../../../x", "created": "2021-02-03T04:05:06Z"}]),
        record(checkpoints=[checkpoint(1, 0.5, step="one")]),
        record(checkpoints=[checkpoint(1, 0.5) | {"primary_metric": {}}]),
    ],
)
def test_what_cannot_be_an_experiment_is_a_read_error(data: bytes) -> None:
    with pytest.raises(ReadError):
        metadata.parse_experiment(data, ID)


USUAL = {**checkpoint(1, 0.5, "2021-02-03T04:05:06.789Z"), "path": "", "step": 1}
_ODD: dict[str, list[object]] = {
    "id": ["f" * 63, "f" * 128, "F" * 64, "a/b" + "f" * 61, ["f"] * 64, None],
    "created": [
        "2021-02-03T04:05:06.5Z\n2021-02-03T04:05:06.5Z",
        "2021-02-03T04:05:06.5Z2021-02-03T04:05:06.5Z",
        *("2021-02-03T04", ":05:06.5Z", "2021-02-30T04:05:06.5Z", "2021-02-03T04:05:06Z", "٢021-02-03T04:05:06.5Z"),
        *("2021-02-03T04:05:06.50Z", "2021-02-03T04:05:06.5+01:00", "", None, 5),
    ],
    "metrics": [None, {}, [], 1],
    "primary_metric": [None, {}, {"name": "x"}, {"name": 1}, "loss"],
    "path": [None, "model.pth", 1],
    "step": [None, True, 1.5, "1", 10**30],
}


STRANGE: list[Record] = [
    *({**USUAL, name: value} for name, values in _ODD.items() for value in values),
    *({name: value for name, value in USUAL.items() if name != left_out} for left_out in USUAL),
]


@pytest.mark.parametrize("neighbours", [0, 1])
@pytest.mark.parametrize("strange", STRANGE, ids=range(len(STRANGE)))
def test_checkpoints_looked_at_together_are_judged_as_one_by_one(
    monkeypatch: pytest.MonkeyPatch, strange: Record, neighbours: int
) -> None:
    def judge() -> object:
        try:
            return metadata.parse_experiment(record(checkpoints=[*[USUAL] * neighbours, strange]), ID)
        except ReadError as error:
            return str(error)

    together = judge()
    monkeypatch.setattr(metadata, "_are_usual", lambda checkpoints: False)
    assert judge() == together


def test_usual_checkpoints_are_looked_at_together() -> None:
    assert metadata._are_usual([USUAL, {**USUAL, "metrics": None, "primary_metric": None}])


def test_an_old_version_field_is_used_where_the_new_one_is_empty() -> None:
    assert metadata.parse_experiment(record(replicate_version="0.1"), ID)["keepsake_version"] == "0.1"


@pytest.mark.parametrize("value", ["", "abc", "a/bcdefgh", "a\\bcdefgh", "abc..defg", "abc\0defg", 7, None])
def test_an_id_that_could_leave_its_folder_is_not_valid(value: object) -> None:
    assert not metadata.valid_id(value)


@pytest.mark.parametrize(
    "text", ["\0checkpoints\0", '"checkpoints": null', "\n]", "[NaN]", "\\u0000", "ü\u2028", "caf\udce9"]
)
def test_no_text_in_a_record_disturbs_where_its_checkpoints_stand(text: str) -> None:
    checkpoint = {"id": "c" * 64, "created": "2026-01-01T00:00:00Z", "metrics": {text: text}}
    record: metadata.Record = {
        "id": "e" * 64,
        "created": "2026-01-01T00:00:00Z",
        "params": {text: [text, {text: None}]},
        "command": text,
        text: text,
    }
    data = metadata.render_experiment(record, [metadata.render_checkpoint(checkpoint)] * 2)
    parsed = metadata.parse_experiment(data, record["id"])
    assert {name: parsed[name] for name in record} == record
    assert [{name: c[name] for name in checkpoint} for c in parsed["checkpoints"]] == [checkpoint] * 2


@pytest.mark.parametrize(
    "value", ["-fffffff", "--force", "-Rs3://x", "*******", "abcdef?", "[-]f****", "abc defg", "a\tbcdefg"]
)
def test_an_id_that_a_command_line_could_take_for_something_else_is_not_valid(value: str) -> None:
    assert not metadata.valid_id(value)
    with pytest.raises(ReadError):
        metadata.parse_experiment(record(id=value), value)


@pytest.mark.parametrize("value", ["abcdef0", "a-bcdef", "$x^$eee", "~abcdef", "ünicode", ID])
def test_other_ids_are_valid(value: str) -> None:
    assert metadata.valid_id(value)


def test_an_experiment_is_rendered_in_the_order_of_the_format_and_keeps_unknown_fields() -> None:
    parsed = metadata.parse_experiment(
        record(later={"x": [1]}, params={"ü": 1.0}, checkpoints=[checkpoint(1, 0.5, x=1)]), ID
    )
    texts = [metadata.render_checkpoint(c) for c in parsed["checkpoints"]]
    data = metadata.render_experiment(parsed, texts)
    assert list(json.loads(data)) == [*metadata.EXPERIMENT_FIELDS, "later"]
    assert json.loads(data)["checkpoints"] == [{**metadata.CHECKPOINT_FIELDS, **checkpoint(1, 0.5, x=1)}]
    expected = json.dumps(
        {**metadata.with_every_field(json.loads(data), metadata.EXPERIMENT_FIELDS)}, indent=1, ensure_ascii=False
    )
    assert data.decode() == expected
    assert '"ü": 1.0' in data.decode()


def test_the_best_checkpoint_is_the_latest_of_equals_and_never_a_nan_or_none() -> None:
    checkpoints = [
        checkpoint(1, 0.5),
        checkpoint(2, "[NaN]"),
        checkpoint(3, 0.5),
        checkpoint(4, None),
        checkpoint(5, 0.75),
    ]
    best = metadata.best_checkpoint(checkpoints)
    assert best is not None
    assert best["id"] == checkpoints[2]["id"]


def test_an_infinite_value_is_comparable() -> None:
    best = metadata.best_checkpoint([checkpoint(1, 0.5), checkpoint(2, "[-Infinity]")])
    assert best is not None
    assert best["metrics"]["loss"] == "[-Infinity]"


def test_without_a_primary_metric_there_is_no_best_checkpoint() -> None:
    assert metadata.best_checkpoint([checkpoint(1, 0.5) | {"primary_metric": None}]) is None


def test_the_latest_checkpoint_is_the_last_created_not_the_last_listed() -> None:
    early = checkpoint(1, 0.5, created="2021-01-01T00:00:00.25Z")
    late = checkpoint(2, 0.5, created="2021-01-01T00:00:00.3Z")
    assert metadata.latest_checkpoint([late, early]) is late


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("06.12Z", "06.123Z"),
        ("06.123Z", "06.13Z"),
        ("06.9Z", "07.1Z"),
        ("06Z", "06.5Z"),
        ("06.5+01:00", "06.4Z"),
        ("06.120Z", "06.12Z"),  # equal: the last in the list
        ("06.12Z", "06.120Z"),
    ],
)
def test_the_latest_of_times_written_differently(earlier: str, later: str) -> None:
    checkpoints = [checkpoint(n, 0.5, f"2021-02-03T04:05:{text}") for n, text in enumerate((earlier, later))]
    assert metadata.latest_checkpoint(checkpoints) is checkpoints[1]


def test_a_local_datetime_is_written_in_utc() -> None:
    moment = datetime(2021, 2, 3, 4, 5, 6)
    text = metadata.from_local_datetime(moment)
    assert metadata.local_datetime(text) == moment
    assert metadata.rfc3339_datetime(datetime(2021, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))).startswith(
        "2021-01-01T00:"
    )
