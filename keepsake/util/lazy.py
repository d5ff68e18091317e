"""Dataclasses that are made when somebody looks at their fields, so that `import keepsake` is quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

C = TypeVar("C", bound=type)

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(**options: Any) -> Callable[[C], C]:
        """Make a class a dataclass when somebody looks at its fields, as `dataclasses.asdict()` does.

        Hardly any program does, and importing `dataclasses`, which imports `inspect`, takes long. The options must be
        such that the decorated class gets no methods.
        """

        def decorated(cls: C) -> C:
            for name in ("__dataclass_fields__", "__dataclass_params__", "__match_args__"):
                setattr(cls, name, _Later(cls, name, options))
            return cls

        return decorated


class _Later:
    """An attribute that dataclasses have."""

    def __init__(self, of: type, name: str, options: dict[str, Any]) -> None:
        self._of, self._name, self._options = of, name, options

    def __get__(self, instance: object, owner: type) -> Any:
        import dataclasses

        made: Any = dataclasses.dataclass(**self._options, match_args=False)(self._of)
        setattr(made, "__match_args__", tuple(made.__dataclass_fields__))  # noqa: B010 - mypy knows the name, as final
        return getattr(made, self._name)
