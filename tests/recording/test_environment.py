"""The user, host, command and packages of a run, without secrets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from keepsake.recording import environment


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train.py", "--lr=0.1", "-q"], "train.py --lr=0.1 -q"),
        (["train.py", "a b", "it's"], "train.py 'a b' 'it'\"'\"'s'"),
        (["train.py", "--password", "hunter2", "--lr", "1"], "train.py --password '***' --lr 1"),
        (["train.py", "--api-key=hunter2"], "train.py '--api-key=***'"),
        (["train.py", "AWS_SECRET_ACCESS_KEY=hunter2"], "train.py 'AWS_SECRET_ACCESS_KEY=***'"),
        (["train.py", "--hf_token", "hunter2"], "train.py --hf_token '***'"),
        (["train.py", "--token", "--verbose"], "train.py --token --verbose"),
        (["train.py", "--db", "postgres://kim:hunter2@host/db"], "train.py --db 'postgres://***@host/db'"),
        (["train.py", "caf\udce9"], "train.py 'caf\\udce9'"),
        ([Path("train.py"), 1, None], "train.py 1 None"),  # a program may replace them
        (None, ""),
    ],
)
def test_what_looks_like_a_secret_is_not_recorded(
    monkeypatch: pytest.MonkeyPatch, arguments: list[object] | None, expected: str
) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    assert environment.command() == expected


@pytest.mark.parametrize(
    ("of_vs_code", "of_jupyter", "expected"),
    [
        ("work/a b.ipynb", "", "'work/a b.ipynb'"),
        (None, "work/train.ipynb", "work/train.ipynb"),
        (None, "../elsewhere/train.ipynb", "train.ipynb"),
        (None, "console-1", "launcher.py -f kernel.json"),
        (None, "", "launcher.py -f kernel.json"),
    ],
)
def test_a_notebook_goes_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, of_vs_code: str | None, of_jupyter: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["launcher.py", "-f", "kernel.json"])
    if of_vs_code:
        monkeypatch.setattr(sys.modules["__main__"], "__vsc_ipynb_file__", str(tmp_path / of_vs_code), raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / of_jupyter) if of_jupyter else "")
    assert environment.command() == "launcher.py -f kernel.json"  # a script that has inherited the variable
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert environment.command() == expected


def test_params_that_look_like_secrets_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert environment.without_secrets({"lr": 1}) == {"lr": 1}
    assert capsys.readouterr().err == ""
    assert environment.without_secrets({"lr": 1, "api_key": "x"}) == {"lr": 1, "api_key": "***"}
    assert "recorded as ***: api_key." in capsys.readouterr().err


def test_a_user_without_a_name_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("uid not found: 1000")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert environment.user_name() == ""


def test_files_that_usually_hold_secrets_are_warned_about_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "_warned", False)
    environment.warn_of_secret_files(["train.py", "environment.yml", "keys.py"])
    assert capsys.readouterr().err == ""
    environment.warn_of_secret_files(["a/.env", "b/key.pem", "train.py"])
    assert "a/.env, b/key.pem" in capsys.readouterr().err
    environment.warn_of_secret_files([".env.local"])
    assert capsys.readouterr().err == ""
