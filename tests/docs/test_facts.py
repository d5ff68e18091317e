"""What the pages say about the code is true: the files, messages and environment variables that they name exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import keepsake
from keepsake.util.ignore import LEFT_OUT_DIRECTORIES
from tests.docs.test_docs import PAGES, ROOT, name

SOURCES = sorted((ROOT / "keepsake").rglob("*.py"))
RELIABILITY = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
VARIABLES = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
_ANY = "\0"  # stands for a value in a text of the code


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"(?<![\w/.])((?:tests|keepsake|docs|examples|benchmarks)/[\w/.-]+\.\w+)\b", text):
        assert (ROOT / path).exists(), path


@cache
def texts() -> str:
    """All texts of the code, one a line, with a mark for each value that is filled in."""
    return "\n".join(text.replace("\n", " ") for source in SOURCES for text in _texts(source))


def _texts(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else _ANY for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("message", re.findall(r"^\| `([^`]+)` \|", RELIABILITY, re.MULTILINE))
def test_messages_that_are_explained_are_said(message: str) -> None:
    """`…` in a message stands for what is filled in."""
    words = [re.escape(part.strip()) for part in message.split("…") if part.strip()]
    assert re.search(rf"[^\n]*{_ANY}[^\n]*".join(words), texts()), message


def test_every_environment_variable_is_explained() -> None:
    """The page explains no others."""
    read = {
        node.value
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"KEEPSAKE_\w+", node.value)
    }
    assert read
    assert set(re.findall(r"^\| `(KEEPSAKE_\w+)", VARIABLES, re.MULTILINE)) == read


def documented(heading: str) -> str:
    """A regular expression for the names in the tables below a heading of the page on the format."""
    text = (ROOT / "docs/repository-format.md").read_text(encoding="utf-8")
    section = text.partition(f"# {heading}\n")[2].partition("\n## ")[0]
    names = re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)))
    patterns = (re.sub(r"<[\w\\ ]+>", r"[0-9a-f]+", re.escape(name)) for name in names)
    return "|".join(patterns)


def files(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_the_page_on_the_format_names_all_that_a_run_leaves(
    project_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("model").write_text("weights")
    experiment = keepsake.init(path="model")
    experiment.checkpoint(path="model", loss=1)
    experiment.stop()
    removed = keepsake.init()
    removed.stop()
    removed.delete()
    found = files(project_directory / "repo")
    assert len(found) == 6
    for file in found:
        assert re.fullmatch(documented("The repository format"), file), file

    monkeypatch.setenv("KEEPSAKE_OFFLINE", "1")
    experiment = keepsake.init(path="model")
    experiment.checkpoint(path="model", loss=1)
    found = files(project_directory / ".keepsake/spool")
    experiment.stop()
    assert len(found) == 6
    for file in found:
        assert re.fullmatch(documented("The spool"), file), file


def test_the_guide_names_all_that_is_left_out_by_default() -> None:
    guide = (ROOT / "docs/guides/what-to-save.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^- Caches and outputs of other tools: (.*?)\. A line", guide, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`([^`]+)`", listed)) == LEFT_OUT_DIRECTORIES
