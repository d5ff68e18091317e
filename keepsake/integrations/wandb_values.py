"""What scripts for W&B log, set and save: values with attributes, media, artifacts."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from keepsake.exceptions import KeepsakeError
from keepsake.integrations.recorder import flat
from keepsake.util.console import warn
from keepsake.util.values import mapping_of

_FOREIGN_MEDIA = ("matplotlib", "plotly", "PIL", "bokeh", "seaborn")
_said: set[str] = set()


def say_once(kind: str, message: str) -> None:
    """Warn, once per kind and process."""
    if kind not in _said:
        _said.add(kind)
        warn(message)


class Values(MutableMapping[str, Any]):
    """Names and values, by attributes and by items: `config.lr` is `config["lr"]`.

    Args:
        changed: called with what is set.
    """

    def __init__(self, changed: Callable[[dict[str, Any]], object]) -> None:
        vars(self).update(_values={}, _changed=changed)

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

    def update(self, values: object = (), allow_val_change: bool | None = None, **more: Any) -> None:  # type: ignore[override]
        """Set values from a mapping, or from an object with fields, such as an argparse.Namespace."""
        given = {**(mapping_of(values, "the values") if values else {}), **more}
        new = {str(name): value for name, value in given.items()}
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
            say_once(kind, f"Keepsake records numbers and texts, not objects of type {kind}: {name!r} is left out.")
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


class Artifact:
    """Files under a name. `run.log_artifact()` saves them as the files of a checkpoint.

    Attributes:
        name, type, description, metadata: as the arguments.
        files: pairs of a name in the artifact, and a file or directory.
    """

    def __init__(
        self, name: str, type: str = "", description: str | None = None, metadata: Any = None, **_: Any
    ) -> None:
        self.name, self.type, self.description = name, type, description
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.version, self.aliases, self.tags = "v0", ["latest"], list[str]()
        self.files: list[tuple[str, Path]] = []
        self._new: str | None = None  # a directory for new files

    def add_file(self, local_path: str | os.PathLike[str], name: str | None = None, **_: Any) -> None:
        """Add a file."""
        self.files.append((name or os.path.basename(local_path), Path(local_path)))

    def add_dir(self, local_path: str | os.PathLike[str], name: str | None = None, **_: Any) -> None:
        """Add what a directory holds."""
        self.files.append((name or "", Path(local_path)))

    def add(self, obj: object, name: str, **_: Any) -> None:
        """Accept a table or an image."""
        say_once("add", f"Keepsake records the files of artifacts, not objects: {name!r} is left out.")

    def add_reference(self, uri: object, name: str | None = None, **_: Any) -> None:
        """Accept a reference."""
        say_once("add_reference", f"Keepsake records the files of artifacts, not references: {uri} is left out.")

    @contextmanager
    def new_file(self, name: str, mode: str = "w", encoding: str | None = None) -> Iterator[IO[Any]]:
        """Open a new file, which is added when it is closed."""
        if self._new is None:
            self._new = tempfile.mkdtemp()
            weakref.finalize(self, shutil.rmtree, self._new, ignore_errors=True)
        path = Path(self._new, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding=encoding) as file:
            yield file
        self.files.append((name, path))

    def wait(self, timeout: float | None = None) -> Artifact:
        """Return the artifact, which is saved already."""
        return self

    def download(self, root: str | os.PathLike[str] | None = None, *_: Any, **__: Any) -> str:
        """Copy the files into a directory, and return its path. Without one, it is `artifacts/` and the name."""
        directory = Path(root or Path("artifacts", self.name.replace(":", "-")))
        gather(self.files, directory, shutil.copyfile)
        return str(directory)

    def file(self, root: str | os.PathLike[str] | None = None) -> str:
        """Copy the only file into a directory, and return its path."""
        return str(Path(self.download(root), self.files[0][0]))

    def save(self, *_: Any, **__: Any) -> None:
        """Do nothing: `run.log_artifact()` saves it."""

    finalize = save


logged: dict[str, Artifact] = {}  # the artifacts of this program, by name


def logged_artifact(artifact_or_name: Any) -> Artifact:
    """Return an artifact that this program has logged, by a name such as `model:latest`.

    Raises KeepsakeError if it has not.
    """
    if isinstance(artifact_or_name, Artifact):
        return artifact_or_name
    name = str(artifact_or_name).rpartition("/")[2].partition(":")[0]
    if name not in logged:
        raise KeepsakeError(
            f"The artifact {artifact_or_name!r} is not of this program, and Keepsake has no server to fetch it from. "
            "`keepsake checkout ID` and keepsake.experiments.get(ID).open(PATH) get files of earlier runs."
        )
    return logged[name]


def gather(files: list[tuple[str, Path]], directory: Path, copy: Callable[[str, str], object] | None = None) -> None:
    """Put files and directories into a directory, under their names in it: as copies, or else as second names."""
    copy = copy or _link
    for name, source in files:
        target = directory / name
        if source.is_dir():
            shutil.copytree(source, target, copy_function=copy, dirs_exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            copy(str(source), str(target))


def _link(source: str, target: str) -> None:
    """Give a file a second name, or copy it where that is not possible."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)
