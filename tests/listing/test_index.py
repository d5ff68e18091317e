"""The index of a listing: a garbled line, or one of another user, is fetched again and never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keepsake.listing.index import Index, Line

URL = "s3://bucket"
LINES = [
    Line(
        f"{number:064x}", "etag", " abc", "2026-01-01", f'{{"step":{number}}}', "null", "", '{"lr":1}', '{"user":"kim"}'
    )
    for number in range(3)
]
ETAGS = {line.id: line.etag for line in LINES}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an index that holds LINES."""
    monkeypatch.setenv("KEEPSAKE_CACHE", str(tmp_path / "cache"))
    Index(URL).add(LINES, ETAGS)
    (path,) = (tmp_path / "cache/index").iterdir()
    return path


def current() -> list[Line]:
    return list(Index(URL).current(dict(ETAGS)))


def test_what_was_added_is_current(file: Path) -> None:
    assert current() == LINES
    assert list(Index(URL).current({LINES[0].id: "another"})) == []


def test_a_byte_that_changed_hides_its_line_and_no_other(file: Path) -> None:
    content = file.read_bytes()
    for position in range(content.index(b"\n") + 1, len(content) - 1):
        file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        hidden = content[:position].count(b"\n") - 1
        expected = [line for number, line in enumerate(LINES) if number != hidden]
        # The line feed itself joins two lines
        assert current() == expected or content[position : position + 1] == b"\n"


def test_a_line_that_another_process_tore_is_not_believed(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], lines[2][:40], lines[3]]))
    assert current() == LINES[:1]


def test_names_may_hold_anything(file: Path) -> None:
    strange = Line.broken("caf\udce9\tx", "etag", "it is not JSON")
    index = Index(URL)
    assert list(index.current(dict(ETAGS))) == LINES
    index.add([strange], ETAGS)
    assert current() == LINES


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
def test_the_file_of_another_user_is_not_read(file: Path) -> None:
    os.chown(file, 12345, 12345)
    assert current() == []
    Index(URL).add(LINES[:1], ETAGS)
    assert current() == LINES[:1]


def test_without_a_place_for_it_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSAKE_CACHE", "/dev/null/cache")
    Index(URL).add(LINES, ETAGS)
    assert current() == []
