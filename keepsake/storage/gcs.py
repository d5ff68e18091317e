"""Storage in a bucket of Google Cloud Storage.

Credentials, looked for in this order: `STORAGE_EMULATOR_HOST` (an emulator, which needs none), the text of a service
account's key in `GOOGLE_APPLICATION_CREDENTIALS_JSON`, application default credentials.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any, BinaryIO

import google.auth
import google.auth.credentials
import requests.adapters
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2 import service_account

from keepsake.exceptions import (
    DoesNotExist,
    KeepsakeError,
    MissingBucket,
    PreconditionFailed,
    ReadError,
    RepositoryConfigurationError,
    WriteError,
)
from keepsake.storage import network
from keepsake.storage.base import ObjectInfo, Storage, check_key

_BATCH = 100  # deletions, the most that one request may hold
_PAGE = 1000  # objects, the most that one answer lists
_FIELDS = "items(name,size,generation,updated),nextPageToken"
_PATIENCE: dict[str, Any] = {
    "timeout": (5, 20),  # seconds to connect and to wait for bytes
    "retry": DEFAULT_RETRY.with_timeout(30).with_delay(initial=0.2, maximum=4, multiplier=2),
}
Found = tuple[list[ObjectInfo], bool]  # a page, and whether there are more
_ERRORS = (api.GoogleAPIError, auth.GoogleAuthError, requests.RequestException, DataCorruption, InvalidResponse)

_LOG_IN = (
    "Log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file, or "
    "GOOGLE_APPLICATION_CREDENTIALS_JSON to its text."
)
_RIGHTS = "These credentials may not do that. They need the role Storage Object User (roles/storage.objectUser)."
_NO_BUCKET = "There is no such bucket: check its spelling. A missing one is created when the first experiment is."
_CLOCK = "This machine's clock is probably wrong. Set it and try again."
_TLS = "The server's certificate is not trusted; for a private one, set REQUESTS_CA_BUNDLE to the file with it."
_PROJECT = "Set GOOGLE_CLOUD_PROJECT to the project that the new bucket is to belong to."
_NETWORK = "Check the network and try again."


class GCSStorage(Storage):
    """Objects of `bucket` whose names begin with `root/`. The etag is the generation."""

    seconds_between_writes = 1.0

    def __init__(self, bucket: str, root: str) -> None:
        self.url = f"gs://{bucket}/{root}".rstrip("/").replace("%", "%25")
        self._root = root + "/" if root else ""
        self._clock = network.Clock()
        self._answer = threading.local()  # the headers of the thread's last answer, which the SDK keeps to itself
        with self._errors("open"):
            self._client: Any = _client()
            self._bucket: Any = self._client.bucket(bucket)
        # It would look the bucket up behind our back, which needs more rights and a thread
        self._client._bucket_metadata_cache = None
        session = self._client._http
        session.hooks["response"].append(self._note)
        for scheme in ("https://", "http://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=network.AT_ONCE))
        # Looking through the whole environment before each request takes a third of the time that a request takes
        session.proxies = requests.utils.get_environ_proxies(self._client.api_endpoint)
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        session.trust_env = False

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        check_key(key)
        return network.open_ranges(partial(self._fetch, key), f"{self.url}/{key}", start, length)

    def get(self, key: str) -> tuple[bytes, str]:
        blob = self._blob(key)
        with self._errors("read", key):
            data = blob.download_as_bytes(raw_download=True, **_PATIENCE)
        return data, self._answer.headers["X-Goog-Generation"]

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        blob = self._blob(key)
        if if_match is not None and not (if_match.isdigit() and int(if_match)):  # 0 would mean: if absent
            raise self._changed(key)
        condition = 0 if if_absent else int(if_match) if if_match is not None else None
        with self._errors("write", key):
            blob.upload_from_string(data, if_generation_match=condition, **_PATIENCE)
        return str(blob.generation)

    def upload(self, key: str, source: BinaryIO) -> None:
        blob = self._blob(key)
        first = network.read_part(source)
        if len(first) < network.PART:
            self.put(key, first)
            return
        blob.chunk_size = 2 * network.PART  # of a resumable upload, whose parts cannot be sent in parallel
        body = _Body(first, source)
        try:
            with self._errors("write", key):
                blob.upload_from_file(body, **_PATIENCE)
        except Exception:
            if body.error:
                raise body.error from None
            raise

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        start = check_key(prefix) + "/" if prefix else ""
        return network.list_pages(partial(self._page, start), start)

    def delete(self, keys: Iterable[str]) -> None:
        names = [self._root + check_key(key) for key in keys]
        batches = (partial(self._delete_batch, names[n : n + _BATCH]) for n in range(0, len(names), _BATCH))
        left = [name for names in network.in_parallel(batches) for name in names]
        failed = [
            failure for failure in network.in_parallel(partial(self._delete_one, name) for name in left) if failure
        ]
        if failed:
            lines = [f"gs://{self._bucket.name}/{name}: {error}" for name, error in failed]
            hint = _RIGHTS if isinstance(failed[0][1], api.Forbidden) else "Try again."
            raise WriteError("\n".join([f"Could not delete {len(failed)} objects. {hint}", *lines])) from failed[0][1]

    def ensure_writable(self) -> None:
        # Who may write objects need not be allowed to see the bucket; and somebody else may be quicker to make it
        with self._errors("open"), suppress(api.Forbidden, api.Conflict):
            if not self._bucket.exists(**_PATIENCE):
                if self._client.project is None:
                    raise RepositoryConfigurationError(f"There is no bucket {self._bucket.name}. {_PROJECT}")
                self._client.create_bucket(self._bucket, **_PATIENCE)

    def now(self) -> float:
        if self._clock.offset is None:
            with self._errors("read"), suppress(api.Forbidden):  # a refusal has a date too
                self._bucket.exists(**_PATIENCE)
        return self._clock.now()

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
        jobs = (partial(self._get_if_there, key) for key in keys)
        return (found for found in network.in_parallel(jobs) if found)

    def _blob(self, key: str, generation: str | None = None) -> Any:
        return self._bucket.blob(self._root + check_key(key), generation=generation)

    def _fetch(self, key: str, start: int, stop: int | None, generation: str | None) -> network.Fetched:
        end = stop - 1 if stop is not None else None
        with self._errors("read", key):
            try:
                blob = self._blob(key, generation)
                data = blob.download_as_bytes(start=start, end=end, raw_download=True, **_PATIENCE)
            except api.RequestRangeNotSatisfiable:
                return network.Fetched(b"", 0, "")
        headers = self._answer.headers
        total = network.total_of(headers.get("Content-Range"), f"{self.url}/{key}")
        return network.Fetched(data, total, headers["X-Goog-Generation"])

    def _page(self, start: str, after: str, until: str | None) -> Found:
        found: list[ObjectInfo] = []
        with self._errors("list", start):
            blobs = self._client.list_blobs(
                self._bucket,
                prefix=self._root + start,
                start_offset=self._root + after,
                end_offset=None if until is None else f"{self._root}{until}!",
                fields=_FIELDS,
                page_size=_PAGE,
                **_PATIENCE,
            )
            for page in blobs.pages:
                found += [self._info(blob) for blob in page]
                if found:  # a page may be empty though there are more
                    break
        kept = [info for info in found if info.key > after and (until is None or info.key <= until)]
        return kept, bool(kept and blobs.next_page_token)

    def _info(self, blob: Any) -> ObjectInfo:
        return ObjectInfo(blob.name[len(self._root) :], blob.size, str(blob.generation), blob.updated.timestamp())

    def _delete_batch(self, names: Sequence[str]) -> Sequence[str]:
        """Delete names by one request; return those that have to be tried one by one."""
        if len(names) == 1:
            return names
        try:
            with self._client.batch(raise_exception=False) as batch:
                for name in names:
                    self._bucket.blob(name).delete()
            answers = zip(names, batch._responses, strict=True)
            return [name for name, answer in answers if answer.status_code not in (200, 204, 404)]
        except (*_ERRORS, ValueError):  # emulators know no batches
            return names

    def _delete_one(self, name: str) -> tuple[str, Exception] | None:
        try:
            self._bucket.blob(name).delete(**_PATIENCE)
        except api.NotFound:
            return None
        except _ERRORS as error:
            return name, error
        return None

    def _note(self, response: Any, *_: object, **__: object) -> None:
        self._answer.headers = response.headers
        if response.status_code >= 400:
            _ = response.content  # which the SDK leaves unread, so that the connection would be lost
        self._clock.note(response.headers.get("Date"))

    def _changed(self, key: str) -> PreconditionFailed:
        return PreconditionFailed(f"{self.url}/{key} was written by somebody else.")

    @contextmanager
    def _errors(self, verb: str, key: str = "") -> Iterator[None]:
        try:
            yield
        except KeepsakeError:
            raise
        except (*_ERRORS, OSError, ValueError) as error:
            raise self._error(verb, key, error) from error

    def _error(self, verb: str, key: str, error: Exception) -> KeepsakeError:
        if isinstance(error, api.RetryError):
            error = error.cause
        name, text = f"{self.url}/{key}".rstrip("/"), str(error)
        if isinstance(error, api.NotFound) and verb == "read" and "bucket does not exist" not in text:
            return DoesNotExist(f"{name} does not exist.")
        if isinstance(error, api.PreconditionFailed):
            return self._changed(key)
        hint = _hint(error, text)
        kind: type[KeepsakeError] = ReadError if verb in ("read", "list") else WriteError
        if hint:
            kind = MissingBucket if hint == _NO_BUCKET else RepositoryConfigurationError
        return kind(f"Could not {verb} {name}: {text.rstrip('.')}. {hint or _NETWORK}")


class _Body:
    """What a resumable upload reads: `first`, then `source`; in full parts, so that only the last one is short."""

    def __init__(self, first: bytes, source: BinaryIO) -> None:
        self._first, self._source, self._position = first, source, 0
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            data = self._first + network.read_part(self._source, size - len(self._first))
        except BaseException as error:
            self.error = error
            raise
        self._first = b""
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position


def _client() -> Any:
    project = os.environ.get("GOOGLE_CLOUD_PROJECT")
    if host := os.environ.get("STORAGE_EMULATOR_HOST"):
        credentials: Any = google.auth.credentials.AnonymousCredentials()  # type: ignore[no-untyped-call]
        endpoint = {"api_endpoint": host if "://" in host else f"http://{host}"}
        return storage.Client(project=project or "keepsake", credentials=credentials, client_options=endpoint)
    if text := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS_JSON"):
        try:
            key = json.loads(text)
            credentials = service_account.Credentials.from_service_account_info(key)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, AttributeError) as error:
            raise RepositoryConfigurationError(
                "GOOGLE_APPLICATION_CREDENTIALS_JSON is not the text of a service account's key."
            ) from error
        return storage.Client(project=project or key.get("project_id"), credentials=credentials)
    credentials, found = google.auth.default()
    return storage.Client(project=project or found, credentials=credentials)


def _hint(error: Exception, text: str) -> str | None:
    """What to do about an error that will not go away by itself; None for others."""
    if isinstance(error, auth.RefreshError) and ("short-lived" in text or "issued in the future" in text):
        return _CLOCK
    if isinstance(error, api.Unauthorized | auth.DefaultCredentialsError | auth.RefreshError):
        return _LOG_IN
    if isinstance(error, requests.exceptions.SSLError):
        return _TLS
    if isinstance(error, api.NotFound):
        return _NO_BUCKET
    return _RIGHTS if isinstance(error, api.Forbidden) else None
