"""Widths in a terminal, of texts in several scripts."""

from __future__ import annotations

import pytest

from keepsake.util.width import cut_end, cut_path, pad, shorten, text_width, wrap

FAMILY = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}"


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("", 0),
        ("lr=0.1", 6),
        ("café", 4),
        ("cafe\u0301", 4),  # with a combining accent
        ("日本語", 6),
        ("한국어", 6),
        ("\u1112\u1161\u11ab", 2),  # a Korean syllable of three letters
        ("ﾃｽﾄ", 3),  # half-width letters
        ("Ｗｉｄｅ", 8),
        ("🙂", 2),
        (FAMILY, 4),
        ("हिन्दी", 5),  # terminals show its vowel sign \u0940 in a column of its own
        ("soft\u00adhyphen", 11),
        ("★…×", 3),
    ],
)
def test_the_width_is_what_terminals_give_a_text(text: str, width: int) -> None:
    assert text_width(text) == width


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("short", 7, "short"),
        ("learning_rate", 7, "lea…ate"),
        ("learning_rate", 1, "l"),
        ("learning_rate", 0, ""),
        ("data/images/v2.csv", 10, "data/….csv"),
        ("日本語のテスト", 7, "日本…ト"),
        ("日本語のテスト", 8, "日本…ト"),
        ("e\u0301" * 9, 5, "e\u0301e\u0301…e\u0301e\u0301"),
    ],
)
def test_shortened_texts_keep_both_ends(text: str, width: int, expected: str) -> None:
    assert shorten(text, width) == expected
    assert text_width(expected) <= width


def test_sentences_keep_their_beginning() -> None:
    assert cut_end("ValueError: it diverged", 14) == "ValueError: i…"
    assert cut_end("ValueError: it diverged", 13) == "ValueError:…"
    assert cut_end("no 日本語", 6, "...") == "no..."
    assert cut_end("fits", 4) == "fits"


def test_padding_counts_columns() -> None:
    assert pad("日本", 6) == "日本  "
    assert pad("too long", 3) == "too long"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("optimizer.lr", 12, "optimizer.lr"),
        ("optimizer.lr", 8, "…lr"),
        ("model.optimizer.lr", 14, "…optimizer.lr"),
        ("optimizer.weight_decay", 9, "…ht_decay"),
        ("模型.优化器", 8, "…优化器"),
        ("a.b", 1, "b"),
    ],
)
def test_paths_keep_their_last_parts(text: str, width: int, expected: str) -> None:
    assert cut_path(text, width) == expected
    assert text_width(expected) <= width


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("", 5, [""]),
        ("one two three", 8, ["one two ", "three"]),
        ("日本語のテスト", 6, ["日本語", "のテス", "ト"]),
        ("損失が NaN に なりました", 10, ["損失が ", "NaN に ", "なりました"]),
        ("日", 1, ["日"]),
    ],
)
def test_lines_are_wrapped_between_words_where_there_are_any(text: str, width: int, expected: list[str]) -> None:
    assert wrap(text, width) == expected
