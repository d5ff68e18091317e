"""Whether a repository is at a URL, and which one: its spec and its identity."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from keepsake.exceptions import (
    CorruptedRepositorySpec,
    DoesNotExist,
    IncompatibleRepositoryVersion,
    MissingBucket,
    MissingRepository,
    OtherRepository,
    RepositoryConfigurationError,
)
from keepsake.repository.keys import IDENTITY, SPEC, VERSION
from keepsake.storage import Storage
from keepsake.util.files import WINDOWS

Place = tuple[int, int]  # device and inode of a directory

_SPEC_CONTENT = b'{"version":%d}' % VERSION


class Presence:
    """The part of a repository that tells whether it is there. Repository adds its content.

    Attributes:
        storage: the storage that holds it.
        url: its URL, without secrets.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.url = storage.url
        self._spec_found: bool | None = None  # None: not checked yet
        self._seen: tuple[str, Place] | None = None  # the last identity that was read, and where

    # The spec

    def check(self) -> None:
        """Raise IncompatibleRepositoryVersion or CorruptedRepositorySpec if this version cannot use the repository."""
        if self._spec_found:
            return
        try:
            data, _ = self.storage.get(SPEC)
        except DoesNotExist:
            self._spec_found = False
            self._check_place()
            return
        try:
            version = json.loads(data)["version"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorruptedRepositorySpec(
                f"{SPEC} in {self.url} does not belong to a repository. If nothing else uses that place, "
                f"`keepsake doctor --fix` writes it anew ({_SPEC_CONTENT.decode()})."
            ) from error
        if not isinstance(version, int) or version > VERSION:
            raise IncompatibleRepositoryVersion(
                f"The repository {self.url} has version {version}, and this Keepsake knows version {VERSION}. "
                "Upgrade Keepsake: `pip install -U keepsake`."
            )
        self._spec_found = True

    def _check_place(self) -> None:
        """Raise RepositoryConfigurationError if the URL leads to a file, or below one."""
        directory = self.storage.directory
        if directory is not None:
            nearest = next((place for place in (directory, *directory.parents) if os.path.exists(place)), directory)
            if os.path.isfile(nearest):
                raise RepositoryConfigurationError(
                    f"{self.url} does not name a folder: {nearest} is a file. Check the URL."
                )

    @property
    def exists(self) -> bool:
        """Whether `check` has found a repository."""
        return bool(self._spec_found)

    def write_spec(self) -> None:
        """Write the spec, which makes a place a repository. It replaces an old one."""
        self.storage.put(SPEC, _SPEC_CONTENT)
        self._spec_found = True

    def ensure(self, expected: str | None = None) -> str:
        """Create the repository if it does not exist, and return its identity.

        `expected` is the identity of the repository that existed before. If it is given, no new repository is created.
        MissingRepository is raised if there is none now, for example because its disk is not mounted. Earlier results
        do not count, because the directory may have been deleted since, or converted by a newer Keepsake.
        """
        self._spec_found = None
        try:
            self.check()
        except MissingBucket:
            self._spec_found = False
        if not self._spec_found:
            if expected is not None:
                raise self.missing()
            self.storage.ensure_writable()
            return self._complete({SPEC: _SPEC_CONTENT})
        return self.identity or self._complete({})

    # The identity

    @property
    def identity(self) -> str | None:
        """The identity, which tells this repository from others at the same URL; None if it has none yet.

        It is read each time, because a disk may have been unmounted, or an endpoint changed, since the last time.
        """
        place = self._place()
        try:
            data, _ = self.storage.get(IDENTITY)
        except (DoesNotExist, MissingBucket):
            return None
        try:
            identity = str(json.loads(data)["id"])
            self._seen = (identity, place) if place else None
            return identity
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CorruptedRepositorySpec(
                f"{IDENTITY} in {self.url} is damaged. Restore it from a backup, or delete it: the next run writes it "
                "anew, and what waits in a spool is then sent by `keepsake sync --force`."
            ) from error

    def _complete(self, others: dict[str, bytes]) -> str:
        """Write the identity, and other files that a repository has once; return the identity.

        Another process may be faster with each of them.
        """
        identity = os.urandom(16).hex()
        written = self.storage.put_missing({IDENTITY: json.dumps({"id": identity}).encode(), **others})
        self._spec_found = None if others.keys() - written else True
        self.check()
        return self.identity or identity  # where conditions are ignored, another process may have replaced it

    def _place(self, key: str = "") -> Place | None:
        """Return which directory is at the URL; None if there is none, or if it lacks `key`, and for a bucket."""
        directory = self.storage.directory
        with suppress(OSError):
            if directory is not None:
                return _place_with(directory, key)
        return None

    def expect_still(self, identity: str | None, key: str = "") -> None:
        """As `expect`, but without reading it again if the directory is the one where it was read last.

        With `key`, that object must be in it, or MissingRepository is raised. A disk may be unmounted just before an
        object is written, and mounted again right after. For a bucket there is nothing to do.
        """
        if self.storage.directory is not None and self._seen != (identity, self._place(key)):
            self.expect(identity)
            if key and self._seen != (identity, self._place(key)):
                raise self.missing()

    def holds(self, key: str) -> bool:
        """Whether an object is there, and not in the mount point of a disk that is away for a moment."""
        return self.storage.has(key) if self._seen is None else self._seen[1] == self._place(key)

    def expect(self, identity: str | None) -> None:
        """Raise MissingRepository or OtherRepository unless this is the repository with that identity.

        None stands for a repository that had no identity yet.
        """
        found = self.identity
        if found == identity or (identity is None and found is not None):
            return
        if found is None and not self.is_there():
            raise self.missing()
        raise OtherRepository(
            f"The repository at {self.url} is another one than before. It was replaced, restored from an old backup, "
            "or is at another server. Unsent runs stay in the spool. "
            "`keepsake sync --force` sends them to the repository that is there now."
        )

    def require(self) -> None:
        """Raise MissingRepository unless there is a repository now."""
        if not self.is_there():
            raise self.missing()

    def is_there(self) -> bool:
        """Whether there is a repository now. Earlier results do not count."""
        self._spec_found = None
        self.check()
        return self.exists

    def missing(self) -> MissingRepository:
        """Return the error for a repository that was here before."""
        return MissingRepository(
            f"The repository at {self.url} is gone. Check whether its disk is mounted, or whether its bucket exists."
        )


def _place_with(directory: Path, key: str) -> Place:
    """Return which directory that is now, if it holds `key`. Both are found at one moment, where the system can."""
    if key and not WINDOWS:
        try:
            return _place_by_descriptor(directory, key)
        except FileNotFoundError:
            raise
        except OSError:
            pass  # the file system refuses it
    os.stat(directory / key)
    status = os.stat(directory)
    return status.st_dev, status.st_ino


def _place_by_descriptor(directory: Path, key: str) -> Place:
    descriptor = os.open(directory, getattr(os, "O_PATH", os.O_RDONLY))
    try:
        os.stat(key, dir_fd=descriptor)
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return status.st_dev, status.st_ino
