"""A process's output becomes lines in a file: progress bars folded, size bounded, nothing lost to the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepsake.util import transcript
from keepsake.util.transcript import Screen, Transcript, count, live_path
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("chunks", "rows"),
    [
        (["a\nb\n"], "a\nb\n"),
        (["a", "b", "\nc"], "ab\nc"),
        (["10%\r20%", "\r30%\ndone\n"], "30%\ndone\n"),
        (["50%\r100%\r", "\n"], "100%\n"),
        (["a\r\nb\r", "\nc"], "a\nb\nc"),
        (["abc\b\bd\n"], "ad\n"),
        (["\x1b[32mok\x1b[0m\n"], "\x1b[32mok\x1b[0m\n"),
        (["x\x1b[", "31mred\x1b[0m"], "x\x1b[31mred\x1b[0m"),
        (["old\r\x1b[Knew\n", "gone\x1b[2K\n"], "new\n\n"),
        (["first 1\nsecond 1\x1b[A", "\rfirst 2\n\rsecond 2\x1b[A\n\nend"], "first 2\nsecond 2\nend"),
        (["a\nb\nc\x1b[2F\x1b[Jd\n"], "d\n"),
        (["\x1b]0;title\x07a\x1b[?25l\x1b[2J\x1b(Bb\x00\x0c\n"], "ab\n"),
        (["\x1b]0;never ended", " and more"], ""),
        (["é\t\N{SNOWMAN}\n"], "é\t\N{SNOWMAN}\n"),
    ],
)
def test_the_rows_that_text_leaves(chunks: list[str], rows: str) -> None:
    screen = Screen()
    assert "".join(screen.add(chunk) for chunk in chunks) + screen.rows() == rows
    screen = Screen()
    assert "".join(screen.add(character) for character in "".join(chunks)) + screen.rows() == rows


def test_rows_settle_and_endless_ones_too() -> None:
    screen = Screen()
    lines = [f"line {number}\n" for number in range(1000)]
    settled = screen.add("".join(lines))
    assert len(settled) > 8000
    assert settled + screen.rows() == "".join(lines)
    settled = screen.add("x" * 200_000)
    assert settled.endswith("x" * 200_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "part.log"


def test_a_transcript_can_be_read_while_it_is_written(path: Path) -> None:
    written = Transcript(str(path))
    written.add("é\n10%".encode()[:1])
    written.add("é\n10%".encode()[1:])
    live = Path(live_path(str(path)))
    wait_until(lambda: live.exists() and live.read_text() == "é\n10%")
    written.add(b"\r20%")
    written.add(b"error\n", stream=2)
    wait_until(lambda: live.read_text() == "é\n20%error\n")
    written.end()
    assert path.read_text() == "é\n20%error\n"
    assert not live.exists()


def test_the_middle_of_a_long_one_is_left_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "HEAD_BYTES", 1000)
    monkeypatch.setattr(transcript, "TAIL_BYTES", 9000)
    written = Transcript(str(path))
    lines = [f"line {number:05}\n" for number in range(20_000)]
    for start in range(0, len(lines), 700):
        written.add("".join(lines[start : start + 700]).encode())
    written.end()
    kept = path.read_text().splitlines(keepends=True)
    (mark,) = [index for index, line in enumerate(kept) if line.startswith("...")]
    assert kept[:mark] == lines[:mark]
    assert kept[mark + 1 :] == lines[-len(kept) + mark + 1 :]
    gone = len(lines) - len(kept) + 1
    assert kept[mark] == f"... {gone} lines ({gone * 11} bytes) left out ...\n"
    assert 9900 <= len("".join(kept)) <= 10_100
    assert count(path.read_bytes()) == (20_000, path.stat().st_size)


def test_what_comes_too_quickly_is_left_out_and_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "_QUEUE_BYTES", 10)
    written = Transcript(str(path))
    written.add(b"x" * 11)
    written.add(b"end\n")
    written.end()
    assert sorted(path.read_text().split("\n")) == ["", "", "... 11 bytes left out, which came too quickly ...", "end"]


def test_a_disk_that_refuses_costs_nothing_once_it_does_not(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "part.log"
    written = Transcript(str(path))
    written.add(b"before\n")
    wait_until(lambda: written.problem is not None)
    path.parent.mkdir()
    wait_until(lambda: written.problem is None)
    live = Path(live_path(str(path)))
    wait_until(lambda: live.read_text() == "before\n")
    live.unlink()  # as a recovery does that takes the run for dead
    written.add(b"after\n")
    written.end()
    assert path.read_text() == "before\nafter\n"


@pytest.mark.parametrize(
    ("text", "lines"), [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("a\n... 7 lines (70 bytes) left out ...\nb\n", 9)]
)
def test_lines_that_were_left_out_count(text: str, lines: int) -> None:
    assert count(text.encode()) == (lines, len(text))
