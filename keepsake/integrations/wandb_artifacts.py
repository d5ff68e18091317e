"""Artifacts in the shape of W&B's: files under a name."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from keepsake.exceptions import KeepsakeError
from keepsake.util.console import once, warn


class Artifact:
    """Files under a name. `run.log_artifact()` saves them as the files of a checkpoint.

    What is added is copied, as by W&B, because the script may change or delete it before it logs the artifact.

    Attributes:
        name, type, description, metadata: as the arguments.
        files: pairs of a name in the artifact, and a file or directory.
        copies: a directory of copies and new files; None if there are none yet.
    """

    def __init__(
        self, name: str, type: str = "", description: str | None = None, metadata: Any = None, **_: Any
    ) -> None:
        self.name, self.type, self.description = name, type, description
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.version, self.aliases, self.tags = "v0", ["latest"], list[str]()
        self.files: list[tuple[str, Path]] = []
        self.copies: Path | None = None
        self._times: dict[Path, tuple[str, list[int]]] = {}  # copy → its source, and when that was changed

    def add_file(
        self,
        local_path: str | os.PathLike[str],
        name: str | None = None,
        is_tmp: bool = False,
        skip_cache: bool = False,
        policy: str = "mutable",
        **_: Any,
    ) -> None:
        """Add a file, as it is now (with the policy "immutable": as it is when the artifact is logged)."""
        self._add(name or os.path.basename(local_path), local_path, policy)

    def add_dir(
        self,
        local_path: str | os.PathLike[str],
        name: str | None = None,
        skip_cache: bool = False,
        policy: str = "mutable",
        **_: Any,
    ) -> None:
        """Add what a directory holds, as it is now (with the policy "immutable": when the artifact is logged)."""
        self._add(name or "", local_path, policy)

    def _add(self, name: str, source: str | os.PathLike[str], policy: str) -> None:
        path = Path(source)
        if policy != "immutable" and path.exists():
            copy = self._directory() / str(len(self.files)) / path.resolve().name
            times = _times(path)
            try:
                gather([(copy.name, path)], copy.parent, shutil.copyfile)
            except (OSError, shutil.Error):  # no room: the file itself must do
                shutil.rmtree(copy.parent, ignore_errors=True)
            else:
                self._times[copy] = os.path.abspath(path), times
                path = copy
        self.files.append((name, path))

    def sources(self) -> list[tuple[str, Path]]:
        """Return the names and the files. What has not changed since it was added is taken from its own place."""
        found = []
        for name, path in self.files:
            source, times = self._times.get(path, ("", []))
            found.append((name, Path(source) if source and _times(Path(source)) == times else path))
        return found

    def settle(self) -> None:
        """Remove the copies of what has not changed since it was added, because the artifact is saved."""
        settled = self.sources()
        for (_, path), (_, source) in zip(self.files, settled, strict=True):
            if source != path:
                shutil.rmtree(path.parent, ignore_errors=True)
        self.files = settled
        if self.copies is not None:
            with suppress(OSError):  # it holds what has changed, or new files
                self.copies.rmdir()
                self.copies.parent.rmdir()

    def _directory(self) -> Path:
        if self.copies is None:
            self.copies = _new_directory()
            weakref.finalize(self, _remove_directory, self.copies)
        return self.copies

    def add(self, obj: object, name: str, **_: Any) -> None:
        """Accept a table or an image."""
        once(warn, f"Keepsake records the files of artifacts, not objects: {name!r} is left out.", "add")

    def add_reference(self, uri: object, name: str | None = None, **_: Any) -> None:
        """Accept a reference."""
        once(warn, f"Keepsake records the files of artifacts, not references: {uri} is left out.", "add_reference")

    @contextmanager
    def new_file(self, name: str, mode: str = "w", encoding: str | None = None) -> Iterator[IO[Any]]:
        """Open a new file, which is added when it is closed."""
        path = self._directory() / "new" / name
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
    """Put files and directories into a directory, under their names in it: as copies, or else as second names.

    A name that leads out of the directory does not count.
    """
    copy = copy or _link
    for name, source in files:
        target = directory / (source.name if os.path.isabs(name) or ".." in Path(name).parts else name)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=copy, dirs_exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            copy(str(source), str(target))


def _new_directory() -> Path:
    try:
        os.makedirs("wandb", exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="artifact-", dir=os.path.abspath("wandb")))
    except OSError:
        return Path(tempfile.mkdtemp())  # often in memory, so only if the working directory cannot be written


def _remove_directory(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):  # it holds other things
        place.parent.rmdir()


def _times(path: Path) -> list[int]:
    """Return what tells whether a file, or one in a directory, has changed."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found: list[int] = []
    for each in files:
        with suppress(OSError):
            status = each.stat()
            found += status.st_size, status.st_mtime_ns, status.st_ino
    return found


def _link(source: str, target: str) -> None:
    """Give a file a second name, or copy it where that is not possible."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)
