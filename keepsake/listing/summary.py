"""What a listing shows, sorts and filters by of an experiment, as fields of its line in the index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from keepsake.listing.index import Line
from keepsake.listing.subjects import MISSING, ValuePath
from keepsake.metadata import Record, time_seconds
from keepsake.status import status_of
from keepsake.util.values import decode

_loads = json.JSONDecoder().raw_decode  # json.loads spends half of its time on checking its argument


class Summary:
    """The fields that `keepsake ls` shows, sorts and filters by. It is cheap enough to make for every experiment."""

    def __init__(self, line: Line, fresh: bool | None) -> None:
        """`fresh`: whether its heartbeat is fresh; None if it has none."""
        self.id = line.id
        self.created_key = line.created  # the sort key, to the nanosecond
        self._line = line
        self._fresh = fresh

    @cached_property
    def best(self) -> Record | None:
        """The best checkpoint as on disk, with all fields of the format and no others, or None."""
        return _loads(self._line.best)[0]  # type: ignore[no-any-return]

    @cached_property
    def latest(self) -> Record | None:
        """The latest checkpoint, in the same form."""
        return _loads(self._line.latest)[0]  # type: ignore[no-any-return]

    @cached_property
    def raw_params(self) -> Record | None:
        """The params as on disk."""
        return _loads(self._line.params)[0]  # type: ignore[no-any-return]

    @cached_property
    def _rest(self) -> Record:
        return _loads(self._line.rest)[0]  # type: ignore[no-any-return]

    @property
    def num_checkpoints(self) -> int:
        """The number of checkpoints."""
        return int(self._rest["num_checkpoints"])

    @property
    def status(self) -> str:
        """The status: "running", "stopped", "failed" or "lost"."""
        return status_of(self._rest["keepsake_version"] or "", self._fresh, self.end_reason)

    @property
    def ended(self) -> str | None:
        """The time of the end as on disk; None if it is unknown."""
        return self._rest.get("ended")

    @property
    def end_reason(self) -> str | None:
        """How it ended; None if that is unknown."""
        return self._rest.get("end_reason")

    @property
    def error(self) -> str | None:
        """The type and the message of the exception that ended it; None if there was none."""
        return self._rest.get("error")

    @property
    def job(self) -> Record | None:
        """The scheduler's job that it belongs to; None if it belongs to none."""
        return self._rest.get("job")

    @property
    def running(self) -> bool:
        """Whether the run is going on, judged by its heartbeat."""
        return self.status == "running"

    @property
    def created(self) -> float:
        """The time of creation in Unix seconds."""
        return time_seconds(self.created_text)

    @property
    def created_text(self) -> str:
        """The time of creation as on disk."""
        return str(self._rest["created"])

    @property
    def user(self) -> str:
        """The login name, "" if unknown."""
        return self._rest["user"] or ""

    @property
    def host(self) -> str:
        """The machine's name, "" if unknown."""
        return self._rest["host"] or ""

    @property
    def command(self) -> str:
        """The command line, "" if unknown."""
        return self._rest["command"] or ""

    @property
    def name(self) -> str:
        """The name that a person gave it, "" without one."""
        return str(self._rest.get("name", ""))

    @property
    def tags(self) -> list[str]:
        """The tags, in order."""
        return list(self._rest.get("tags", ()))

    @property
    def notes(self) -> str:
        """The notes, "" without any."""
        return str(self._rest.get("notes", ""))

    @property
    def parent(self) -> str:
        """The ID of the checkpoint or experiment that its code came from, "" if unknown."""
        return str(self._rest.get("parent", ""))

    @property
    def latest_step(self) -> int:
        """The step of the latest checkpoint, 0 if there is none."""
        return self.latest["step"] if self.latest else 0

    def fact(self, name: str) -> Any:
        """Return a field that 0.4.2 does not have; None if it is not set. Times are in Unix seconds."""
        if name == "duration":
            return time_seconds(self.latest["created"]) - self.created if self.latest else None
        value = self._rest.get(name) or None
        if name != "ended" or value is None:
            return value
        try:
            return time_seconds(value)
        except ValueError:
            return None

    @property
    def params(self) -> Mapping[str, Any]:
        """The params as Python values."""
        return decode(self.raw_params or {})  # type: ignore[no-any-return]

    @property
    def best_metrics(self) -> Mapping[str, Any]:
        """The metrics of the best checkpoint as Python values; empty if there is none."""
        return decode((self.best or {}).get("metrics") or {})  # type: ignore[no-any-return]

    @property
    def last_metrics(self) -> Mapping[str, Any]:
        """The last recorded value of each metric, in the same form."""
        metrics = (self.latest or {}).get("metrics") or {}
        return decode({**metrics, **self._earlier} if self._line.earlier else metrics)  # type: ignore[no-any-return]

    @cached_property
    def _earlier(self) -> Record:
        return _loads(self._line.earlier)[0]  # type: ignore[no-any-return]

    # A look at the text is far quicker than parsing it.

    def param(self, path: ValuePath) -> Any:
        """Return a param, or MISSING."""
        return path.find(self.params) if path.may_be_in(self._line.params) else MISSING

    def best_metric(self, path: ValuePath) -> Any:
        """Return a metric of the best checkpoint, or MISSING."""
        return path.find(self.best_metrics) if path.may_be_in(self._line.best) else MISSING

    def last_metric(self, path: ValuePath) -> Any:
        """Return the last recorded value of a metric, or MISSING."""
        may_be = path.may_be_in(self._line.latest) or path.may_be_in(self._line.earlier)
        return path.find(self.last_metrics) if may_be else MISSING
