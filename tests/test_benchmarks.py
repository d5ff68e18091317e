"""The benchmarks still run, and judge by their limits; how quick anything is, is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import FLOOR, ORIGINAL, OURS
from benchmarks.results import Figure, Limit, write_markdown

ROOT = Path(__file__).parents[1]


def test_a_workload_is_measured_and_written_down(tmp_path: Path) -> None:
    """One small workload, of ours alone, ends in a table and in a file with every sample."""
    written = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "init", "--alone", "--rounds", "2", "--json", str(written)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert "init()" in shown.stdout
    (figure,) = json.loads(written.read_text())["figures"]
    assert figure["workload"] == "init()"
    assert len(figure["samples"][OURS]) == 2
    assert all(0 < seconds < 60 for seconds in figure["samples"][OURS])


def test_the_clouds_are_measured() -> None:
    """Both, by their stand-ins."""
    command = [sys.executable, "-m", "benchmarks.clouds", "listing", "--experiments", "20", "--rounds", "1"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("ls, 20 × 10, cold") == 2


@pytest.mark.parametrize(
    ("ours", "limits", "met"),
    [
        (1.0, [Limit(0.5, ORIGINAL)], True),
        (1.1, [Limit(0.5, ORIGINAL)], False),
        (1.1, [Limit(1.0, FLOOR, 0.2)], True),
        (1.0, [Limit(0.5, ORIGINAL), Limit(plus=0.9)], False),
        (1.0, [Limit(0.5, "nothing that was measured")], None),
        (1.0, [], None),
    ],
)
def test_a_figure_is_met_if_its_median_keeps_every_limit(ours: float, limits: list[Limit], met: bool | None) -> None:
    samples = {OURS: [0.1, ours, 9.0], ORIGINAL: [2.0], FLOOR: [1.0]}
    assert Figure("work", "time", "s", samples, limits).is_met is met


def test_the_table_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    """Between the markers of the page; what stands around them stays."""
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
    for seconds in (2.0, 0.25):
        write_markdown(page, [Figure("work", "time", "s", {OURS: [seconds], ORIGINAL: [1.0]}, [Limit(0.5, ORIGINAL)])])
    text = page.read_text()
    assert text.startswith("before\n<!-- figures -->\n")
    assert text.endswith("\n<!-- end of figures -->\nafter\n")
    assert "250 ms" in text
    assert "0.25 × 0.4.2" in text
    assert "old" not in text
    assert "2.00 s" not in text
