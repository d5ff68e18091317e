"""Filters and sort keys of listings. They are compiled once and are cheap to apply to many experiments."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from keepsake.exceptions import InvalidFilter
from keepsake.listing.fields import ALIASES, Field, Names
from keepsake.listing.subjects import Subject
from keepsake.util.console import warn
from keepsake.util.values import sort_key

if TYPE_CHECKING:
    from keepsake.listing.comparing import Test
    from keepsake.listing.grammar import Comparison, Node

_SORT = r'(?s)\s*(-?)(?:"((?:[^"\\]|\\.)*)"|(\S.*?))(-asc|-desc)?\s*'  # compiled when it is first used
S = TypeVar("S", bound=Subject)
_Matches = Callable[[Any], bool]  # of a Subject


class Filter:
    """A condition on experiments.

    Attributes:
        text: the filter as given.
        fields: what the names in it stand for.
        matches: takes a Subject, and returns whether it meets the condition.
    """

    def __init__(self, text: str, names: Names) -> None:
        """Raises InvalidFilter, which shows what is wrong and the grammar, and UnknownName."""
        from keepsake.listing.grammar import parse  # here, because a listing without filters needs none of it

        self.text = text
        self.fields: list[Field] = []
        self._names = names
        self.matches = self._compile(parse(text))

    def _compile(self, node: Node) -> _Matches:
        from keepsake.listing.grammar import Comparison, Not

        if isinstance(node, Comparison):
            return self._comparison(node)
        if isinstance(node, Not):
            part = self._compile(node.part)
            return lambda subject: not part(subject)
        parts = [self._compile(each) for each in node.parts]
        if node.word == "and":
            return lambda subject: all(part(subject) for part in parts)
        return lambda subject: any(part(subject) for part in parts)

    def _comparison(self, comparison: Comparison) -> _Matches:
        from keepsake.listing.comparing import make_test

        _warn_of_alias(comparison.name)
        field = self._names.field(comparison.name)
        self.fields.append(field)
        if not field.may_be_field:
            test, value_of = make_test(comparison, field.type, self.text), field.value
            return lambda subject: test(value_of(subject))
        made: list[Test] = []  # once it is known what the name stands for

        def matches(subject: Subject) -> bool:
            if not made:
                made.append(make_test(comparison, field.type, self.text))
            return made[0](field.value(subject))

        return matches


class Sort:
    """An order of experiments by one key.

    Attributes:
        field: what the key stands for.
        is_descending: whether the greatest comes first.
    """

    def __init__(self, text: str, names: Names) -> None:
        """`text`: NAME, or -NAME or NAME-desc for descending order. Raises InvalidFilter if there is no name."""
        match = re.fullmatch(_SORT, text)
        if not match or (match[1] and match[4]):
            raise InvalidFilter(
                f'Failed to parse sort key: "{text}". Give a name, such as "created"; '
                'for descending order, "-created" or "created-desc".'
            )
        minus, quoted, name, suffix = match.groups()
        if name is None:
            from keepsake.listing.grammar import unquoted

            name = unquoted(quoted, '"')
        _warn_of_alias(name)
        self.field = names.field(name)
        self.is_descending = bool(minus) or suffix == "-desc"

    def apply(self, subjects: Iterable[S]) -> list[S]:
        """Return `subjects` sorted. Those without the value, or with NaN, come last. Ties keep their order."""
        present, missing = [], []
        for subject in subjects:
            value = self.field.value(subject)
            if value is None or value != value:
                missing.append(subject)
            else:
                present.append((sort_key(value), subject))
        present.sort(key=operator.itemgetter(0), reverse=self.is_descending)
        return [subject for _, subject in present] + missing


class Query:
    """The filters and sort keys of a listing. Names are looked for in all experiments, not only in those that match.

    Attributes:
        filters: the conditions; all must hold.
        columns: what the names of the columns stand for, once `select` has seen all experiments.
    """

    def __init__(self, filters: Sequence[str] = (), sort: Sequence[str] = (), columns: Sequence[str] = ()) -> None:
        """Raises InvalidFilter and UnknownName.

        Args:
            filters: as in `keepsake ls --filter`.
            sort: keys, the first of which counts most.
            columns: names.
        """
        self._names = Names()
        self.filters = [Filter(text, self._names) for text in filters]
        self._orders = [Sort(text, self._names) for text in sort]
        self.columns = [self._names.field(name) for name in columns]

    def select(self, subjects: Iterable[S]) -> Iterator[S]:
        """Yield the experiments that match. At the end it raises UnknownName if no experiment has one of the names."""
        tests = [each.matches for each in self.filters]
        for subject in self._names.watch(subjects):
            for test in tests:
                if not test(subject):
                    break
            else:
                yield subject

    def sort(self, subjects: Sequence[S]) -> list[S]:
        """Return experiments sorted by the keys. Ties keep their order."""
        found = list(subjects)
        for order in reversed(self._orders):
            found = order.apply(found)
        return found


def is_about(text: str, name: str) -> bool:
    """Whether a filter compares this name and no other one. Raises InvalidFilter."""
    return all(field.name == name for field in Filter(text, Names()).fields)


def _warn_of_alias(name: str) -> None:
    if name in ALIASES:
        warn(f'"{name}" is deprecated in filters and sort keys. Use "{ALIASES[name]}" instead.')
