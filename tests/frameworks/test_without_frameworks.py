"""The callbacks where their frameworks are not installed."""

from __future__ import annotations

import importlib
import sys

import pytest

from keepsake.exceptions import MissingExtra


@pytest.mark.parametrize(
    ("module", "packages", "command"),
    [
        ("keepsake.keras_callback", ["keras"], "pip install keras"),
        ("keepsake.pl_callback", ["lightning", "pytorch_lightning"], "pip install lightning"),
    ],
)
def test_without_frameworks(monkeypatch: pytest.MonkeyPatch, module: str, packages: list[str], command: str) -> None:
    """The error is the command that installs what is missing."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)  # which makes importing it fail
    for name in (module, "keepsake.integrations.keras", "keepsake.integrations.lightning"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingExtra, match=command):
        importlib.import_module(module)
    assert module not in sys.modules
