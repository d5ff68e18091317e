"""The guides that use a framework are true: see tests/docs/test_docs.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.docs.test_docs import SESSIONS, check_page, name, needs


@pytest.mark.parametrize("page", [page for page in SESSIONS if needs(page)], ids=name)
def test_the_commands_of_a_guide_print_what_it_says(page: Path, tmp_path: Path) -> None:
    """With the real frameworks."""
    if not all(importlib.util.find_spec(framework) for framework in needs(page)):
        pytest.skip("`make test-frameworks` installs them")
    check_page(page, tmp_path / "page")
