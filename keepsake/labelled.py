"""The parts of an experiment that can change: its labels and, while it runs, its params."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from keepsake.exceptions import KeepsakeError, ValidationError
from keepsake.labels import apply_edits, following, labels_of, make_edit
from keepsake.metadata import Record, time_text
from keepsake.outcome import Outcome
from keepsake.recording import switches
from keepsake.util.console import error as say_error
from keepsake.util.console import warn
from keepsake.util.ids import short_id
from keepsake.util.values import decode, encode_mapping

if TYPE_CHECKING:
    from keepsake.checkpoint import CheckpointList
    from keepsake.collection import ExperimentList
    from keepsake.recording.run import Run


class Labelled(Outcome):
    """The part of an experiment that can be changed after its end.

    In the process that records the experiment, a change never raises and never waits for the repository: a warning
    names what is left out (except with KEEPSAKE_STRICT=1). Elsewhere, it is in the repository when the call returns,
    and raises ValidationError, DoesNotExist or WriteError. A run that goes on keeps it.
    """

    params: dict[str, Any] | None
    checkpoints: CheckpointList
    _run: Run | None

    def labels(self) -> Record:
        """Return its `name`, `tags`, `notes` and `parent`. Labels that are not set are missing."""
        return labels_of(self._record)

    @property
    def name(self) -> str | None:
        """What people call it; None without a name. Set it to rename the experiment."""
        return self.labels().get("name")

    @name.setter
    def name(self, name: str | None) -> None:
        self.rename(name)

    @property
    def tags(self) -> list[str]:
        """Its tags, in the order in which they were added. `tag` and `untag` change them."""
        return list(self.labels().get("tags", ()))

    @property
    def notes(self) -> str | None:
        """What people wrote about it, of any length; None without notes. Set it to replace them."""
        return self.labels().get("notes")

    @notes.setter
    def notes(self, text: str | None) -> None:
        self.note(text)

    @property
    def parent(self) -> str | None:
        """The ID of the checkpoint or experiment that it came from, by a checkout or as given; None if unknown."""
        return self.labels().get("parent")

    @property
    def keep(self) -> str | None:
        """Which checkpoints keep their files, as given to `init(keep=…)`, such as "best:3,last:1"; None: all."""
        from keepsake.repository.pruning import keep_of

        keep = keep_of(self._record)
        return None if keep is None else str(keep)

    def rename(self, name: str | None) -> None:
        """Give the experiment a name of one line and at most 200 characters; None removes it."""
        self._edit(name=name or "")

    def tag(self, *tags: str, remove: Iterable[str] = ()) -> None:
        """Add tags, and remove others. A tag has at most 100 characters, no comma, and no + or - at its beginning."""
        self._edit(add=tags, remove=remove)

    def untag(self, *tags: str) -> None:
        """Remove tags. Those that it does not have are ignored."""
        self._edit(remove=tags)

    def note(self, text: str | None) -> None:
        """Replace the notes by a text of at most 100,000 characters; None removes them."""
        self._edit(notes=text or "")

    def update_params(self, params: Mapping[str, Any]) -> None:
        """Add hyperparameters, or change them, in the process that records the experiment.

        Args:
            params: name → value, as for `init()`; a dict, a dataclass or an argparse.Namespace. The others stay.

        What cannot be recorded is reported, and changes nothing (except with KEEPSAKE_STRICT=1). Raises
        ValidationError in a process that does not record the experiment, and after its end.
        """
        if self._is_too_late("The params"):
            return
        from keepsake.recording.environment import without_secrets

        run = self._going_on()
        if run is None:
            raise ValidationError(
                f"Experiment {short_id(self.id)} is not being recorded by this process, so its params stay as they are."
            )
        with self._reporting("params"):
            new = without_secrets(encode_mapping(params, "params"))
            if new:
                edit = following({"params": new, "edited": time_text()}, self._record)
                run.edit(edit)
                self._record = apply_edits(self._record, [edit])
                self.params = {**(self.params or {}), **decode(new)}

    def children(self) -> ExperimentList:
        """Return the experiments whose parent is this one or one of its checkpoints, oldest first."""
        return self.project.experiments.children({self.id, *(checkpoint.id for checkpoint in self.checkpoints)})

    def _going_on(self) -> Run | None:
        """Return the run of an experiment that this process records and has not ended; None for others."""
        return self._run if self._run is not None and not self._run.ending else None

    def _is_too_late(self, what: str) -> bool:
        """Whether Python is being taken apart, as during the `__del__` of a global object; say what is not saved.

        No module can be imported then, and no thread runs.
        """
        is_over = sys.is_finalizing()
        if is_over:
            say_error(f"{what} of experiment {short_id(self.id)} cannot be saved: Python is ending. Save earlier.")
        return is_over

    def _edit(self, **changes: object) -> None:
        if self._is_too_late("The labels"):
            return
        run = self._going_on()
        with self._reporting("labels") if run else nullcontext():
            edit, problems = make_edit(**changes)
            if problems and (run is None or switches.is_strict()):
                raise ValidationError(problems[0])
            for problem in problems:
                warn(f"{problem} It is left out.")
            if run and edit:
                edit = following(edit, self._record)
                run.edit(edit)
                self._record = apply_edits(self._record, [edit])
            elif edit:
                self._record = {**self._record, **_labels(self.project.workplace.edit(self.id, edit))}

    @contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        """Report an error instead of raising it into the script, except in strict mode."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - such as one of an object that the script gave
            from keepsake.recording.signals import let_through

            let_through(error)
            reason = str(error) if isinstance(error, KeepsakeError) else f"{type(error).__name__}: {error}"
            warn(f"The {what} of experiment {short_id(self.id)} stay as they are: {reason}")


def _labels(record: Record) -> Record:
    return {name: labels_of(record).get(name) for name in ("name", "tags", "notes")}
