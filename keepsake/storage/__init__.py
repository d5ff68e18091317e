"""The storage of a repository: a flat map from keys to bytes, on disk, S3 or Google Cloud Storage."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from keepsake.config import redact_url
from keepsake.exceptions import MissingExtra, RepositoryConfigurationError
from keepsake.storage.base import ObjectInfo, Storage
from keepsake.storage.disk import DiskStorage
from keepsake.util.directories import expand

__all__ = ["ObjectInfo", "Storage", "open_storage"]

_FORMS = "file://PATH for a folder, s3://BUCKET/FOLDER for S3, gs://BUCKET/FOLDER for Google Cloud Storage"


def open_storage(url: str, project_directory: str | os.PathLike[str] | None = None) -> Storage:
    """Return the storage at `url`, without contacting a server or creating anything.

    A relative `file://` path is relative to `project_directory` (default: the working directory). Percent escapes
    are decoded, `~` and `$VARIABLE` are expanded as by a shell, and `#` and `?` are ordinary characters.
    Raises RepositoryConfigurationError, also if a file is where the folder should be, or its subclass MissingExtra.
    """
    url = redact_url(url)
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("file", "s3", "gs"):
        raise _no_url(url)
    try:
        path = unquote(rest, errors="strict")
    except UnicodeDecodeError as error:
        raise RepositoryConfigurationError(f"The escapes in the repository URL {url!r} are not UTF-8.") from error
    if scheme == "file":
        return _open_disk(url, path, project_directory)
    return _open_cloud(scheme, path)


def _no_url(given: str) -> RepositoryConfigurationError:
    """Return the error for what is no URL. A path is the usual slip, so the URL of that folder is suggested."""
    is_path = re.match(r"[./~\\$]|[A-Za-z]:[/\\]", given) or os.path.isdir(given)
    if is_path and "://" not in given and "\0" not in given:
        place = given.replace("\\", "/").replace("%", "%25")
        place = f"/{place}" if place[1:2] == ":" else place
        return RepositoryConfigurationError(
            f"{given!r} is a path, not a repository URL. Did you mean 'file://{place}'?"
        )
    return RepositoryConfigurationError(f"Not a repository URL: {given!r}. Use {_FORMS}.")


def _open_disk(url: str, path: str, project_directory: str | os.PathLike[str] | None) -> Storage:
    if not path or "\0" in path:
        raise RepositoryConfigurationError(f"The repository URL {url!r} names no folder. Write file://PATH.")
    if os.name == "nt" and re.match(r"/[A-Za-z]:", path):
        path = path[1:]  # file:///C:/keepsake
    base = Path(project_directory or ".")
    if ("~" in path or "$" in path) and not os.path.isfile(base / path / "repository.json"):
        path = expand(path)  # unless Keepsake 0.4.2, which expands nothing, made a repository of that name
    return DiskStorage(base / path)


def _open_cloud(scheme: str, path: str) -> Storage:
    bucket, _, tail = path.partition("/")
    root = "/".join(part for part in tail.split("/") if part not in ("", "."))
    if not bucket or ".." in root.split("/"):
        raise _no_url(f"{scheme}://{path}")
    if any("\ud800" <= character <= "\udfff" for character in path):
        raise RepositoryConfigurationError(f"The repository URL {f'{scheme}://{path}'!r} is not valid Unicode.")
    try:
        if scheme == "s3":
            from keepsake.storage.s3 import S3Storage

            return S3Storage(bucket, root)
        from keepsake.storage.gcs import GCSStorage

        return GCSStorage(bucket, root)
    except ImportError as error:
        extra = "s3" if scheme == "s3" else "gcs"
        raise MissingExtra(
            f"{scheme}:// repositories need another package. Install it with:\n    pip install 'keepsake[{extra}]'"
        ) from error
