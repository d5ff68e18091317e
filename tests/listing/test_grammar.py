"""The grammar of filters: comparisons that are joined, lists, quotation marks, and errors that show the place."""

from __future__ import annotations

import pytest

from keepsake.exceptions import InvalidFilter, UnknownName
from keepsake.listing.filters import Query
from keepsake.util.width import text_width
from tests.listing.runs import Run, found

RUNS = {
    "a": Run({"lr": 0.1, "opt": "adam", "dropout": 0.5}, {"loss": 0.3}, command="train.py --x=1 or so"),
    "b": Run({"lr": 0.2, "opt": "sgd"}, {"loss": 0.2}, command="(train)"),
    "c": Run({"lr": 0.3, "opt": "black and white", "dropout": None}, {"loss": 0.1}, command="it's"),
}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("lr == 0.1", "a"),
        ("lr=0.1 or lr=0.2", "ab"),
        ("lr = 0.1 OR lr = 0.2 AND loss = 0.3", "a"),
        ("(lr = 0.1 or lr = 0.2) and loss < 0.3", "b"),
        ("lr = 0.1 or lr = 0.2 and loss = 0.2 or lr = 0.3", "abc"),
        ("not lr = 0.1", "bc"),
        ("not not lr = 0.1", "a"),
        ("not lr = 0.1 and loss < 0.2", "c"),
        ("not (lr = 0.1 and loss < 0.2)", "abc"),
        ("not(lr = 0.1)and(loss < 0.2)", "c"),
        ("((((lr = 0.1))))", "a"),
        ("lr in (0.1, .3)", "ac"),
        ("lr in(0.1,0.3)", "ac"),
        ("lr not in (0.1, 0.3)", "b"),
        ("not lr in (0.1, 0.3)", "b"),
        ("opt in (adam, 'black and white')", "ac"),
        ('opt in ("adam" , black and white)', "ac"),
        ("opt IN (sgd) AND lr > 0", "b"),
        ("dropout in (null)", "bc"),
        ("dropout not in (0.5)", "bc"),
        ("dropout = null or dropout > 0.4", "abc"),
        ("not dropout > 0.4", "bc"),
        ("dropout != null", "a"),
        ("opt = 'adam'", "a"),
        ('opt = "black and white"', "c"),
        ('opt = "black and white" or opt = "sgd"', "bc"),
        ('command = "train.py --x=1 or so"', "a"),
        ("command = (train)", "b"),
        ("(command = (train))", "b"),
        ("command = it's", "c"),
        ("opt = fish & chips or opt = a|b or lr = 0.1", "a"),
        ('opt > "a<b"', "abc"),
        ("command = 'it\\'s'", "c"),
        ('"lr" in (0.1)', "a"),
        ("loss>0.15 and(lr<0.15)", "a"),
        ("  lr = 0.1  ", "a"),
        ("lr\n=\n0.1\nand\nloss = 0.3", "a"),
    ],
)
def test_comparisons_are_joined(text: str, names: str) -> None:
    assert found([text], *RUNS.values()) == [RUNS[name] for name in names]


def test_words_of_the_grammar_can_be_names_and_values() -> None:
    run = Run({"and": 1, "not": 2, "in": 3, "or": "and", "x in y": 4, "nota": 5, "order": 6})
    for text in ("and = 1", "not = 2", "in = 3", "or = and", "x in y = 4", "nota = 5 and order = 6", "not in (2)"):
        assert found([text], run) == [run], text


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "A name is missing."),
        ("lr", 2, 'An operator is missing after the name "lr".'),
        ("lr = ", 5, "A value is missing."),
        ("lr < and x = 1", 5, "A value is missing."),
        ("lr = 1 and", 10, "A name is missing."),
        ("lr => 3", 3, 'There is no such operator. Write ">=".'),
        ("lr =< 3", 3, 'There is no such operator. Write "<=".'),
        ("lr<>3", 2, 'There is no such operator. Write "!=".'),
        ("lr === 3", 3, 'There is no such operator. Write "=".'),
        ("lr = > 3", 3, "There is no such operator.\n"),
        ("!lr = 3", 0, 'Write "not", or put the name in double quotes.'),
        ("lr = 1 and !(opt = adam)", 11, 'Write "not"'),
        ("lr = 1 or opt and x = 1", 14, 'An operator is missing after the name "opt".'),
        ("(lr = 1", 0, "This parenthesis is not closed."),
        ("lr = 1)", 6, 'Expected "and", "or" or the end.'),
        ('opt = "adam" x', 13, 'Expected "and", "or" or the end.'),
        ('(opt = "adam" x', 14, 'Expected "and", "or" or ")".'),
        ('opt = "adam', 6, "This quotation mark is not closed."),
        ("lr in ()", 7, "A value is missing."),
        ("lr in (1, )", 10, "A value is missing."),
        ("lr in (1", 8, 'Expected "," or ")".'),
        ('lr in ("a" b)', 11, 'Expected "," or ")".'),
        ("lr = 1 && x = 2", 7, 'Write "and" or "or"'),
        ("lr = 1 || x = 2", 7, 'Write "and" or "or"'),
        ("lr = 1 & x in (2)", 7, 'Write "and" or "or"'),
        ("lr = 1 |x = 2", 7, 'Write "and" or "or"'),
        ("(lr = 1)&(x = 2)", 8, 'Write "and" or "or"'),
        ("lr > 1 & x = 2", 7, 'Write "and" or "or"'),
        ("lr > 1, x = 2", 10, "A comparison has one operator."),
        ("lr<1|x>2", 6, "A comparison has one operator."),
        ("0.1 < lr < 0.3", 9, 'Join two by "and"'),
        ("日本 = 1 and", 10, "A name is missing."),
        ("(" * 60 + "lr = 1" + ")" * 60, 50, "nested more than 50 deep"),
        ("not " * 60 + "lr = 1", 200, "nested more than 50 deep"),
    ],
)
def test_an_error_shows_the_place(text: str, position: int, reason: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        Query([text])
    message = str(caught.value)
    assert reason in message
    shown, caret = message.split("\n\n")[1].splitlines()
    if len(text) < 40:
        assert (shown, len(caret)) == (f"    {text}", 5 + text_width(text[:position]))


def test_all_names_are_looked_for_even_where_the_result_is_clear() -> None:
    for text in ("lr < 0 and dropot != 0.5", "lr > 0 or dropot = 1", "not (lr < 0 and x in (dropot) and dropot = 1)"):
        with pytest.raises(UnknownName, match='Did you mean "dropout"'):
            found([text], *RUNS.values())
    with pytest.raises(UnknownName):
        list(Query(sort=["vall"]).select([RUNS["a"]]))
    with pytest.raises(UnknownName):
        list(Query(columns=["vall"]).select([RUNS["a"]]))
    assert list(Query(["dropot != 0.5"], ["-vall"], ["params.x"]).select([])) == []
