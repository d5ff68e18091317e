"""Turns of threads: short ones while a checkpoint is saved, and the usual ones before and after."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

import keepsake
from keepsake import beginning
from keepsake.archive import writer
from keepsake.util.turns import SHORT, in_short_turns

T = TypeVar("T")

USUAL = 0.005


@pytest.fixture(autouse=True)
def _usual_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(USUAL)
    yield
    sys.setswitchinterval(before)


@in_short_turns
def _interval() -> float:
    return sys.getswitchinterval()


def test_turns_are_short_during_the_call_only() -> None:
    assert _interval() == pytest.approx(SHORT)
    assert sys.getswitchinterval() == USUAL


def test_an_error_ends_the_short_turns() -> None:
    @in_short_turns
    def fail() -> None:
        raise ValueError("not a number")

    with pytest.raises(ValueError, match="not a number"):
        fail()
    assert sys.getswitchinterval() == USUAL


def test_a_call_within_another_ends_nothing() -> None:
    @in_short_turns
    def outer() -> tuple[float, float]:
        return _interval(), sys.getswitchinterval()

    assert outer() == pytest.approx((SHORT, SHORT))
    assert sys.getswitchinterval() == USUAL


def test_what_the_script_sets_stays() -> None:
    @in_short_turns
    def set_longer() -> None:
        sys.setswitchinterval(0.01)

    set_longer()
    assert sys.getswitchinterval() == 0.01


def test_shorter_turns_of_the_script_stay() -> None:
    sys.setswitchinterval(SHORT / 2)
    assert _interval() == pytest.approx(SHORT / 2)
    assert sys.getswitchinterval() == pytest.approx(SHORT / 2)


@pytest.mark.usefixtures("project_directory")
def test_init_and_copies_of_files_wait_for_short_turns_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, a thread that computes makes a checkpoint of 1 GB wait for seconds."""
    seen: list[float] = []

    def watched(function: Callable[..., T]) -> Callable[..., T]:
        def call(*args: Any, **named: Any) -> T:
            seen.append(sys.getswitchinterval())
            return function(*args, **named)

        return call

    for owner, name in ((beginning, "experiment_record"), (writer, "freeze")):
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))
    with keepsake.init() as experiment:
        experiment.checkpoint(path="keepsake.yaml", metrics={"loss": 0.5})
    assert seen == pytest.approx([SHORT, SHORT])
    assert sys.getswitchinterval() == USUAL
