"""Filters as text: what they say, or where they go wrong. docs/guides/filters.md has the grammar for users.

    filter     = terms {"or" terms}
    terms      = term {"and" term}
    term       = "not" term | "(" filter ")" | comparison
    comparison = name operator value | name ["not"] "in" "(" value {"," value} ")"

Names and values may be quoted. A name without quotes ends at the first operator. A value without quotes ends at `and`,
`or` or an unmatched `)`, or at the end; within a list, at a comma.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from keepsake.exceptions import InvalidFilter
from keepsake.util.values import escape_controls
from keepsake.util.width import text_width

# Patterns are compiled when they are first used, so a listing without filters loses no time.
_OPERATOR = r"==|!=|<=|>=|=|<|>"
_WORD_ENDS = r"(?=[\s()]|$)"
_JOIN = rf"\s+(?:and|or){_WORD_ENDS}"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_IN = r"\s+(?:not\s+)?in\s*\("
_NAME_STOPS = rf"(?is){_OPERATOR}|{_IN}|{_JOIN}|[()]"
_FOREIGN_JOIN = rf"\s(?:(?:&&|\|\|)\s|[&|](?=(?:(?!{_JOIN})[^&|])*(?:{_OPERATOR}|{_IN})))"
_VALUE_STOPS = rf"(?is){_QUOTED}|[()]|{_JOIN}|{_FOREIGN_JOIN}"
_ITEM_STOPS = rf"(?is){_QUOTED}|[()\[\]{{}},]"
_ORDERS = ("<", "<=", ">", ">=")
# Operators of other languages, and those of this one
_MEANT = {
    "=>": ">=",
    "=<": "<=",
    "<>": "!=",
    "=!": "!=",
    "!==": "!=",
    "===": "=",
}  # operators of other languages, and those of this one
_MAX_DEPTH = 50
_CONTEXT = 40  # characters that an error shows on either side of the place
HELP = """Filters must be in the format "<name> <operator> <value>",
where <operator> can be
  "=" or "==" (equal),
  "!=" (not equal),
  "<" (less than),
  "<=" (less than or equal),
  ">" (greater than),
  ">=" (greater than or equal), or
  "in" and "not in" (one of several: "lr in (0.1, 0.2)")
