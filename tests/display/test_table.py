"""Tables for a terminal: what fits, what is shortened, what is dropped."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from keepsake.display.table import Column, lay_out
from keepsake.util.width import text_width


def column(name: str, cells: Sequence[str], rank: int = 1, *, whole: bool = False, sentences: bool = False) -> Column:
    return Column(name, name, lambda: cells, rank, whole, sentences)


def lines(columns: Sequence[Column], width: int | None) -> list[str]:
    table = lay_out(columns, width)
    return ["  ".join(cells).rstrip() for cells in [table.titles(), *table.rows()]]


def test_without_a_width_all_is_shown() -> None:
    columns = [column("id", ["a1", "b2"], 0), column("text", ["x" * 30, ""])]
    assert lines(columns, None) == ["id  text", "a1  " + "x" * 30, "b2"]


@pytest.mark.parametrize("width", range(10, 90))
def test_no_line_is_wider_than_the_width(width: int) -> None:
    """Whatever the script, and however many columns there are."""
    columns = [
        column("ID", ["c90d1f4", "a37c2e9"], 0, whole=True),
        column("日本語の名前", ["日本語" * 9, "e\u0301" * 40], 1),
    ]
    columns += [column(f"param_number_{n}", [f"{n / 7}", "text" * n], n) for n in range(2, 12)]
    for line in lines(columns, width):
        assert text_width(line) <= width


def test_the_last_ranks_are_dropped_and_the_others_keep_their_order() -> None:
    columns = [
        column("a", ["aaaaaaa"], 3),
        column("b", ["bbbbbbb"], 0),
        column("c", ["ccccccc"], 2),
        column("d", ["d"], 4),
    ]
    table = lay_out(columns, 17)
    assert [each.name for each in table.columns] == ["b", "c"]
    assert [each.name for each in table.dropped] == ["a", "d"]


def test_texts_are_shortened_before_a_column_is_dropped() -> None:
    columns = [
        column("path", ["data/images/v1.csv"], 0),
        column("message", ["it did not converge at all"], 1, sentences=True),
    ]
    assert lines(columns, 34) == ["path              message", "data/ima…/v1.csv  it did not conv…"]
    assert lines(columns, 25) == ["path     message", "dat…csv  it did not conv…"]
    assert lines(columns, 24) == ["path", "data/images/v1.csv"]


def test_numbers_and_whole_columns_are_never_shortened() -> None:
    columns = [column("n", ["12345678901234567890", "1"], 0), column("ID", ["c90d1f4e55", "b"], 0, whole=True)]
    assert lines(columns, 12) == [
        "n                     ID",
        "12345678901234567890  c90d1f4e55",
        "                   1  b",
    ]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "20", ""], [" 1", "20", ""]),
        (["0.1", "12.25*", "1e-05"], [" 0.1", "12.25*", " 1e-05"]),
        (["-0.5", "NaN", "null"], ["-0.5", "  NaN", "  null"]),
        (["0.00012345", "1000000"], ["0.00012345", "   1000000"]),  # aligned at the point, it would take 15
        (["1", "x"], ["1", "x"]),
        (["", ""], ["", ""]),
    ],
)
def test_numbers_stand_below_each_other(cells: list[str], expected: list[str]) -> None:
    assert [cell.rstrip() for cell in lay_out([column("n", cells)], None).columns[0].cells] == expected


def test_cells_that_are_not_shown_are_not_made() -> None:
    def fail() -> list[str]:
        raise AssertionError

    wide = [column(str(n), ["x" * 9], n) for n in range(5)]
    assert len(lay_out([*wide, Column("title", "title", fail, 9)], 20).dropped) == 4


def test_a_column_that_does_not_fit_leaves_its_place_to_narrower_ones() -> None:
    columns = [column("id", ["a1"], 0), column("why", ["x" * 30], 1, sentences=True), column("n", ["12"], 2)]
    assert lines(columns, 12) == ["id  n", "a1  12"]


def test_titles_that_are_paths_keep_their_last_parts() -> None:
    columns = [column("optimizer.lr", ["0.1"]), column("learning rate", ["0.1"]), column("model.depth", ["1"])]
    assert lines(columns, 25)[0] == "…lr      learni…  …depth"
