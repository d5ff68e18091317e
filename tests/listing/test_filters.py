"""Filters: what they match, and the errors of those that match nothing sensible."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsake.exceptions import InvalidFilter, UnknownName
from keepsake.listing.fields import Names
from keepsake.listing.filters import Query, Sort, is_about
from tests.listing.runs import Run, found

_CREATED = datetime(2022, 3, 14, 9, 41, 7).timestamp()


def matches(text: str, **fields: Any) -> bool:
    return bool(found([text], Run(**fields)))


PARAMS = {
    "lr": 0.01,
    "layers": 3,
    "unit": 1.0,
    "opt": "adam",
    "number": "3",
    "flag": True,
    "list": [1, 2.5],
    "nothing": None,
    "nan": math.nan,
    "big": 2**60,
    "val/loss": 0.5,
    "eval.loss": 0.5,
    "a b-c_d": 1,
    "a<b": 1,
    'q"q': 1,
    "wow!": 1,
    "naïve": "日本",
}


@pytest.mark.parametrize(
    "text",
    [
        "lr=0.01",
        "lr = 1e-2",
        " lr  =  .01 ",
        "lr<0.02",
        "lr <= 0.01",
        "lr>0",
        "lr >= +.01",
        "lr != 0.02",
        "layers = 3.0",
        "layers >= 2.5",
        "unit = 1",
        "unit <= 1",
        f"big = {2**60}",
        f"big != {2**60 + 1}",
        "opt = adam",
        'opt = "adam"',
        "opt < b",
        'number = "3"',
        "flag = true",
        "flag = TRUE",
        "flag > false",
        "list = [1, 2.5]",
        "list = [1.0,2.5]",
        "list != [1]",
        "nothing = null",
        "nothing = None",
        "missing = null",
        "missing != 3",
        "nothing != 3",
        "lr != null",
        "lr < null",
        "nan = NaN",
        "nan != 3",
        "lr != nan",
        "lr < inf",
        "val/loss<0.6",
        "eval.loss = 0.5",
        "a b-c_d = 1",
        '"a<b" = 1',
        '"q\\"q" = 1',
        '"lr" = 0.01',
        "wow! = 1",
        "wow!!=2",
        "naïve = 日本",
    ],
)
def test_filters_that_match(text: str) -> None:
    assert matches(text, params=PARAMS)


@pytest.mark.parametrize(
    "text",
    [
        "lr = 0.02",
        "lr < 0.01",
        "lr > 0.01",
        "lr = null",
        "opt = sgd",
        "opt > b",
        f"big = {2**60 + 1}",
        "list = [1]",
        "missing = 3",
        "missing < 3",
        "missing >= 3",
        "missing != null",
        "missing < null",
        "nothing < 3",
        "nan = 3",
        "nan < 3",
        "nan >= 3",
        "nan != NaN",
    ],
)
def test_filters_that_do_not_match(text: str) -> None:
    assert not matches(text, params=PARAMS)


@pytest.mark.parametrize(
    "text", ["number = 3", "number < 5", "opt > 3", "flag = 1", "lr = adam", 'lr = "0.01"', "list = 1"]
)
def test_another_type_matches_nothing_but_unequal_and_warns_once(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Query([text]).select(Run(PARAMS) for _ in range(3))) == []
    assert capsys.readouterr().err.count(text) == 1
    name, _, value = text.partition(" ")
    assert matches(f"{name} != {value.split()[-1]}", params=PARAMS)


def test_one_odd_experiment_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [Run({"lr": value}) for value in (0.1, "auto", 0.2)]
    assert list(Query(["lr < 0.5"]).select(runs)) == [runs[0], runs[2]]
    assert "lr is a string in some experiments" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lr",
        "lr=",
        "=3",
        " = 3",
        "lr 3",
        "lr => 3",
        "lr =< 3",
        "lr <> 3",
        "!=3",
        "<",
        "lr <=> 3",
        "lr<= =3",
    ],
)
def test_an_invalid_filter_shows_the_grammar(text: str) -> None:
    with pytest.raises(InvalidFilter, match='"<name> <operator> <value>"') as caught:
        Query([text])
    assert f'"{text}"' in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("status = finished", '"stopped", "failed" or "lost"'),
        ("status < running", '"="'),
        ("status = [1]", '"running"'),
        ("step = abc", '"step" cannot be compared with "abc"'),
        ("list < [1]", "no order"),
        ("created > whenever", '"whenever" is not a date'),
        ("created > 2022-13-01", "is not a date"),
        ("created > 2022-03-14 25:00", "is not a date"),
        ("created > 2022-03-14 09:41 XYZ", "is not a date"),
        ("created > 12345", "is not a date"),
        ("created > true", "is not a date"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message):
        Query([text])


def test_names_of_fields_come_before_metrics_and_these_before_params() -> None:
    run = {"params": {"step": 1, "loss": 1}, "best_metrics": {"loss": 2, "user": "x"}, "latest_step": 9, "user": "kim"}
    assert matches("step = 9", **run)
    assert matches("loss = 2", **run)
    assert matches("user = kim", **run)


def test_a_metric_that_is_none_hides_the_param() -> None:
    assert matches("loss = null", params={"loss": 1}, best_metrics={"loss": None})


@pytest.mark.parametrize(
    "text", ["user = 123", 'user = "123"', "host = 10.1.1.2", "command = train.py --lr=0.1 -q", "host = true"]
)
def test_texts_compare_with_the_value_as_it_stands(text: str) -> None:
    name, _, value = text.partition(" = ")
    assert matches(text, **{name: value.strip('"')})
    assert not matches(text, **{name: "other"})


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        ("status = running", {"running"}),
        ('status = "running"', {"running"}),
        ("status = stopped", {"stopped", "failed", "lost"}),
        ("status = failed", {"failed"}),
        ("status = lost", {"lost"}),
        ("status != running", {"stopped", "failed", "lost"}),
        ("status != stopped", {"running"}),
        ("status != failed", {"running", "stopped", "lost"}),
        ("status != lost", {"running", "stopped", "failed"}),
        ("status != null", {"running", "stopped", "failed", "lost"}),
    ],
)
def test_what_failed_or_was_lost_has_stopped_too(text: str, statuses: set[str]) -> None:
    known = ("running", "stopped", "failed", "lost")
    assert {status for status in known if matches(text, status=status)} == statuses


@pytest.mark.parametrize(
    "value",
    [
        "2022-03-14",
        "2022-03-14 09:41",
        "2022-03-14 9:41 AM",
        "2022-03-14T09:41:07",
        '"2022-03-14 09:41:07.5"',
        "2022-03-14T09:41:07.123456Z",
        "2022-03-14T15:11:07+05:30",
        "2022-03-14 06:41:07 -03",
        "Mon, 14 Mar 2022 09:41:07 UTC",
        "Mon Mar 14 09:41:07 2022",
        "2022/03/14",
        "03/14/2022",
        "3/14/22",
        "14.03.2022",
        "20220314",
        "14 March 2022",
        "Mar 14, 2022",
        "mar. 14th 2022",
        "14-Mar-2022",
        "2022-03",
        "March 2022",
        "2022",
        "1647250867",
        "1647250867123",
    ],
)
def test_a_time_in_any_form_equals_what_lies_in_it(value: str) -> None:
    assert matches(f"created = {value}", created=_CREATED + 0.25)
    assert not matches(f"created != {value}", created=_CREATED + 0.25)
    assert not matches(f"created = {value}", created=_CREATED + 366 * 86400)
    assert matches(f"created >= {value}", created=_CREATED + 0.25)
    assert not matches(f"created < {value}", created=_CREATED)


def test_created_compares_whole_seconds() -> None:
    assert matches("created <= 2022-03-14T09:41:07", created=_CREATED + 0.9)
    assert not matches("created > 2022-03-14T09:41:07", created=_CREATED + 0.9)
    assert matches("created > 2022-03-14T09:41:07", created=_CREATED + 1)


def test_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(time, "tzset"):
        pytest.skip("the zone cannot be changed here")
    monkeypatch.setenv("TZ", "EST5EDT")
    time.tzset()
    for value in ("2022-03-14 05:41:07", "2022-03-14 05:41:07 EDT", "2022-03-14 09:41:07 GMT"):
        assert matches(f"created = {value}", created=_CREATED)


def test_today_and_yesterday() -> None:
    now = datetime.now()
    yesterday = (now - timedelta(days=1)).timestamp()
    assert matches("created >= yesterday", created=yesterday)
    assert matches("created < today", created=yesterday)
    assert not matches("created < 00:00", created=time.time())


def test_started_is_created_and_says_that_it_is_deprecated(capsys: pytest.CaptureFixture[str]) -> None:
    assert matches("started > 2022-01-01", created=_CREATED)
    assert Sort("started-desc", Names()).field.name == "created"
    assert capsys.readouterr().err.count('Use "created" instead') == 2


@given(st.floats(allow_nan=False) | st.integers(-(2**70), 2**70), st.floats(allow_nan=False) | st.integers())
def test_operators_agree_with_python_on_numbers(value: float, wanted: float) -> None:
    found = {
        symbol: matches(f"x {symbol} {wanted}", params={"x": value}) for symbol in ("=", "!=", "<", "<=", ">", ">=")
    }
    assert found == {
        "=": value == wanted,
        "!=": value != wanted,
        "<": value < wanted,
        "<=": value <= wanted,
        ">": value > wanted,
        ">=": value >= wanted,
    }


@given(st.text())
def test_any_text_is_a_filter_or_an_invalid_filter(text: str) -> None:
    for candidate in (text, f"lr = {text}", f"created > {text}", f"{text} = 1"):
        try:
            found([candidate], Run({"lr": 0.1}))
        except (InvalidFilter, UnknownName) as error:
            assert str(error)


def test_a_filter_that_names_only_one_thing_is_recognised() -> None:
    assert is_about("not status = stopped", "status")
    assert not is_about("status = stopped or lr < 1", "status")


# Fields that 0.4.2 does not have


FACTS = {
    "name": "first",
    "tags": ["baseline", "v2"],
    "ended": _CREATED + 7200,
    "duration": 5400.0,
    "parent": "37fe1ec",
    "end_reason": "finished",
}


@pytest.mark.parametrize(
    "text",
    [
        "name = first",
        "tags = v2",
        "tags != other",
        "tags in (other, baseline)",
        "tags not in (other)",
        "tags != null",
        "notes = null",
        "id = 5ffb",
        "id in (5ffb, 37fe)",
        "id != 37fe",
        "parent = 37f",
        "ended > 2022-03-14 11:00",
        "ended < yesterday",
        "ended < 2 hours ago",
        "ended != null",
        "duration > 1 hour",
        "duration = 5400",
        "duration = 1h 30m",
        "duration = 1.5h",
        "duration < a day",
        "checkpoints = 3",
        "checkpoints > 2 and end_reason = finished",
        "fields.name = first",
    ],
)
def test_filters_on_added_fields(text: str) -> None:
    assert matches(text, facts=FACTS, num_checkpoints=3)
    assert not matches(f"not {text}", facts=FACTS, num_checkpoints=3)


@pytest.mark.parametrize("text", ["tags = x", "ended < now", "ended > 2022", "duration < 9", "parent = 3", "name = x"])
def test_what_is_not_set_matches_only_unequal_and_null(text: str) -> None:
    assert not matches(text)
    name = text.split()[0]
    assert matches(f"{name} = null")
    if " = " in text:
        assert matches(text.replace("=", "!="))


def test_a_param_of_the_name_of_an_added_field_keeps_its_meaning() -> None:
    runs = [Run(facts={"name": "resnet", "duration": 1.0}), Run({"name": "resnet", "duration": "long"})]
    assert found(["name = resnet"], *runs) == runs[1:]
    assert found(["duration = long"], *runs) == runs[1:]
    assert found(["fields.name = resnet"], *runs) == runs[:1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tags < x", "has no order"),
        ("id > 5", "has no order"),
        ("duration > soon", "is not a duration"),
        ("duration > 5 parsecs", "is not a duration"),
        ("created = 2 hours ago", "is a moment"),
        ("created > 2 hours", "is not a date"),
        ("checkpoints = many", "Give a number"),
    ],
)
def test_a_value_that_makes_no_sense_for_a_field_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message):
        found([text], Run())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2 hours ago", 7200),
        ("2h ago", 7200),
        ("an hour ago", 3600),
        ("90 min ago", 5400),
        ("1 day 2 hours ago", 93600),
        ("1.5 weeks ago", 907200),
        ("3 Months AGO", 7776000),
        ("a year ago", 31536000),
        ("30s ago", 30),
        ("now", 0),
    ],
)
def test_moments_relative_to_now(text: str, seconds: float) -> None:
    moment = time.time() - seconds
    assert matches(f"created > {text}", created=moment + 60)
    assert not matches(f"created > {text}", created=moment - 60)
    assert matches(f"created <= {text}", created=moment - 60)
