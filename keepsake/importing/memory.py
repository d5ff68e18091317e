"""What an import remembers of the runs that it found, so that the next import need not read them again.

It is one JSON file per repository URL in the user's cache directory, and can be deleted at any time. A run is the same
as before if its files have the same fingerprint, and its record is the version that was there after the import.
"""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass

from keepsake.importing.found import Found, fingerprint_of
from keepsake.util.directories import cache_directory, is_own
from keepsake.util.files import replace_with
from keepsake.version import __version__


@dataclass
class Remembered:
    """A run as an import left it.

    Attributes:
        id: its ID.
        fingerprint: of the files that it was read from, see `fingerprint_of`.
        elsewhere: folders that were looked through for files of it.
        elsewhere_fingerprint: of these folders.
        archive: the ID of the checkpoint that has its files; "" if there are none.
        etag: of its record.
        left_out, warnings: what the import reported about it.
    """

    id: str
    fingerprint: str
    elsewhere: list[str]
    elsewhere_fingerprint: str
    archive: str
    left_out: dict[str, int]
    warnings: list[str]
    etag: str = ""


class Memory:
    """The runs that earlier imports into a repository found.

    Args:
        url: of the repository.
        options: whatever else changes what an import makes of a run.
    """

    def __init__(self, url: str, options: object) -> None:
        cache = cache_directory()
        name = f"{zlib.crc32(url.encode('utf-8', 'surrogateescape')):08x}.json"
        self._path = None if cache is None else cache / "imports" / name
        self._options = f"{__version__} {url} {options!r}"
        self._runs = {run.id: run for run in self._read()}
        self._by_fingerprint = {run.fingerprint: run for run in self._runs.values()}

    def fingerprint(self, found: Found) -> str | None:
        """Return the fingerprint of the files of a run; None if they were written a moment ago."""
        return fingerprint_of(found.parts, f"{self._options} {found.place} {found.about}")

    def recall(self, fingerprint: str | None) -> Remembered | None:
        """Return the run whose files have that fingerprint; None if there is none."""
        run = self._by_fingerprint.get(fingerprint or "")
        return run if run and fingerprint_of(run.elsewhere) == run.elsewhere_fingerprint else None

    def remember(self, run: Remembered) -> None:
        """Keep a run for the next import."""
        self._runs[run.id] = run

    def save(self, etags: dict[str, str]) -> None:
        """Write the runs that are in the repository. `etags` maps the IDs of its records to their etags."""
        if self._path is None:
            return
        for run in self._runs.values():
            run.etag = run.etag or etags.get(run.id, "")  # a new one has none yet
        runs = [asdict(run) for run in self._runs.values() if etags.get(run.id) == run.etag]
        with suppress(OSError):  # without it, the next import takes longer
            for directory in (self._path.parent.parent, self._path.parent):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_with(self._path, json.dumps(runs).encode())

    def _read(self) -> list[Remembered]:
        if self._path is None:
            return []
        try:
            with open(self._path, "rb") as file:
                return [Remembered(**each) for each in json.load(file)] if is_own(os.fstat(file.fileno())) else []
        except (OSError, ValueError, TypeError, RecursionError):  # there is none, or it is damaged
            return []
