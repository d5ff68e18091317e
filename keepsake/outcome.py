"""What Keepsake finds out about a run: how it ended, where it ran, its restarts and its output."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from keepsake.metadata import Record, local_datetime
from keepsake.output import parts_of
from keepsake.restarts import restarts_of

if TYPE_CHECKING:
    from keepsake.project import Project
    from keepsake.repository.view import SharedHeartbeats


class Outcome:
    """The part of an experiment that Keepsake finds out by itself. All of it is None or empty for runs of 0.4.2.

    Labelled, Recorded and Experiment add the others, one after another.
    """

    id: str
    keepsake_version: str | None
    _record: Record
    _heartbeats: SharedHeartbeats | None

    @property
    def project(self) -> Project:
        """Its project."""
        raise NotImplementedError

    @property
    def status(self) -> str:
        """Its status: "running", "stopped", "failed" or "lost".

        It has failed if an exception or a non-zero exit status ended it. It is lost if its heartbeat ended without a
        regular end of the run.
        """
        heartbeats = self._heartbeats.get() if self._heartbeats else None
        return self.project.workplace.view.status(self.id, self.keepsake_version or "", self.end_reason, heartbeats)

    @property
    def ended(self) -> datetime | None:
        """The time of its end, in local time; None if it runs, was lost, or was recorded by 0.4.2."""
        try:
            return local_datetime(self._record["ended"])
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def end_reason(self) -> str | None:
        """How it ended; None if that is unknown.

        It is "finished", "stopped", "interrupted", "terminated", "exception: …", "exit status N" or "exit".
        """
        return self._text("end_reason")

    @property
    def error(self) -> str | None:
        """The type and the message of the exception that ended it, such as "ValueError: diverged"; None without one."""
        return self._text("error")

    @property
    def traceback(self) -> str | None:
        """The traceback of that exception, at most some 20,000 characters, with likely secrets masked."""
        return self._text("traceback")

    def _text(self, name: str) -> str | None:
        """Return a field that 1.0 added to records; None if it is missing or not a text."""
        value = self._record.get(name)
        return value if isinstance(value, str) and value else None

    @property
    def environment(self) -> dict[str, Any]:
        """Where it began: `python`, `os`, `cpu`, `cpus`, `gpus`, and `git` with `commit`, `branch`, `dirty`, `remote`.

        What could not be found is missing.
        """
        found = self._record.get("environment")
        return found if isinstance(found, dict) else {}

    @property
    def job(self) -> dict[str, Any] | None:
        """The scheduler's job, such as `{"system": "slurm", "id": "123_4", "restart": 1}`; None without one."""
        job = self._record.get("job")
        return job if isinstance(job, dict) else None

    @property
    def restarts(self) -> list[dict[str, Any]]:
        """Each restart, oldest first: `time`, `host`, and the `reason` why the process before it ended.

        A reason "killed" means that the process could not say.
        """
        return restarts_of(self._record)

    @property
    def output(self) -> dict[str, int] | None:
        """How much of what it printed is kept: `lines` and `size` in bytes, as last sent; None if none is.

        `logs` returns it.
        """
        if not (parts := parts_of(self._record)):
            return None
        return {name: sum(counts[name] for counts in parts.values()) for name in ("lines", "size")}

    def logs(self, tail: int | None = None) -> str:
        """Return what the run printed to stdout and stderr, as `keepsake logs` shows it.

        Args:
            tail: only so many lines of the end; None: all.

        Colours are in it, as escape sequences. It was recorded with `init(capture_output=True)`. Raises DoesNotExist if
        it was not, or if it is not in the repository yet.
        """
        from keepsake.repository.output import read_output, tail_of

        text = read_output(self.project.workplace.view, self.id)
        return text if tail is None else tail_of(text, tail)

    def follow_logs(self, tail: int | None = None) -> Iterator[str]:
        """Yield what the run printed, then what it prints from now on, in whole lines, until it ends.

        Args:
            tail: of what is there already, only so many lines; None: all.

        A run on this machine is heard within a second, one elsewhere within some 30 s. Raises as `logs`.
        """
        from keepsake.repository.output import follow

        view = self.project.workplace.view
        return follow(view, self.id, self.is_running, tail)

    def is_running(self) -> bool:
        """Return whether it is running now, judged by its heartbeat."""
        return self.status == "running"