Join them by "and", "or", "not" and parentheses. In double quotes, these are
part of a name or value: command = "train.py --title 'black and white'"."""


class Value(NamedTuple):
    """A value as written, without its quotes."""

    text: str
    is_quoted: bool


class Comparison(NamedTuple):
    """`name symbol values`. Each symbol but `in` and `not in` has one value."""

    name: str
    symbol: str
    values: list[Value]


class Not(NamedTuple):
    """The opposite of `part`."""

    part: Node


class Joined(NamedTuple):
    """Parts of which all hold (`and`), or at least one (`or`)."""

    word: str
    parts: list[Node]


Node = Comparison | Not | Joined


def parse(text: str) -> Node:
    """Return what a filter says. Raises InvalidFilter, which shows the place and the grammar."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0  # of parentheses and `not`

    def parse(self) -> Node:
        node = self._joined("or")
        if self._at < len(self._text):
            self._fail(self._at, 'Expected "and", "or" or the end.')
        return node

    def _joined(self, word: str) -> Node:
        parts = [self._part(word)]
        while self._take(rf"(?i){word}{_WORD_ENDS}"):
            parts.append(self._part(word))
        return Joined(word, parts) if len(parts) > 1 else parts[0]

    def _part(self, word: str) -> Node:
        return self._joined("and") if word == "or" else self._term()

    def _term(self) -> Node:
        start = self._at
        if self._take(rf"(?i)not(?=[\s(])(?!\s*(?:{_OPERATOR}|in\s*\())"):
            return self._nested(start, lambda: Not(self._term()))
        if self._take(r"\("):
            return self._nested(start, self._group)
        return self._comparison()

    def _nested(self, start: int, inner: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._fail(start, f"This is nested more than {_MAX_DEPTH} deep.")
        node = inner()
        self._depth -= 1
        return node

    def _group(self) -> Node:
        start = self._at - 1
        node = self._joined("or")
        if not self._take(r"\)"):
            if self._at < len(self._text):
                self._fail(self._at, 'Expected "and", "or" or ")".')
            self._fail(start, "This parenthesis is not closed.")
        return node

    def _comparison(self) -> Comparison:
        name = self._name()
        if found := self._take(r"(?i)(not\s+)?in\s*\("):
            return Comparison(name, "not in" if found[1] else "in", self._items())
        found = self._take(_OPERATOR)
        if not found:
            self._fail(self._at, f'An operator is missing after the name "{name}".')
        if self._text.startswith("!", self._at) or re.match(rf"\s*(?:{_OPERATOR})", self._text[self._at :]):
            written = re.sub(r"[^<>=!].*", "", self._text[found.start() :], flags=re.DOTALL)
            meant = f' Write "{_MEANT[written]}".' if written in _MEANT else ""
            self._fail(found.start(), f"There is no such operator.{meant}")
        symbol = "=" if found[0] == "==" else found[0]
        return Comparison(name, symbol, [self._value(symbol)])

    def _name(self) -> str:
        self._skip()
        if (quoted := self._quoted()) is not None:
            return quoted
        if re.match(r"!(?!=)", self._text[self._at :]):
            self._fail(self._at, 'Write "not", or put the name in double quotes.')
        start, end = self._at, self._stop(_NAME_STOPS)
        name = self._text[start:end].rstrip()
        if not name:
            self._fail(start, "A name is missing.")
        self._at = end
        return name

    def _value(self, symbol: str) -> Value:
        self._skip()
        if (quoted := self._quoted()) is not None:
            return Value(quoted, True)
        start, end = self._at, self._stop(_VALUE_STOPS)
        text = self._text[start:end].rstrip()
        if not text or re.match(r"(?i)(?:and|or)[\s(]", self._text[start:]):
            self._fail(start, "A value is missing.")
        self._at = end
        if symbol in _ORDERS and (second := re.search(_OPERATOR, text)):
            self._fail(start + second.start(), 'A comparison has one operator. Join two by "and": "a > 1 and a < 2".')
        if self._text[end + 1 : end + 2] in ("&", "|"):
            self._fail(end + 1, 'Write "and" or "or", or put the value in double quotes.')
        return Value(text, False)

    def _items(self) -> list[Value]:
        items = []
        while True:
            self._skip()
            start = self._at
            if (quoted := self._quoted()) is not None:
                items.append(Value(quoted, True))
            else:
                self._at = self._stop(_ITEM_STOPS)
                items.append(Value(self._text[start : self._at].strip(), False))
                if not items[-1].text:
                    self._fail(start, "A value is missing.")
            found = self._take(r"[,)]")
            if not found:
                self._fail(self._at, 'Expected "," or ")".')
            if found[0] == ")":
                return items

    def _stop(self, stops: str) -> int:
        """Return where a name or value that begins here ends. Parentheses and quotes within it are part of it."""
        depth = 0
        for found in re.compile(stops).finditer(self._text, self._at):
            first = found[0][0]
            if first in "([{":
                depth += 1
            elif first in ")]}" and depth:
                depth -= 1
            elif first not in '"]}' and not (first == "," and depth):
                return found.start()
        return len(self._text)

    def _quoted(self) -> str | None:
        """Take a quoted text and return it without the quotes; None if none begins here."""
        quote = self._text[self._at : self._at + 1]
        if quote not in ('"', "'") or not quote:
            return None
        found = re.compile(rf"(?s){quote}((?:[^{quote}\\]|\\.)*){quote}").match(self._text, self._at)
        if not found:
            self._fail(self._at, "This quotation mark is not closed.")
        self._at = found.end()
        return unquoted(found[1], quote)

    def _take(self, pattern: str) -> re.Match[str] | None:
        """Go beyond blanks and `pattern`, and return its match, if it comes next."""
        self._skip()
        found = re.compile(pattern).match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def _skip(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _fail(self, position: int, reason: str) -> NoReturn:
        before = escape_controls(self._text[max(position - _CONTEXT, 0) : position])
        after = escape_controls(self._text[position : position + _CONTEXT])
        place = f"    {before}{after}\n    {' ' * text_width(before)}^"
        raise InvalidFilter(f'Failed to parse filter: "{self._text}". {reason}\n\n{place}\n\n{HELP}')


def unquoted(text: str, quote: str) -> str:
    """Return what stands between two quotation marks, with its escapes read."""
    if quote == "'":
        text = text.replace("\\'", "'").replace('"', '\\"')
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:  # it has a literal backslash
        return text
