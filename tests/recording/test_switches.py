"""Environment variables: on, off and misspelt."""

from __future__ import annotations

from pathlib import Path

import pytest

import keepsake
from keepsake.recording import switches
from keepsake.spool.entry import Entry


@pytest.mark.parametrize("text", ["", "0", "false", "False", "no", "OFF ", " "])
def test_a_variable_that_means_no_is_off(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KEEPSAKE_OFFLINE", text)
    assert not switches.is_offline()


@pytest.mark.parametrize("text", ["1", "true", "yes", "on", "2"])
def test_a_variable_with_any_other_text_is_on(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KEEPSAKE_OFFLINE", text)
    assert switches.is_offline()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("OFLINE", "OFFLINE"), ("REPO", "REPOSITORY"), ("REPOSITORY_URL", "REPOSITORY"), ("NO_ANALYTICS", ""), ("X", "")],
)
def test_a_misspelt_variable_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, meant: str
) -> None:
    monkeypatch.setenv(f"KEEPSAKE_{name}", "1")
    switches.tell_misspelt()
    said = capsys.readouterr().err
    assert (f"KEEPSAKE_{name} is set, but is no variable of Keepsake. KEEPSAKE_{meant} is." in said) == bool(meant)
    assert bool(said) == bool(meant)


@pytest.mark.parametrize(("text", "seconds"), [("", 20), ("0", 0), ("1.5", 1.5), ("-1", 20), ("nan", 20), ("2 m", 20)])
def test_a_number_of_seconds_that_is_none_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, seconds: float
) -> None:
    monkeypatch.setenv("KEEPSAKE_EXIT_SECONDS", text)
    assert switches.exit_seconds() == seconds
    is_wrong = bool(text) and seconds == 20
    assert (f"KEEPSAKE_EXIT_SECONDS={text} is no number of seconds" in capsys.readouterr().err) == is_wrong


def test_an_offline_run_does_not_read_each_run_that_waits(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands may wait on a cluster without a network."""
    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    keepsake.init(quiet=True).stop()
    monkeypatch.setattr(Entry, "load", lambda directory: pytest.fail("it was read"))
    keepsake.init(quiet=True).stop()
