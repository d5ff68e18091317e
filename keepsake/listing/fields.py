"""What a name means, in filters, sort keys, columns and plots. docs/guides/filters.md describes it for users.

A name is a field of an experiment, a param, or a metric. Only a look at all experiments shows whether any of them has
it. That costs next to nothing, because most names are in the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

from keepsake.exceptions import UnknownName
from keepsake.listing.subjects import MISSING, Subject, ValuePath, Values, flatten, metric_of, metrics_of
from keepsake.util.console import say, some
from keepsake.util.values import cut, escape_controls, same

Kind = Literal["field", "param", "metric"]
Type = Literal["value", "text", "number", "time", "seconds", "id", "status", "tags"]
S = TypeVar("S", bound=Subject)
_Find = Callable[[Any], Any]  # of a Subject, the value or MISSING

# The fields of 0.4.2 hide metrics and params of the same name.
_ORIGINAL: dict[str, tuple[Type, _Find]] = {
    "created": ("time", lambda subject: subject.created),
    "step": ("number", lambda subject: subject.latest_step),
    "user": ("text", lambda subject: subject.user),
    "host": ("text", lambda subject: subject.host),
    "command": ("text", lambda subject: subject.command),
    "status": ("status", lambda subject: subject.status),
}
# Metrics and params hide the others, because a filter must keep the meaning that it has in 0.4.2.
_ADDED: dict[str, tuple[Type, _Find]] = {
    "id": ("id", lambda subject: subject.id),
    "checkpoints": ("number", lambda subject: subject.num_checkpoints),
    "duration": ("seconds", lambda subject: subject.fact("duration")),
    "ended": ("time", lambda subject: subject.fact("ended")),
    "end_reason": ("text", lambda subject: subject.fact("end_reason")),
    "error": ("text", lambda subject: subject.fact("error")),
    "name": ("text", lambda subject: subject.fact("name")),
    "notes": ("text", lambda subject: subject.fact("notes")),
    "parent": ("id", lambda subject: subject.fact("parent")),
    "path": ("text", lambda subject: subject.fact("path")),
    "tags": ("tags", lambda subject: subject.fact("tags")),
}
FIELDS = {**_ORIGINAL, **_ADDED}
ALIASES = {"started": "created"}
_MAX_CLOSE, _MAX_LISTED, _MAX_LENGTH = 3, 10, 60  # names in an error: those alike, all, and characters of one


class Field:
    """What a name stands for.

    Attributes:
        name: the name as given, but for aliases.
        kind: `field`, `param` or `metric`.
        type: `value` for params and metrics; for fields what they hold: `time` is in Unix seconds, `seconds` is a
            duration, `tags` a list of texts.
        is_known: whether an experiment has it, as far as has been seen. Fields of experiments are always known.
        is_decided: whether `value` can be called. What some names stand for is clear only at the end.
        is_settled: whether further experiments can tell nothing new about it.
        may_be_field: whether it may become a field when it is decided, so that its type changes.
    """

    is_decided = True
    may_be_field = False

    def __init__(self, name: str, kind: Kind, type: Type, find: _Find, prefix: str = "") -> None:
        self.name, self.kind, self.type, self.prefix = name, kind, type, prefix
        self.is_known = self.is_settled = kind == "field"
        self._find = find

    def value(self, subject: Subject) -> Any:
        """Return the value of an experiment; None if it has none."""
        found = self._find(subject)
        return None if found is MISSING else found

    def note(self, subject: Subject) -> None:
        """Learn from an experiment whether the name is known."""
        if self._find(subject) is not MISSING:
            self.is_known = self.is_settled = True

    def finish(self) -> None:
        """Draw the conclusions, once all experiments have been seen."""


class _Bare(Field):
    """A name without a prefix: a metric of the best checkpoint, else a param, as in 0.4.2.

    If it is neither in any experiment, it is the last recorded value of a metric, or else a field that 0.4.2 lacks.
    """

    is_decided = False

    def __init__(self, name: str, field: tuple[Type, _Find] | None) -> None:
        self._path, self._field = ValuePath(name), field
        self._is_metric = self._is_param = self._is_last = False
        super().__init__(name, "metric", "value", self._metric_or_param)
        self.may_be_field = field is not None

    def _metric_or_param(self, subject: Subject) -> Any:
        value = subject.best_metric(self._path)
        return subject.param(self._path) if value is MISSING else value

    def note(self, subject: Subject) -> None:
        self._is_metric = self._is_metric or subject.best_metric(self._path) is not MISSING
        self._is_param = self._is_param or subject.param(self._path) is not MISSING
        self.is_known = self.is_decided = self._is_metric or self._is_param
        self.is_settled = self._is_metric and self._is_param
        if not self.is_known:
            self._is_last = self._is_last or subject.last_metric(self._path) is not MISSING

    def finish(self) -> None:
        if self._is_last and not self.is_known:
            self._is_metric = self.is_known = True
            self._find = lambda subject: subject.last_metric(self._path)
        if self._field and not self.is_known:
            self.kind, self.is_known = "field", True
            self.type, self._find = self._field
            return
        self.kind = "metric" if self._is_metric else "param"
        found = {"metric": self._is_metric, "param": self._is_param, "field": self._field is not None}
        kinds = [kind for kind, is_found in found.items() if is_found]
        if self.is_known and len(kinds) > 1:
            _explain(self.name, kinds)


_explained: set[str] = set()


def _explain(name: str, kinds: list[str]) -> None:
    """Say once which of several meanings a name has."""
    if name in _explained:
        return
    _explained.add(name)
    meaning = "metric of the best checkpoint, else the param" if kinds[:2] == ["metric", "param"] else kinds[0]
    exact = " or ".join(f"{kind}s.{name}" for kind in kinds)
    say(f'"{name}" is a {" and a ".join(kinds)}. It means the {meaning}. Write {exact} to choose.')


_PREFIXES: dict[str, tuple[Kind, Callable[[ValuePath], _Find]]] = {
    "params.": ("param", lambda path: lambda subject: subject.param(path)),
    "metrics.": ("metric", lambda path: lambda subject: metric_of(subject, path)),
    "best:": ("metric", lambda path: lambda subject: subject.best_metric(path)),
    "last:": ("metric", lambda path: lambda subject: subject.last_metric(path)),
}
_FIELD_PREFIX = "fields."


def _make(name: str, kind: Kind | None) -> Field:
    """Return what a name stands for; of `kind`, if that is given. Raises UnknownName if no experiment can have it."""
    name = ALIASES.get(name, name)
    for prefix, (of_kind, finder) in _PREFIXES.items():
        if name.startswith(prefix) and kind in (None, of_kind):
            return Field(name, of_kind, "value", finder(ValuePath(name.removeprefix(prefix))), prefix)
    if kind in ("param", "metric"):
        return Field(name, kind, "value", _PREFIXES[f"{kind}s."][1](ValuePath(name)))
    plain = name.removeprefix(_FIELD_PREFIX)
    if plain in FIELDS and (plain in _ORIGINAL or plain != name or kind == "field"):
        return Field(plain, "field", *FIELDS[plain])
    if plain != name or kind == "field":
        raise UnknownName(_unknown(name, "field", [name.removesuffix(plain) + field for field in FIELDS]))
    return _Bare(name, _ADDED.get(name))


class Names:
    """The names that a listing uses, such as those in a filter. It finds out whether any experiment has them.

    First ask for each with `field`, then go through all experiments with `watch`. After that, the fields can be used.
    """

    def __init__(self) -> None:
        self._fields: list[Field] = []
        # All names in params, best and last metrics, as long as one of the fields is not known
        self._params: set[str] = set()
        self._best: set[str] = set()
        self._last: set[str] = set()

    def field(self, name: str, kind: Kind | None = None) -> Field:
        """Return what a name stands for. Raises UnknownName for a field that does not exist."""
        field = _make(name, kind)
        self._fields.append(field)
        return field

    def watch(self, subjects: Iterable[S]) -> Iterator[S]:
        """Yield all experiments, and note which names they have.

        At the end it raises UnknownName if no experiment has one of the names. Without experiments, any name will do.
        """
        waiting: list[S] = []  # until it is decided what the names stand for: mostly for the first one
        unsettled = [field for field in self._fields if not field.is_settled]
        subjects = iter(subjects)
        is_empty = True
        for subject in subjects:
            is_empty = False
            for field in unsettled:
                field.note(subject)
            waiting.append(subject)
            if all(field.is_decided for field in unsettled):
                yield from waiting
                waiting.clear()
                if all(field.is_known for field in unsettled):
                    break
            self._add_names(subject)
        unsettled = [field for field in unsettled if not field.is_settled]
        for subject in subjects:
            for field in unsettled:
                field.note(subject)
            yield subject
        if not is_empty:
            self._finish()
        yield from waiting

    def _add_names(self, subject: Subject) -> None:
        self._params.update(flatten(subject.params))
        self._best.update(flatten(subject.best_metrics))
        self._last.update(flatten(subject.last_metrics))

    def _finish(self) -> None:
        for field in self._fields:
            field.finish()
            if not field.is_known:
                raise UnknownName(self._unknown(field))

    def _unknown(self, field: Field) -> str:
        metrics = self._best | self._last
        if isinstance(field, _Bare):
            return _unknown(field.name, "metric, param or field", {*metrics, *self._params, *FIELDS})
        pool = self._params if field.kind == "param" else metrics
        pool = {"best:": self._best, "last:": self._last}.get(field.prefix, pool)
        known = [field.prefix + name for name in pool]
        if field.prefix == "best:":  # the best checkpoints may lack what others have
            known += [f"last:{name}" for name in self._last]
        return _unknown(field.name, field.kind, known)


def resolve(name: str, subjects: Iterable[Subject], kind: Kind | None = None) -> Field:
    """Return what a name stands for among these experiments. Raises UnknownName if none has it.

    `kind`: the only kind that counts; None: all.
    """
    names = Names()
    field = names.field(name, kind)
    for _ in names.watch(subjects):
        pass
    return field


def _unknown(name: str, what: str, known: Iterable[str]) -> str:
    """Return the message about a name that no experiment has, with those that are most like it."""
    import difflib  # only here, because it takes a while

    by_case = {each.casefold(): each for each in sorted(known, reverse=True)}
    wanted = name.casefold()
    tail = next((wanted.removeprefix(prefix) for prefix in _PREFIXES if wanted.startswith(prefix)), wanted)
    close = [each for folded, each in by_case.items() if folded.endswith(f".{tail}")]
    close += [by_case[folded] for folded in difflib.get_close_matches(wanted, by_case)]
    quoted = [f'"{escape_controls(cut(each, _MAX_LENGTH))}"' for each in dict.fromkeys(close)]
    start = f'No experiment has a {what} "{cut(name, _MAX_LENGTH)}".'
    if quoted:
        return f"{start} Did you mean {' or '.join(quoted[:_MAX_CLOSE])}?"
    listed = [escape_controls(cut(each, _MAX_LENGTH)) for each in sorted(by_case.values())]
    return f"{start} Choose from: {some(listed, _MAX_LISTED)}." if listed else start


# All names


class KnownName(NamedTuple):
    """A name that experiments have."""

    name: str  # of a param or metric in a dict: its path
    kind: Kind
    differs: bool  # whether its values differ among the experiments that have it; always true for fields


def known_names(subjects: Iterable[Subject]) -> list[KnownName]:
    """Return the names of fields, then those of metrics, then those of params, each in order of appearance.

    A metric and a param may have the same name.
    """
    subjects = list(subjects)
    groups: dict[Kind, Iterable[Values]] = {
        "metric": map(metrics_of, subjects),
        "param": (subject.params for subject in subjects),
    }
    found = [KnownName(name, "field", True) for name in FIELDS]
    for kind, many in groups.items():
        found += [KnownName(name, kind, differs) for name, differs in differing_names(map(flatten, many)).items()]
    return found


def differing_names(many: Iterable[Values]) -> dict[str, bool]:
    """Return each name in `many`, in order of appearance, and whether its values differ.

    Runs without the name do not count.
    """
    first: dict[str, Any] = {}
    differing: set[str] = set()
    for values in many:
        for name, value in values.items():
            if name not in differing and not same(first.setdefault(name, value), value):
                differing.add(name)
    return {name: name in differing for name in first}
