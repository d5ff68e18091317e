"""How IDs are shown to the user, and lists of what has IDs."""

from __future__ import annotations

from typing import Any, Protocol, SupportsIndex, TypeVar, overload

from keepsake.util.console import plural

SHORT_ID_LENGTH = 7
_SHOWN_IDS = 5


def short_id(id: str) -> str:
    """Return the first digits of an ID, enough to tell it from others at a glance."""
    return id[:SHORT_ID_LENGTH]


class _Identified(Protocol):
    def short_id(self) -> str: ...


T = TypeVar("T", bound=_Identified)
L = TypeVar("L", bound="IdentifiedList[Any]")


class IdentifiedList(list[T]):
    """A list of experiments or of checkpoints. Its slices, sums and copies are of its own class."""

    kind: str  # "experiment" or "checkpoint"

    def __repr__(self) -> str:
        """Return `<3 checkpoints: 5ffb0f6, 1a2b3c4, 9f02c7d>`; of many the first and the last."""
        ids = [item.short_id() for item in self]
        shown = ids if len(ids) <= _SHOWN_IDS else [*ids[: _SHOWN_IDS - 2], "…", ids[-1]]
        return f"<{plural(len(ids), self.kind)}{': ' if ids else ''}{', '.join(shown)}>"

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self: L, index: slice) -> L: ...
    def __getitem__(self: L, index: SupportsIndex | slice) -> Any:
        found = super().__getitem__(index)
        return type(self)(found) if isinstance(index, slice) else found

    def __add__(self: L, other: list[Any]) -> L:  # type: ignore[override]
        return type(self)(super().__add__(other))

    def copy(self: L) -> L:
        """Return a list of the same."""
        return type(self)(self)
