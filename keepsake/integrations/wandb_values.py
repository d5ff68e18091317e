"""What scripts for W&B log and set: values with attributes, media."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from types import ModuleType
from typing import Any

from keepsake.integrations.recordable import flat
from keepsake.integrations.wandb_artifacts import Artifact
from keepsake.util.console import once, warn
from keepsake.util.values import mapping_of

_FOREIGN_MEDIA = ("matplotlib", "plotly", "PIL", "bokeh", "seaborn")


class Values(MutableMapping[str, Any]):
    """Names and values, by attributes and by items: `config.lr` is `config["lr"]`.

    Args:
        changed: called with what is set.
        fixed: the names that keep their values, because a sweep has chosen them.
    """

    def __init__(self, changed: Callable[[dict[str, Any]], object], fixed: Collection[str] = ()) -> None:
        vars(self).update(_values={}, _changed=changed, _fixed=fixed)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        values: dict[str, Any] = vars(self).get("_values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"There is no {name!r}. There are: {', '.join(values) or 'none'}.")

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __repr__(self) -> str:
        return repr(self._values)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_values": dict(self._values), "_changed": bool}  # a copy is not the run's

    def update(self, values: object = (), allow_val_change: bool | None = None, **more: Any) -> None:  # type: ignore[override]
        """Set values from a mapping, or from an object with fields, such as an argparse.Namespace."""
        given = {**(mapping_of(values, "the values") if values else {}), **more}
        new = {str(name): value for name, value in given.items() if str(name) not in self._fixed}
        for name in sorted(set(self._fixed).intersection(map(str, given))):
            once(warn, f"The sweep chooses {name!r}, so other values of it are ignored.")
        self.note(new)
        self._changed(new)

    def setdefaults(self, values: object) -> None:
        """Set those that are not set yet."""
        self.update({name: value for name, value in mapping_of(values, "the values").items() if name not in self})

    def note(self, values: Mapping[str, Any]) -> None:
        """Set values without recording them."""
        self._values.update(values)

    def as_dict(self) -> dict[str, Any]:
        """Return a copy as a dict."""
        return dict(self._values)


class Media:
    """An image, a table or the like. It is accepted wherever a value is, and not recorded."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Accept the arguments that W&B has."""

    @classmethod
    def from_file(cls, *_: Any, **__: Any) -> Media:
        """Accept what W&B makes one of."""
        return cls()

    from_numpy = from_point_cloud = from_rdkit = from_smiles = from_file


class Audio(Media):
    """Sound."""


class Classes(Media):
    """Names of the classes in images."""


class Graph(Media):
    """The graph of a model."""


class Histogram(Media):
    """A histogram."""


class Html(Media):
    """A page."""


class Image(Media):
    """An image."""


class Molecule(Media):
    """A molecule."""


class Object3D(Media):
    """A point cloud or a scene."""


class Plotly(Media):
    """A figure of Plotly."""


class Video(Media):
    """A video."""


class Table(Media):
    """A table. A script can read it again; it is not recorded."""

    def __init__(
        self, columns: Any = None, data: Any = None, rows: Any = None, dataframe: Any = None, *_: Any, **__: Any
    ) -> None:
        frame = data if dataframe is None and hasattr(data, "columns") else dataframe
        if frame is not None:
            columns, data = frame.columns, frame.values.tolist()
        self.columns = list(["Input", "Output", "Expected"] if columns is None else columns)
        self.data = [list(row) for row in (data if data is not None else rows or [])]

    def add_data(self, *row: Any) -> None:
        """Add a row."""
        self.data.append(list(row))

    def add_row(self, *row: Any) -> None:
        """Add a row."""
        self.add_data(*row)

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Iterate over the numbers of the rows, and the rows."""
        return iter(enumerate(self.data))

    def add_column(self, name: str, data: Any, optional: bool = False) -> None:
        """Add a column."""
        values = list(data)
        self.columns.append(name)
        self.data = [[*row, value] for row, value in zip(self.data or [[]] * len(values), values, strict=False)]

    def get_column(self, name: str, convert_to: object = None) -> list[Any]:
        """Return the values of a column."""
        place = self.columns.index(name)
        return [row[place] for row in self.data]


class EvalTable(Table):
    """A table."""


class JoinedTable(Media):
    """Two tables."""


class Charts:
    """`wandb.plot`: each of its functions takes what it does in W&B, and returns something that is not recorded."""

    def __getattr__(self, name: str) -> type[Media]:
        if name.startswith("_"):
            raise AttributeError(name)
        return type("Chart", (Media,), {})


def plain_values(values: object) -> dict[str, Any]:
    """Return those that can be recorded, nested ones under names with dots, and say which kinds cannot."""
    found = {}
    for name, value in flat(mapping_of(values, "the values of log()")).items():
        kind = _kind_of_media(value)
        if kind is None:
            found[name] = value
        else:
            once(warn, f"Keepsake records numbers and texts, not objects of type {kind}: {name!r} is left out.", kind)
    return found


def _kind_of_media(value: object) -> str | None:
    if isinstance(value, (list, tuple)) and value:
        return _kind_of_media(value[0])
    if isinstance(value, (Media, Artifact)):
        return type(value).__name__
    if isinstance(value, ModuleType):  # matplotlib.pyplot
        return value.__name__
    module = type(value).__module__
    return f"{module}.{type(value).__name__}" if module.partition(".")[0] in _FOREIGN_MEDIA else None
