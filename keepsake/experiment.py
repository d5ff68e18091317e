"""Experiment: one run of a training script."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from keepsake.checkpoint import Checkpoint, CheckpointList
from keepsake.checks import check_path
from keepsake.exceptions import KeepsakeError, ValidationError
from keepsake.metadata import (
    EXPERIMENT_FIELDS,
    Record,
    best_checkpoint,
    checkpoints_of,
    empty_value,
    from_local_datetime,
    latest_checkpoint,
    local_datetime,
    parse_rfc3339,
)
from keepsake.recorded import Recorded
from keepsake.util.console import plural, warn
from keepsake.util.ids import short_id
from keepsake.util.lazy import dataclass
from keepsake.util.values import decode, encode_mapping

if TYPE_CHECKING:
    from keepsake.comparison import Comparison
    from keepsake.project import Project
    from keepsake.recording.run import Run
    from keepsake.repository.view import SharedHeartbeats
    from keepsake.workplace import SavedFile


_E = TypeVar("_E", bound="Experiment")


@dataclass(init=False, repr=False, eq=False)  # a dataclass as in 0.4.2, so dataclasses.asdict() works
class Experiment(Recorded):
    """A run of a training script, as `keepsake.init()` returns it and a repository holds it.

    `with keepsake.init(…) as experiment:` ends it with the block.

    Attributes:
        id: 64 hexadecimal digits.
        created: the time of its beginning, a naive local datetime.
        user, host, command: the login name, the machine and the command line.
        config: `{"repository": URL, "storage": ""}`.
        path: the file or directory saved at the beginning, relative to the project directory; None if none was.
        params: hyperparameters, name → value.
        python_version, python_packages: the interpreter, and name → version of the packages imported at the beginning.
        keepsake_version: the version of Keepsake that recorded it.
        checkpoints: its checkpoints, in order of creation.
        project: its project. It raises KeepsakeError for an experiment that was built by hand.
    """

    id: str
    created: datetime
    user: str | None
    host: str | None
    command: str | None
    config: dict[str, Any] | None
    path: str | None
    params: dict[str, Any] | None
    python_version: str | None
    python_packages: dict[str, str] | None
    keepsake_version: str | None
    checkpoints: CheckpointList

    def __init__(
        self,
        project: Project | None,
        id: str,
        created: datetime,
        user: str | None = None,
        host: str | None = None,
        command: str | None = None,
        config: dict[str, Any] | None = None,
        path: str | None = None,
        params: dict[str, Any] | None = None,
        python_version: str | None = None,
        python_packages: dict[str, str] | None = None,
        keepsake_version: str | None = None,
        checkpoints: CheckpointList | None = None,
    ) -> None:
        self._project = project
        self.id = id
        self.created = created
        self.user = user
        self.host = host
        self.command = command
        self.config = config
        self.path = path
        self.params = params
        self.python_version = python_version
        self._python_packages = python_packages
        self.keepsake_version = keepsake_version
        self._checkpoints: CheckpointList | None = CheckpointList(checkpoints or [])
        self._record: Record = {}  # as it was read
        self._ends: tuple[Record | None, Record | None] | None = None  # its best and its latest checkpoint
        self._created_as_read: datetime | None = None
        self._run: Run | None = None  # once this process records something
        self._heartbeats: SharedHeartbeats | None = None  # shared by the experiments of a list

    @classmethod
    def from_record(
        cls: type[_E],
        project: Project,
        record: Record,
        run: Run | None = None,
        heartbeats: SharedHeartbeats | None = None,
    ) -> _E:
        """Return the experiment of a project that has this record, and that this process records as `run`."""
        experiment = cls(project, record["id"], local_datetime(record["created"]))
        experiment._set(record)
        experiment._run, experiment._heartbeats = run, heartbeats
        return experiment

    def _set(self, record: Record) -> None:
        self._record = record
        for name in ("user", "host", "command", "config", "path", "python_version", "keepsake_version"):
            setattr(self, name, record.get(name) or None)
        self.created = self._created_as_read = local_datetime(record["created"])
        self.params = decode(record["params"]) if record.get("params") else None
        self._python_packages = record.get("python_packages") or None
        self._ends = None
        self._checkpoints = None  # made on first use, because a list of runs may have very many

    def _get_checkpoints(self) -> CheckpointList:
        if self._checkpoints is None:
            records = checkpoints_of(self._record)
            self._checkpoints = CheckpointList(Checkpoint.from_json(record, self) for record in records)
        return self._checkpoints

    def _set_checkpoints(self, checkpoints: CheckpointList) -> None:
        self._checkpoints = checkpoints

    def _get_python_packages(self) -> dict[str, str] | None:
        """Name → version of the packages that the script had imported when it began."""
        if self._python_packages is None and self._run is not None:
            self._python_packages = self._run.packages()
        return self._python_packages

    def _set_python_packages(self, packages: dict[str, str] | None) -> None:
        self._python_packages = packages

    @property
    def project(self) -> Project:
        """Its project. Raises KeepsakeError for an experiment that was built by hand."""
        if self._project is None:
            raise KeepsakeError(
                f"Experiment {self.short_id()} has no project, because it was built by hand. Use one from a project."
            )
        return self._project

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Experiment) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Experiment {self.short_id()}, params {self.params}, {plural(len(self.checkpoints), 'checkpoint')}>"

    # Reading

    def diff(self, other: Experiment | Checkpoint) -> Comparison:
        """Compare this experiment with another one, or with a checkpoint.

        An experiment stands for its best (or else latest) checkpoint. `.files` of the result compares the files too.
        """
        from keepsake.comparison import compare

        return compare(self, other)

    def checkout(self, directory: str | os.PathLike[str] | None = None, path: str | None = None) -> None:
        """Put the files of this experiment and of its best (or else latest) checkpoint into a directory.

        Args:
            directory: None: the project directory. Overwritten files are kept for `keepsake.undo_checkout()`.
            path: only this file or directory.
        """
        self.project.checkout((self, self.best() or self.latest()), directory, path)

    def rerun(self, settings: Mapping[str, object] | None = None) -> int:
        """Restore the files of its beginning into a new directory, run its command there again; return the exit status.

        Args:
            settings: options of the command, with their new values: `{"lr": 0.1}` for `--lr …` or `lr=…`.

        The new run has this experiment as its parent. `Project.rerun` has more choices.
        """
        return self.project.rerun((self, None), settings)

    def files(self) -> list[SavedFile]:
        """Return the files of this experiment, and those of its best (or else latest) checkpoint in their place.

        Raises DoesNotExist if neither has files.
        """
        return self.project.files((self, self.best() or self.latest()))

    def open(self, path: str) -> BinaryIO:
        """Return one of the files saved at the beginning, as a seekable binary stream."""
        return self.project.workplace.open_file(self, None, path)

    def refresh(self) -> None:
        """Read the experiment again, with all additions. Raises DoesNotExist if it was deleted."""
        self._heartbeats = None
        self._set(self.project.workplace.view.load(self.id))

    def latest(self) -> Checkpoint | None:
        """Return the checkpoint that was created last; None if there is none."""
        return self.checkpoints.latest()

    def best(self) -> Checkpoint | None:
        """Return the checkpoint with the best value of the primary metric; None if none qualifies.

        If several are equally good, it is the latest. NaN, None and values that are not numbers do not qualify.
        """
        primaries = [c.primary_metric for c in self.checkpoints if c.primary_metric]
        declared = sorted({(primary["name"], str(primary.get("goal"))) for primary in primaries})
        if len(declared) > 1:
            warn(
                f"The checkpoints of experiment {self.short_id()} have different primary metrics "
                f"({', '.join(f'{name} ({goal})' for name, goal in declared)}). The one that was declared first counts."
            )
        return self.checkpoints.best()

    def primary_metric(self) -> str | None:
        """Return the name of the primary metric; None if no checkpoint declares one."""
        return self.checkpoints.primary_metric()

    def record(self) -> Record:
        """Return what `to_json` does, or the record as it was read, which is quicker."""
        return self.to_json() if self._checkpoints is not None else self._record

    def checkpoint_records(self) -> list[Record]:
        """Return the records of its checkpoints, quickly: unless `checkpoints` was asked for, no checkpoint is made."""
        return checkpoints_of(self.record())

    def best_and_latest(self) -> tuple[Record | None, Record | None]:
        """Return the records of both, quickly: unless `checkpoints` was asked for, no checkpoint is made."""
        if self._checkpoints is None:
            if self._ends is None:
                records = checkpoints_of(self._record)
                self._ends = best_checkpoint(records), latest_checkpoint(records)
            return self._ends
        best, latest = self._checkpoints.best(), self._checkpoints.latest()
        return best.to_json() if best else None, latest.to_json() if latest else None

    @property
    def duration(self) -> timedelta | None:
        """The time from the beginning to the latest checkpoint; None without checkpoints."""
        latest = self.latest()
        return self.time_to(latest.created_text()) if latest else None

    def time_to(self, moment: str) -> timedelta:
        """Return the time from the beginning to a checkpoint's, as on disk."""
        return parse_rfc3339(moment) - parse_rfc3339(self._created_text())

    def short_id(self) -> str:
        """Return the first 7 digits of the ID, enough to recognise it."""
        return short_id(self.id)

    def to_json(self) -> Record:
        """Return the experiment as on disk, with every field, and times in UTC."""
        own = {
            "created": self._created_text(),
            "params": encode_mapping(self.params, "params") if self.params else None,
            "checkpoints": [checkpoint.to_json() for checkpoint in self.checkpoints] or None,
        }
        plain = {name: getattr(self, name) or default for name, default in EXPERIMENT_FIELDS.items() if name not in own}
        fields = {**EXPERIMENT_FIELDS, **plain, **own}
        for name in ("params", "python_packages", "checkpoints"):
            fields[name] = fields[name] or empty_value(self._record, name)
        return fields | {name: value for name, value in self._record.items() if name not in fields}

    def _created_text(self) -> str:
        if self.created == self._created_as_read:
            return str(self._record["created"])
        return from_local_datetime(self.created)

    def _validate(self) -> list[str]:
        """Return the problems with this experiment, one text each; empty if there are none."""
        problems = check_path(self.path)
        try:
            encode_mapping(self.params or {}, "params")
        except ValidationError as error:
            problems.append(str(error))
        return problems

    # The rest

    def delete(self) -> None:
        """Delete this experiment, its checkpoints and all their files."""
        self.project.delete([(self, None)])

    def plot(
        self,
        metric: str | Sequence[str] | None = None,
        logy: bool = False,
        plot_only: bool = False,
        *,
        logx: bool = False,
        x: str = "step",
        smoothing: float = 0.0,
    ) -> Any:
        """Plot metrics (default: the primary metric) over the steps with Matplotlib; return the axes.

        `ExperimentList.plot` describes the arguments. `plot_only` has no effect. Scripts for Keepsake 0.4.2 may pass
        it.
        """
        from keepsake.display.figures import Look, plot

        return plot([(self, self.checkpoint_records())], metric, Look(logx, logy, x, smoothing))

    def _repr_html_(self) -> str:
        from keepsake.display.notebook import experiment_html

        return experiment_html(self)

    def without_checkpoints(self) -> Experiment:
        """Return a copy without checkpoints, to be pickled with one of them."""
        twin = Experiment.__new__(Experiment)
        record = {**self._record, "checkpoints": None}
        vars(twin).update({**vars(self), "_record": record, "_checkpoints": CheckpointList(), "_run": None})
        return twin

    def __getstate__(self) -> dict[str, Any]:
        packages = self._get_python_packages()
        own = {"_python_packages": packages, "_checkpoints": self.checkpoints, "_run": None, "_heartbeats": None}
        return {**self.__dict__, **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for checkpoint in self.checkpoints:
            checkpoint.experiment = self


# These are set after the class statement, because the dataclass would take them for default values.
Experiment.python_packages = property(  # type: ignore[assignment]
    Experiment._get_python_packages,
    Experiment._set_python_packages,
    doc="Name → version of the packages imported at the beginning; None if unknown.",
)
Experiment.checkpoints = property(  # type: ignore[assignment]
    lambda experiment: experiment._get_checkpoints(),
    Experiment._set_checkpoints,
    doc="Its checkpoints, in order of creation.",
)


def __getattr__(name: str) -> Any:
    """Return what 0.4.2 had in this module and collection.py has now."""
    if name in ("ExperimentCollection", "ExperimentList"):
        from keepsake import collection

        return getattr(collection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
