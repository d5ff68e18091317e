"""Storage in a bucket of Google Cloud Storage.

Credentials, looked for in this order: `STORAGE_EMULATOR_HOST` (an emulator, which needs none), the text of a service
account's key in `GOOGLE_APPLICATION_CREDENTIALS_JSON`, application default credentials.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO

import google.auth
import google.auth.credentials
import requests.adapters
from google.api_core import exceptions as api
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2 import service_account

from keepsake.exceptions import DoesNotExist, MissingBucket, PreconditionFailed, RepositoryConfigurationError
from keepsake.storage import network
from keepsake.storage.base import ObjectInfo
from keepsake.storage.bucket import BucketStorage, Trouble, one_line, origin, refuse_web_page
from keepsake.storage.downloads import Changed, Cut, Download

_PAGE = 1000  # the most objects that one answer lists
_LISTED = "kind,items(name,size,generation,updated),nextPageToken"
_DELETED = (200, 204, 404)
_READS = 3  # attempts to read an object that is rewritten meanwhile
_PATIENCE: dict[str, Any] = {
    "timeout": (5, 20),  # seconds to connect and to wait for bytes
    "retry": DEFAULT_RETRY.with_timeout(30).with_delay(initial=0.2, maximum=4, multiplier=2),
}

_LOG_IN = (
    "Log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file, or "
    "GOOGLE_APPLICATION_CREDENTIALS_JSON to its text."
)
_RIGHTS = "These credentials may not do that. They need the role Storage Object User (roles/storage.objectUser)."
_NO_BUCKET = "The bucket does not exist. Check its spelling. The first experiment creates a missing bucket."
_CLOCK = "This machine's clock is probably wrong. Set it and try again."
_TLS = "The server's certificate is not trusted. For a private one, set REQUESTS_CA_BUNDLE to the file with it."
_PROXY = "Check the proxy that HTTPS_PROXY or HTTP_PROXY names."
_HOST = "Write STORAGE_EMULATOR_HOST as http://localhost:4443."
_PROJECT = "Set GOOGLE_CLOUD_PROJECT to the project of the new bucket."


class GCSStorage(BucketStorage):
    """Objects in a bucket of Cloud Storage. The etag is the generation."""

    cloud = "Cloud Storage"
    batch = 100
    settings = "STORAGE_EMULATOR_HOST and the GOOGLE_… variables"
    log_in = _LOG_IN
    unreachable = (requests.ConnectionError, requests.Timeout, auth.GoogleAuthError, api.RetryError)

    def __init__(self, bucket: str, root: str) -> None:
        self._bucket_name = bucket
        self._answer = threading.local()  # the headers of the thread's last answer; the SDK does not return them
        super().__init__("gs", bucket, root)

    def _connect(self) -> None:
        self._client: Any = _client()
        self._bucket: Any = self._client.bucket(self._bucket_name)
        self._endpoint = origin(self._client.api_endpoint)
        # The SDK's cache would look the bucket up in the background. That takes more permissions and a thread.
        self._client._bucket_metadata_cache = None
        session = self._client._http
        session.hooks["response"].append(self._look_at)
        for scheme in ("https://", "http://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=network.AT_ONCE))
        # Reading the whole environment before each request would take a third of a request's time.
        session.proxies = requests.utils.get_environ_proxies(self._client.api_endpoint)
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        session.trust_env = False

    def _look_at(self, response: Any, *_: object, **__: object) -> None:
        """Look at an answer before the SDK does."""
        self._answer.headers = response.headers
        self._clock.note(response.headers.get("Date"))
        # The SDK leaves the text of an error unread, and the connection would be lost.
        if response.status_code >= 400 or "text/html" in response.headers.get("Content-Type", ""):
            refuse_web_page(response.status_code, response.content)

    # Reading

    def _get(self, name: str) -> tuple[bytes, str]:
        for _ in range(_READS):
            data, generation = super()._get(name)
            if generation.isdigit():
                return data, generation
            blob = self._bucket.blob(name)
            blob.reload(**_PATIENCE)  # an emulator may omit the generation
            digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
            if blob.generation and blob.md5_hash in (None, digest):
                return data, str(blob.generation)
        raise network.Unexpected("content that differs from its description")

    def _receive(self, name: str, download: Download) -> None:
        version, size = download.version, download.size
        blob = self._bucket.blob(name, generation=version if version and version.isdigit() else None)
        stop = download.stop - 1 if download.stop is not None else None
        span = {} if (download.start, stop) == (0, None) else {"start": download.start, "end": stop}
        sink = _Sink(self._answer, download)
        try:
            blob.download_to_file(sink, raw_download=True, **span, **_PATIENCE)
            sink.write(b"")  # an empty object has a head, too
        except api.RequestRangeNotSatisfiable:
            download.nothing()
        except api.NotFound as error:
            # After a cut connection, the SDK asks for the generation that it was reading.
            if blob.generation is None and "generation=" in _target(error):
                raise Changed from error
            raise
        except self.unreachable as error:
            if download.size > size:
                raise Cut(error) from error
            raise

    def _page(self, prefix: str, after: str, token: str | None) -> network.Page:
        start = self._root + prefix
        query = {"prefix": start, "maxResults": _PAGE, "fields": _LISTED}
        where = {"pageToken": token} if token else {}
        where |= {"startOffset": self._root + after} if after else {}
        path = f"{self._bucket.path}/o"
        answer = self._client._connection.api_request("GET", path, query_params=query | where, **_PATIENCE)
        if answer and not answer.keys() & {"kind", "items", "nextPageToken"}:
            raise network.Unexpected("something other than a listing")
        objects = [self._info(item) for item in answer.get("items", []) if item["name"].startswith(start)]
        token = answer.get("nextPageToken")
        return network.Page([info for info in objects if info.key != after], bool(token), token)

    def _info(self, item: dict[str, Any]) -> ObjectInfo:
        key = item["name"][len(self._root) :]
        return ObjectInfo(key, int(item["size"]), str(item["generation"]), _seconds(item["updated"]))

    def _ask(self) -> None:
        with suppress(api.ClientError):
            self._bucket.exists(**_PATIENCE)

    # Writing

    def _put(self, name: str, data: bytes, if_absent: bool, if_match: str | None) -> str:
        blob = self._bucket.blob(name)
        if if_match is not None and not (if_match.isdigit() and int(if_match)):  # 0 would mean "if absent"
            raise self._changed(name)
        condition = 0 if if_absent else int(if_match) if if_match is not None else None
        blob.upload_from_string(data, if_generation_match=condition, **_PATIENCE)
        if not blob.generation:
            raise network.Unexpected("no generation of the new object")
        return str(blob.generation)

    def _upload(self, name: str, first: bytes, source: BinaryIO) -> None:
        blob = self._bucket.blob(name)
        blob.chunk_size = 2 * network.PART  # large, because a resumable upload cannot send parts in parallel
        body = _Body(first, source)
        try:
            with self._errors("write", name):
                blob.upload_from_file(body, **_PATIENCE)
        except Exception:
            if body.error:
                raise body.error from None
            raise

    def _delete_batch(self, names: Sequence[str]) -> dict[str, Exception]:
        left: dict[str, Exception] = _PATIENCE["retry"](partial(self._send_batch, names))()
        return left

    def _send_batch(self, names: Sequence[str]) -> dict[str, Exception]:
        with self._client.batch(raise_exception=False) as batch:
            for name in names:
                self._bucket.blob(name).delete()
        answers = zip(names, batch._responses, strict=True)
        return {
            name: api.from_http_status(answer.status_code, "Refused")  # type: ignore[no-untyped-call]
            for name, answer in answers
            if answer.status_code not in _DELETED
        }

    def _delete_one(self, name: str) -> None:
        with suppress(api.NotFound):
            self._bucket.blob(name).delete(**_PATIENCE)

    def _make_bucket(self) -> None:
        # Credentials that may write objects need not be allowed to see the bucket. Another process may create it first.
        with suppress(api.Forbidden, api.Conflict):
            if not self._bucket.exists(**_PATIENCE):
                if self._client.project is None:
                    raise RepositoryConfigurationError(f"The bucket {self._bucket.name} does not exist. {_PROJECT}")
                self._client.create_bucket(self._bucket, **_PATIENCE)

    # Errors

    def _explain(self, error: Exception) -> Trouble:
        if isinstance(error, api.RetryError):
            error = error.cause
        text = str(error)
        reason = _reason(error)
        if isinstance(error, api.PreconditionFailed):
            return Trouble(reason, None, PreconditionFailed)
        if isinstance(error, api.NotFound) and "upload_id=" not in _target(error):  # an upload may have expired
            return Trouble(reason, _NO_BUCKET, DoesNotExist if "bucket does not exist" not in text else MissingBucket)
        if advice := _advice(error, text):
            return Trouble(reason, advice, RepositoryConfigurationError)
        known = (api.GoogleAPIError, auth.GoogleAuthError, requests.RequestException, DataCorruption, InvalidResponse)
        if isinstance(error, (*known, OSError)) and not isinstance(error, requests.JSONDecodeError):
            return Trouble(reason)
        return self._not_understood(error)


def _target(error: Any) -> str:
    """Return the URL of the request that was refused."""
    return str(getattr(error.response, "url", ""))


def _reason(error: Exception) -> str:
    """Return the server's message, or else the network's."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, requests.Response):
        try:
            said = response.json()["error"]["message"]
        except ValueError:
            said = response.text
        except (KeyError, TypeError):
            said = ""
        return f"{one_line(str(said or response.reason))} ({response.status_code})"
    cause: Any = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else error
    return one_line(str(getattr(cause, "reason", cause))) or type(error).__name__


