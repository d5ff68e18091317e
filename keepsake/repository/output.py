"""Reading what runs have printed, in the repository and in spools."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from keepsake.archive.gzip import inflate_all
from keepsake.exceptions import CorruptedArchive, DoesNotExist
from keepsake.output import attempt_of_part, is_part, parts_of
from keepsake.repository.keys import LOGS, log_key, log_owner, part_of
from keepsake.repository.view import View
from keepsake.storage.base import Storage
from keepsake.util.ids import short_id

_MOST_BYTES = 64 << 20  # of a part; ours are smaller
_HERE_SECONDS, _ELSEWHERE_SECONDS = 1.0, 10.0  # between two looks
_ANCHOR = 4000  # characters


def read_part(storage: Storage, key: str) -> bytes:
    """Return what a process has printed. Raises DoesNotExist, ReadError, and CorruptedArchive if it is damaged."""
    found = bytearray()
    with storage.open(key) as stream:
        try:
            for block in inflate_all(stream):
                found += block
                if len(found) > _MOST_BYTES:
                    raise ValueError("it is longer than Keepsake makes it")
        except ValueError as error:
            raise CorruptedArchive(f"{storage.url}/{key} is damaged: {error}. Restore it from a backup.") from error
    return bytes(found)


def read_output(view: View, experiment_id: str) -> str:
    """Return all that a run has printed. Raises DoesNotExist if nothing was kept, or if it is not there yet."""
    record = view.load(experiment_id)
    parts = _parts(view, experiment_id, list(parts_of(record)))
    if parts:
        return "".join(_heading(part, index) + text for index, (part, text) in enumerate(sorted(parts.items())))
    name = short_id(experiment_id)
    if parts_of(record):
        raise DoesNotExist(
            f"The output of experiment {name} is not in the repository yet. A run sends it every 30 seconds, and at "
            "its end. `keepsake sync` on the run's machine sends what was left there."
        )
    raise DoesNotExist(
        f"The output of experiment {name} was not kept. To keep that of a run, pass capture_output=True to "
        "keepsake.init(), or set KEEPSAKE_CAPTURE_OUTPUT=1."
    )


def _parts(view: View, experiment_id: str, names: list[str]) -> dict[str, str]:
    """Return the text of each part, from a spool or else from the repository."""
    storage, found = view.repository.storage, dict[str, bytes]()
    if not names:  # 0.4.2 drops the field when it rewrites a record
        keys = [info.key for info in storage.list(LOGS) if log_owner(info.key) == experiment_id]
        names = [part for part in map(part_of, keys) if is_part(part)]
    for log in _waiting(view, experiment_id):
        with suppress(FileNotFoundError):  # it was sent meanwhile
            found[log.stem] = log.read_bytes()
    for name in names:
        if name not in found:
            with suppress(DoesNotExist):
                found[name] = read_part(storage, log_key(experiment_id, name))
    return {name: data.decode("utf-8", "replace") for name, data in found.items()}


def _waiting(view: View, experiment_id: str) -> list[Path]:
    entry = view.entries().get(experiment_id)
    return entry.logs() if entry else []


def _heading(part: str, index: int) -> str:
    return f"--- restart {attempt_of_part(part)} ---\n" if index else ""


def tail_of(text: str, count: int) -> str:
    """Return the last lines of a text."""
    lines = text.split("\n")
    return "\n".join(lines[max(0, len(lines) - count - text.endswith("\n")) :]) if count else ""


def follow(view: View, experiment_id: str, is_running: Callable[[], bool], tail: int | None) -> Iterator[str]:
    """Yield what a run has printed, and then what is new, until it has ended."""
    shown, looks_left = "", 2
    while looks_left:
        looks_left = 2 if is_running() else looks_left - 1  # one more, because what it printed last may be on its way
        is_here = looks_left == 1 or bool(_waiting(view, experiment_id))
        text = read_output(view, experiment_id)
        whole = text[: text.rfind("\n") + 1] if looks_left else text
        new = new_in(whole, shown)
        yield new if tail is None else tail_of(new, tail)
        shown, tail = whole, None
        if looks_left:
            time.sleep(_HERE_SECONDS if is_here else _ELSEWHERE_SECONDS)


def new_in(text: str, shown: str) -> str:
    """Return what follows in a text that was shown before. The lines of progress bars may have changed meanwhile."""
    if text.startswith(shown):
        return text[len(shown) :]
    anchor = shown[-_ANCHOR:]
    if len(shown) > _ANCHOR and (place := text.rfind(anchor)) >= 0:  # its middle was left out
        return text[place + len(anchor) :]
    before, after = shown.splitlines(keepends=True), text.splitlines(keepends=True)
    same = next((index for index, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), None)
    return "".join(after[min(len(before), len(after)) if same is None else same :])
