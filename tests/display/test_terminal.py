"""Curves as text: what stands where, whatever the width, the values and the names."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from keepsake.collection import ExperimentList
from keepsake.display.terminal import COLORS, to_ascii
from keepsake.exceptions import ValidationError
from keepsake.util.width import text_width
from tests.display.runs import MAXIMIZE, MINIMIZE, losses, make

NAN, INF = math.nan, math.inf
BRAILLE = "[\u2801-\u28ff]"


def ten() -> ExperimentList:
    return ExperimentList(losses(n, *[(n + 1) / (step + 1) + n for step in range(30)], lr=n / 10) for n in range(10))


def body(drawn: str) -> list[str]:
    """The lines of the curves, without the title and the x axis."""
    return [line for line in drawn.split("\n") if re.search("[│┤]", line)]


def test_a_drawing_has_a_title_axes_and_a_label_at_the_end_of_each_curve() -> None:
    lines = ten().draw("loss").split("\n")
    assert lines[0] == "loss, 10 runs (lower is better)"
    assert len(lines) == 23
    assert all(text_width(line) <= 80 for line in lines)
    assert lines[-1].strip() == "step"
    assert lines[-2].split() == ["0", "50", "100", "150", "200", "250"]
    labels = [match[0] for line in lines if (match := re.search(r"[a-j] [0-9a-f]{7} lr=\S+$", line))]
    assert labels == [f"{letter} {9 - n:07x} lr={(9 - n) / 10:g}" for n, letter in enumerate("jihgfedcba")]
    for letter in "abcdefghij":
        marks = [line for line in body("\n".join(lines)) if letter in re.sub(r" [a-j] [0-9a-f]{7} .*", "", line)]
        assert marks, f"{letter} marks no curve"


@pytest.mark.parametrize("width", [40, 60, 100, 160])
@pytest.mark.parametrize("height", [10, 23, 40])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    lines = ten().draw(width=width, height=height).split("\n")
    assert len(lines) == height
    assert max(map(text_width, lines)) <= width
    assert max(map(text_width, lines)) >= width - 2


def test_labels_stand_beside_the_ends() -> None:
    drawn = body(ExperimentList([losses(1, 1, 1, 1), losses(2, 5, 5, 5), losses(3, 9, 9, 9)]).draw())
    rows = {line.split()[-1]: row for row, line in enumerate(drawn) if re.search(r"\d{7}$", line)}
    assert rows["0000003"] == 0
    assert rows["0000002"] in (8, 9)
    assert rows["0000001"] == len(drawn) - 1


def test_it_shows_the_best_ten_of_many_runs_and_says_so() -> None:
    for primary, best in ((MINIMIZE, range(10)), (MAXIMIZE, range(20, 30))):
        runs = ExperimentList(losses(n, n, n + 1, primary=primary) for n in range(30))
        drawn = runs.draw()
        word = "lower" if primary == MINIMIZE else "higher"
        assert drawn.split("\n")[0] == f"loss, the best 10 of 30 runs ({word} is better)"
        assert {int(digits, 16) for digits in re.findall(r"[a-j] ([0-9a-f]{7})$", drawn, re.MULTILINE)} == set(best)
    runs = ExperimentList(losses(n, n, primary=None) for n in range(12))
    assert runs.draw("loss").startswith("loss, the latest 10 of 12 runs\n")


@pytest.mark.parametrize(
    ("values", "dots"),
    [
        ([1], 0),
        ([0, 0, 0], 30),
        ([1, NAN, 2], 0),
        ([1, 2, INF, -INF, None, 2, 1], 10),
        ([1e300, -1e300], 30),
        ([1e-300, 2e-300], 30),
        ([5e-324, 0], 30),
        ([1e16, 1e16 + 2], 30),
        ([1.7e308, -1.7e308], 30),
        ([True, False], 30),
    ],
)
def test_any_numbers_can_be_drawn(values: list[Any], dots: int) -> None:
    lines = losses_list(values).draw().split("\n")
    assert len(lines) == 23
    assert len(re.findall(BRAILLE, "".join(lines))) >= dots
    assert max(map(len, lines)) <= 80


def losses_list(values: list[Any]) -> ExperimentList:
    return ExperimentList([losses(1, *values)])


@pytest.mark.parametrize("values", [[], [NAN], [None], [INF]])
def test_nothing_to_draw_is_reported(values: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert losses_list(values).draw("loss") == "loss: nothing to draw."
    assert "0000001" in capsys.readouterr().err
    assert losses_list([0, -1]).draw(logy=True) == "loss: nothing to draw."


def test_a_logarithmic_axis_has_powers_of_ten() -> None:
    drawn = losses_list([100, 10, 0, -1, 1, 0.1]).draw(logy=True)
    assert drawn.startswith("loss, 1 run (lower is better, log axis)\n")
    assert [line.split()[0] for line in body(drawn) if "┤" in line] == ["100", "10", "1", "0.1"]


def test_it_can_be_smoothed_and_drawn_over_time() -> None:
    drawn = losses_list([1, 2] * 50).draw(smoothing=0.9, x="time")
    assert drawn.startswith("loss, 1 run (lower is better, smoothed by 0.9)\n")
    assert drawn.endswith("time since the start (min)")
    assert drawn != losses_list([1, 2] * 50).draw(x="time")


def test_the_extremes_of_very_many_points_are_drawn() -> None:
    values = [0.0] * 20_000
    values[12_345] = 9.0
    assert re.search(BRAILLE, body(losses_list(values).draw())[0])


def test_colours_are_only_colours() -> None:
    runs = ten()
    plain, colored = runs.draw(), runs.draw(color=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == plain
    assert len(set(re.findall(r"38;5;(\d+)m[a-j] ", colored))) == 10


@pytest.mark.parametrize("color", COLORS)
def test_colours_can_be_read_on_light_and_on_dark(color: int) -> None:
    """By the contrast that WCAG asks of graphics."""
    levels = (0, 95, 135, 175, 215, 255)  # of the cube of 6 × 6 × 6 colours, which greys follow
    red, green, blue = (color - 16) // 36, (color - 16) // 6 % 6, (color - 16) % 6
    rgb = [levels[each] for each in (red, green, blue)] if color < 232 else [8 + 10 * (color - 232)] * 3
    linear = [((value / 255 + 0.055) / 1.055) ** 2.4 if value > 10 else value / 3295 for value in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05
    assert min(luminance / 0.05, 1.05 / luminance) >= 3


def test_without_unicode_it_is_drawn_with_ascii() -> None:
    text = to_ascii(ten().draw())
    assert text.isascii()
    assert "?" not in text
    assert re.search(r"[.:*#]{3}", text)
    assert to_ascii(ten().draw_importance()).isascii()


def test_hostile_names_are_inert() -> None:
    name = "lo\x1b[31mss\n\u202e"
    runs = ExperimentList(make(n, [{name: 1}, {name: 2}], {"a\x1b[2J\n": f"\x07{n}\u202e日本語"}) for n in range(2))
    lines = runs.draw(name).split("\n")
    assert len(lines) == 23
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", "".join(lines))
    assert max(map(text_width, lines)) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "los"}, 'No experiment has a metric "los". Did you mean "loss"?'),
        ({"smoothing": 1.5}, "smoothing is 1.5. Give a number from 0 to below 1, such as 0.9."),
        ({"x": "epoch"}, "There is no x axis 'epoch'. Choose 'step' or 'time'."),
    ],
)
def test_a_wrong_argument_is_one_clear_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ten().draw(**arguments)
    assert str(caught.value) == message