def _advice(error: Exception, text: str) -> str | None:
    """Return advice on an error that does not pass by itself."""
    if isinstance(error, auth.RefreshError) and ("short-lived" in text or "issued in the future" in text):
        return _CLOCK
    if isinstance(error, api.Unauthorized | auth.DefaultCredentialsError | auth.RefreshError):
        return _LOG_IN
    if isinstance(error, requests.exceptions.SSLError):
        return _TLS
    if isinstance(error, requests.exceptions.ProxyError):
        return _PROXY
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return _HOST
    return _RIGHTS if isinstance(error, api.Forbidden) else None


def _seconds(updated: str) -> float:
    """Return a time in the server's spelling as Unix seconds."""
    try:
        return datetime.fromisoformat(updated.replace("Z", "+00:00")).timestamp()
    except ValueError:  # Python before 3.11 accepts only 3 or 6 digits of a second
        return float(DatetimeWithNanoseconds.from_rfc3339(updated).timestamp())  # type: ignore[no-untyped-call]


class _Sink:
    """The file into which the SDK writes the answers that it gets."""

    def __init__(self, answer: threading.local, download: Download) -> None:
        self._answer, self._download = answer, download
        self._headers: Any = None

    def write(self, data: bytes) -> None:
        headers = self._answer.headers
        if headers is not self._headers:  # the SDK makes a further request after a cut connection
            self._headers = headers
            self._download.begin(headers.get("Content-Range"), self._version(headers))
        self._download.take(data)

    def _version(self, headers: Any) -> str:
        known = self._download.version or ""
        marks = (headers.get(mark) for mark in ("X-Goog-Hash", "ETag", "Last-Modified"))
        # Some servers leave the generation out of a part that was asked for by its generation.
        asked = known if known.isdigit() else None
        return next(filter(None, (headers.get("X-Goog-Generation"), asked, *marks)), "")


class _Body:
    """The stream that a resumable upload reads: `first`, then `source`, in full parts except for the last."""

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
                "GOOGLE_APPLICATION_CREDENTIALS_JSON is not the text of a service account's key. Set it to the whole "
                "content of the JSON key file."
            ) from error
        return storage.Client(project=project or key.get("project_id"), credentials=credentials)
    credentials, found = google.auth.default()
    return storage.Client(project=project or found, credentials=credentials)
